// SPDX-License-Identifier: Apache-2.0
// POST /query/faas: the one list of packages, services and executions that dtlpy uses.
#include "api/listing.h"
#include "api/route_table.h"
#include "model/context.h"
#include "model/describe.h"
#include "model/take.h"
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

static int query_faas(struct call *call, struct err *err)
{
    struct page page = {.entity = entity_of(call, err), .body = call->body};
    struct filter *context;
    bool unused;
    if (!page.entity || take_bool(call->body, "systemSpace", &unused, err) ||
        context_filter(call->body, page.entity, op_limits(&call->op), &context, call->op.arena,
                       err) ||
        listing_filter(call, page.entity, &page.filter, err))
        return -1;
    page.filter = filter_and(page.filter, context, call->op.arena);
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
