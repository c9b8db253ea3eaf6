// SPDX-License-Identifier: Apache-2.0
#include "agent/frame_pipe.h"

#include <stdio.h>
#include <unistd.h>

#include "net/frame.h"
#include "net/loop.h"

#define READ_BYTES (64u << 10)
#define READ_MOST  (1u << 20)
#define OUT_MAX    ((size_t)1 << 30)
#define IN_KEPT    (1u << 20)  // bytes of receive buffer that stay between large frames

static void breach(struct frame_pipe *pipe, const char *what)
{
    if (pipe->breached)
        return;
    pipe->breached = true;
    pipe->config.on_breach(pipe->config.arg, what);
}

static bool take_frame(struct frame_pipe *pipe, struct str text)
{
    struct json frame, type;
    struct err err = ERR_INIT;
    if (json_parse(text, JSON_DEPTH_LIMIT, &frame, &err)) {
        if (pipe->config.on_bad_frame(pipe->config.arg, text, err.message))
            return true;
        char what[160];
        snprintf(what, sizeof(what), "it sent a frame that is not JSON: %.110s", err.message);
        breach(pipe, what);
        return false;
    }
    if (json_get(frame, "t", &type) && json_is(type, JSON_STRING))
        pipe->config.on_frame(pipe->config.arg, (struct str){type.text.at + 1, type.text.len - 2},
                              frame);
    return true;
}

static void take_frames(struct frame_pipe *pipe)
{
    size_t used = 0;
    struct str text;
    struct err err = ERR_INIT;
    int got = 0;
    while (!pipe->breached && (got = frame_next(buf_str(&pipe->in), &used, &text, &err)) == 1)
        if (!take_frame(pipe, text))
            break;
    if (got < 0)
        breach(pipe, err.message);
    buf_drop_front(&pipe->in, used);
    if (pipe->in.len == 0 && pipe->in.cap > IN_KEPT)
        buf_deinit(&pipe->in);
}

static size_t make_room(struct frame_pipe *pipe, char **room)
{
    *room = buf_reserve(&pipe->in, READ_BYTES);
    size_t len = *room ? pipe->in.cap - pipe->in.len : 0;
    return len < READ_MOST ? len : READ_MOST;
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    (void)wanted;
    char *room;
    size_t len = make_room(handle->data, &room);
    *out = uv_buf_init(room, (unsigned)len);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *chunk)
{
    (void)chunk;
    struct frame_pipe *pipe = stream->data;
    if (got > 0) {
        pipe->in.len += (size_t)got;
        take_frames(pipe);
    } else if (got < 0) {
        uv_read_stop(stream);
        pipe->config.on_end(pipe->config.arg);
    }
}

void frame_pipe_open(struct frame_pipe *pipe, const struct frame_pipe_config *config, int fd)
{
    *pipe = (struct frame_pipe){.config = *config,
                                .in = BUF_INIT(FRAME_MAX + 4 + READ_BYTES),
                                .out = BUF_INIT(OUT_MAX),
                                .writing = BUF_INIT(OUT_MAX)};
    uv_pipe_init(loop_uv(config->loop), &pipe->stream, 0);
    pipe->stream.data = pipe;
    uv_pipe_open(&pipe->stream, fd);
    uv_read_start((uv_stream_t *)&pipe->stream, on_alloc, on_read);
}

static void on_written(uv_write_t *write, int status)
{
    struct frame_pipe *pipe = write->data;
    pipe->busy = false;
    buf_deinit(&pipe->writing);
    if (status == 0)
        frame_pipe_flush(pipe);
}

void frame_pipe_flush(struct frame_pipe *pipe)
{
    uv_stream_t *stream = (uv_stream_t *)&pipe->stream;
    if (pipe->busy || pipe->out.len == 0 || uv_is_closing((uv_handle_t *)stream))
        return;
    uv_buf_t whole = uv_buf_init(pipe->out.at, (unsigned)pipe->out.len);
    int put = uv_try_write(stream, &whole, 1);
    if (put == (int)pipe->out.len) {
        buf_clear(&pipe->out);
        return;
    }
    buf_drop_front(&pipe->out, put > 0 ? (size_t)put : 0);
    pipe->writing = buf_take(&pipe->out);
    uv_buf_t rest = uv_buf_init(pipe->writing.at, (unsigned)pipe->writing.len);
    pipe->write.data = pipe;
    pipe->busy = uv_write(&pipe->write, stream, &rest, 1, on_written) == 0;
}

void frame_pipe_drain(struct frame_pipe *pipe)
{
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)&pipe->stream, &fd) != 0)
        return;
    while (!pipe->breached) {
        char *room;
        size_t len = make_room(pipe, &room);
        ssize_t got = len > 0 ? read(fd, room, len) : 0;
        if (got <= 0)
            return;
        pipe->in.len += (size_t)got;
        take_frames(pipe);
    }
}

static void on_closed(uv_handle_t *handle)
{
    struct frame_pipe *pipe = handle->data;
    buf_deinit(&pipe->in);
    buf_deinit(&pipe->out);
    buf_deinit(&pipe->writing);
    pipe->config.on_closed(pipe->config.arg);
}

void frame_pipe_close(struct frame_pipe *pipe)
{
    if (!uv_is_closing((uv_handle_t *)&pipe->stream))
        uv_close((uv_handle_t *)&pipe->stream, on_closed);
}
