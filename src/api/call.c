// SPDX-License-Identifier: Apache-2.0
#include "api/call.h"

#include <stdio.h>
#include <unistd.h>

#include "api/api_internal.h"
#include "base/mem.h"
#include "model/describe.h"

#define SPARE_ARENAS_MAX 128
#define SPARE_ARENA_MAX  (256u << 10)  // an arena that grew beyond is not kept

struct spare {  // lives in the arena that it keeps
    struct list node;
    struct arena *arena;
};

static struct arena *arena_of(struct api *api)
{
    struct list *node = list_pop_front(&api->spare_arenas);
    if (!node)
        return arena_new();
    struct arena *arena = list_entry(node, struct spare, node)->arena;
    api->spare_count--;
    arena_reset(arena);
    return arena;
}

static void arena_spare(struct api *api, struct arena *arena)
{
    if (api->stopping || api->spare_count == SPARE_ARENAS_MAX ||
        arena_used(arena) > SPARE_ARENA_MAX) {
        arena_free(arena);
        return;
    }
    arena_reset(arena);
    struct spare *spare = arena_new_of(arena, struct spare);
    spare->arena = arena;
    list_push_front(&api->spare_arenas, &spare->node);
    api->spare_count++;
}

void call_spare_free(struct list *node) { arena_free(list_entry(node, struct spare, node)->arena); }

static void state_free(struct call_state *state)
{
    struct api *api = state->call.api;
    struct arena *arena = state->call.op.arena;
    list_remove(&state->node);
    buf_deinit(&state->call.reply);
    arena_spare(api, arena);  // the state lives in it
    api_call_over(api);
}

static struct call_state *state_new(struct api *api, struct http_request *request)
{
    const struct platform *platform = api->config.platform;
    struct arena *arena = arena_of(api);
    struct call_state *state = arena_new_of(arena, struct call_state);
    struct call *call = &state->call;
    call->api = api;
    call->http = request;
    call->op.platform = platform;
    call->op.arena = arena;
    call->op.now = clock_wall(platform->clock);
    call->op.caller.address = arena_copy(arena, http_peer(request));
    call->reply = BUF_INIT((size_t)platform->settings->answer_max);
    call->out = JSON_WRITER(&call->reply);
    state->begun = clock_mono(platform->clock);
    snprintf(state->request_id, sizeof(state->request_id), "%08x-%08llx", (unsigned)api->run_id,
             (unsigned long long)++api->serial & 0xFFFFFFFFu);
    list_push_back(&api->calls, &state->node);
    return state;
}

// ── what came with the head ──────────────────────────────────────────────────────────────────

static int copy_queries(struct call_state *state, struct err *err)
{
    struct call_extra **end = &state->queries;
    struct arena *arena = state->call.op.arena;
    struct str name, value;
    size_t cursor = 0;
    while (http_query_each(state->call.http, &cursor, &name, &value)) {
        if (!str_utf8_valid(name) || !str_utf8_valid(value))
            return err_set(err, ERR_BAD_INPUT, "The query of the URL is not UTF-8");
        struct call_extra *extra = arena_new_of(arena, struct call_extra);
        extra->name = arena_cstr(arena, name);
        extra->value = arena_copy(arena, value.at ? value : STR(""));
        *end = extra;
        end = &extra->next;
    }
    return 0;
}

static bool flag_read(struct str text, bool *out)
{
    bool no = str_is(text, "false") || str_is(text, "False") || str_is(text, "0");
    *out = text.len == 0 || str_is(text, "true") || str_is(text, "True") || str_is(text, "1");
    return *out || no;
}

static bool is_flag(const struct route *route, const char *name)
{
    for (struct str rest = str_of(route->query); rest.len > 0;) {
        struct str type = str_cut(&rest, ' '), key = str_cut(&type, ':');
        if (str_is(key, name))
            return str_is(type, "boolean");
    }
    return false;
}

// Every flag that the route's table names, so that no handler takes a mistake for false.
static int check_flags(const struct call_state *state, struct err *err)
{
    bool unused;
    for (const struct call_extra *it = state->queries; it; it = it->next) {
        if (!is_flag(state->call.route, it->name) || flag_read(it->value, &unused))
            continue;
        struct str shown = describe_clip(it->value, 40);
        return err_field(err, it->name, "%s must be true or false, not \"" STR_FMT "\"", it->name,
                         STR_ARG(shown));
    }
    return 0;
}

static int caller_of(const struct token_claims *claims, struct caller *caller, struct err *err)
{
    switch (claims->kind) {
    case TOKEN_LOGIN: caller->kind = CALLER_USER; break;
    case TOKEN_API_KEY: caller->kind = CALLER_API_KEY; break;
    case TOKEN_SERVICE: caller->kind = CALLER_SERVICE; break;
    case TOKEN_REFRESH:
        return err_set(err, ERR_UNAUTHENTICATED,
                       "This is a refresh token: exchange it for a token at POST /token first");
    case TOKEN_AGENT:
        return err_set(err, ERR_UNAUTHENTICATED, "An agent's token is not accepted here");
    }
    caller->user_id = claims->user_id;
    caller->key_id = claims->id;
    caller->service_id = claims->service_id;
    caller->project_id = claims->project_id;
    caller->replica_id = claims->replica_id;
    caller->token_epoch = claims->epoch;
    return 0;
}

static int authenticate(struct call *call, struct err *err)
{
    struct str header = http_header(call->http, "authorization"), rest = header;
    struct token_claims claims;
    if (call->route->scope == SCOPE_PUBLIC)
        return 0;
    if (!header.at)
        return err_set(err, ERR_UNAUTHENTICATED,
                       "This call needs a token in the authorization header (Bearer …)");
    struct str scheme = str_cut(&rest, ' ');
    if (!str_case_eq(scheme, STR("Bearer")) || !rest.at)
        return err_set(err, ERR_UNAUTHENTICATED,
                       "The authorization header must be: Bearer, a space, and the token");
    if (token_cache_verify(call->api->tokens, str_trim(rest), &claims, call->op.arena, err))
        return -1;
    return caller_of(&claims, &call->op.caller, err);
}

// Nothing has happened yet, so the caller may safely try again.
static int admit_load(struct call *call, struct err *err)
{
    const struct platform *platform = call->op.platform;
    if (call->api->stopping)
        return err_set(err, ERR_UNAVAILABLE, "The server is stopping");
    if (store_failed(platform->store))
        return err_set(err, ERR_UNAVAILABLE,
                       "The store has stopped after an error of the disk; see the server's log");
    if (call->route->mode == ROUTE_READ || strcmp(call->route->method, "GET") == 0)
        return 0;
    if (store_backlog(platform->store) < platform->settings->backlog_max)
        return 0;
    metric_add(call->api->metrics.busy, 1);
    err_set(err, ERR_BUSY, "%lld changes are waiting to be written (--backlog-max); try again",
            (long long)platform->settings->backlog_max);
    err->retry_after = 1;
    return -1;
}

static int admit(struct call_state *state, struct err *err)
{
    struct call *call = &state->call;
    struct route_match match;
    if (router_match(call->api->router, http_method(call->http), http_raw_path(call->http), &match,
                     call->op.arena, err)) {
        if (match.allow.at)
            call_header(call, "allow", match.allow);
        return -1;
    }
    call->route = match.route;
    memcpy(call->params, match.params, sizeof(call->params));
    if (copy_queries(state, err) || authenticate(call, err) || check_flags(state, err))
        return -1;
    return call->route->at_root && call->route->mode == ROUTE_LOOP ? 0 : admit_load(call, err);
}

// ── net's callbacks ──────────────────────────────────────────────────────────────────────────

static void on_over(void *arg, bool sent)
{
    struct call_state *state = arg;
    (void)sent;
    state->call.http = NULL;
    if (state->finished || !state->started)
        state_free(state);
    else if (state->call.on_gone)
        state->call.on_gone(&state->call);
}

static void refuse(struct call_state *state, const struct err *err)
{
    state->finished = true;
    call_send(state, err);
}

void call_on_header(void *owner, struct http_request *request)
{
    struct call_state *state = state_new(owner, request);
    struct err err = ERR_INIT;
    http_set_data(request, state);
    http_on_over(request, on_over, state);
    if (admit(state, &err)) {
        refuse(state, &err);
        return;
    }
    if (state->call.route->body != BODY_STREAM)
        return;
    state->started = true;
    if (state->call.route->handle(&state->call, &err))
        call_finish(&state->call, &err);
}

static int job_work(struct tx *tx, void *arg, struct err *err)
{
    struct call_state *state = arg;
    struct call *call = &state->call;
    call->op.tx = tx;
    call->op.now = clock_wall(call->op.platform->clock);
    call->op.events = NULL;
    int rc = call_check(call, err);
    if (rc == 0)
        rc = state->fn(call, err);
    call->op.tx = NULL;
    if (rc == 0 && call->reply.no_memory)
        return err_set(err, ERR_UNAVAILABLE,
                       "There is no memory for an answer of so many bytes now: try again, or ask "
                       "for a smaller page");
    if (rc == 0 && call->reply.over)
        return err_set(err, ERR_TOO_LARGE,
                       "The answer would have more than %zu bytes (--max-answer): ask for a "
                       "smaller page",
                       call->reply.max);
    return rc;
}

static void job_done(void *arg, struct err *err)
{
    struct call_state *state = arg;
    if (err->kind == ERR_NONE)
        op_publish(&state->call.op);
    if (state->done)
        state->done(&state->call, err);
    else
        call_finish(&state->call, err);
}

void call_run(struct call *call, enum op_mode mode, int (*fn)(struct call *call, struct err *err),
              void (*done)(struct call *call, struct err *err))
{
    struct call_state *state = call_state_of(call);
    struct store *store = call->op.platform->store;
    state->fn = fn;
    state->done = done;
    state->job = (struct store_job){.work = job_work, .done = job_done, .arg = state};
    if (mode == OP_READ)
        store_read(store, &state->job);
    else
        store_write(store, &state->job);
}

// Who may not make the call at all learns that, and not what is wrong with the body. A body that
// should have named the project leaves nothing to look at.
static int body_refused(struct call *call, struct err *err)
{
    *err = *(const struct err *)call->data;
    return -1;
}

static void refuse_body(struct call_state *state, const struct err *err)
{
    struct call *call = &state->call;
    if (call->route->scope == SCOPE_PUBLIC || call->route->scope == SCOPE_BODY) {
        refuse(state, err);
        return;
    }
    struct err *kept = arena_new_of(call->op.arena, struct err);
    *kept = *err;
    call->data = kept;
    state->started = true;
    call_run(call, OP_READ, body_refused, NULL);
}

void call_on_request(void *owner, struct http_request *request)
{
    struct call_state *state = http_data(request);
    struct call *call = &state->call;
    struct err err = ERR_INIT;
    (void)owner;
    if (state->finished)
        return;
    if (call->route->body == BODY_STREAM) {
        if (call->on_body)
            call->on_body(call);
        return;
    }
    struct str type = http_header(request, "content-type");
    if (call_read_body(call, type, http_body(request), &err)) {
        refuse_body(state, &err);
        return;
    }
    state->started = true;
    if (call->route->mode == ROUTE_READ)
        call_run(call, OP_READ, call->route->handle, NULL);
    else if (call->route->mode == ROUTE_WRITE)
        call_run(call, OP_WRITE, call->route->handle, NULL);
    else if (call->route->handle(call, &err))
        call_finish(call, &err);
}

void call_on_error(void *owner, struct http_request *request, const struct err *err)
{
    struct call_state *state = http_data(request);
    if (!state) {  // the head itself was malformed
        state = state_new(owner, request);
        http_set_data(request, state);
        http_on_over(request, on_over, state);
    }
    if (state->finished)
        return;
    if (!state->started) {
        refuse(state, err);
        return;
    }
    state->body_err = *err;
    if (state->call.on_gone)
        state->call.on_gone(&state->call);
    else
        call_finish(&state->call, err);
}

// ── for handlers ─────────────────────────────────────────────────────────────────────────────

void call_finish(struct call *call, const struct err *err)
{
    struct call_state *state = call_state_of(call);
    state->finished = true;
    if (state->body_err.kind != ERR_NONE)
        err = &state->body_err;
    bool gone = call->http == NULL;
    call_send(state, err);
    if (gone)
        state_free(state);
}

void call_finish_file(struct call *call, const struct call_file *file)
{
    struct call_state *state = call_state_of(call);
    state->finished = true;
    if (!call->http) {
        close(file->fd);
        state_free(state);
        return;
    }
    call_send_file(state, file);
}

struct str call_param(const struct call *call, int index)
{
    return index >= 0 && index < ROUTE_PARAMS_MAX ? call->params[index] : STR_NONE;
}

struct str call_query(const struct call *call, const char *name)
{
    const struct call_state *state = (const struct call_state *)(const void *)call;
    for (const struct call_extra *it = state->queries; it; it = it->next) {
        if (strcmp(it->name, name) == 0)
            return it->value;
    }
    return STR_NONE;
}

bool call_query_bool(const struct call *call, const char *name)
{
    struct str value = call_query(call, name);
    bool set = false;
    return value.at && flag_read(value, &set) && set;
}

void call_header(struct call *call, const char *name, struct str value)
{
    struct call_state *state = call_state_of(call);
    struct call_extra *extra = arena_new_of(call->op.arena, struct call_extra);
    *extra = (struct call_extra){.next = state->headers, .name = name, .value = value};
    state->headers = extra;
}

struct str call_request_id(const struct call *call)
{
    const struct call_state *state = (const struct call_state *)(const void *)call;
    return str_of(state->request_id);
}
