// SPDX-License-Identifier: Apache-2.0
// The agents' calls and their lives. Every request is verified by its token alone; what it may
// touch follows from the service that the token names.
#include "api/agent_link.h"

#include "api/agent_json.h"
#include "api/token_cache.h"
#include "base/mem.h"
#include "net/http_server.h"
#include "operation/assignment.h"
#include "operation/attempt.h"
#include "operation/log_ends.h"
#include "operation/notification.h"

struct agent_link {
    const struct platform *platform;
    struct dispatch *dispatch;
    struct http_server *server;
    struct token_cache *tokens;
    char *certificate;  // of the public API; NULL: no TLS
};

// One request. Its arena outlives the connection: store jobs may still read from it.
struct link_call {
    struct agent_link *link;
    struct http_request *http;  // NULL once the connection is over
    struct arena *arena;
    bool finished;    // our side is done with it: freed once the connection is over too
    bool exchanging;  // dispatch has the exchange
    struct token_claims claims;
    struct dispatch_exchange exchange;
    int64_t seq;
    // hello
    struct str replica_id;
    struct dispatch_ref *held;
    size_t held_count, kept;
    struct assignment assignment;
    bool leaving;  // the service is paused or gone: it may only finish what it holds
    // code
    struct str blob;
    int64_t blob_size;
    // logs
    struct log_line *lines;
    size_t line_count;
    int64_t first_line;  // its number; 0: not said
    struct json body;    // notify
};

// ── answering ────────────────────────────────────────────────────────────────────────────────

static void reply_error(struct http_request *http, int status, const struct err *err)
{
    struct buf buf = BUF_INIT(64 << 10);
    struct json_writer w = JSON_WRITER(&buf);
    json_w_object(&w);
    json_w_pair_int(&w, "statusCode", status);
    json_w_key(&w, "message");
    json_w_cstr(&w, err->message);
    json_w_object_end(&w);
    http_reply(http, status, "application/json", buf);
}

static void call_release(struct link_call *call)
{
    call->finished = true;
    if (!call->http)
        arena_free(call->arena);  // the call lives in its arena
}

static void on_over(void *arg, bool sent)
{
    struct link_call *call = arg;
    (void)sent;
    call->http = NULL;
    if (call->finished)
        arena_free(call->arena);
    else if (call->exchanging)
        dispatch_exchange_cancel(call->link->dispatch, &call->exchange);
}

static void call_fail(struct link_call *call, const struct err *err)
{
    if (call->http)
        reply_error(call->http, err_status(err->kind), err);
}

static int link_status(const struct err *err)
{
    return err->kind == ERR_NOT_FOUND ? 410 : err_status(err->kind);
}
// ── exchange ─────────────────────────────────────────────────────────────────────────────────

static void exchange_answer(struct dispatch_exchange *x, const struct err *err)
{
    struct link_call *call = x->owner;
    if (!call->http)
        return;
    if (err) {
        reply_error(call->http, link_status(err), err);
        return;
    }
    struct agent_token token = {0};
    if (x->renew_token)
        token.text = assignment_token(call->link->platform, call->claims.service_id,
                                      call->claims.project_id, call->arena, &token.expires_at);
    struct buf buf = BUF_INIT(1u << 30);
    agent_write_exchange(x, call->seq, &token, &buf);
    http_reply(call->http, 200, "application/json", buf);
}

static void exchange_release(struct dispatch_exchange *x)
{
    struct link_call *call = x->owner;
    call_release(call);
}

static void exchange_handle(struct link_call *call, struct json body)
{
    struct err err = ERR_INIT;
    struct dispatch_exchange *x = &call->exchange;
    x->arena = call->arena;
    x->service_id = call->claims.service_id;
    x->owner = call;
    x->answer = exchange_answer;
    x->release = exchange_release;
    int64_t now = clock_wall(call->link->platform->clock);
    if (agent_read_exchange(body, now, x, &call->seq, &err) ||
        dispatch_exchange(call->link->dispatch, x, &err)) {
        reply_error(call->http, link_status(&err), &err);
        call_release(call);
        return;
    }
    call->exchanging = true;
}

// ── hello ────────────────────────────────────────────────────────────────────────────────────

static int hello_work(struct op *op, void *arg, struct err *err)
{
    struct link_call *call = arg;
    struct arena *own = op->arena;
    op->arena = call->arena;  // the answer is written after this operation's arena is gone
    struct err held_err = ERR_INIT;
    int rc = assignment_read(op, call->claims.service_id, &call->assignment, err);
    call->leaving = rc && (err->kind == ERR_NOT_FOUND || err->kind == ERR_CONFLICT);
    if ((rc == 0 || call->leaving) &&
        execution_confirm_held(op, call->claims.service_id, call->held, call->held_count,
                               &call->kept, &held_err)) {
        *err = held_err;
        rc = -1;
    } else if (call->leaving && call->kept > 0) {
        *err = ERR_INIT;
        rc = 0;
    }
    op->arena = own;
    return rc ? -1 : 0;
}

static void hello_done(void *arg, struct err *err)
{
    struct link_call *call = arg;
    if (err->kind != ERR_NONE) {
        log_warn(call->link->platform->log, "agents", "replica " STR_FMT " is refused: %s",
                 STR_ARG(call->replica_id), err->message);
        // A service that is gone or paused: this agent is not wanted.
        if (call->http)
            reply_error(call->http, err->kind == ERR_CONFLICT ? 403 : err_status(err->kind), err);
    } else if (call->http) {
        struct str session = dispatch_hello(call->link->dispatch, call->replica_id,
                                            call->claims.service_id, call->held, call->kept,
                                            &call->kept, call->arena);
        struct buf buf = BUF_INIT(64u << 20);
        struct agent_hello hello = {.replica_id = call->replica_id,
                                    .session = session,
                                    .held = call->held,
                                    .held_count = call->kept,
                                    .assignment = call->leaving ? NULL : &call->assignment,
                                    .certificate = str_of(call->link->certificate),
                                    .settings = call->link->platform->settings};
        agent_write_hello(&hello, call->arena, &buf);
        if (call->leaving)
            dispatch_command(call->link->dispatch, call->replica_id, "drain");
        http_reply(call->http, 200, "application/json", buf);
    }
    call_release(call);
}

static void hello_handle(struct link_call *call, struct json body)
{
    struct err err = ERR_INIT;
    if (agent_read_hello(body, call->arena, &call->replica_id, &call->held, &call->held_count,
                         &err)) {
        call_fail(call, &err);
        call_release(call);
        return;
    }
    op_run(call->link->platform, OP_READ, hello_work, hello_done, call);
}

// ── code ─────────────────────────────────────────────────────────────────────────────────────

static int code_work(struct op *op, void *arg, struct err *err)
{
    struct link_call *call = arg;
    struct str blob;
    if (assignment_code(op, call->claims.service_id, &blob, &call->blob_size, err))
        return -1;
    call->blob = arena_copy(call->arena, blob);
    return 0;
}

static void code_done(void *arg, struct err *err)
{
    struct link_call *call = arg;
    int64_t size = 0;
    int fd = err->kind == ERR_NONE
                 ? blob_read_fd(call->link->platform->blobs, call->blob, &size, err)
                 : -1;
    if (!call->http) {
        fd_close_at(&fd);
    } else {
        if (fd >= 0)
            http_reply_fd(call->http, 200, "application/octet-stream", fd, 0, size);
        else
            call_fail(call, err);
    }
    call_release(call);
}

// ── integration-env ──────────────────────────────────────────────────────────────────────────

#define SERVICES "/api/v1/services/"
#define ENV      "/integration-env"

static bool asks_env(struct str path)
{
    return str_starts(path, STR(SERVICES)) && str_ends(path, STR(ENV)) &&
           path.len > sizeof(SERVICES) + sizeof(ENV) - 2;
}

static int env_work(struct op *op, void *arg, struct err *err)
{
    struct link_call *call = arg;
    struct service service;
    struct arena *own = op->arena;
    op->arena = call->arena;  // the answer is written after this operation's arena is gone
    int rc = tx_get(op->tx, &service_entity, call->claims.service_id, &service, op->arena, err) ||
             service_env_values(op, &service, &call->assignment.env, &call->assignment.env_count,
                                err);
    op->arena = own;
    return rc ? -1 : 0;
}

static void env_done(void *arg, struct err *err)
{
    struct link_call *call = arg;
    if (err->kind != ERR_NONE) {
        call_fail(call, err);
    } else if (call->http) {
        struct buf buf = BUF_INIT(64u << 20);
        agent_write_env(call->assignment.env, call->assignment.env_count, &buf);
        http_reply(call->http, 200, "application/json", buf);
    }
    call_release(call);
}

static void env_handle(struct link_call *call, struct str path)
{
    struct err err = ERR_INIT;
    struct str id = {path.at + sizeof(SERVICES) - 1,
                     path.len - (sizeof(SERVICES) - 1) - (sizeof(ENV) - 1)};
    if (!str_eq(id, call->claims.service_id)) {
        err_set(&err, ERR_DENIED, "An agent gets the variables of its own service only");
        call_fail(call, &err);
        call_release(call);
        return;
    }
    op_run(call->link->platform, OP_READ, env_work, env_done, call);
}

// ── logs ─────────────────────────────────────────────────────────────────────────────────────

static void logs_done(void *arg, const struct err *err)
{
    struct link_call *call = arg;
    if (err->kind == ERR_NONE)
        log_ends_stored(call->link->platform->log_ends, call->replica_id, call->first_line,
                        (int64_t)call->line_count);
    if (call->http) {
        if (err->kind == ERR_NONE)
            http_reply_str(call->http, 200, "application/json", STR("{}"));
        else
            call_fail(call, err);
    }
    call_release(call);
}

static void logs_handle(struct link_call *call, struct json body)
{
    struct err err = ERR_INIT;
    const struct platform *platform = call->link->platform;
    struct log_line common = {.at = clock_wall(platform->clock),
                              .service_id = call->claims.service_id,
                              .project_id = call->claims.project_id};
    if (agent_read_lines(body, &common, call->arena, &call->first_line, &call->lines,
                         &call->line_count, &err)) {
        call_fail(call, &err);
        call_release(call);
        return;
    }
    call->replica_id = call->line_count > 0 ? call->lines[0].replica_id : STR_NONE;
    int64_t repeated = log_ends_repeated(platform->log_ends, call->replica_id, call->first_line,
                                         (int64_t)call->line_count);
    if (repeated == (int64_t)call->line_count)
        logs_done(call, &err);
    else
        logs_append(platform->logs, call->lines + repeated, call->line_count - (size_t)repeated,
                    logs_done, call);
}

// ── notify ───────────────────────────────────────────────────────────────────────────────────

static int notify_work(struct op *op, void *arg, struct err *err)
{
    struct link_call *call = arg;
    struct service service;
    if (tx_get(op->tx, &service_entity, call->claims.service_id, &service, op->arena, err))
        return -1;
    return notification_report(op, &service, call->body, err);
}

static void notify_done(void *arg, struct err *err)
{
    struct link_call *call = arg;
    if (err->kind != ERR_NONE)
        call_fail(call, err);
    else if (call->http)
        http_reply_str(call->http, 204, NULL, STR(""));
    call_release(call);
}

static bool is_notify(const struct link_call *call, struct str path)
{
    struct str wanted = arena_printf(call->arena, "/api/v1/services/" STR_FMT "/notify",
                                     STR_ARG(call->claims.service_id));
    return str_eq(path, wanted);
}

// ── the listener ─────────────────────────────────────────────────────────────────────────────

static int authenticate(struct agent_link *link, struct http_request *http, struct arena *arena,
                        struct token_claims *claims, struct err *err)
{
    struct str header = http_header(http, "authorization");
    struct str scheme = STR("Bearer ");
    if (!str_starts(header, scheme))
        return err_set(err, ERR_UNAUTHENTICATED, "an agent's token is needed");
    header.at += scheme.len;
    header.len -= scheme.len;
    if (token_cache_verify(link->tokens, header, claims, arena, err))
        return -1;
    if (claims->kind != TOKEN_AGENT)
        return err_set(err, ERR_UNAUTHENTICATED, "this is not an agent's token");
    return 0;
}

static void on_header(void *owner, struct http_request *http)
{
    struct err err = ERR_INIT;
    struct token_claims claims;
    if (authenticate(owner, http, http_arena(http), &claims, &err))
        reply_error(http, err_status(err.kind), &err);
}

static struct link_call *call_new(struct agent_link *link, struct http_request *http)
{
    struct arena *arena = arena_new();
    struct link_call *call = arena_new_of(arena, struct link_call);
    call->link = link;
    call->http = http;
    call->arena = arena;
    http_on_over(http, on_over, call);
    return call;
}

static void on_request(void *owner, struct http_request *http)
{
    struct link_call *call = call_new(owner, http);
    struct str path = http_path(http);
    struct err err = ERR_INIT;
    struct json body = {0};
    bool get = str_is(http_method(http), "GET");
    if (authenticate(owner, http, call->arena, &call->claims, &err) ||
        (!get &&
         json_parse(arena_copy(call->arena, http_body(http)), JSON_DEPTH_LIMIT, &body, &err))) {
        call_fail(call, &err);
        call_release(call);
    } else if (get && str_is(path, "/agent/code")) {
        op_run(call->link->platform, OP_READ, code_work, code_done, call);
    } else if (get && asks_env(path)) {
        env_handle(call, path);
    } else if (!get && str_is(path, "/agent/hello")) {
        hello_handle(call, body);
    } else if (!get && str_is(path, "/agent/exchange")) {
        exchange_handle(call, body);
    } else if (!get && str_is(path, "/agent/logs")) {
        logs_handle(call, body);
    } else if (!get && is_notify(call, path)) {
        call->body = body;
        op_run(call->link->platform, OP_WRITE, notify_work, notify_done, call);
    } else {
        err_set(&err, ERR_NOT_FOUND, "no such call on the agent link: " STR_FMT, STR_ARG(path));
        reply_error(http, 404, &err);
        call_release(call);
    }
}

static void on_error(void *owner, struct http_request *http, const struct err *err)
{
    (void)owner;
    reply_error(http, err_status(err->kind), err);
}

static void link_free(struct agent_link *link)
{
    token_cache_free(link->tokens);
    mem_free(link->certificate);
    mem_free(link);
}

struct agent_link *agent_link_start(const struct platform *platform, struct dispatch *dispatch,
                                    struct err *err)
{
    const struct settings *settings = platform->settings;
    bool local = str_starts(str_of(settings->agent_listen), STR("unix:"));
    struct agent_link *link = mem_alloc(sizeof(*link));
    link->platform = platform;
    link->dispatch = dispatch;
    link->tokens = token_cache_new(platform->tokens, platform->clock);
    struct http_server_config config = {
        .listen = settings->agent_listen,
        .tls_cert = local ? NULL : settings->tls_cert,
        .tls_key = local ? NULL : settings->tls_key,
        .body_max = settings->output_max + settings->body_max +
                    (16 << 20),  // one result is at most output_max
        .body_option = "--max-output",
        .connections_max = settings->connections_max,
        .idle_ms = 60000,
        .log = platform->log,
        .owner = link,
        .on_header = on_header,
        .on_request = on_request,
        .on_error = on_error,
    };
    link->server = http_server_start(platform->loop, &config, err);
    if (!link->server) {
        err_wrap(err, "--agent-listen %s", settings->agent_listen);
        link_free(link);
        return NULL;
    }
    return link;
}

void agent_link_trust(struct agent_link *link, const char *certificate)
{
    mem_free(link->certificate);
    link->certificate = certificate ? mem_copy(certificate, strlen(certificate)) : NULL;
}

struct link_stop {
    struct agent_link *link;
    void (*done)(void *arg);
    void *arg;
};

static void on_stopped(void *arg)
{
    struct link_stop *stop = arg;
    link_free(stop->link);
    if (stop->done)
        stop->done(stop->arg);
    mem_free(stop);
}

void agent_link_stop(struct agent_link *link, int64_t grace_ms, void (*done)(void *arg), void *arg)
{
    struct link_stop *stop = mem_alloc(sizeof(*stop));
    *stop = (struct link_stop){.link = link, .done = done, .arg = arg};
    dispatch_stop(link->dispatch);
    http_server_stop(link->server, grace_ms, on_stopped, stop);
}
