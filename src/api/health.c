// SPDX-License-Identifier: Apache-2.0
#include "api/api_internal.h"
#include "api/route_table.h"

static int get_health(struct call *call, struct err *err)
{
    (void)err;
    json_w_object(&call->out);
    json_w_pair_str(&call->out, "status", STR("ok"));
    json_w_object_end(&call->out);
    call_finish(call, NULL);
    return 0;
}

static int get_ready(struct call *call, struct err *err)
{
    if (call->api->stopping)
        return err_set(err, ERR_UNAVAILABLE, "The server is stopping");
    if (store_failed(call->op.platform->store))
        return err_set(err, ERR_UNAVAILABLE, "The store has stopped after an error of the disk");
    return get_health(call, err);
}

static int get_metrics(struct call *call, struct err *err)
{
    struct api *api = call->api;
    (void)err;
    metric_set(api->metrics.connections, http_server_connections(api->server));
    metric_set(api->metrics.backlog, store_backlog(api->config.platform->store));
    if (api->config.platform->metrics)
        metrics_write(api->config.platform->metrics, &call->reply);
    call->content_type = "text/plain; version=0.0.4; charset=utf-8";
    call_finish(call, NULL);
    return 0;
}

static const struct route routes[] = {
    {"GET", "/healthz", ROUTE_LOOP, SCOPE_PUBLIC, ROLE_NONE, BODY_NONE, get_health,
     .operation_id = "getHealth", .summary = "Say that the server lives", .tag = "Server",
     .response = "Health", .at_root = true},
    {"GET", "/readyz", ROUTE_LOOP, SCOPE_PUBLIC, ROLE_NONE, BODY_NONE, get_ready,
     .operation_id = "getReadiness", .summary = "Say whether the server can serve", .tag = "Server",
     .response = "Health", .at_root = true},
    {"GET", "/metrics", ROUTE_LOOP, SCOPE_PUBLIC, ROLE_NONE, BODY_NONE, get_metrics,
     .operation_id = "getMetrics", .summary = "Give counters in the Prometheus text format",
     .tag = "Server", .response = "Text", .at_root = true},
};

const struct route_list health_routes = {routes, sizeof(routes) / sizeof(routes[0])};
