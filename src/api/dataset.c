// SPDX-License-Identifier: Apache-2.0
#include "operation/dataset.h"

#include "api/page.h"
#include "api/route_table.h"
#include "model/context.h"
#include "model/take.h"
#include "operation/deletion.h"

static int post_dataset(struct call *call, struct err *err)
{
    struct dataset row;
    if (entity_decode(&dataset_entity, call->body, DECODE_CREATE, op_limits(&call->op), &row,
                      call->op.arena, err))
        return -1;
    row.project_id = call->project.id;
    row.system = false;
    if (dataset_create(&call->op, &row, err))
        return -1;
    entity_encode(&dataset_entity, &row, &call->out);
    return 0;
}

// The code stores (Binaries) are shown to those who ask for the system's space only.
static int visible(struct call *call, bool system, struct filter **out, struct err *err)
{
    struct op *op = &call->op;
    if (access_filter(op, &dataset_entity, "projectId", out, err))
        return -1;
    if (!system)
        *out = filter_and(*out, filter_eq_bool(&dataset_entity, "system", false, op->arena),
                          op->arena);
    return deletion_hide(op, &dataset_entity, "projectId", out, err);
}

static int query_datasets(struct call *call, struct err *err)
{
    struct page page = {.entity = &dataset_entity, .body = call->body, .size = 1000};
    struct filter *context;
    bool system;
    if (take_bool(call->body, "systemSpace", &system, err) ||
        context_filter(call->body, &dataset_entity, op_limits(&call->op), &context, call->op.arena,
                       err) ||
        visible(call, system, &page.filter, err))
        return -1;
    page.filter = filter_and(page.filter, context, call->op.arena);
    return page_reply(call, &page, err);
}

// Without parameters of a page the list is whole.
static int read_page(struct call *call, struct json *out, struct err *err)
{
    _cleanup_buf_ struct buf buf = BUF_INIT(256);
    struct json_writer w = JSON_WRITER(&buf);
    json_w_object(&w);
    if (page_params(call, &w, err))
        return -1;
    json_w_object_end(&w);
    if (buf.len > strlen("{}"))
        *out = json_of(arena_copy(call->op.arena, buf_str(&buf)));
    return 0;
}

static int get_datasets(struct call *call, struct err *err)
{
    struct arena *arena = call->op.arena;
    struct page page = {.entity = &dataset_entity};
    struct str name = call_query(call, "name"), project = call_query(call, "projects");
    if (read_page(call, &page.body, err) ||
        visible(call, call_query_bool(call, "system"), &page.filter, err))
        return -1;
    if (name.len)
        page.filter = filter_and(page.filter, filter_eq_text(&dataset_entity, "name", name, arena),
                                 arena);
    if (project.len)
        page.filter = filter_and(
            page.filter, filter_eq_text(&dataset_entity, "projectId", project, arena), arena);
    return page_array(call, &page, "name", err);
}

static int get_dataset(struct call *call, struct err *err)
{
    if (dataset_count(&call->op, &call->subject.dataset, err))
        return -1;
    entity_encode(&dataset_entity, &call->subject.dataset, &call->out);
    return 0;
}

static int patch_dataset(struct call *call, struct err *err)
{
    if (dataset_update(&call->op, &call->subject.dataset, call->body, err))
        return -1;
    entity_encode(&dataset_entity, &call->subject.dataset, &call->out);
    return 0;
}

static int delete_dataset(struct call *call, struct err *err)
{
    return deletion_of_dataset(&call->op, &call->subject.dataset, err);
}

#define DATASETS "Datasets"

static const struct route routes[] = {
    {"POST", "/datasets", ROUTE_WRITE, SCOPE_BODY, ROLE_DEVELOPER, BODY_JSON, post_dataset,
     .operation_id = "createDataset", .summary = "Make a dataset", .tag = DATASETS,
     .request = "DatasetCreateBody", .response = "Dataset"},
    {"GET", "/datasets", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, get_datasets,
     .operation_id = "listDatasets", .summary = "List datasets", .tag = DATASETS,
     .response = "Dataset[]",
     .query = "name:string projects:string system:boolean pageOffset:integer pageSize:integer"},
    {"POST", "/datasets/query", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_JSON, query_datasets,
     .operation_id = "queryDatasets", .summary = "Find datasets by a filter", .tag = DATASETS,
     .request = "Query", .response = "DatasetPage"},
    {"GET", "/datasets/{datasetId}", ROUTE_READ, SCOPE_DATASET, ROLE_VIEWER, BODY_NONE, get_dataset,
     .operation_id = "getDataset", .summary = "Get a dataset", .tag = DATASETS,
     .response = "Dataset"},
    {"PATCH", "/datasets/{datasetId}", ROUTE_WRITE, SCOPE_DATASET, ROLE_DEVELOPER, BODY_JSON,
     patch_dataset, .operation_id = "updateDataset",
     .summary = "Rename a dataset or merge into its metadata", .tag = DATASETS,
     .request = "DatasetPatch", .response = "Dataset", .query = "system:boolean"},
    {"DELETE", "/datasets/{datasetId}", ROUTE_WRITE, SCOPE_DATASET, ROLE_DEVELOPER, BODY_NONE,
     delete_dataset, .operation_id = "deleteDataset", .summary = "Delete a dataset with its items",
     .tag = DATASETS, .success = 204},
};

const struct route_list dataset_routes = {routes, sizeof(routes) / sizeof(routes[0])};
