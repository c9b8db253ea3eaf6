// SPDX-License-Identifier: Apache-2.0
// A real server on a loop in this thread, and a script of blocking sockets in another. Scripts use
// CHECK, which counts failures: cmocka's assertions may only fail in the thread of the test.
#ifndef DROVER_TESTS_NET_FIXTURE_H
#define DROVER_TESTS_NET_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/arena.h"
#include "net/http_server.h"
#include "net/loop.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                        \
            atomic_fetch_add(&fx->failures, 1);                                                    \
        }                                                                                          \
    } while (0)

struct fixture {
    struct loop *loop;
    struct http_server *server;
    struct http_server_config config;
    char address[256];
    atomic_int failures;
    atomic_int requests, sent, cut;  // on_request calls; ends of requests, both ways
    atomic_int pieces_while_paused;
    int file;     // for /file
    int late_ms;  // of /late; default 5
    void (*script)(struct fixture *fx);
    struct loop_task end;
    pthread_t thread;
};

static inline uint64_t fnv(uint64_t hash, const char *at, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (unsigned char)at[i]) * 0x100000001b3u;
    return hash;
}
#define FNV_START 0xcbf29ce484222325u

// ── handlers ─────────────────────────────────────────────────────────────────────────────────

struct handling {
    struct fixture *fx;
    struct http_request *request;
    struct loop_timer *timer;
    bool pauses, paused;
    int pieces;
    uint64_t hash, len;
    struct buf text;
    char name[128];  // of the part that comes
};

static inline void fx_on_over(void *arg, bool sent)
{
    struct handling *handling = arg;
    loop_timer_cancel(handling->timer);
    buf_deinit(&handling->text);
    atomic_fetch_add(sent ? &handling->fx->sent : &handling->fx->cut, 1);
}

static inline void fx_on_resume(void *arg)
{
    struct handling *handling = arg;
    handling->timer = NULL;
    handling->paused = false;
    http_body_resume(handling->request);
}

static inline void fx_after_piece(struct handling *handling)
{
    if (handling->paused)
        atomic_fetch_add(&handling->fx->pieces_while_paused, 1);
    // Each of the first pieces pauses, then some: a pause takes a millisecond or two.
    if (!handling->pauses || handling->paused ||
        (handling->pieces++ > 30 && handling->pieces % 64 != 0))
        return;
    handling->paused = true;
    http_body_pause(handling->request);
    handling->timer = loop_timer_start(handling->fx->loop, 1, 0, fx_on_resume, handling);
}

static inline void fx_on_chunk(void *arg, struct http_request *request, struct str chunk)
{
    (void)request;
    struct handling *handling = arg;
    handling->hash = fnv(handling->hash, chunk.at, chunk.len);
    handling->len += chunk.len;
    fx_after_piece(handling);
}

static inline void fx_on_chunk_refuse(void *arg, struct http_request *request, struct str chunk)
{
    (void)arg, (void)chunk;
    http_reply_str(request, 507, "text/plain", STR("full"));
}

static inline void fx_end_part(struct handling *handling)
{
    if (handling->name[0])
        buf_printf(&handling->text, "%s %llu %016llx\n", handling->name,
                   (unsigned long long)handling->len, (unsigned long long)handling->hash);
    handling->name[0] = 0;
}

static inline void fx_on_part(void *arg, struct http_request *request, const struct http_part *part,
                              struct str data, uint64_t offset)
{
    (void)request;
    struct handling *handling = arg;
    struct fixture *fx = handling->fx;
    if (offset == 0) {
        fx_end_part(handling);
        snprintf(handling->name, sizeof(handling->name), STR_FMT "|" STR_FMT "|" STR_FMT,
                 STR_ARG(part->name), STR_ARG(part->filename), STR_ARG(part->content_type));
        handling->len = 0;
        handling->hash = FNV_START;
    }
    CHECK(offset == handling->len);
    handling->hash = fnv(handling->hash, data.at, data.len);
    handling->len += data.len;
    fx_after_piece(handling);
}

static inline void fx_reply_late(void *arg)
{
    struct handling *handling = arg;
    handling->timer = NULL;
    http_reply_str(handling->request, 403, "text/plain", STR("late"));
}

static inline void fx_reply_err(struct http_request *request, const struct err *err)
{
    http_reply_str(request, err_status(err->kind), "text/plain", str_of(err->message));
}

static inline void fx_on_error(void *owner, struct http_request *request, const struct err *err)
{
    (void)owner;
    fx_reply_err(request, err);
}

static inline void fx_on_header(void *owner, struct http_request *request)
{
    struct fixture *fx = owner;
    struct handling *handling = arena_new_of(http_arena(request), struct handling);
    struct err err = ERR_INIT;
    struct str path = http_path(request);
    handling->fx = fx;
    handling->request = request;
    handling->hash = FNV_START;
    handling->text = BUF_INIT(1 << 20);
    handling->pauses = http_query(request, "pause").at != NULL;
    http_set_data(request, handling);
    http_on_over(request, fx_on_over, handling);
    if (str_is(path, "/stream"))
        http_body_stream(request, fx_on_chunk, handling);
    else if (str_is(path, "/midway"))
        http_body_stream(request, fx_on_chunk_refuse, handling);
    else if (str_is(path, "/part")) {
        if (http_body_multipart(request, fx_on_part, handling, &err) != 0)
            fx_reply_err(request, &err);
    } else if (str_is(path, "/refuse")) {
        http_reply_header(request, "www-authenticate", STR("Bearer"));
        http_reply_str(request, 401, "text/plain", STR("who are you?"));
    } else if (str_is(path, "/limit"))
        http_body_limit(request, 10);
    else if (str_is(path, "/refuse-late")) {
        http_body_pause(request);
        handling->timer = loop_timer_start(fx->loop, 5, 0, fx_reply_late, handling);
    }
}

static inline void fx_reply_seen(struct http_request *request)
{
    struct buf text = BUF_INIT(1 << 20);
    size_t cursor = 0;
    struct str name, value;
    buf_printf(&text, STR_FMT " " STR_FMT " " STR_FMT " peer=" STR_FMT,
               STR_ARG(http_method(request)), STR_ARG(http_path(request)),
               STR_ARG(http_raw_path(request)), STR_ARG(http_peer(request)));
    while (http_query_each(request, &cursor, &name, &value))
        buf_printf(&text, " [" STR_FMT "]=[" STR_FMT "]", STR_ARG(name), STR_ARG(value));
    http_reply(request, 200, "text/plain", text);
}

static inline void fx_on_request(void *owner, struct http_request *request)
{
    struct fixture *fx = owner;
    struct handling *handling = http_data(request);
    struct str path = http_path(request);
    atomic_fetch_add(&fx->requests, 1);
    if (str_is(path, "/park"))
        return;
    if (str_is(path, "/late")) {
        int64_t wait = fx->late_ms ? fx->late_ms : 5;
        handling->timer = loop_timer_start(fx->loop, wait, 0, fx_reply_late, handling);
    } else if (str_is(path, "/stream")) {
        buf_printf(&handling->text, "%llu %016llx", (unsigned long long)handling->len,
                   (unsigned long long)handling->hash);
        http_reply(request, 200, "text/plain", buf_take(&handling->text));
    } else if (str_is(path, "/part")) {
        fx_end_part(handling);
        http_reply(request, 200, "text/plain", buf_take(&handling->text));
    } else if (str_is(path, "/file")) {
        http_reply_fd(request, 206, "application/octet-stream", dup(fx->file), 5, 100000);
    } else if (str_is(path, "/echo") || str_is(path, "/limit")) {
        http_reply_str(request, 200, "text/plain", http_body(request));
    } else {
        fx_reply_seen(request);
    }
}

// ── running a script ─────────────────────────────────────────────────────────────────────────

static inline void fx_on_stopped(void *arg)
{
    struct fixture *fx = arg;
    fx->server = NULL;
    loop_stop(fx->loop);
}

static inline void fx_on_end(void *arg)
{
    struct fixture *fx = arg;
    http_server_stop(fx->server, 100, fx_on_stopped, fx);
}

static inline void *fx_thread(void *arg)
{
    struct fixture *fx = arg;
    fx->script(fx);
    fx->end = (struct loop_task){.fn = fx_on_end, .arg = fx};
    loop_post(fx->loop, &fx->end);
    return NULL;
}

static inline void fx_open(struct fixture *fx)
{
    struct err err = ERR_INIT;
    fx->loop = loop_new();
    fx->config.owner = fx;
    fx->config.on_header = fx_on_header;
    fx->config.on_request = fx_on_request;
    fx->config.on_error = fx_on_error;
    fx->config.body_option = "--max-body";
    if (!fx->config.listen)
        fx->config.listen = "127.0.0.1:0";
    if (!fx->config.body_max)
        fx->config.body_max = 4 << 20;
    if (!fx->config.connections_max)
        fx->config.connections_max = 1000;
    if (!fx->config.idle_ms)
        fx->config.idle_ms = 20000;
    fx->server = http_server_start(fx->loop, &fx->config, &err);
    if (!fx->server)
        fail_msg("%s", err.message);
    http_server_address(fx->server, fx->address, sizeof(fx->address));
}

static inline void fx_run(struct fixture *fx, void (*script)(struct fixture *fx))
{
    fx_open(fx);
    fx->script = script;
    assert_int_equal(pthread_create(&fx->thread, NULL, fx_thread, fx), 0);
    loop_run(fx->loop);
    pthread_join(fx->thread, NULL);
    assert_null(fx->server);
    loop_free(fx->loop);
    assert_int_equal(atomic_load(&fx->failures), 0);
}

// ── the client side ──────────────────────────────────────────────────────────────────────────

static inline int fx_connect(struct fixture *fx)
{
    int fd;
    if (strncmp(fx->address, "unix:", 5) == 0) {
        struct sockaddr_un where = {.sun_family = AF_UNIX};
        snprintf(where.sun_path, sizeof(where.sun_path), "%s", fx->address + 5);
        fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(connect(fd, (struct sockaddr *)&where, sizeof(where)) == 0);
    } else {
        struct sockaddr_in where = {.sin_family = AF_INET};
        where.sin_port = htons((uint16_t)strtol(strrchr(fx->address, ':') + 1, NULL, 10));
        where.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        CHECK(connect(fd, (struct sockaddr *)&where, sizeof(where)) == 0);
    }
    struct timeval limit = {.tv_sec = 20};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    return fd;
}

static inline bool fx_send(int fd, const char *at, size_t len)
{
    while (len > 0) {
        ssize_t put = send(fd, at, len, MSG_NOSIGNAL);
        if (put <= 0)
            return false;
        at += put;
        len -= (size_t)put;
    }
    return true;
}
static inline bool fx_send_text(int fd, const char *text)
{
    return fx_send(fd, text, strlen(text));
}

struct answer {
    int status;  // 0: none came
    char head[4096];
    struct buf body;
};

// Reads one answer: its head, then Content-Length bytes (none when `head_only`).
static inline void fx_receive(int fd, bool head_only, struct answer *answer)
{
    size_t len = 0;
    buf_deinit(&answer->body);
    *answer = (struct answer){.body = BUF_INIT(1 << 30)};
    while (len < sizeof(answer->head) - 1) {
        if (recv(fd, answer->head + len, 1, 0) != 1)
            return;
        answer->head[++len] = 0;
        if (len >= 4 && memcmp(answer->head + len - 4, "\r\n\r\n", 4) == 0)
            break;
    }
    answer->status = (int)strtol(answer->head + 9, NULL, 10);
    const char *field = strcasestr(answer->head, "content-length:");
    size_t left = field && !head_only ? strtoul(field + 15, NULL, 10) : 0;
    while (left > 0) {
        char piece[65536];
        ssize_t got = recv(fd, piece, left < sizeof(piece) ? left : sizeof(piece), 0);
        if (got <= 0)
            break;
        buf_add(&answer->body, piece, (size_t)got);
        left -= (size_t)got;
    }
}

// True when the peer has closed: nothing more comes.
static inline bool fx_closed(int fd)
{
    char c;
    ssize_t got = recv(fd, &c, 1, 0);
    return got == 0 || (got < 0 && errno == ECONNRESET);
}

// One request on a connection of its own.
static inline void fx_ask(struct fixture *fx, const char *request, struct answer *answer)
{
    int fd = fx_connect(fx);
    CHECK(fx_send_text(fd, request));
    fx_receive(fd, false, answer);
    close(fd);
}

#endif
