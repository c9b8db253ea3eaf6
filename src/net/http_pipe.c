// SPDX-License-Identifier: Apache-2.0
// Answers that are still being made: their bytes come out of a pipe that another thread fills.
// While it is empty the connection is suspended, and a libuv handle watches the pipe.
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/http_internal.h"

#define BLOCK_BYTES (256 << 10)

struct http_pipe {
    struct http_request *request;  // NULL: over
    uv_poll_t poll;
    int fd;
    const atomic_bool *broken;
};

static void on_readable(uv_poll_t *poll, int status, int events)
{
    (void)status, (void)events;
    struct http_pipe *pipe = poll->data;
    uv_poll_stop(poll);
    if (pipe->request)
        http_request_resume(pipe->request);
}

static ssize_t on_want(void *cls, uint64_t position, char *out, size_t max)
{
    (void)position;
    struct http_pipe *pipe = cls;
    if (!pipe->request)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    ssize_t got;
    do
        got = read(pipe->fd, out, max);
    while (got < 0 && errno == EINTR);
    if (got > 0)
        return got;
    if (got == 0)
        return atomic_load(pipe->broken) ? MHD_CONTENT_READER_END_WITH_ERROR
                                         : MHD_CONTENT_READER_END_OF_STREAM;
    if (errno != EAGAIN || pipe->request->gone)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    http_request_park(pipe->request);
    uv_poll_start(&pipe->poll, UV_READABLE | UV_DISCONNECT, on_readable);
    return 0;
}

static void on_closed(uv_handle_t *handle)
{
    struct http_pipe *pipe = handle->data;
    close(pipe->fd);
    mem_free(pipe);
}

static void on_over(void *arg, bool sent)
{
    (void)sent;
    struct http_pipe *pipe = arg;
    pipe->request = NULL;
    uv_poll_stop(&pipe->poll);
}

// MHD is through with the response, which may be after the request's end.
static void on_free(void *cls)
{
    struct http_pipe *pipe = cls;
    pipe->request = NULL;
    uv_close((uv_handle_t *)&pipe->poll, on_closed);
}

void http_reply_pipe(struct http_request *request, int status, const char *content_type, int fd,
                     const atomic_bool *broken)
{
    if (!http_answer_allowed(request)) {
        close(fd);
        return;
    }
    struct http_pipe *pipe = mem_alloc(sizeof(*pipe));
    *pipe = (struct http_pipe){.request = request, .fd = fd, .broken = broken};
    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
    uv_poll_init(request->server->uv, &pipe->poll, fd);
    pipe->poll.data = pipe;
    struct MHD_Response *response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES,
                                                                      on_want, pipe, on_free);
    if (response)
        http_on_over(request, on_over, pipe);
    else
        on_free(pipe);
    http_answer(request, status, content_type, response);
}
