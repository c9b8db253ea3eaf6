// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

static const struct field fields[] = {
    COLUMN_ID(dataset),
    COLUMN(dataset, name, "name", TEXT, .flags = FIELD_REQUIRED | FIELD_NONEMPTY,
           .limit = LIMIT_NAME),
    // Bodies carry "projects": [id] instead, which the operation reads.
    COLUMN(dataset, project_id, "projectId", TEXT, .flags = FIELD_FIXED),
    COLUMN(dataset, creator, "creator", TEXT, .flags = FIELD_READONLY),
    COLUMN(dataset, system, "system", BOOL, .flags = FIELD_INTERNAL),
    COLUMN(dataset, metadata, "metadata", JSON, .flags = FIELD_OBJECT, .fallback = "{}"),
    EXTRA(dataset, items_count, "itemsCount", INT, 0),
    COLUMN_TIMES(dataset),
    ALIAS(dataset, project_id, "projects", TEXT),
};

static void encode_more(const void *row, struct json_writer *out)
{
    const struct dataset *dataset = row;
    fields_link(out, "url", "datasets", dataset->id, "");
    fields_link(out, "items", "datasets", dataset->id, "/items");
    fields_link(out, "directoryTree", "datasets", dataset->id, "/directoryTree");
    json_w_key(out, "projects");
    json_w_array(out);
    if (dataset->project_id.at)
        json_w_str(out, dataset->project_id);
    json_w_array_end(out);
    // Published keys whose value is the same for every dataset here.
    json_w_pair_int(out, "annotated", 0);
    json_w_pair_int(out, "annotationsCount", 0);
    json_w_pair_str(out, "readableType", dataset->system ? STR("system") : STR("private"));
    json_w_pair_str(out, "accessLevel", STR("project"));
    json_w_pair_str(out, "driver", STR("fs"));
    json_w_pair_bool(out, "readonly", false);
    json_w_pair_bool(out, "isSyncing", false);
    json_w_pair_str(out, "indexDriver", STR("v2"));
    json_w_pair_raw(out, "expirationOptions", STR("null"));
    json_w_pair_raw(out, "updatedBy", STR("null"));
}

const struct entity dataset_entity = {
    .name = "dataset",
    .table = "datasets",
    .size = sizeof(struct dataset),
    FIELDS(fields),
    .encode_more = encode_more,
    .unique = "project_id,name",
    .schema_more =
        "{\"url\":{\"type\":\"string\"},\"items\":{\"type\":\"string\"},"
        "\"directoryTree\":{\"type\":\"string\"},"
        "\"projects\":{\"type\":\"array\",\"items\":{\"type\":\"string\"}},"
        "\"annotated\":{\"type\":\"integer\"},\"annotationsCount\":{\"type\":\"integer\"},"
        "\"readableType\":{\"type\":\"string\"},\"accessLevel\":{\"type\":\"string\"},"
        "\"driver\":{\"type\":\"string\"},\"readonly\":{\"type\":\"boolean\"},"
        "\"isSyncing\":{\"type\":\"boolean\"},\"indexDriver\":{\"type\":\"string\"},"
        "\"expirationOptions\":{\"type\":\"object\",\"nullable\":true},"
        "\"updatedBy\":{\"type\":\"string\",\"nullable\":true}}",
};
