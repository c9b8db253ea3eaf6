// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

static const struct field fields[] = {
    COLUMN_ID(service_event),
    COLUMN(service_event, service_id, "serviceId", TEXT, .flags = FIELD_READONLY),
    COLUMN(service_event, project_id, "projectId", TEXT, .flags = FIELD_READONLY),
    COLUMN(service_event, kind, "kind", TEXT, .flags = FIELD_READONLY,
           .choices = "service|replica|execution"),
    COLUMN(service_event, level, "level", TEXT, .flags = FIELD_READONLY, .choices = "info|warning"),
    COLUMN(service_event, reason, "reason", TEXT, .flags = FIELD_READONLY),
    COLUMN(service_event, subject, "subject", TEXT, .flags = FIELD_READONLY),
    COLUMN(service_event, message, "message", TEXT, .flags = FIELD_READONLY),
    COLUMN(service_event, inputs, "inputs", JSON, .flags = FIELD_READONLY | FIELD_OBJECT),
    COLUMN(service_event, count, "count", INT, .flags = FIELD_READONLY),
    COLUMN(service_event, first_at, "firstAt", TIME, .flags = FIELD_READONLY),
    COLUMN(service_event, last_at, "lastAt", TIME, .flags = FIELD_READONLY),
};

const struct entity service_event_entity = {
    .name = "event",
    .table = "events",
    .size = sizeof(struct service_event),
    FIELDS(fields),
};
