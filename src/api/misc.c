// SPDX-License-Identifier: Apache-2.0
#include "api/route_table.h"
#include "model/module.h"
#include "model/runtime.h"

static int get_catalog(struct call *call, struct err *err)
{
    (void)err;
    instance_catalog_encode(&call->out);
    return 0;
}

static int get_name(struct call *call, struct err *err)
{
    if (name_check(call_param(call, 0), "name", err))
        return -1;
    json_w_bool(&call->out, true);
    return 0;
}

#define NAMING(kind, id, what)                                                                     \
    {                                                                                              \
        "GET", "/piper-misc/naming/" kind "/{name}", ROUTE_READ, SCOPE_CALLER, ROLE_NONE,          \
            BODY_NONE, get_name,                                                                   \
            .operation_id = id, .summary = "Check the form of a " what "'s name", .tag = "Server", \
            .response = "NameValid"                                                                \
    }

static const struct route routes[] = {
    {"GET", "/instance_catalog", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, get_catalog,
     .operation_id = "getInstanceCatalog", .summary = "List instance types", .tag = "Server",
     .response = "InstanceCatalog"},
    NAMING("packages", "validatePackageName", "package"),
    NAMING("services", "validateServiceName", "service"),
    NAMING("triggers", "validateTriggerName", "trigger"),
};

const struct route_list misc_routes = {routes, sizeof(routes) / sizeof(routes[0])};
