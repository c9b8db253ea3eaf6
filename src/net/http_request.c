// SPDX-License-Identifier: Apache-2.0
// A request from its head to its end; http_internal.h draws the road.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "base/mem.h"
#include "net/http_internal.h"

#define BODY_KEEP   (16 << 10)  // bytes of buffer that a recycled request may keep
#define BODY_FIRST  (1 << 20)   // reserved at most before the bytes are there
#define LIMIT_UNSET (-2)

// ── making and recycling ─────────────────────────────────────────────────────────────────────

static struct http_request *take_request(struct http_server *server)
{
    struct list *node = list_pop_front(&server->spares);
    if (node) {
        server->spare_count--;
        return list_entry(node, struct http_request, node);
    }
    struct http_request *request = mem_alloc(sizeof(*request));
    request->arena = arena_new();
    return request;
}

static void free_request(struct http_request *request)
{
    buf_deinit(&request->body);
    arena_free(request->arena);
    mem_free(request);
}

static void recycle(struct http_server *server, struct http_request *request)
{
    if (server->spare_count >= HTTP_SPARES_MAX) {
        free_request(request);
        return;
    }
    struct arena *arena = request->arena;
    struct buf body = request->body;
    arena_reset(arena);
    if (body.cap > BODY_KEEP)
        buf_deinit(&body);
    else
        buf_clear(&body);
    *request = (struct http_request){.arena = arena, .body = body};
    list_push_front(&server->spares, &request->node);
    server->spare_count++;
}

void http_spares_free(struct http_server *server)
{
    struct list *node;
    while ((node = list_pop_front(&server->spares)))
        free_request(list_entry(node, struct http_request, node));
    server->spare_count = 0;
}

void *http_on_uri(void *cls, const char *uri, struct MHD_Connection *mhd)
{
    struct http_server *server = cls;
    struct http_request *request = take_request(server);
    server->seen++;
    request->server = server;
    request->mhd = mhd;
    request->connection = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)
                              ->socket_context;
    request->limit = LIMIT_UNSET;
    request->overs_end = &request->overs;
    list_init(&request->parked_node);
    list_push_back(&server->requests, &request->node);
    struct str rest = arena_copy(request->arena, uri ? str_of(uri) : STR(""));
    const char *mark = memchr(rest.at, '?', rest.len);
    request->raw_path = (struct str){rest.at, mark ? (size_t)(mark - rest.at) : rest.len};
    if (mark)
        request->raw_query = (struct str){mark + 1, rest.len - request->raw_path.len - 1};
    if (!http_decode(request->raw_path, false, request->arena, &request->path))
        request->path = request->raw_path;
    return request;
}

// ── suspending ───────────────────────────────────────────────────────────────────────────────

static void suspend(struct http_request *request)
{
    if (request->suspended)
        return;
    request->suspended = true;
    MHD_suspend_connection(request->mhd);
}

// Suspended until somebody answers; the sweep looks whether the client is still there.
void http_request_park(struct http_request *request)
{
    suspend(request);
    request->parked_since = uv_now(request->server->uv);
    list_push_back(&request->server->parked, &request->parked_node);
}

void http_request_resume(struct http_request *request)
{
    if (!request->suspended)
        return;
    request->suspended = false;
    list_remove(&request->parked_node);
    MHD_resume_connection(request->mhd);
    http_pump_soon(request->server);
}

void http_request_cut(struct http_request *request)
{
    request->gone = true;
    request->paused = false;
    shutdown(request->connection->fd, SHUT_RDWR);
    http_request_resume(request);
}

void http_body_pause(struct http_request *request)
{
    if (!request->answered)
        request->paused = true;
}

void http_body_resume(struct http_request *request)
{
    if (!request->paused)
        return;
    request->paused = false;
    http_request_resume(request);
}

// ── head ─────────────────────────────────────────────────────────────────────────────────────

struct framing {
    struct http_request *request;
    int lengths, encodings;
    bool wrong;
};

static enum MHD_Result on_field(void *cls, enum MHD_ValueKind kind, const char *name,
                                size_t name_len, const char *value, size_t value_len)
{
    (void)kind;
    struct framing *framing = cls;
    struct http_request *request = framing->request;
    struct str field = {name, name_len}, text = {value ? value : "", value_len};
    if (name_len == 14 && str_case_eq(field, STR("content-length"))) {
        if (!str_int(text, &request->length) || request->length < 0)
            request->length = INT64_MAX;
        framing->lengths++;
    } else if (name_len == 17 && str_case_eq(field, STR("transfer-encoding"))) {
        framing->wrong |= !str_case_eq(text, STR("chunked"));
        request->chunked = true;
        framing->encodings++;
    } else if (name_len == 6 && str_case_eq(field, STR("expect"))) {
        request->expects_continue = str_case_eq(text, STR("100-continue"));
    }
    return MHD_YES;
}

// Two statements about where a body ends are how requests are smuggled past proxies. Such a
// request counts as endless, so that its connection is closed with the answer.
static int read_framing(struct http_request *request, struct err *err)
{
    struct framing framing = {.request = request};
    MHD_get_connection_values_n(request->mhd, MHD_HEADER_KIND, on_field, &framing);
    request->has_body = request->chunked || request->length > 0;
    if (framing.lengths + framing.encodings <= 1 && !framing.wrong) {
        if (request->chunked)
            request->length = -1;
        return 0;
    }
    request->has_body = true;
    request->length = INT64_MAX;
    return err_set(err, ERR_BAD_INPUT,
                   "the request says more than once, or in a way other than Content-Length or "
                   "\"Transfer-Encoding: chunked\", where its body ends");
}

static int too_large(const struct http_request *request, struct err *err)
{
    const char *option = request->server->config.body_option;
    return err_set(err, ERR_TOO_LARGE, "the request body is over the limit of %lld bytes%s%s%s",
                   (long long)request->limit, option ? " (" : "", option ? option : "",
                   option ? ")" : "");
}

// Decides what follows the head: the body, or an answer at once.
static enum MHD_Result leave_head(struct http_request *request)
{
    if (request->paused) {
        suspend(request);
        return MHD_YES;
    }
    request->phase = HTTP_BODY;
    if (!request->response || !request->has_body)
        return MHD_YES;
    bool endless = request->length > HTTP_DROP_MAX;
    if (!endless && !request->expects_continue)
        return MHD_YES;
    if (!request->expects_continue)
        http_linger(request);
    return http_reply_queue(request);
}

static enum MHD_Result on_head(struct http_request *request, const char *method)
{
    struct http_server *server = request->server;
    struct err err = ERR_INIT;
    request->head_called = true;
    request->method = str_of(method);
    list_remove(&request->connection->node);
    if (read_framing(request, &err) != 0) {
        http_request_fail(request, &err);
        return leave_head(request);
    }
    if (server->config.on_header)
        server->config.on_header(server->config.owner, request);
    if (request->limit == LIMIT_UNSET)
        request->limit = request->on_chunk || request->multipart || server->config.body_max <= 0
                             ? -1
                             : server->config.body_max;
    if (!request->answered && request->limit >= 0 && request->length > request->limit) {
        too_large(request, &err);
        http_request_fail(request, &err);
    }
    return leave_head(request);
}

void http_body_limit(struct http_request *request, int64_t max_bytes)
{
    request->limit = max_bytes < 0 ? -1 : max_bytes;
}

void http_body_stream(struct http_request *request, http_chunk_fn on_chunk, void *arg)
{
    request->on_chunk = on_chunk;
    request->chunk_arg = arg;
}

// ── body ─────────────────────────────────────────────────────────────────────────────────────

// Past HTTP_DROP_MAX the answer goes out beside MHD, which takes none in the middle of a body.
static enum MHD_Result drop(struct http_request *request, size_t len)
{
    request->dropped += (int64_t)len;
    if (request->dropped <= (request->server->tls_cert ? HTTP_DROP_TLS : HTTP_DROP_MAX))
        return MHD_YES;
    if (!request->response) {
        http_request_park(request);
        return MHD_YES;
    }
    request->raw_sent = http_linger_answer(request);
    return MHD_NO;
}

static int keep(struct http_request *request, struct str chunk, struct err *err)
{
    struct buf *body = &request->body;
    if (body->len == 0) {
        body->max = request->limit >= 0 ? (size_t)request->limit : SIZE_MAX / 2;
        if (request->length > 0 && request->length > (int64_t)chunk.len)
            buf_reserve(body, request->length < BODY_FIRST ? (size_t)request->length : BODY_FIRST);
    }
    buf_add_str(body, chunk);
    if (!body->over)
        return 0;
    buf_deinit(body);
    return err_set(err, ERR_UNAVAILABLE,
                   "there is no memory for a body of so many bytes now: try again, or send less");
}

static enum MHD_Result on_body(struct http_request *request, const char *data, size_t *size)
{
    if (request->suspended)
        return MHD_YES;  // MHD offers the next piece of its buffer in the same turn
    if (request->paused) {
        suspend(request);
        return MHD_YES;
    }
    struct str chunk = {data, *size};
    struct err err = ERR_INIT;
    *size = 0;
    request->taken += (int64_t)chunk.len;
    if (request->answered || request->ended)
        return drop(request, chunk.len);
    if (request->limit >= 0 && request->taken > request->limit) {
        too_large(request, &err);
        http_request_fail(request, &err);
    } else if (request->multipart) {
        if (http_multipart_take(request->multipart, &chunk, &err) != 0) {
            http_request_fail(request, &err);
        } else if (request->paused) {
            *size = chunk.len;  // MHD offers it again
            request->taken -= (int64_t)chunk.len;
        }
    } else if (request->on_chunk) {
        request->on_chunk(request->chunk_arg, request, chunk);
    } else if (keep(request, chunk, &err) != 0) {
        http_request_fail(request, &err);
    }
    if (request->paused)
        suspend(request);
    return request->gone ? MHD_NO : MHD_YES;
}

// ── end ──────────────────────────────────────────────────────────────────────────────────────

static void call_on_request(struct http_request *request)
{
    struct http_server *server = request->server;
    struct err err = ERR_INIT;
    request->ended = true;
    if (request->multipart && http_multipart_end(request->multipart, &err) != 0) {
        if (!request->answered)
            http_request_fail(request, &err);
        return;
    }
    if (!request->answered)
        server->config.on_request(server->config.owner, request);
}

static enum MHD_Result on_end(struct http_request *request)
{
    if (request->paused) {
        suspend(request);
        return MHD_YES;
    }
    request->phase = HTTP_END;
    if (!request->ended && !request->answered)
        call_on_request(request);
    if (request->gone)
        return MHD_NO;
    if (request->response)
        return http_reply_queue(request);
    if (request->answered)
        return MHD_NO;  // the answer could not be made
    http_request_park(request);
    return MHD_YES;
}

enum MHD_Result http_on_access(void *cls, struct MHD_Connection *mhd, const char *url,
                               const char *method, const char *version, const char *data,
                               size_t *size, void **slot)
{
    (void)mhd, (void)url, (void)version;
    struct http_server *server = cls;
    struct http_request *request = *slot;
    server->seen++;
    if (request->gone)
        return MHD_NO;
    if (!request->head_called)
        return on_head(request, method);
    if (request->phase == HTTP_HEAD)
        return leave_head(request);
    return *size > 0 ? on_body(request, data, size) : on_end(request);
}

void http_request_fail(struct http_request *request, const struct err *err)
{
    struct http_server *server = request->server;
    request->ended = true;
    request->paused = false;
    if (server->config.on_error)
        server->config.on_error(server->config.owner, request, err);
    else
        http_reply_str(request, err_status(err->kind), "text/plain", str_of(err->message));
}

void http_on_completed(void *cls, struct MHD_Connection *mhd, void **slot,
                       enum MHD_RequestTerminationCode why)
{
    (void)mhd;
    struct http_server *server = cls;
    struct http_request *request = *slot;
    server->seen++;
    if (!request)
        return;
    *slot = NULL;
    bool sent = request->raw_sent ||
                (request->queued && why == MHD_REQUEST_TERMINATED_COMPLETED_OK);
    for (struct http_over *over = request->overs; over; over = over->next)
        over->fn(over->arg, sent);
    if (request->response)
        MHD_destroy_response(request->response);
    http_multipart_free(request->multipart);
    list_remove(&request->node);
    list_remove(&request->parked_node);
    if (request->head_called) {
        request->connection->since = uv_now(server->uv);
        list_push_back(&server->waiting, &request->connection->node);
        if (server->stopping)
            shutdown(request->connection->fd, SHUT_RD);
    }
    recycle(server, request);
}

void http_on_over(struct http_request *request, void (*fn)(void *arg, bool sent), void *arg)
{
    struct http_over *over = arena_new_of(request->arena, struct http_over);
    over->fn = fn;
    over->arg = arg;
    *request->overs_end = over;
    request->overs_end = &over->next;
}

// ── what a handler asks ──────────────────────────────────────────────────────────────────────

struct str http_method(const struct http_request *request) { return request->method; }
struct str http_body(const struct http_request *request) { return buf_str(&request->body); }
struct arena *http_arena(struct http_request *request) { return request->arena; }
void *http_data(const struct http_request *request) { return request->data; }
void http_set_data(struct http_request *request, void *data) { request->data = data; }

struct str http_header(const struct http_request *request, const char *name)
{
    const char *value = NULL;
    size_t len = 0;
    if (MHD_lookup_connection_value_n(request->mhd, MHD_HEADER_KIND, name, strlen(name), &value,
                                      &len) != MHD_YES)
        return STR_NONE;
    return (struct str){value ? value : "", len};
}

struct str http_peer(const struct http_request *request)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(
        request->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *peer = info ? info->client_addr : NULL;
    char text[INET6_ADDRSTRLEN] = "";
    if (peer && peer->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)(const void *)peer;
        inet_ntop(AF_INET, &in->sin_addr, text, sizeof(text));
    } else if (peer && peer->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)(const void *)peer;
        inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof(text));
        // An IPv4 client of a socket that serves both families.
        if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr))
            inet_ntop(AF_INET, &in6->sin6_addr.s6_addr[12], text, sizeof(text));
    }
    return arena_copy(request->arena, str_of(text));
}
