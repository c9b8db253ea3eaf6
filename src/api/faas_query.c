// SPDX-License-Identifier: Apache-2.0
// POST /query/faas: the one list of packages, services and executions that dtlpy uses.
#include "api/listing.h"
#include "api/route_table.h"
#include "model/describe.h"
#include "operation/package.h"

#define SIZE_EXECUTIONS 100
#define SIZE_OTHERS     1000

static int hide(struct call *call, void *row, struct err *err)
{
    (void)err;
    package_hide_credentials(row, call->op.arena);
    return 0;
}

static const struct entity *entity_of(struct call *call, struct err *err)
{
    static const struct entity *const known[] = {&package_entity, &service_entity,
                                                 &execution_entity};
    char what[DESCRIBE_SIZE];
    struct json resource = {0};
    json_get(call->body, "resource", &resource);
    struct str name = json_str(resource, call->op.arena);
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++) {
        if (str_is(name, known[i]->resource))
            return known[i];
    }
    err_field(err, "resource", "resource must be packages, services or executions, not %s",
              describe_value(resource, what));
    return NULL;
}

// {"context":{"projects":[…]}} narrows as a term would.
static int add_context(struct call *call, struct page *page)
{
    struct arena *arena = call->op.arena;
    struct json context, projects, value;
    struct str key;
    if (!json_get(call->body, "context", &context) || !json_get(context, "projects", &projects) ||
        projects.type != JSON_ARRAY)
        return 0;
    struct str *ids = arena_array_of(arena, struct str, json_count(projects) + 1);
    size_t count = 0;
    for (struct json_iter it = json_each(projects); json_next(&it, &key, &value);) {
        if (value.type == JSON_STRING)
            ids[count++] = json_str(value, arena);
    }
    if (count > 0)
        page->filter = filter_and(
            page->filter, filter_in_text(page->entity, "projectId", ids, count, arena), arena);
    return 0;
}

static int query_faas(struct call *call, struct err *err)
{
    struct page page = {.entity = entity_of(call, err), .body = call->body};
    if (!page.entity || listing_filter(call, page.entity, &page.filter, err) ||
        add_context(call, &page))
        return -1;
    page.size = page.entity == &execution_entity ? SIZE_EXECUTIONS : SIZE_OTHERS;
    page.complete = page.entity == &package_entity ? hide : NULL;
    return page_reply(call, &page, err);
}

static const struct route routes[] = {
    {"POST", "/query/faas", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_JSON, query_faas,
     .operation_id = "queryFaas", .summary = "List packages, services or executions by a filter",
     .tag = "Lists", .request = "Query", .response = "Any"},
};

const struct route_list faas_query_routes = {routes, sizeof(routes) / sizeof(routes[0])};
