// SPDX-License-Identifier: Apache-2.0
#include "api/api.h"

#include <stdio.h>

#include "api/agent_link.h"
#include "api/api_internal.h"
#include "api/openapi.h"
#include "api/route_table.h"
#include "api/wait.h"
#include "base/id.h"
#include "base/mem.h"
#include "net/http_server.h"
#include "operation/execution.h"

static void metrics_init(struct api *api)
{
    static const char *const labels[] = {"code=\"0xx\"", "code=\"1xx\"", "code=\"2xx\"",
                                         "code=\"3xx\"", "code=\"4xx\"", "code=\"5xx\""};
    struct metrics *m = api->config.platform->metrics;
    if (!m)
        return;
    for (int i = 2; i < 6; i++)
        api->metrics.answers[i] = metric_counter(m, "drover_http_answers_total", labels[i],
                                                 "Answers of the public API by status class.");
    api->metrics.seconds = metric_histogram(m, "drover_http_seconds", NULL,
                                            "Time from a request's head to its answer.");
    api->metrics.busy = metric_counter(m, "drover_http_refused_total", NULL,
                                       "Requests refused with 429 because of the write backlog.");
    api->metrics.connections = metric_gauge(m, "drover_http_connections", NULL,
                                            "Open connections of the public API.");
    api->metrics.backlog = metric_gauge(m, "drover_store_backlog", NULL,
                                        "Changes that wait to be written.");
}

static struct http_server *listen_public(struct api *api, struct err *err)
{
    const struct settings *settings = api->config.platform->settings;
    struct http_server_config config = {
        .listen = settings->listen,
        .listener = api->config.listener,
        .tls_cert = settings->tls_cert,
        .tls_key = settings->tls_key,
        .body_max = settings->body_max,
        .body_option = "--max-body",
        .connections_max = settings->connections_max,
        .per_address_max = settings->connections_per_address,
        .idle_ms = settings->idle_ms,
        .log = api->config.platform->log,
        .owner = api,
        .on_header = call_on_header,
        .on_request = call_on_request,
        .on_error = call_on_error,
    };
    return http_server_start(api->config.platform->loop, &config, err);
}

static void api_free(struct api *api)
{
    struct list *node;
    while ((node = list_pop_front(&api->spare_arenas)))
        call_spare_free(node);
    waits_free(api->waits);
    execution_functions_free(api->functions);
    login_guard_free(api->guard);
    token_cache_free(api->tokens);
    router_free(api->router);
    arena_free(api->arena);
    mem_free(api);
}

static struct api *api_new(const struct api_config *config)
{
    struct api *api = mem_alloc(sizeof(*api));
    size_t count;
    const struct route_list *const *lists = route_table(&count);
    api->config = *config;
    api->arena = arena_new();
    api->router = router_new(lists, count);
    api->tokens = token_cache_new(config->platform->tokens, config->platform->clock);
    api->guard = login_guard_new(config->platform->settings->login_tries);
    api->functions = execution_functions_new();
    api->waits = waits_new(config->platform);
    api->openapi = openapi_make(config->platform->settings, api->arena);
    list_init(&api->calls);
    list_init(&api->spare_arenas);
    random_fill(&api->run_id, sizeof(api->run_id));
    metrics_init(api);
    return api;
}

struct api *api_start(const struct api_config *config, struct err *err)
{
    struct api *api = api_new(config);
    if (config->dispatch) {
        api->link = agent_link_start(config->platform, config->dispatch, err);
        if (!api->link) {
            http_listener_close(config->listener);
            api_free(api);
            return NULL;
        }
    }
    api->server = listen_public(api, err);
    if (api->server) {
        if (api->link)
            agent_link_trust(api->link, http_server_certificate(api->server));
        return api;
    }
    if (api->link)
        agent_link_stop(api->link, 0, NULL, NULL);
    api_free(api);
    return NULL;
}

const struct api_config *api_config(const struct api *api) { return &api->config; }

void api_address(const struct api *api, char *out, size_t size)
{
    http_server_address(api->server, out, size);
}

void api_call_over(struct api *api)
{
    if (!api->stopping || api->server || api->link || !list_empty(&api->calls))
        return;
    void (*done)(void *arg) = api->on_stopped;
    void *arg = api->stopped_arg;
    api_free(api);
    if (done)
        done(arg);
}

static void on_http_stopped(void *arg)
{
    struct api *api = arg;
    api->server = NULL;
    api_call_over(api);
}

static void on_link_stopped(void *arg)
{
    struct api *api = arg;
    api->link = NULL;
    api_call_over(api);
}

// Waiting calls are asked to answer now; uploads may go on for the grace time.
static void end_waits(struct api *api)
{
    list_each (&api->calls, node, next) {
        struct call_state *state = list_entry(node, struct call_state, node);
        struct call *call = &state->call;
        if (state->started && !state->finished && call->on_gone && call->route->body != BODY_STREAM)
            call->on_gone(call);
    }
}

void api_stop(struct api *api, int64_t grace_ms, void (*done)(void *arg), void *arg)
{
    api->stopping = true;
    api->on_stopped = done;
    api->stopped_arg = arg;
    struct agent_link *link = api->link;
    end_waits(api);
    http_server_stop(api->server, grace_ms, on_http_stopped, api);
    if (link)
        agent_link_stop(link, grace_ms, on_link_stopped, api);
}
