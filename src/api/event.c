// SPDX-License-Identifier: Apache-2.0
#include "api/listing.h"
#include "api/route_table.h"
#include "model/describe.h"

// What the URL asks for as a page's body: newest first, equal fields, and those after a time.
static int page_body(struct call *call, struct json *out, struct err *err)
{
    static const char *const params[] = {"kind", "level", "reason", "subject"};
    _cleanup_buf_ struct buf buf = BUF_INIT((size_t)op_limits(&call->op)->field);
    struct json_writer w = JSON_WRITER(&buf);
    json_w_object(&w);
    json_w_pair_raw(&w, "sort", STR("{\"lastAt\":\"descending\"}"));
    if (page_params(call, &w, err))
        return -1;
    json_w_key(&w, "filter");
    json_w_object(&w);
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        struct str value = call_query(call, params[i]);
        if (value.at)
            json_w_pair_str(&w, params[i], value);
    }
    json_w_object_end(&w);
    json_w_object_end(&w);
    if (buf.over)
        return err_set(err, ERR_TOO_LARGE, "The parameters of the URL are too long (--max-field)");
    *out = json_of(arena_copy(call->op.arena, buf_str(&buf)));
    return 0;
}

static int after_filter(struct call *call, struct filter **filter, struct err *err)
{
    struct str text = call_query(call, "after");
    int64_t at;
    if (!text.at)
        return 0;
    if (!str_int(text, &at) && !time_parse(text, &at)) {
        struct str shown = describe_clip(text, 40);
        return err_field(
            err, "after",
            "after must be a time (ISO 8601, or milliseconds since 1970), not \"" STR_FMT "\"",
            STR_ARG(shown));
    }
    *filter = filter_and(
        *filter, filter_compare(&service_event_entity, "lastAt", FILTER_GT, at, call->op.arena),
        call->op.arena);
    return 0;
}

static int reply(struct call *call, struct filter *filter, struct err *err)
{
    struct page page = {.entity = &service_event_entity, .filter = filter};
    if (after_filter(call, &page.filter, err) || page_body(call, &page.body, err))
        return -1;
    return page_reply(call, &page, err);
}

static int list_service_events(struct call *call, struct err *err)
{
    return reply(call,
                 filter_eq_text(&service_event_entity, "serviceId", call->subject.service.id,
                                call->op.arena),
                 err);
}

static int list_events(struct call *call, struct err *err)
{
    struct filter *filter;
    struct arena *arena = call->op.arena;
    if (listing_filter(call, &service_event_entity, &filter, err))
        return -1;
    static const char *const params[] = {"projectId", "serviceId"};
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++) {
        struct str value = call_query(call, params[i]);
        if (value.at)
            filter = filter_and(
                filter, filter_eq_text(&service_event_entity, params[i], value, arena), arena);
    }
    return reply(call, filter, err);
}

#define EVENT_QUERY                                                                                \
    "kind:service|replica|execution level:info|warning reason:string subject:string after:string " \
    "pageOffset:integer pageSize:integer"

static const struct route routes[] = {
    {"GET", "/services/{id}/events", ROUTE_READ, SCOPE_SERVICE, ROLE_VIEWER, BODY_NONE,
     list_service_events, .operation_id = "listServiceEvents",
     .summary = "List what happened to a service, newest first", .tag = "Events",
     .response = "EventPage", .query = EVENT_QUERY},
    {"GET", "/events", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, list_events,
     .operation_id = "listEvents",
     .summary = "List what happened to the services that the caller may see, newest first",
     .tag = "Events", .response = "EventPage",
     .query = "projectId:string serviceId:string " EVENT_QUERY},
};

const struct route_list event_routes = ROUTE_LIST(routes);
