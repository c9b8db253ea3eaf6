// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "api/api_internal.h"

void call_error_body(struct call *call, const struct err *err)
{
    struct json_writer out = JSON_WRITER(&call->reply);
    buf_clear(&call->reply);
    call->reply.over = false;
    json_w_object(&out);
    json_w_pair_int(&out, "statusCode", err_status(err->kind));
    json_w_pair_str(&out, "message", str_of(err->message));
    json_w_pair_str(&out, "code", str_of(err_name(err->kind)));
    if (err->field[0])
        json_w_pair_str(&out, "field", str_of(err->field));
    json_w_pair_str(&out, "requestId", call_request_id(call));
    json_w_object_end(&out);
}

static void send_headers(struct call_state *state, const struct err *err)
{
    struct http_request *http = state->call.http;
    char seconds[16];
    http_reply_header(http, "x-request-id", str_of(state->request_id));
    for (const struct call_extra *it = state->headers; it; it = it->next)
        http_reply_header(http, it->name, it->value);
    if (err && err->kind == ERR_UNAUTHENTICATED)
        http_reply_header(http, "www-authenticate", STR("Bearer"));
    if (err && err->retry_after > 0) {
        snprintf(seconds, sizeof(seconds), "%d", err->retry_after);
        http_reply_header(http, "retry-after", str_of(seconds));
    }
}

static void count(struct call_state *state, int status)
{
    struct api *api = state->call.api;
    int64_t now = clock_mono(api->config.platform->clock);
    if (status >= 0 && status < 600)
        metric_add(api->metrics.answers[status / 100], 1);
    metric_observe(api->metrics.seconds, (double)(now - state->begun) / 1000);
}

static void log_failure(struct call_state *state, const struct err *err)
{
    const struct call *call = &state->call;
    struct log *log = call->op.platform->log;
    const char *route = call->route ? call->route->path : "-";
    if (err->kind == ERR_INTERNAL || err->kind == ERR_UNAVAILABLE)
        log_error(log, "api", "%s %s: %s (request %s)", call->route ? call->route->method : "-",
                  route, err->message, state->request_id);
    else
        log_debug(log, "api", "%s: %d %s (request %s)", route, err_status(err->kind), err->message,
                  state->request_id);
}

// After http_reply the request may already be over and the state freed.
void call_send(struct call_state *state, const struct err *err)
{
    struct call *call = &state->call;
    const char *type = call->content_type ? call->content_type : "application/json";
    int status = call->status;
    if (err && err->kind != ERR_NONE) {
        status = err_status(err->kind);
        type = "application/json";
        call_error_body(call, err);
        log_failure(state, err);
    } else {
        err = NULL;
    }
    if (!status)
        status = call->route->success ? call->route->success : 200;
    count(state, status);
    if (!call->http)
        return;
    send_headers(state, err);
    if (status == 204 || status == 304)
        http_reply_str(call->http, status, NULL, STR(""));
    else
        http_reply(call->http, status, type, buf_take(&call->reply));
}

void call_send_file(struct call_state *state, const struct call_file *file)
{
    struct call *call = &state->call;
    count(state, file->status);
    send_headers(state, NULL);
    if (file->broken) {
        http_reply_pipe(call->http, file->status, file->content_type, file->fd, file->broken);
        return;
    }
    http_reply_fd(call->http, file->status, file->content_type, file->fd, file->offset,
                  file->length);
}
