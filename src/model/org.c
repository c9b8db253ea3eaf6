// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

static const struct field fields[] = {
    COLUMN_ID(org),
    COLUMN(org, name, "name", TEXT, .flags = FIELD_REQUIRED | FIELD_NONEMPTY, .limit = LIMIT_NAME),
    COLUMN_TIMES(org),
};

static void encode_more(const void *row, struct json_writer *out)
{
    const struct org *org = row;
    fields_link(out, "url", "orgs", org->id, "");
    // Published keys for what has no counterpart here.
    json_w_pair_raw(out, "logoUrl", STR("null"));
    json_w_pair_raw(out, "plan", STR("null"));
    json_w_pair_raw(out, "account", STR("null"));
    json_w_pair_raw(out, "owner", STR("null"));
    json_w_pair_raw(out, "creator", STR("null"));
    json_w_pair_raw(out, "members", STR("[]"));
    json_w_pair_raw(out, "groups", STR("[]"));
    json_w_pair_raw(out, "integrations", STR("[]"));
}

const struct entity org_entity = {
    .name = "org",
    .table = "orgs",
    .size = sizeof(struct org),
    FIELDS(fields),
    .encode_more = encode_more,
    .unique = "name",
    .schema_more = "{\"url\":{\"type\":\"string\"},"
                   "\"logoUrl\":{\"type\":\"string\",\"nullable\":true},"
                   "\"plan\":{\"type\":\"string\",\"nullable\":true},"
                   "\"account\":{\"type\":\"string\",\"nullable\":true},"
                   "\"owner\":{\"type\":\"string\",\"nullable\":true},"
                   "\"creator\":{\"type\":\"string\",\"nullable\":true},"
                   "\"members\":{\"type\":\"array\",\"items\":{}},"
                   "\"groups\":{\"type\":\"array\",\"items\":{}},"
                   "\"integrations\":{\"type\":\"array\",\"items\":{}}}",
};
