// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

static const struct field fields[] = {
    COLUMN_ID(integration),
    COLUMN(integration, org_id, "orgId", TEXT, .flags = FIELD_READONLY | FIELD_COMPOSED),
    COLUMN(integration, name, "name", TEXT, .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
           .limit = LIMIT_NAME),
    COLUMN(integration, type, "type", TEXT, .flags = FIELD_REQUIRED | FIELD_FIXED,
           .choices = INTEGRATION_TYPES),
    COLUMN(integration, metadata, "metadata", JSON, .flags = FIELD_INTERNAL),
    COLUMN(integration, sealed, "sealed", TEXT, .flags = FIELD_INTERNAL),
    COLUMN(integration, creator, "creator", TEXT, .flags = FIELD_READONLY),
    // Published as numbers: milliseconds since 1970.
    COLUMN(integration, created_at, "createdAt", INT, .flags = FIELD_READONLY),
    COLUMN(integration, updated_at, "updatedAt", INT, .flags = FIELD_READONLY),
};

// What clients look for is a list of {"name", "value"}; they read the status from it.
static void write_metadata(const struct integration *integration, struct json_writer *out)
{
    struct json_iter it = json_each(json_of(integration->metadata));
    struct str key;
    json_w_key(out, "metadata");
    json_w_array(out);
    json_w_object(out);
    json_w_pair_str(out, "name", STR("status"));
    json_w_pair_str(out, "value", STR("available"));
    json_w_object_end(out);
    for (struct json value; json_next(&it, &key, &value);) {
        json_w_object(out);
        json_w_key(out, "name");
        fields_raw_text(out, key);
        json_w_pair_raw(out, "value", value.text);
        json_w_object_end(out);
    }
    json_w_array_end(out);
}

static void encode_more(const void *row, struct json_writer *out)
{
    const struct integration *integration = row;
    fields_link(out, "url", "integrations", integration->id, "");
    json_w_pair_str(out, "org", integration->org_id);
    write_metadata(integration, out);
}

const struct entity integration_entity = {
    .name = "integration",
    .table = "integrations",
    .size = sizeof(struct integration),
    FIELDS(fields),
    .encode_more = encode_more,
    .unique = "org_id,name",
    .schema_more = "{\"url\":{\"type\":\"string\"},\"org\":{\"type\":\"string\"},"
                   "\"metadata\":{\"type\":\"array\",\"items\":{\"type\":\"object\","
                   "\"properties\":{\"name\":{\"type\":\"string\"},\"value\":{}}}}}",
};
