// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

static const struct field fields[] = {
    COLUMN_ID(audit),
    COLUMN(audit, at, "at", TIME, .flags = FIELD_READONLY),
    COLUMN(audit, user_id, "userId", TEXT, .flags = FIELD_READONLY),
    COLUMN(audit, action, "action", TEXT, .flags = FIELD_READONLY),
    COLUMN(audit, entity_type, "entityType", TEXT, .flags = FIELD_READONLY),
    COLUMN(audit, entity_id, "entityId", TEXT, .flags = FIELD_READONLY),
    COLUMN(audit, entity_name, "entityName", TEXT, .flags = FIELD_READONLY),
    COLUMN(audit, project_id, "projectId", TEXT, .flags = FIELD_READONLY),
    COLUMN(audit, before, "before", JSON, .flags = FIELD_READONLY),
    COLUMN(audit, after, "after", JSON, .flags = FIELD_READONLY),
    COLUMN(audit, address, "address", TEXT, .flags = FIELD_READONLY),
};

const struct entity audit_entity = {
    .name = "audit entry",
    .table = "audit",
    .size = sizeof(struct audit),
    FIELDS(fields),
};
