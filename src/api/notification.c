// SPDX-License-Identifier: Apache-2.0
#include "operation/notification.h"

#include "api/listing.h"
#include "api/route_table.h"
#include "base/map.h"
#include "model/take.h"

#define NEWEST_FIRST "{\"lastAt\":\"descending\"}"

static const struct entity *const entity = &notification_entity;

static int complete(struct call *call, void *row, struct err *err)
{
    (void)err;
    notification_complete(&call->op, row);
    return 0;
}

// What the caller may see, of it what he has not read.
static int visible(struct call *call, bool unread, struct filter **out, struct err *err)
{
    if (listing_filter(call, entity, out, err))
        return -1;
    if (unread)
        *out = filter_and(*out, notification_unread(&call->op), call->op.arena);
    return 0;
}

// ── grouped by type and entity: of the newest QUERY_LIMIT_MAX ───────────────────────────────

struct group {
    const struct notification *newest;
    int64_t notifications, unread, count;
};

struct groups {
    struct map *by_key;
    struct group *at;
    size_t count;
};

static void group_add(struct groups *groups, struct notification *row, struct arena *arena)
{
    struct str key = arena_printf(arena, STR_FMT " " STR_FMT, STR_ARG(row->entity_id),
                                  STR_ARG(row->type));
    struct group *group = map_get(groups->by_key, key);
    if (!group) {
        group = &groups->at[groups->count++];
        group->newest = row;
        map_put(groups->by_key, key, group);
    }
    group->notifications++;
    group->unread += !row->read;
    group->count += row->count;
}

static int groups_read(struct call *call, struct query query, struct groups *groups,
                       struct err *err)
{
    struct op *op = &call->op;
    void *rows;
    size_t count;
    query.offset = 0;
    query.limit = QUERY_LIMIT_MAX;
    if (tx_select(op->tx, entity, &query, op->arena, &rows, &count, err))
        return -1;
    groups->at = arena_array_of(op->arena, struct group, count + 1);
    for (size_t i = 0; i < count; i++) {
        struct notification *row = (struct notification *)rows + i;
        notification_complete(op, row);
        group_add(groups, row, op->arena);
    }
    return 0;
}

static void write_group(const struct group *group, struct json_writer *out)
{
    const struct notification *newest = group->newest;
    json_w_object(out);
    json_w_pair_str(out, "type", newest->type);
    json_w_pair_str(out, "entityType", newest->entity_type);
    json_w_pair_str(out, "entityId", newest->entity_id);
    json_w_pair_int(out, "notifications", group->notifications);
    json_w_pair_int(out, "unread", group->unread);
    json_w_pair_int(out, "count", group->count);
    json_w_key(out, "newest");
    entity_encode(entity, newest, out);
    json_w_object_end(out);
}

static int reply_grouped(struct call *call, const struct page *page, struct err *err)
{
    struct query query;
    struct groups groups = {0};
    if (query_parse(page->body, entity, 100, op_limits(&call->op), call->op.arena, &query, err))
        return -1;
    query.filter = filter_and(query.filter, page->filter, call->op.arena);
    groups.by_key = map_new();
    int rc = groups_read(call, query, &groups, err);
    map_free(groups.by_key);
    if (rc)
        return -1;
    int64_t total = (int64_t)groups.count, limit = query.count_only ? 0 : query.limit;
    int64_t end = query.offset + limit < total ? query.offset + limit : total;
    json_w_object(&call->out);
    json_w_key(&call->out, "items");
    json_w_array(&call->out);
    for (int64_t i = query.offset; i < end; i++)
        write_group(&groups.at[i], &call->out);
    json_w_array_end(&call->out);
    json_w_pair_int(&call->out, "totalItemsCount", total);
    json_w_pair_int(&call->out, "totalPagesCount", limit ? (total + limit - 1) / limit : 0);
    json_w_pair_bool(&call->out, "hasNextPage", limit && end < total);
    json_w_object_end(&call->out);
    return 0;
}

// ── lists ────────────────────────────────────────────────────────────────────────────────────

static int list_notifications(struct call *call, struct err *err)
{
    struct page page = {.entity = entity, .complete = complete};
    if (visible(call, call_query_bool(call, "unread"), &page.filter, err) ||
        listing_after(call, entity, &page.filter, err) ||
        listing_body(call, NEWEST_FIRST, "projectId type level entityType entityId", &page.body,
                     err))
        return -1;
    return call_query_bool(call, "group") ? reply_grouped(call, &page, err)
                                          : page_reply(call, &page, err);
}

static int query_notifications(struct call *call, struct err *err)
{
    struct page page = {.entity = entity, .body = call->body, .complete = complete};
    bool unread;
    if (take_bool(call->body, "unread", &unread, err) || visible(call, unread, &page.filter, err))
        return -1;
    return page_reply(call, &page, err);
}

// ── one ──────────────────────────────────────────────────────────────────────────────────────

static int find(struct call *call, struct notification *out, struct err *err)
{
    struct str id = call_param(call, 0);
    int rc = tx_get(call->op.tx, entity, id, out, call->op.arena, err);
    if (rc)
        return err->kind == ERR_NOT_FOUND ? access_unknown(err, entity->name, id) : -1;
    return access_require_seen(&call->op, out->project_id, ROLE_VIEWER, entity->name, id, err);
}

static int get_notification(struct call *call, struct err *err)
{
    struct notification row;
    if (find(call, &row, err))
        return -1;
    notification_complete(&call->op, &row);
    entity_encode(entity, &row, &call->out);
    return 0;
}

static int patch_notification(struct call *call, struct err *err)
{
    struct notification row;
    struct json given;
    bool read;
    if (find(call, &row, err) || take_bool(call->body, "read", &read, err))
        return -1;
    if (!json_get(call->body, "read", &given) || given.type == JSON_NULL)
        return err_field(err, "read", "read is missing: true or false");
    if (notification_mark(&call->op, &row, read, err))
        return -1;
    entity_encode(entity, &row, &call->out);
    return 0;
}

static int read_notifications(struct call *call, struct err *err)
{
    struct query query = {0};
    struct filter *filter;
    int64_t marked;
    bool more;
    if (visible(call, false, &filter, err))
        return -1;
    if (call->body.type == JSON_OBJECT &&
        query_parse(call->body, entity, 100, op_limits(&call->op), call->op.arena, &query, err))
        return -1;
    filter = filter_and(query.filter, filter, call->op.arena);
    if (notification_mark_all(&call->op, filter, &marked, &more, err))
        return -1;
    json_w_object(&call->out);
    json_w_pair_int(&call->out, "marked", marked);
    json_w_pair_bool(&call->out, "more", more);
    json_w_object_end(&call->out);
    return 0;
}

static int list_deliveries(struct call *call, struct err *err)
{
    struct page page = {.entity = &notification_delivery_entity,
                        .filter = filter_eq_text(&notification_delivery_entity, "notificationId",
                                                 call_param(call, 0), call->op.arena)};
    if (listing_body(call, "{\"createdAt\":\"ascending\"}", "state channel", &page.body, err))
        return -1;
    return page_reply(call, &page, err);
}

static int notify(struct call *call, struct err *err)
{
    return notification_report(&call->op, &call->subject.service, call->body, err);
}

#define TAG "Notifications"

static const struct route routes[] = {
    {"GET", "/notifications", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, list_notifications,
     .operation_id = "listNotifications",
     .summary = "List what the caller must hear of, newest first, or one line for each type and "
                "entity",
     .tag = TAG, .response = "NotificationsAnswer",
     .query = "projectId:string type:string level:info|warning|error entityType:string "
              "entityId:string unread:boolean group:boolean after:string pageOffset:integer "
              "pageSize:integer"},
    {"POST", "/notifications/query", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_JSON,
     query_notifications, .operation_id = "queryNotifications",
     .summary = "List notifications by a filter", .tag = TAG, .request = "NotificationQuery",
     .response = "NotificationPage"},
    {"POST", "/notifications/read", ROUTE_WRITE, SCOPE_CALLER, ROLE_NONE, BODY_JSON_OPTIONAL,
     read_notifications, .operation_id = "readNotifications",
     .summary = "Mark at most 1,000 notifications as read by the caller, the newest first",
     .tag = TAG, .request = "NotificationsRead", .response = "NotificationsMarked"},
    {"GET", "/notifications/{id}", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, get_notification,
     .operation_id = "getNotification", .summary = "Get a notification", .tag = TAG,
     .response = "Notification"},
    {"PATCH", "/notifications/{id}", ROUTE_WRITE, SCOPE_CALLER, ROLE_NONE, BODY_JSON,
     patch_notification, .operation_id = "updateNotification",
     .summary = "Mark a notification as read or unread by the caller", .tag = TAG,
     .request = "NotificationRead", .response = "Notification"},
    {"GET", "/notifications/{id}/deliveries", ROUTE_READ, SCOPE_ADMIN, ROLE_NONE, BODY_NONE,
     list_deliveries, .operation_id = "listNotificationDeliveries",
     .summary = "List by webhook and mail where a notification went, or still has to", .tag = TAG,
     .response = "NotificationDeliveryPage",
     .query = "state:waiting|delivered|failed channel:webhook|mail pageOffset:integer "
              "pageSize:integer"},
    {"POST", "/services/{id}/notify", ROUTE_WRITE, SCOPE_SERVICE, ROLE_DEVELOPER, BODY_JSON, notify,
     .operation_id = "notifyOfService",
     .summary = "Raise a notification about a service, as its functions do", .tag = TAG,
     .request = "AgentNotification", .success = 204},
};

const struct route_list notification_routes = ROUTE_LIST(routes);
