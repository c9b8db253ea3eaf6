// SPDX-License-Identifier: Apache-2.0
#include "api/listing.h"
#include "api/route_table.h"

#define NEWEST_FIRST "{\"lastAt\":\"descending\"}"

static int reply(struct call *call, struct filter *filter, struct err *err)
{
    struct page page = {.entity = &service_event_entity, .filter = filter};
    if (listing_after(call, page.entity, &page.filter, err) ||
        listing_body(call, NEWEST_FIRST, "kind level reason subject", &page.body, err))
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
