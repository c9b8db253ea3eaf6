// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

static const struct field fields[] = {
    COLUMN_ID(replica),
    COLUMN(replica, service_id, "serviceId", TEXT, .flags = FIELD_READONLY),
    COLUMN(replica, project_id, "projectId", TEXT, .flags = FIELD_READONLY),
    COLUMN(replica, service_version, "serviceVersion", TEXT, .flags = FIELD_READONLY),
    COLUMN(replica, state, "state", TEXT, .flags = FIELD_READONLY,
           .choices = "starting|ready|draining|exited"),
    COLUMN(replica, reason, "reason", TEXT, .flags = FIELD_READONLY),
    COLUMN(replica, message, "message", TEXT, .flags = FIELD_READONLY),
    COLUMN(replica, phase, "phase", TEXT, .flags = FIELD_READONLY),
    COLUMN(replica, restarts, "restartCount", INT, .flags = FIELD_READONLY, .fallback = "0"),
    COLUMN(replica, exit_code, "exitCode", INT, .flags = FIELD_READONLY),
    COLUMN(replica, started_at, "startedAt", TIME, .flags = FIELD_READONLY),
    COLUMN_TIMES(replica),
};

const struct entity replica_entity = {
    .name = "replica",
    .table = "replicas",
    .size = sizeof(struct replica),
    FIELDS(fields),
};
