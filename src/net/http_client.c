// SPDX-License-Identifier: Apache-2.0
// libcurl's multi interface on the loop: curl says which sockets to watch and when to be woken, we
// tell it what happened. Callbacks of ours never run within one of curl's.
#include "net/http_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>
#include <unistd.h>
#include <uv.h>

#include "base/list.h"
#include "base/mem.h"
#include "net/http_internal.h"
#include "net/loop.h"

#define SPARES_MAX 32
#define BODY_MAX   (64 << 20)
#define CONNECT_MS 5000

struct http_client {
    uv_loop_t *uv;
    CURLM *multi;
    uv_timer_t timer;
    char *origin;       // what paths are appended to
    char *unix_path;    // NULL on TCP
    char *unix_name;    // by which the kernel finds it; unix_path when there is no better one
    int unix_folder;    // open while unix_name is used; -1
    char *bearer_line;  // "authorization: Bearer …"; NULL: none
    char *ca_file;
    int64_t connect_ms, body_max;
    struct list calls;         // struct http_call that run
    CURL *spares[SPARES_MAX];  // handles for reuse
    int spare_count;
    int sockets;  // struct watched not yet closed
    bool timer_open;
    int depth;  // of our calls into curl and of callbacks: freeing waits for 0
    bool freeing;
};

struct watched {  // one socket of curl's
    uv_poll_t poll;
    struct http_client *client;
    curl_socket_t fd;
};

struct http_call {
    struct list node;
    struct http_client *client;
    CURL *easy;
    struct curl_slist *headers;
    struct buf body;    // sent
    struct buf answer;  // received
    int to_fd;
    bool over;        // the answer is over body_max
    int write_errno;  // of to_fd
    char error[CURL_ERROR_SIZE];
    void (*on_done)(void *arg, const struct http_answer *answer);
    void *arg;
};

static void collect(struct http_client *client);
static void release(struct http_client *client);

// ── curl's sockets and timer ─────────────────────────────────────────────────────────────────

static void enter(struct http_client *client) { client->depth++; }

static void leave(struct http_client *client)
{
    if (--client->depth == 0 && client->freeing)
        release(client);
}

static void on_watched_closed(uv_handle_t *handle)
{
    struct watched *watched = handle->data;
    struct http_client *client = watched->client;
    mem_free(watched);
    client->sockets--;
    if (client->freeing && client->depth == 0)
        release(client);
}

static void on_socket(uv_poll_t *poll, int status, int events)
{
    struct watched *watched = poll->data;
    struct http_client *client = watched->client;
    int what = status < 0 ? CURL_CSELECT_ERR : 0;
    what |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
    what |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
    int running = 0;
    enter(client);
    curl_multi_socket_action(client->multi, watched->fd, what, &running);
    collect(client);
    leave(client);
}

static int on_curl_socket(CURL *easy, curl_socket_t fd, int what, void *cls, void *slot)
{
    (void)easy;
    struct http_client *client = cls;
    struct watched *watched = slot;
    if (what == CURL_POLL_REMOVE) {
        if (watched) {
            curl_multi_assign(client->multi, fd, NULL);
            uv_poll_stop(&watched->poll);
            uv_close((uv_handle_t *)&watched->poll, on_watched_closed);
        }
        return 0;
    }
    if (!watched) {
        watched = mem_alloc(sizeof(*watched));
        watched->client = client;
        watched->fd = fd;
        if (uv_poll_init_socket(client->uv, &watched->poll, fd) != 0) {
            mem_free(watched);
            return -1;
        }
        watched->poll.data = watched;
        client->sockets++;
        curl_multi_assign(client->multi, fd, watched);
    }
    int events = (what & CURL_POLL_IN ? UV_READABLE : 0) | (what & CURL_POLL_OUT ? UV_WRITABLE : 0);
    uv_poll_start(&watched->poll, events, on_socket);
    return 0;
}

static void on_timer(uv_timer_t *handle)
{
    struct http_client *client = handle->data;
    int running = 0;
    enter(client);
    curl_multi_socket_action(client->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    collect(client);
    leave(client);
}

static int on_curl_timer(CURLM *multi, long wait_ms, void *cls)
{
    (void)multi;
    struct http_client *client = cls;
    if (wait_ms < 0)
        uv_timer_stop(&client->timer);
    else
        uv_timer_start(&client->timer, on_timer, (uint64_t)wait_ms, 0);
    return 0;
}

// ── the end of a call ────────────────────────────────────────────────────────────────────────

// Takes the call out of curl and gives its handle back; the call itself stays.
static void detach(struct http_call *call)
{
    struct http_client *client = call->client;
    list_remove(&call->node);
    curl_multi_remove_handle(client->multi, call->easy);
    if (client->spare_count < SPARES_MAX && !client->freeing) {
        curl_easy_reset(call->easy);
        client->spares[client->spare_count++] = call->easy;
    } else {
        curl_easy_cleanup(call->easy);
    }
    curl_slist_free_all(call->headers);
}

static void free_call(struct http_call *call)
{
    buf_deinit(&call->body);
    buf_deinit(&call->answer);
    mem_free(call);
}

static void explain(const struct http_call *call, CURLcode code, struct err *err)
{
    const struct http_client *client = call->client;
    const char *where = client->unix_path ? client->unix_path : client->origin;
    const char *why = call->error[0] ? call->error : curl_easy_strerror(code);
    if (call->over)
        err_set(err, ERR_TOO_LARGE, "the answer of %s is over %lld bytes", where,
                (long long)client->body_max);
    else if (call->write_errno)
        err_errno(err, ERR_INTERNAL, call->write_errno, "cannot store the answer of %s", where);
    else if (code == CURLE_OPERATION_TIMEDOUT)
        err_set(err, ERR_TIMEOUT, "no answer of %s: %s", where, why);
    else
        err_set(err, ERR_UNAVAILABLE, "no answer of %s: %s", where, why);
}

static void complete(struct http_call *call, CURLcode code)
{
    struct http_answer answer = {.body = STR("")};
    long status = 0;
    if (code == CURLE_OK)
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status == 0)
        explain(call, code, &answer.err);
    answer.status = (int)status;
    detach(call);
    if (status != 0)
        answer.body = buf_str(&call->answer);
    if (call->on_done)
        call->on_done(call->arg, &answer);
    free_call(call);
}

// on_done may send, cancel, or free the client: each round asks curl anew.
static void collect(struct http_client *client)
{
    CURLMsg *message;
    int left;
    while (!client->freeing && (message = curl_multi_info_read(client->multi, &left))) {
        if (message->msg != CURLMSG_DONE)
            continue;
        struct http_call *call = NULL;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        complete(call, message->data.result);
    }
}

// ── sending ──────────────────────────────────────────────────────────────────────────────────

static bool write_all(struct http_call *call, const char *at, size_t len)
{
    while (len > 0) {
        ssize_t put = write(call->to_fd, at, len);
        if (put < 0 && errno == EINTR)
            continue;
        if (put < 0) {
            call->write_errno = errno;
            return false;
        }
        at += put;
        len -= (size_t)put;
    }
    return true;
}

static size_t on_data(char *at, size_t size, size_t count, void *cls)
{
    struct http_call *call = cls;
    size_t len = size * count;
    long status = 0;
    if (call->to_fd >= 0)
        curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status >= 200 && status < 300)
        return write_all(call, at, len) ? len : 0;
    buf_add(&call->answer, at, len);
    call->over = call->answer.over;
    return call->over ? 0 : len;
}

static void set_body(struct http_call *call, const struct http_call_config *config)
{
    CURL *easy = call->easy;
    const char *method = config->method ? config->method : "GET";
    bool post = strcmp(method, "POST") == 0;
    if (strcmp(method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (call->body.len > 0 || post || strcmp(method, "PUT") == 0 ||
               strcmp(method, "PATCH") == 0) {
        curl_easy_setopt(easy, CURLOPT_POST, 1L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.len);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, call->body.at ? call->body.at : "");
        if (!post)
            curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
        char line[256];
        snprintf(line, sizeof(line), "content-type: %s",
                 config->content_type ? config->content_type : "application/json");
        call->headers = curl_slist_append(call->headers, line);
        // Without the wait for "100 Continue" that curl would put before larger bodies.
        call->headers = curl_slist_append(call->headers, "expect:");
    } else if (strcmp(method, "GET") != 0) {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, method);
    }
}

static void set_connection(struct http_call *call, const struct http_call_config *config)
{
    struct http_client *client = call->client;
    CURL *easy = call->easy;
    _cleanup_buf_ struct buf url = BUF_INIT(SIZE_MAX / 2);
    buf_add_cstr(&url, client->origin);
    buf_add(&url, config->path, strlen(config->path) + 1);
    curl_easy_setopt(easy, CURLOPT_URL, url.at);
    if (client->unix_path)
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, client->unix_name);
    if (client->ca_file)
        curl_easy_setopt(easy, CURLOPT_CAINFO, client->ca_file);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)client->connect_ms);
    if (config->timeout_ms > 0)
        curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)config->timeout_ms);
}

struct http_call *http_client_send(struct http_client *client,
                                   const struct http_call_config *config)
{
    struct http_call *call = mem_alloc(sizeof(*call));
    call->client = client;
    call->body = config->body;
    call->answer = BUF_INIT((size_t)client->body_max);
    call->to_fd = config->to_fd;
    call->on_done = config->on_done;
    call->arg = config->arg;
    call->easy = client->spare_count > 0 ? client->spares[--client->spare_count] : curl_easy_init();
    if (!call->easy) {
        fprintf(stderr, "drover: out of memory making a request\n");
        abort();
    }
    curl_easy_setopt(call->easy, CURLOPT_PRIVATE, call);
    curl_easy_setopt(call->easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(call->easy, CURLOPT_WRITEFUNCTION, on_data);
    curl_easy_setopt(call->easy, CURLOPT_WRITEDATA, call);
    set_connection(call, config);
    set_body(call, config);
    for (const char *const *line = config->headers; line && *line; line++)
        call->headers = curl_slist_append(call->headers, *line);
    if (client->bearer_line)
        call->headers = curl_slist_append(call->headers, client->bearer_line);
    if (call->headers)
        curl_easy_setopt(call->easy, CURLOPT_HTTPHEADER, call->headers);
    list_push_back(&client->calls, &call->node);
    // Starts a timer of 0 ms: on_done never runs within this call.
    curl_multi_add_handle(client->multi, call->easy);
    return call;
}

void http_call_cancel(struct http_call *call)
{
    if (!call)
        return;
    struct http_client *client = call->client;
    enter(client);
    detach(call);
    free_call(call);
    leave(client);
}

// ── the client ───────────────────────────────────────────────────────────────────────────────

struct http_client *http_client_new(struct loop *loop, const struct http_client_config *config)
{
    struct http_client *client = mem_alloc(sizeof(*client));
    client->uv = loop_uv(loop);
    client->unix_folder = -1;
    list_init(&client->calls);
    client->connect_ms = config->connect_ms > 0 ? config->connect_ms : CONNECT_MS;
    client->body_max = config->body_max > 0 ? config->body_max : BODY_MAX;
    const char *url = config->base_url;
    if (strncmp(url, "unix:", 5) == 0) {
        char name[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
        struct err err = ERR_INIT;
        client->unix_path = mem_copy(url + 5, strlen(url + 5));
        // A name that cannot be had is what the first call fails with.
        const char *use = http_unix_name(url + 5, name, sizeof(name), &client->unix_folder, &err)
                              ? client->unix_path
                              : name;
        client->unix_name = mem_copy(use, strlen(use));
        url = "http://localhost";
    }
    size_t len = strlen(url);
    while (len > 0 && url[len - 1] == '/')
        len--;
    client->origin = mem_copy(url, len);
    if (config->bearer) {
        struct buf line = BUF_INIT(64 << 10);
        buf_add_cstr(&line, "authorization: Bearer ");
        buf_add_cstr(&line, config->bearer);
        client->bearer_line = mem_copy(line.at, line.len);
        buf_deinit(&line);
    }
    if (config->ca_file)
        client->ca_file = mem_copy(config->ca_file, strlen(config->ca_file));
    curl_global_init(CURL_GLOBAL_DEFAULT);
    client->multi = curl_multi_init();
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_curl_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_curl_timer);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    uv_timer_init(client->uv, &client->timer);
    client->timer.data = client;
    client->timer_open = true;
    return client;
}

static void on_client_timer_closed(uv_handle_t *handle)
{
    struct http_client *client = handle->data;
    client->timer_open = false;
    if (client->depth == 0)
        release(client);
}

// Runs until nothing is left: first with depth 0, then with each handle that closed.
static void release(struct http_client *client)
{
    if (client->multi) {
        for (int i = 0; i < client->spare_count; i++)
            curl_easy_cleanup(client->spares[i]);
        client->spare_count = 0;
        curl_multi_cleanup(client->multi);
        client->multi = NULL;
        uv_close((uv_handle_t *)&client->timer, on_client_timer_closed);
    }
    if (client->sockets > 0 || client->timer_open)
        return;
    mem_free(client->origin);
    mem_free(client->unix_path);
    mem_free(client->unix_name);
    if (client->unix_folder >= 0)
        close(client->unix_folder);
    mem_free(client->bearer_line);
    mem_free(client->ca_file);
    mem_free(client);
    curl_global_cleanup();
}

void http_client_free(struct http_client *client)
{
    if (!client || client->freeing)
        return;
    enter(client);
    client->freeing = true;
    struct list *node;
    while ((node = client->calls.next) != &client->calls) {
        struct http_call *call = list_entry(node, struct http_call, node);
        struct http_answer answer = {.body = STR("")};
        err_set(&answer.err, ERR_UNAVAILABLE, "the connection to %s was closed on our side",
                client->unix_path ? client->unix_path : client->origin);
        detach(call);
        if (call->on_done)
            call->on_done(call->arg, &answer);
        free_call(call);
    }
    leave(client);
}
