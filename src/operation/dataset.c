// SPDX-License-Identifier: Apache-2.0
#include "operation/dataset.h"

#include "base/id.h"
#include "operation/project.h"
#include "operation/repeat.h"

static int find(struct op *op, struct str project_id, struct str name, struct dataset *out,
                struct err *err)
{
    struct filter *filter = filter_and(
        filter_eq_text(&dataset_entity, "projectId", project_id, op->arena),
        filter_eq_text(&dataset_entity, "name", name, op->arena), op->arena);
    return tx_find(op->tx, &dataset_entity, filter, out, op->arena, err);
}

static int refuse_name(struct err *err, struct str name)
{
    return err_set(err, ERR_CONFLICT, "There is a dataset named " STR_FMT " in the project already",
                   STR_ARG(name));
}

int dataset_create(struct op *op, struct dataset *row, struct err *err)
{
    struct dataset first;
    if (title_check(row->name, "name", op_limits(op), err))
        return -1;
    if (find(op, row->project_id, row->name, &first, err) == 0) {
        if (first.system || !repeat_of(op, &dataset_entity, &first, row))
            return refuse_name(err, row->name);
        *row = first;
        return 0;
    }
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    row->id = op_id(op);
    row->creator = op->caller.user_id;
    row->created_at = row->updated_at = op->now;
    row->items_count = 0;
    if (tx_insert(op->tx, &dataset_entity, row, err))
        return err->kind == ERR_CONFLICT ? refuse_name(err, row->name) : -1;
    return op_audit(op, "create", &dataset_entity, NULL, row, err);
}

static int merge_metadata(struct op *op, struct dataset *dataset, struct json patch,
                          struct err *err)
{
    struct json metadata;
    if (!json_get(patch, "metadata", &metadata) || metadata.type == JSON_NULL)
        return 0;
    if (metadata.type != JSON_OBJECT)
        return err_field(err, "metadata", "metadata must be an object, not %s",
                         json_type_name(metadata.type));
    struct json base = json_of(dataset->metadata.at ? dataset->metadata : STR("{}"));
    dataset->metadata = json_merge(base, metadata, op->arena);
    return limits_bytes(op_limits(op), LIMIT_FIELD, "metadata", dataset->metadata.len, err);
}

int dataset_update(struct op *op, struct dataset *dataset, struct json patch, struct err *err)
{
    struct dataset before = *dataset;
    struct json name;
    if (json_get(patch, "name", &name) && name.type != JSON_NULL) {
        if (name.type != JSON_STRING)
            return err_field(err, "name", "name must be a string, not %s",
                             json_type_name(name.type));
        dataset->name = json_str(name, op->arena);
        if (title_check(dataset->name, "name", op_limits(op), err))
            return -1;
    }
    if (before.system && !str_eq(before.name, dataset->name))
        return err_set(err, ERR_CONFLICT, "The dataset " BINARIES " cannot be renamed");
    if (merge_metadata(op, dataset, patch, err))
        return -1;
    dataset->updated_at = op->now;
    if (tx_update(op->tx, &dataset_entity, dataset, err))
        return err->kind == ERR_CONFLICT ? refuse_name(err, dataset->name) : -1;
    return op_audit(op, "update", &dataset_entity, &before, dataset, err);
}

int dataset_count(struct op *op, struct dataset *dataset, struct err *err)
{
    struct filter *filter = filter_and(
        filter_eq_text(&item_entity, "datasetId", dataset->id, op->arena),
        filter_eq_text(&item_entity, "type", STR("file"), op->arena), op->arena);
    return tx_count(op->tx, &item_entity, filter, &dataset->items_count, err);
}
