// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

static const struct field fields[] = {
    COLUMN_ID(notification),
    COLUMN(notification, project_id, "projectId", TEXT, .flags = FIELD_READONLY),
    COLUMN(notification, type, "type", TEXT, .flags = FIELD_READONLY),
    COLUMN(notification, level, "level", TEXT, .flags = FIELD_READONLY,
           .choices = "info|warning|error"),
    COLUMN(notification, entity_type, "entityType", TEXT, .flags = FIELD_READONLY),
    COLUMN(notification, entity_id, "entityId", TEXT, .flags = FIELD_READONLY),
    COLUMN(notification, entity_name, "entityName", TEXT, .flags = FIELD_READONLY),
    COLUMN(notification, title, "title", TEXT, .flags = FIELD_READONLY),
    COLUMN(notification, message, "message", TEXT, .flags = FIELD_READONLY),
    COLUMN(notification, inputs, "inputs", JSON, .flags = FIELD_READONLY | FIELD_OBJECT),
    COLUMN(notification, count, "count", INT, .flags = FIELD_READONLY),
    COLUMN(notification, first_at, "firstAt", TIME, .flags = FIELD_READONLY),
    COLUMN(notification, last_at, "lastAt", TIME, .flags = FIELD_READONLY),
    COLUMN(notification, resolved_at, "resolvedAt", TIME, .flags = FIELD_READONLY),
    COLUMN(notification, readers, "readers", JSON,
           .flags = FIELD_READONLY | FIELD_INTERNAL | FIELD_ARRAY),
    EXTRA(notification, read, "read", BOOL, 0),
};

const struct entity notification_entity = {
    .name = "notification",
    .table = "notifications",
    .size = sizeof(struct notification),
    FIELDS(fields),
};
