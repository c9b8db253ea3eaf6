// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

static const struct field project_fields[] = {
    COLUMN_ID(project),
    COLUMN(project, name, "name", TEXT, .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
           .limit = LIMIT_NAME),
    COLUMN(project, org_id, "orgId", TEXT, .flags = FIELD_FIXED),
    COLUMN(project, creator, "creator", TEXT, .flags = FIELD_READONLY),
    COLUMN_TIMES(project),
    EXTRA(project, org_name, "orgName", TEXT, FIELD_COMPOSED),
    EXTRA(project, role, "role", TEXT, 0),
    EXTRA(project, contributors, "contributors", JSON, FIELD_COMPOSED),
    ALIAS(project, org_id, "org.id", TEXT),
};

static void project_more(const void *row, struct json_writer *out)
{
    const struct project *project = row;
    fields_link(out, "url", "projects", project->id, "");
    fields_reference(out, "org", project->org_id, project->org_name);
    json_w_pair_raw(out, "contributors",
                    project->contributors.at ? project->contributors : STR("[]"));
    // Published keys for what has no counterpart here.
    json_w_pair_raw(out, "account", STR("null"));
    json_w_pair_raw(out, "groups", STR("[]"));
    json_w_pair_raw(out, "guests", STR("[]"));
    json_w_pair_raw(out, "featureConstraints", STR("[]"));
    json_w_pair_bool(out, "isBlocked", false);
    json_w_pair_bool(out, "archived", false);
    json_w_pair_bool(out, "systemProject", false);
}

const struct entity project_entity = {
    .name = "project",
    .table = "projects",
    .size = sizeof(struct project),
    FIELDS(project_fields),
    .encode_more = project_more,
    .unique = "org_id,name",
    .schema_more =
        "{\"url\":{\"type\":\"string\"},"
        "\"org\":{\"type\":\"object\",\"properties\":{\"id\":{\"type\":\"string\"},"
        "\"name\":{\"type\":\"string\",\"nullable\":true}}},"
        "\"contributors\":{\"type\":\"array\",\"items\":{}},"
        "\"account\":{\"type\":\"string\",\"nullable\":true},"
        "\"groups\":{\"type\":\"array\",\"items\":{}},\"guests\":{\"type\":\"array\",\"items\":{}},"
        "\"featureConstraints\":{\"type\":\"array\",\"items\":{}},"
        "\"isBlocked\":{\"type\":\"boolean\"},\"archived\":{\"type\":\"boolean\"},"
        "\"systemProject\":{\"type\":\"boolean\"}}",
};

static const struct field member_fields[] = {
    COLUMN(member, id, "id", TEXT, .flags = FIELD_READONLY | FIELD_COMPOSED, .max = 512),
    COLUMN(member, project_id, "projectId", TEXT, .flags = FIELD_READONLY),
    COLUMN(member, user_id, "userId", TEXT, .flags = FIELD_READONLY),
    COLUMN(member, role, "role", TEXT, .flags = FIELD_REQUIRED | FIELD_COMPOSED,
           .choices = "owner|developer|viewer"),
    COLUMN(member, given, "given", TEXT, .flags = FIELD_INTERNAL),
    COLUMN(member, creator, "creator", TEXT, .flags = FIELD_READONLY),
    EXTRA(member, first_name, "firstName", TEXT, 0),
    EXTRA(member, last_name, "lastName", TEXT, 0),
    EXTRA(member, type, "type", TEXT, 0),
    EXTRA(member, org_id, "orgId", TEXT, 0),
    EXTRA(member, org_name, "orgName", TEXT, FIELD_COMPOSED),
    COLUMN_TIMES(member),
};

// Clients read a member as they read an account.
static void member_more(const void *row, struct json_writer *out)
{
    const struct member *member = row;
    json_w_pair_str(out, "id", member->user_id);
    json_w_pair_str(out, "email", member->user_id);
    json_w_pair_str(out, "username", member->user_id);
    json_w_pair_str(out, "role", member->given.at ? member->given : member->role);
    fields_reference(out, "org", member->org_id, member->org_name);
    json_w_pair_str(out, "member", member->user_id);
    json_w_pair_str(out, "project", member->project_id);
    json_w_pair_str(out, "via", STR("direct"));
}

const struct entity member_entity = {
    .name = "member",
    .table = "members",
    .size = sizeof(struct member),
    FIELDS(member_fields),
    .encode_more = member_more,
    .unique = "project_id,user_id",
    .schema_more = "{\"id\":{\"type\":\"string\"},\"email\":{\"type\":\"string\"},"
                   "\"username\":{\"type\":\"string\"},\"org\":{\"type\":\"object\"},"
                   "\"role\":{\"type\":\"string\",\"enum\":[\"owner\",\"developer\",\"viewer\","
                   "\"engineer\",\"annotationManager\",\"annotator\"]},"
                   "\"member\":{\"type\":\"string\"},\"project\":{\"type\":\"string\"},"
                   "\"via\":{\"type\":\"string\"}}",
    .hot = true,
};

static const struct field deletion_fields[] = {
    COLUMN_ID(deletion),
    COLUMN(deletion, kind, "kind", TEXT, .flags = FIELD_READONLY, .choices = "project|dataset"),
    COLUMN(deletion, project_id, "projectId", TEXT, .flags = FIELD_READONLY),
    COLUMN(deletion, creator, "creator", TEXT, .flags = FIELD_READONLY),
    COLUMN(deletion, created_at, "createdAt", TIME, .flags = FIELD_READONLY),
};

const struct entity deletion_entity = {
    .name = "deletion",
    .table = "deletions",
    .size = sizeof(struct deletion),
    FIELDS(deletion_fields),
    .hot = true,
};
