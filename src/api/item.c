// SPDX-License-Identifier: Apache-2.0
#include "operation/item.h"

#include "api/api_internal.h"
#include "api/download.h"
#include "api/page.h"
#include "api/route_table.h"
#include "api/upload.h"
#include "model/context.h"
#include "model/take.h"

static int get_item(struct call *call, struct err *err)
{
    (void)err;
    entity_encode(&item_entity, &call->subject.item, &call->out);
    return 0;
}

static int patch_item(struct call *call, struct err *err)
{
    struct item *item = &call->subject.item;
    if (item_update(&call->op, item, call->body, call_query_bool(call, "system"), err))
        return -1;
    entity_encode(&item_entity, item, &call->out);
    return 0;
}

static int delete_item(struct call *call, struct err *err)
{
    return item_delete(&call->op, &call->subject.item, err);
}

// The same below the item's dataset, whose role was checked.
static int item_of_dataset(struct call *call, struct item *item, struct err *err)
{
    struct str id = call_param(call, 1);
    int rc = tx_get(call->op.tx, &item_entity, id, item, call->op.arena, err);
    if (rc && err->kind != ERR_NOT_FOUND)
        return -1;
    if (rc == 0 && str_eq(item->dataset_id, call_param(call, 0)))
        return 0;
    return err_set(err, ERR_NOT_FOUND, "There is no item " STR_FMT " in the dataset", STR_ARG(id));
}

static int get_dataset_item(struct call *call, struct err *err)
{
    struct item item;
    if (item_of_dataset(call, &item, err))
        return -1;
    entity_encode(&item_entity, &item, &call->out);
    return 0;
}

static int patch_dataset_item(struct call *call, struct err *err)
{
    struct item item;
    if (item_of_dataset(call, &item, err) ||
        item_update(&call->op, &item, call->body, call_query_bool(call, "system"), err))
        return -1;
    entity_encode(&item_entity, &item, &call->out);
    return 0;
}

static int delete_dataset_item(struct call *call, struct err *err)
{
    struct item item;
    if (item_of_dataset(call, &item, err))
        return -1;
    return item_delete(&call->op, &item, err);
}

// ── lists, and changes of all that a filter matches ──────────────────────────────────────────

static int list_items(struct call *call, struct err *err)
{
    struct page page = {.entity = &item_entity, .body = call->body, .size = 1000};
    struct arena *arena = call->op.arena;
    if (context_filter(call->body, &item_entity, op_limits(&call->op), &page.filter, arena, err))
        return -1;
    page.filter = filter_and(
        page.filter, filter_eq_text(&item_entity, "datasetId", call_param(call, 0), arena), arena);
    return page_reply(call, &page, err);
}

static void list_done(struct call *call, struct err *err) { call_finish(call, err); }

static int bulk_step(struct call *call, struct err *err)
{
    struct item_bulk *bulk = call->data;
    if (access_require(&call->op, call->project.id, ROLE_DEVELOPER, err))
        return -1;
    return item_bulk_step(&call->op, bulk, err);
}

static void bulk_stepped(struct call *call, struct err *err)
{
    struct item_bulk *bulk = call->data;
    if (err->kind == ERR_NONE && !bulk->over) {
        call_run(call, bulk->checking ? OP_READ : OP_WRITE, bulk_step, bulk_stepped);
        return;
    }
    if (err->kind == ERR_NONE) {  // the form of a command that is done
        json_w_object(&call->out);
        json_w_pair_str(&call->out, "id", STR(""));
        json_w_pair_str(&call->out, "status", STR("success"));
        json_w_pair_int(&call->out, "progress", 100);
        json_w_pair_int(&call->out, "itemsCount", bulk->done);
        json_w_object_end(&call->out);
    }
    call_finish(call, err);
}

static int start_bulk(struct call *call, struct json patch, bool system, struct err *err)
{
    struct arena *arena = call->op.arena;
    struct item_bulk *bulk = arena_new_of(arena, struct item_bulk);
    struct json filter = json_of(STR("{}")), value;
    struct filter *context;
    if (json_get(call->body, "filter", &value))
        filter = value;
    if (filter_parse(filter, &item_entity, op_limits(&call->op), arena, &bulk->filter, err) ||
        context_filter(call->body, &item_entity, op_limits(&call->op), &context, arena, err))
        return -1;
    bulk->filter = filter_and(bulk->filter, context, arena);
    bulk->dataset_id = call_param(call, 0);
    bulk->patch = patch;
    if (json_get(patch, "filename", &value) && value.type != JSON_NULL)
        return err_field(err, "update.filename",
                         "update.filename: many items cannot be moved at once; PATCH them one by "
                         "one");
    bulk->system = system;
    bulk->checking = true;
    call->data = bulk;
    call_run(call, OP_READ, bulk_step, bulk_stepped);
    return 0;
}

static int query_items(struct call *call, struct err *err)
{
    struct json update, value;
    bool delete_them, system;
    if (json_get(call->body, "join", &value) && value.type != JSON_NULL)
        return err_field(err, "join",
                         "join: items cannot be joined with annotations here; take it out of the "
                         "query");
    if (take_bool(call->body, "delete", &delete_them, err) ||
        take_object(call->body, "update", &update, err) ||
        take_bool(call->body, "systemSpace", &system, err))
        return -1;
    if (delete_them && update.type == JSON_OBJECT)
        return err_field(err, "delete", "delete and update cannot stand in one request");
    if (delete_them || update.type == JSON_OBJECT)
        return start_bulk(call, update, system, err);
    call_run(call, OP_READ, list_items, list_done);
    return 0;
}

#define ITEMS "Items"

static const struct route routes[] = {
    {"POST", "/datasets/{datasetId}/query", ROUTE_LOOP, SCOPE_DATASET, ROLE_VIEWER, BODY_JSON,
     query_items, .operation_id = "queryItems",
     .summary = "Find items by a filter; with update or delete, change all that match",
     .tag = ITEMS, .request = "Query", .response = "ItemsAnswer"},
    {"POST", "/datasets/{datasetId}/items", ROUTE_LOOP, SCOPE_DATASET, ROLE_DEVELOPER, BODY_STREAM,
     upload_handle, .operation_id = "uploadItem", .summary = "Upload a file, or make a folder",
     .tag = ITEMS, .request = "ItemUpload", .response = "Item", .query = "mode:skip|overwrite"},
    {"GET", "/datasets/{datasetId}/items/{itemId}", ROUTE_READ, SCOPE_DATASET, ROLE_VIEWER,
     BODY_NONE, get_dataset_item, .operation_id = "getDatasetItem",
     .summary = "Get an item of a dataset", .tag = ITEMS, .response = "Item"},
    {"PATCH", "/datasets/{datasetId}/items/{itemId}", ROUTE_WRITE, SCOPE_DATASET, ROLE_DEVELOPER,
     BODY_JSON, patch_dataset_item, .operation_id = "updateDatasetItem",
     .summary = "Merge into an item of a dataset", .tag = ITEMS, .request = "ItemPatch",
     .response = "Item", .query = "system:boolean"},
    {"DELETE", "/datasets/{datasetId}/items/{itemId}", ROUTE_WRITE, SCOPE_DATASET, ROLE_DEVELOPER,
     BODY_NONE, delete_dataset_item, .operation_id = "deleteDatasetItem",
     .summary = "Delete an item of a dataset", .tag = ITEMS, .success = 204},
    {"GET", "/datasets/{datasetId}/items/{itemId}/stream", ROUTE_LOOP, SCOPE_DATASET, ROLE_VIEWER,
     BODY_NONE, download_dataset_item, .operation_id = "streamDatasetItem",
     .summary = "Get the bytes of an item of a dataset", .tag = ITEMS, .response = "Binary"},
    {"GET", "/items/{itemId}", ROUTE_READ, SCOPE_ITEM, ROLE_VIEWER, BODY_NONE, get_item,
     .operation_id = "getItem", .summary = "Get an item", .tag = ITEMS, .response = "Item"},
    {"PATCH", "/items/{itemId}", ROUTE_WRITE, SCOPE_ITEM, ROLE_DEVELOPER, BODY_JSON, patch_item,
     .operation_id = "updateItem", .summary = "Merge into an item", .tag = ITEMS,
     .request = "ItemPatch", .response = "Item", .query = "system:boolean"},
    {"DELETE", "/items/{itemId}", ROUTE_WRITE, SCOPE_ITEM, ROLE_DEVELOPER, BODY_NONE, delete_item,
     .operation_id = "deleteItem", .summary = "Delete an item", .tag = ITEMS, .success = 204},
    {"GET", "/items/{itemId}/stream", ROUTE_LOOP, SCOPE_ITEM, ROLE_VIEWER, BODY_NONE, download_item,
     .operation_id = "streamItem", .summary = "Get an item's bytes", .tag = ITEMS,
     .response = "Binary"},
};

const struct route_list item_routes = {routes, sizeof(routes) / sizeof(routes[0])};
