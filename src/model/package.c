// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

static const struct field fields[] = {
    COLUMN_ID(package),
    COLUMN(package, name, "name", TEXT, .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
           .limit = LIMIT_NAME),
    COLUMN(package, project_id, "projectId", TEXT, .flags = FIELD_REQUIRED | FIELD_FIXED),
    // dtlpy sends the old version back; the operation bumps it unless a newer one is given.
    COLUMN(package, version, "version", TEXT, .fallback = "\"1.0.0\"", .max = 64),
    COLUMN(package, type, "type", TEXT, .fallback = "\"faas\"", .choices = "faas|app|ml"),
    COLUMN(package, global, "global", BOOL),
    COLUMN(package, codebase, "codebase", JSON, .flags = FIELD_REQUIRED | FIELD_OBJECT,
           .secret = "credentials"),
    COLUMN(package, modules, "modules", JSON, .flags = FIELD_REQUIRED | FIELD_ARRAY),
    COLUMN(package, requirements, "requirements", JSON, .flags = FIELD_ARRAY),
    COLUMN(package, slots, "slots", JSON, .flags = FIELD_ARRAY),
    COLUMN(package, service_config, "serviceConfig", JSON, .flags = FIELD_OBJECT),
    COLUMN(package, metadata, "metadata", JSON, .flags = FIELD_OBJECT, .fallback = "{}"),
    COLUMN(package, ui_hooks, "uiHooks", JSON, .flags = FIELD_ARRAY),
    COLUMN(package, creator, "creator", TEXT, .flags = FIELD_READONLY),
    COLUMN(package, updated_by, "updatedBy", TEXT, .flags = FIELD_READONLY),
    COLUMN_TIMES(package),
};

static void encode_more(const void *row, struct json_writer *out)
{
    const struct package *package = row;
    fields_link(out, "url", "packages", package->id, "");
}

const struct entity package_entity = {
    .name = "package",
    .table = "packages",
    .resource = "packages",
    .size = sizeof(struct package),
    FIELDS(fields),
    .encode_more = encode_more,
    .unique = "project_id,name",
    .schema_more = "{\"url\":{\"type\":\"string\"}}",
};

static const struct field revision_fields[] = {
    COLUMN_ID(revision),
    COLUMN(revision, kind, "kind", TEXT, .flags = FIELD_READONLY, .choices = "package|service"),
    COLUMN(revision, parent_id, "parentId", TEXT, .flags = FIELD_READONLY),
    COLUMN(revision, version, "version", TEXT, .flags = FIELD_READONLY),
    COLUMN(revision, project_id, "projectId", TEXT, .flags = FIELD_READONLY),
    COLUMN(revision, code_item, "codeItem", TEXT, .flags = FIELD_INTERNAL),
    COLUMN(revision, body, "body", JSON, .flags = FIELD_INTERNAL | FIELD_OBJECT),
    COLUMN(revision, creator, "creator", TEXT, .flags = FIELD_READONLY),
    COLUMN(revision, created_at, "createdAt", TIME, .flags = FIELD_READONLY),
};

const struct entity revision_entity = {
    .name = "revision",
    .table = "revisions",
    .size = sizeof(struct revision),
    FIELDS(revision_fields),
    .unique = "parent_id,version",
};
