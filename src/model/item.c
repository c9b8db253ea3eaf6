// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

static const struct field fields[] = {
    COLUMN_ID(item),
    COLUMN(item, dataset_id, "datasetId", TEXT, .flags = FIELD_READONLY),
    COLUMN(item, project_id, "projectId", TEXT, .flags = FIELD_READONLY),
    COLUMN(item, filename, "filename", TEXT, .flags = FIELD_REQUIRED | FIELD_NONEMPTY, .max = 4096),
    COLUMN(item, name, "name", TEXT, .flags = FIELD_READONLY),
    COLUMN(item, dir, "dir", TEXT, .flags = FIELD_READONLY),
    COLUMN(item, type, "type", TEXT, .flags = FIELD_FIXED, .fallback = "\"file\"",
           .choices = "file|dir"),
    COLUMN(item, hidden, "hidden", BOOL),
    COLUMN(item, annotated, "annotated", BOOL, .flags = FIELD_READONLY),
    COLUMN(item, annotations_count, "annotationsCount", INT, .flags = FIELD_READONLY,
           .fallback = "0"),
    COLUMN(item, size, "size", INT, .flags = FIELD_INTERNAL, .fallback = "0"),
    COLUMN(item, mimetype, "mimetype", TEXT, .flags = FIELD_INTERNAL),
    COLUMN(item, blob, "blob", TEXT, .flags = FIELD_INTERNAL),
    COLUMN(item, metadata, "metadata", JSON, .flags = FIELD_OBJECT | FIELD_COMPOSED,
           .fallback = "{\"system\":{},\"user\":{}}"),
    COLUMN(item, description, "description", TEXT),
    COLUMN(item, creator, "creator", TEXT, .flags = FIELD_READONLY),
    COLUMN_TIMES(item),
    ALIAS(item, size, "metadata.system.size", INT),
    ALIAS(item, mimetype, "metadata.system.mimetype", TEXT),
};

// metadata.system of an answer: what is kept, with size and mimetype from their columns.
static void encode_system(const struct item *item, struct json system, struct json_writer *out)
{
    struct json_iter it = json_each(system);
    struct str key;
    struct json value;
    json_w_key(out, "system");
    json_w_object(out);
    while (system.type == JSON_OBJECT && json_next(&it, &key, &value)) {
        if (str_is(key, "size") || str_is(key, "mimetype"))
            continue;
        fields_raw_key(out, key);
        json_w_raw(out, value.text);
    }
    if (item->size != INT_NONE)
        json_w_pair_int(out, "size", item->size);
    if (item->mimetype.at)
        json_w_pair_str(out, "mimetype", item->mimetype);
    json_w_object_end(out);
}

static void encode_metadata(const struct item *item, struct json_writer *out)
{
    struct json metadata = json_of(item->metadata), system = {0}, user, value;
    struct json_iter it = json_each(metadata);
    struct str key;
    json_get(metadata, "system", &system);
    json_w_key(out, "metadata");
    json_w_object(out);
    encode_system(item, system, out);
    if (!json_get(metadata, "user", &user))
        json_w_pair_raw(out, "user", STR("{}"));
    while (metadata.type == JSON_OBJECT && json_next(&it, &key, &value)) {
        if (str_is(key, "system"))
            continue;
        fields_raw_key(out, key);
        json_w_raw(out, value.text);
    }
    json_w_object_end(out);
}

static void encode_more(const void *row, struct json_writer *out)
{
    const struct item *item = row;
    encode_metadata(item, out);
    fields_link(out, "url", "items", item->id, "");
    fields_link(out, "stream", "items", item->id, "/stream");
    fields_link(out, "annotations", "items", item->id, "/annotations");
    fields_link(out, "dataset", "datasets", item->dataset_id, "");
    // Published keys for what has no counterpart here.
    json_w_pair_raw(out, "thumbnail", STR("null"));
    json_w_pair_raw(out, "spec", STR("null"));
    json_w_pair_raw(out, "srcItem", STR("null"));
    json_w_pair_raw(out, "srcDataset", STR("null"));
    json_w_pair_raw(out, "updatedBy", STR("null"));
}

const struct entity item_entity = {
    .name = "item",
    .table = "items",
    .size = sizeof(struct item),
    FIELDS(fields),
    .encode_more = encode_more,
    .unique = "dataset_id,filename",
    .schema_more =
        "{\"metadata\":{\"type\":\"object\"},\"url\":{\"type\":\"string\"},"
        "\"stream\":{\"type\":\"string\"},\"annotations\":{\"type\":\"string\"},"
        "\"dataset\":{\"type\":\"string\"},\"thumbnail\":{\"type\":\"string\",\"nullable\":true},"
        "\"spec\":{\"type\":\"string\",\"nullable\":true},"
        "\"srcItem\":{\"type\":\"string\",\"nullable\":true},"
        "\"srcDataset\":{\"type\":\"string\",\"nullable\":true},"
        "\"updatedBy\":{\"type\":\"string\",\"nullable\":true}}",
};
