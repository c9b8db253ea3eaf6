// SPDX-License-Identifier: Apache-2.0
#include "api/route_table.h"

#include <stdio.h>

static const struct route_list *const lists[] = {
    &health_routes,  &openapi_routes,     &account_routes,    &project_routes, &member_routes,
    &dataset_routes, &item_routes,        &package_routes,    &service_routes, &execution_routes,
    &command_routes, &log_routes,         &faas_query_routes, &audit_routes,   &misc_routes,
    &backup_routes,  &event_routes,       &why_routes,        &rollout_routes, &notification_routes,
    &inbox_routes,   &integration_routes,
};

static const char *const scopes[] = {
    [SCOPE_PUBLIC] = "public",   [SCOPE_CALLER] = "caller",       [SCOPE_ADMIN] = "admin",
    [SCOPE_PROJECT] = "project", [SCOPE_DATASET] = "dataset",     [SCOPE_ITEM] = "item",
    [SCOPE_PACKAGE] = "package", [SCOPE_SERVICE] = "service",     [SCOPE_EXECUTION] = "execution",
    [SCOPE_COMMAND] = "command", [SCOPE_BODY] = "body.projectId",
};

static const char *const bodies[] = {
    [BODY_NONE] = "none",
    [BODY_JSON] = "json",
    [BODY_JSON_OPTIONAL] = "json-optional",
    [BODY_JSON_ANY] = "json-any",
    [BODY_FORM_OR_JSON] = "form-or-json",
    [BODY_STREAM] = "stream",
};

static const char *const modes[] = {
    [ROUTE_READ] = "read",
    [ROUTE_WRITE] = "write",
    [ROUTE_LOOP] = "loop",
};

const struct route_list *const *route_table(size_t *count)
{
    *count = sizeof(lists) / sizeof(lists[0]);
    return lists;
}

static void dump_route(struct json_writer *out, const struct route *route)
{
    char path[512];
    snprintf(path, sizeof(path), "%s%s", route->at_root ? "" : "/api/v1", route->path);
    json_w_object(out);
    json_w_pair_str(out, "method", str_of(route->method));
    json_w_pair_str(out, "path", str_of(path));
    json_w_pair_str(out, "scope", str_of(scopes[route->scope]));
    json_w_pair_str(out, "role", str_of(role_word(route->role)));
    json_w_pair_str(out, "body", str_of(bodies[route->body]));
    json_w_pair_str(out, "mode", str_of(modes[route->mode]));
    json_w_pair_str(out, "operationId", str_of(route->operation_id));
    json_w_pair_str(out, "summary", str_of(route->summary));
    json_w_pair_str(out, "tag", str_of(route->tag));
    json_w_pair_int(out, "success", route->success ? route->success : 200);
    json_w_object_end(out);
}

void route_table_dump(struct buf *out)
{
    struct json_writer writer = JSON_WRITER(out);
    json_w_array(&writer);
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        for (size_t k = 0; k < lists[i]->count; k++)
            dump_route(&writer, &lists[i]->routes[k]);
    }
    json_w_array_end(&writer);
}
