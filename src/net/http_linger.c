// SPDX-License-Identifier: Apache-2.0
// Refused clients that are still sending. Closing a socket with unread bytes makes the kernel send
// a reset, which can throw away the answer on the client's side. So the descriptor is doubled
// before libmicrohttpd closes its own, and what still comes is read and dropped for a while.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/http_internal.h"

struct slow_close {
    struct list node;
    struct http_server *server;
    uv_poll_t poll;
    uv_timer_t timer;
    int fd;
    int handles;
};

static void on_closed(uv_handle_t *handle)
{
    struct slow_close *linger = handle->data;
    if (--linger->handles > 0)
        return;
    close(linger->fd);
    mem_free(linger);
}

static void end(struct slow_close *linger)
{
    if (uv_is_closing((uv_handle_t *)&linger->timer))
        return;
    list_remove(&linger->node);
    linger->server->linger_count--;
    uv_close((uv_handle_t *)&linger->poll, on_closed);
    uv_close((uv_handle_t *)&linger->timer, on_closed);
}

static void on_timer(uv_timer_t *handle) { end(handle->data); }

static void on_readable(uv_poll_t *handle, int status, int events)
{
    (void)events;
    struct slow_close *linger = handle->data;
    char dropped[16 << 10];
    ssize_t got = status < 0 ? 0 : recv(linger->fd, dropped, sizeof(dropped), MSG_DONTWAIT);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        end(linger);
}

void http_linger(struct http_request *request)
{
    struct http_server *server = request->server;
    if (server->linger_count >= HTTP_LINGER_MAX)
        return;
    int fd = fcntl(request->connection->fd, F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return;
    struct slow_close *linger = mem_alloc(sizeof(*linger));
    linger->server = server;
    linger->fd = fd;
    linger->poll.data = linger->timer.data = linger;
    if (uv_poll_init(server->uv, &linger->poll, fd) != 0) {
        close(fd);
        mem_free(linger);
        return;
    }
    uv_timer_init(server->uv, &linger->timer);
    linger->handles = 2;
    list_push_back(&server->lingers, &linger->node);
    server->linger_count++;
    uv_poll_start(&linger->poll, UV_READABLE, on_readable);
    uv_timer_start(&linger->timer, on_timer, HTTP_LINGER_MS, 0);
}

void http_linger_stop(struct http_server *server)
{
    list_each (&server->lingers, it, next)
        end(list_entry(it, struct slow_close, node));
}

// Answers in the middle of a body, where libmicrohttpd takes no response. Nothing of an answer was
// sent yet, so a whole one may be written to the socket; the connection is closed after it. Not
// under TLS (the session is libmicrohttpd's) and not from a file: such clients are only cut off.
bool http_linger_answer(struct http_request *request)
{
    if (request->server->tls_cert)
        return false;
    char head[512];
    bool head_only = str_is(request->method, "HEAD");
    int len = snprintf(head, sizeof(head),
                       "HTTP/1.1 %d Refused\r\nConnection: close\r\nContent-Type: %.200s\r\n"
                       "Content-Length: %zu\r\n\r\n",
                       request->status, request->raw_type ? request->raw_type : "text/plain",
                       request->raw_body.len);
    struct iovec parts[2] = {{head, (size_t)len},
                             {(void *)request->raw_body.at, request->raw_body.len}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = head_only ? 1 : 2};
    size_t want = (size_t)len + (head_only ? 0 : request->raw_body.len);
    ssize_t sent = sendmsg(request->connection->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    http_linger(request);
    return sent == (ssize_t)want;
}
