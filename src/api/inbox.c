// SPDX-License-Identifier: Apache-2.0
// Notifications in the published form of a user's messages, which dtlpy lists (dl.messages).
#include "api/listing.h"
#include "api/route_table.h"
#include "model/take.h"
#include "operation/notification.h"

static const struct entity *const entity = &notification_entity;

// A parameter that holds a JSON object; JSON_ABSENT when it is not given.
static int object_param(struct call *call, const char *name, struct json *out, struct err *err)
{
    struct str text = call_query(call, name);
    *out = (struct json){0};
    if (!text.at)
        return 0;
    if (json_parse(text, 0, out, err) || out->type != JSON_OBJECT)
        return err_field(err, name, "%s must be a JSON object", name);
    return 0;
}

// What lies behind the message that the page before ended with; ids grow.
static int add_checkpoint(struct call *call, struct json page, struct filter **filter,
                          struct err *err)
{
    struct str after;
    struct filter *older;
    struct json json;
    if (take_text(page, "checkpoint", &after, call->op.arena, err))
        return -1;
    if (!after.at)
        return 0;
    _cleanup_buf_ struct buf buf = BUF_INIT((size_t)op_limits(&call->op)->field);
    struct json_writer w = JSON_WRITER(&buf);
    json_w_object(&w);
    json_w_key(&w, "id");
    json_w_object(&w);
    json_w_pair_str(&w, "$lt", after);
    json_w_object_end(&w);
    json_w_object_end(&w);
    if (json_parse(arena_copy(call->op.arena, buf_str(&buf)), 0, &json, err) ||
        filter_parse(json, entity, op_limits(&call->op), call->op.arena, &older, err))
        return -1;
    *filter = filter_and(*filter, older, call->op.arena);
    return 0;
}

static int read_query(struct call *call, struct query *query, struct err *err)
{
    struct json page, context, size;
    struct str project, service;
    struct arena *arena = call->op.arena;
    const struct limits *limits = op_limits(&call->op);
    *query = (struct query){.limit = 100, .sort_count = 1};
    query->sort[0] = (struct sort_key){
        .field = entity_field(entity, STR("id")), .path = STR(""), .descending = true};
    if (object_param(call, "checkpointPagination", &page, err) ||
        object_param(call, "contextExtent", &context, err) ||
        take_text(context, "project", &project, arena, err) ||
        take_text(context, "service", &service, arena, err) ||
        listing_filter(call, entity, &query->filter, err))
        return -1;
    if (json_get(page, "pageSize", &size) &&
        (!json_int(size, &query->limit) || query->limit < 1 || query->limit > limits->page_size))
        return err_field(err, "checkpointPagination.pageSize",
                         "checkpointPagination.pageSize must be a whole number from 1 to %lld "
                         "(--max-page-size)",
                         (long long)limits->page_size);
    if (query->limit > QUERY_LIMIT_MAX)
        query->limit = QUERY_LIMIT_MAX;
    if (project.at)
        query->filter = filter_and(query->filter,
                                   filter_eq_text(entity, "projectId", project, arena), arena);
    if (service.at)
        query->filter = filter_and(query->filter,
                                   filter_eq_text(entity, "entityId", service, arena), arena);
    return add_checkpoint(call, page, &query->filter, err);
}

static void write_message(struct call *call, struct notification *row)
{
    struct json_writer *out = &call->out;
    notification_complete(&call->op, row);
    json_w_object(out);
    json_w_pair_str(out, "id", row->id);
    json_w_pair_str(out, "notificationId", row->id);
    json_w_pair_str(out, "userId", call->op.caller.user_id);
    json_w_pair_str(out, "title", row->title);
    json_w_pair_str(out, "description", row->message);
    json_w_pair_str(out, "notificationCode", row->type);
    json_w_pair_str(out, "resourceAction",
                    row->resolved_at == INT_NONE ? STR("created") : STR("resolved"));
    json_w_pair_str(out, "resourceType", row->entity_type);
    json_w_pair_str(out, "resourceId", row->entity_id);
    json_w_pair_str(out, "resourceName", row->entity_name);
    json_w_pair_int(out, "read", row->read);
    json_w_pair_int(out, "new", !row->read);
    json_w_pair_int(out, "dismissed", 0);
    json_w_key(out, "context");
    json_w_object(out);
    json_w_pair_str(out, "project", row->project_id);
    json_w_pair_str(out, "org", call->op.platform->org_id);
    if (str_is(row->entity_type, service_entity.name))
        json_w_pair_str(out, "service", row->entity_id);
    json_w_object_end(out);
    json_w_object_end(out);
}

static int list_messages(struct call *call, struct err *err)
{
    struct query query;
    void *rows;
    size_t count;
    if (read_query(call, &query, err) ||
        tx_select(call->op.tx, entity, &query, call->op.arena, &rows, &count, err))
        return -1;
    struct notification *messages = rows;
    json_w_object(&call->out);
    json_w_key(&call->out, "items");
    json_w_array(&call->out);
    for (size_t i = 0; i < count; i++)
        write_message(call, &messages[i]);
    json_w_array_end(&call->out);
    json_w_pair_str(&call->out, "checkpoint",
                    (int64_t)count == query.limit ? messages[count - 1].id : STR_NONE);
    json_w_object_end(&call->out);
    return 0;
}

static const struct route routes[] = {
    {"GET", "/inbox/message/user", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, list_messages,
     .operation_id = "listMessages",
     .summary = "List the caller's notifications in the form of messages, the newest first",
     .tag = "Notifications", .response = "MessagePage",
     .query = "checkpointPagination:string contextExtent:string"},
};

const struct route_list inbox_routes = ROUTE_LIST(routes);
