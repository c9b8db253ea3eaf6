// SPDX-License-Identifier: Apache-2.0
// Turns the agents' JSON into dispatch's structs and back. Every request is verified by its token
// alone; what it may touch follows from the service that the token names.
#include "api/agent_link.h"

#include "base/mem.h"
#include "net/http_server.h"
#include "operation/assignment.h"
#include "operation/attempt.h"
#include "operation/token.h"

#define WAIT_MAX_MS  10000
#define CAPACITY_MAX 4096
#define REFS_MAX     8192

struct agent_link {
    const struct platform *platform;
    struct dispatch *dispatch;
    struct http_server *server;
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
    // code
    struct str blob;
    int64_t blob_size;
    // logs
    struct log_line *lines;
    size_t line_count;
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

// For calls that are not exchanges: answers if anybody still listens, and frees the call.
static void call_end(struct link_call *call, int status, struct buf body)
{
    if (call->http)
        http_reply(call->http, status, "application/json", body);
    else
        buf_deinit(&body);
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

// ── reading ──────────────────────────────────────────────────────────────────────────────────

static struct str text_of(struct json object, const char *key, struct arena *arena)
{
    struct json value;
    return json_get(object, key, &value) ? json_str(value, arena) : STR_NONE;
}

static int64_t int_of(struct json object, const char *key, int64_t fallback)
{
    struct json value;
    int64_t n;
    return json_get(object, key, &value) && json_int(value, &n) ? n : fallback;
}

static struct str raw_of(struct json object, const char *key)
{
    struct json value;
    return json_get(object, key, &value) && value.type != JSON_NULL ? value.text : STR_NONE;
}

// Reads [["<id>", fence, reason?], …]; entries of another form are an error.
static int read_refs(struct json object, const char *key, struct arena *arena,
                     struct dispatch_lost **out, size_t *count, struct err *err)
{
    struct json list;
    *count = 0;
    if (!json_get(object, key, &list) || list.type == JSON_NULL)
        return 0;
    size_t most = json_count(list);
    if (list.type != JSON_ARRAY || most > REFS_MAX)
        return err_field(err, key, "must be an array of at most %d [id, fence] pairs", REFS_MAX);
    *out = arena_array_of(arena, struct dispatch_lost, most + 1);
    struct json_iter it = json_each(list);
    struct str none;
    for (struct json pair; json_next(&it, &none, &pair);) {
        struct json_iter parts = json_each(pair);
        struct json id, fence, reason;
        struct dispatch_lost *ref = &(*out)[*count];
        if (pair.type != JSON_ARRAY || !json_next(&parts, &none, &id) || id.type != JSON_STRING ||
            !json_next(&parts, &none, &fence) || !json_int(fence, &ref->ref.fence))
            return err_field(err, key, "must be an array of [id, fence] pairs");
        ref->ref.id = json_str(id, arena);
        ref->reason = json_next(&parts, &none, &reason) ? json_str(reason, arena) : STR_NONE;
        (*count)++;
    }
    return 0;
}

static struct dispatch_ref *refs_only(struct arena *arena, const struct dispatch_lost *from,
                                      size_t count)
{
    struct dispatch_ref *refs = arena_array_of(arena, struct dispatch_ref, count + 1);
    for (size_t i = 0; i < count; i++)
        refs[i] = from[i].ref;
    return refs;
}

static int read_held(struct json body, const char *key, struct arena *arena,
                     struct dispatch_ref **out, size_t *count, struct err *err)
{
    struct dispatch_lost *refs = NULL;
    if (read_refs(body, key, arena, &refs, count, err))
        return -1;
    *out = refs_only(arena, refs, *count);
    return 0;
}

static int read_results(struct json body, struct dispatch_exchange *x, struct err *err)
{
    struct json list;
    if (!json_get(body, "results", &list) || list.type != JSON_ARRAY)
        return 0;
    x->results = arena_array_of(x->arena, struct dispatch_result, json_count(list) + 1);
    struct json_iter it = json_each(list);
    struct str none;
    for (struct json entry; json_next(&it, &none, &entry);) {
        struct dispatch_result *result = &x->results[x->result_count++];
        *result = (struct dispatch_result){
            .ref = {.id = text_of(entry, "id", x->arena), .fence = int_of(entry, "fence", -1)},
            .status = text_of(entry, "status", x->arena),
            .message = text_of(entry, "message", x->arena),
            .output = raw_of(entry, "output"),
            .error = raw_of(entry, "error"),
            .started_at = int_of(entry, "startedAt", INT_NONE),
            .ended_at = int_of(entry, "endedAt", INT_NONE),
        };
        bool known = str_is(result->status, "success") || str_is(result->status, "failed") ||
                     str_is(result->status, "terminated");
        if (!result->ref.id.at || result->ref.fence < 0 || !known)
            return err_field(err, "results",
                             "each needs id, fence and a status of success, failed or terminated");
        if (!result->message.at && result->error.at)
            result->message = text_of(json_of(result->error), "message", x->arena);
    }
    return 0;
}

static void read_progress(struct json body, struct dispatch_exchange *x, int64_t now)
{
    struct json list;
    if (!json_get(body, "progress", &list) || list.type != JSON_ARRAY)
        return;
    x->progress = arena_array_of(x->arena, struct dispatch_progress, json_count(list) + 1);
    struct json_iter it = json_each(list);
    struct str none;
    for (struct json entry, percent; json_next(&it, &none, &entry);) {
        struct dispatch_progress *p = &x->progress[x->progress_count++];
        *p = (struct dispatch_progress){
            .ref = {.id = text_of(entry, "id", x->arena), .fence = int_of(entry, "fence", -1)},
            .status = text_of(entry, "status", x->arena),
            .message = text_of(entry, "message", x->arena),
            .output = raw_of(entry, "output"),
            .percent = NAN,
            .at = int_of(entry, "at", now),
        };
        if (json_get(entry, "percent", &percent))
            (void)json_double(percent, &p->percent);
    }
}

static const char *read_state(struct str state)
{
    return str_is(state, "ready") ? "ready" : str_is(state, "draining") ? "draining" : "starting";
}

static int64_t clamp(int64_t n, int64_t least, int64_t most)
{
    return n < least ? least : n > most ? most : n;
}

// ── exchange ─────────────────────────────────────────────────────────────────────────────────

static void w_ref(struct json_writer *w, const struct dispatch_ref *ref)
{
    json_w_str(w, ref->id);
    json_w_int(w, ref->fence);
}

static void write_executions(struct json_writer *w, const struct dispatch_exchange *x)
{
    json_w_key(w, "executions");
    json_w_array(w);
    for (size_t i = 0; i < x->execution_count; i++) {
        // The body is an object of ours, "{…}": the fence goes in front of its first member.
        const struct dispatch_delivery *delivery = &x->executions[i];
        json_w_object(w);
        json_w_pair_int(w, "fence", delivery->fence);
        buf_add_char(w->buf, ',');
        buf_add(w->buf, delivery->body.at + 1, delivery->body.len - 2);
        json_w_object_end(w);
    }
    json_w_array_end(w);
}

static void write_notes(struct json_writer *w, const struct dispatch_exchange *x)
{
    json_w_key(w, "recorded");
    json_w_array(w);
    for (size_t i = 0; i < x->recorded_count; i++) {
        json_w_array(w);
        w_ref(w, &x->recorded[i].ref);
        json_w_bool(w, x->recorded[i].applied);
        json_w_array_end(w);
    }
    json_w_array_end(w);
    json_w_key(w, "terminate");
    json_w_array(w);
    for (size_t i = 0; i < x->terminate_count; i++)
        json_w_str(w, x->terminate[i]);
    json_w_array_end(w);
    json_w_key(w, "drop");
    json_w_array(w);
    for (size_t i = 0; i < x->drop_count; i++) {
        json_w_array(w);
        w_ref(w, &x->drop[i]);
        json_w_array_end(w);
    }
    json_w_array_end(w);
}

static void exchange_answer(struct dispatch_exchange *x, const struct err *err)
{
    struct link_call *call = x->owner;
    if (!call->http)
        return;
    if (err) {
        reply_error(call->http, link_status(err), err);
        return;
    }
    struct buf buf = BUF_INIT(1u << 30);
    struct json_writer w = JSON_WRITER(&buf);
    json_w_object(&w);
    json_w_pair_int(&w, "seq", call->seq);
    write_executions(&w, x);
    write_notes(&w, x);
    json_w_key(&w, "command");
    json_w_cstr(&w, x->command);
    json_w_object_end(&w);
    http_reply(call->http, 200, "application/json", buf);
}

static void exchange_release(struct dispatch_exchange *x)
{
    struct link_call *call = x->owner;
    call_release(call);
}

static int exchange_read(struct link_call *call, struct json body, struct err *err)
{
    struct dispatch_exchange *x = &call->exchange;
    struct dispatch_lost *returned = NULL;
    x->arena = call->arena;
    x->owner = call;
    x->answer = exchange_answer;
    x->release = exchange_release;
    x->replica_id = text_of(body, "replicaId", x->arena);
    x->service_id = call->claims.service_id;
    x->session = text_of(body, "session", x->arena);
    x->state = read_state(text_of(body, "state", x->arena));
    x->ready = str_is(STR("ready"), x->state);
    x->phase = text_of(body, "phase", x->arena);
    x->capacity = clamp(int_of(body, "capacity", 0), 0, CAPACITY_MAX);
    x->wait_ms = clamp(int_of(body, "waitMs", WAIT_MAX_MS), 0, WAIT_MAX_MS);
    call->seq = int_of(body, "seq", 0);
    (void)json_get(body, "failure", &x->failure);
    read_progress(body, x, clock_wall(call->link->platform->clock));
    if (read_held(body, "held", x->arena, &x->held, &x->held_count, err) ||
        read_refs(body, "returned", x->arena, &returned, &x->returned_count, err) ||
        read_refs(body, "lost", x->arena, &x->lost, &x->lost_count, err) ||
        read_results(body, x, err))
        return -1;
    x->returned = refs_only(x->arena, returned, x->returned_count);
    return x->replica_id.at && x->session.at
               ? 0
               : err_set(err, ERR_BAD_INPUT, "replicaId and session are needed");
}

static void exchange_handle(struct link_call *call, struct json body)
{
    struct err err = ERR_INIT;
    if (exchange_read(call, body, &err) ||
        dispatch_exchange(call->link->dispatch, &call->exchange, &err)) {
        reply_error(call->http, link_status(&err), &err);
        call_release(call);
        return;
    }
    call->exchanging = true;
}

// ── hello ────────────────────────────────────────────────────────────────────────────────────

static void write_code(struct json_writer *w, const struct assignment *a, struct arena *arena)
{
    json_w_key(w, "code");
    json_w_object(w);
    if (a->git.at) {
        struct json git = json_of(a->git);
        json_w_pair_str(w, "type", STR("git"));
        json_w_pair_str(w, "url", text_of(git, "gitUrl", arena));
        json_w_pair_str(w, "tag", text_of(git, "gitTag", arena));
        json_w_pair_raw(w, "credentials", raw_of(git, "credentials"));
    } else {
        json_w_pair_str(w, "type", STR("item"));
        json_w_pair_str(w, "sha256", a->blob);
        json_w_pair_int(w, "size", a->blob_size);
    }
    json_w_object_end(w);
}

static void write_sdk(struct json_writer *w, const struct settings *settings,
                      const struct assignment *a, struct arena *arena)
{
    struct str gate = str_of(settings->public_url);
    json_w_key(w, "sdk");
    json_w_object(w);
    json_w_pair_str(w, "url", arena_printf(arena, STR_FMT "/api/v1", STR_ARG(gate)));
    json_w_pair_str(w, "gate", gate);
    json_w_pair_str(w, "token", a->token);
    json_w_pair_int(w, "expiresAt", a->token_expires_at);
    json_w_object_end(w);
    json_w_key(w, "limits");
    json_w_object(w);
    json_w_pair_int(w, "logLineBytes", settings->log_line_max);
    json_w_pair_int(w, "logLinesPerExecution", settings->log_lines_per_execution);
    json_w_pair_int(w, "outputBytes", settings->output_max);
    json_w_pair_int(w, "archiveBytes", settings->archive_max);
    json_w_pair_int(w, "archiveEntries", settings->archive_entries);
    json_w_object_end(w);
}

static void write_entities(struct json_writer *w, const struct assignment *a)
{
    json_w_key(w, "service");
    entity_encode(&service_entity, &a->service, w);
    json_w_key(w, "package");
    entity_encode(&package_entity, &a->package, w);
    json_w_key(w, "project");
    entity_encode(&project_entity, &a->project, w);
    json_w_pair_raw(w, "module", a->module_json);
    json_w_pair_raw(w, "initParams",
                    a->service.init_params.len > 0 ? a->service.init_params : STR("{}"));
}

static void hello_answer(struct link_call *call, struct str session)
{
    const struct settings *settings = call->link->platform->settings;
    const struct assignment *a = &call->assignment;
    struct buf buf = BUF_INIT(64u << 20);
    struct json_writer w = JSON_WRITER(&buf);
    json_w_object(&w);
    json_w_pair_str(&w, "replicaId", call->replica_id);
    json_w_pair_int(&w, "leaseMs", settings->lease_ms);
    json_w_pair_str(&w, "session", session);
    write_entities(&w, a);
    write_code(&w, a, call->arena);
    json_w_pair_int(&w, "concurrency", a->concurrency);
    json_w_pair_int(&w, "executionTimeoutS", a->service.execution_timeout);
    json_w_pair_int(&w, "drainTimeS", a->service.drain_time);
    json_w_pair_bool(&w, "runAsProcess", a->service.run_as_process);
    json_w_pair_str(&w, "dtlpy", a->dtlpy);
    json_w_key(&w, "requirements");
    json_w_array(&w);
    for (size_t i = 0; i < a->requirement_count; i++)
        json_w_str(&w, a->requirements[i]);
    json_w_array_end(&w);
    json_w_pair_raw(&w, "env", STR("{}"));
    write_sdk(&w, settings, a, call->arena);
    json_w_key(&w, "held");
    json_w_array(&w);
    for (size_t i = 0; i < call->kept; i++) {
        json_w_array(&w);
        w_ref(&w, &call->held[i]);
        json_w_array_end(&w);
    }
    json_w_array_end(&w);
    json_w_object_end(&w);
    call_end(call, 200, buf);
}

static int hello_work(struct op *op, void *arg, struct err *err)
{
    struct link_call *call = arg;
    struct arena *own = op->arena;
    op->arena = call->arena;  // the answer is written after this operation's arena is gone
    int rc = assignment_read(op, call->claims.service_id, &call->assignment, err) ||
             execution_confirm_held(op, call->claims.service_id, call->held, call->held_count,
                                    &call->kept, err);
    op->arena = own;
    return rc ? -1 : 0;
}

static void hello_done(void *arg, struct err *err)
{
    struct link_call *call = arg;
    if (err->kind != ERR_NONE) {
        // A service that is gone or paused: this agent is not wanted.
        if (call->http)
            reply_error(call->http, err->kind == ERR_CONFLICT ? 403 : err_status(err->kind), err);
    } else if (call->http) {
        struct str session = dispatch_hello(call->link->dispatch, call->replica_id,
                                            call->claims.service_id, call->held, call->kept,
                                            &call->kept, call->arena);
        hello_answer(call, session);
    }
    call_release(call);
}

static void hello_handle(struct link_call *call, struct json body)
{
    struct err err = ERR_INIT;
    call->replica_id = text_of(body, "replicaId", call->arena);
    if (read_held(body, "held", call->arena, &call->held, &call->held_count, &err) ||
        (call->replica_id.len == 0 && err_field(&err, "replicaId", "is needed"))) {
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

// ── logs ─────────────────────────────────────────────────────────────────────────────────────

static void logs_done(void *arg, const struct err *err)
{
    struct link_call *call = arg;
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
    struct json list, value;
    if (!json_get(body, "lines", &list) || list.type != JSON_ARRAY) {
        struct err err = ERR_INIT;
        err_field(&err, "lines", "must be an array");
        call_fail(call, &err);
        call_release(call);
        return;
    }
    struct str replica_id = text_of(body, "replicaId", call->arena);
    call->lines = arena_array_of(call->arena, struct log_line, json_count(list) + 1);
    int64_t now = clock_wall(call->link->platform->clock);
    struct json_iter it = json_each(list);
    struct str none;
    for (struct json entry; json_next(&it, &none, &entry);) {
        struct log_line *line = &call->lines[call->line_count++];
        *line = (struct log_line){
            .at = int_of(entry, "at", now),
            .level = line_level_parse(text_of(entry, "level", call->arena)),
            .service_id = call->claims.service_id,
            .project_id = call->claims.project_id,
            .execution_id = text_of(entry, "execution", call->arena),
            .function_name = text_of(entry, "function", call->arena),
            .replica_id = replica_id,
            .message = text_of(entry, "message", call->arena),
        };
        if (json_get(entry, "system", &value))
            (void)json_bool(value, &line->system);
        if (line->level == 0)
            line->level = LINE_INFO;
    }
    logs_append(call->link->platform->logs, call->lines, call->line_count, logs_done, call);
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
    if (token_verify(link->platform->tokens, header, claims, arena, err))
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
        (!get && json_parse(arena_copy(call->arena, http_body(http)), 0, &body, &err))) {
        call_fail(call, &err);
        call_release(call);
    } else if (get && str_is(path, "/agent/code")) {
        op_run(call->link->platform, OP_READ, code_work, code_done, call);
    } else if (!get && str_is(path, "/agent/hello")) {
        hello_handle(call, body);
    } else if (!get && str_is(path, "/agent/exchange")) {
        exchange_handle(call, body);
    } else if (!get && str_is(path, "/agent/logs")) {
        logs_handle(call, body);
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

struct agent_link *agent_link_start(const struct platform *platform, struct dispatch *dispatch,
                                    struct err *err)
{
    const struct settings *settings = platform->settings;
    bool local = str_starts(str_of(settings->agent_listen), STR("unix:"));
    struct agent_link *link = mem_alloc(sizeof(*link));
    link->platform = platform;
    link->dispatch = dispatch;
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
        mem_free(link);
        return NULL;
    }
    return link;
}

struct link_stop {
    struct agent_link *link;
    void (*done)(void *arg);
    void *arg;
};

static void on_stopped(void *arg)
{
    struct link_stop *stop = arg;
    mem_free(stop->link);
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
