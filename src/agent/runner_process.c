// SPDX-License-Identifier: Apache-2.0
#include "agent/runner_process.h"

#include <signal.h>
#include <stdio.h>
#include <uv.h>

#include "agent/child.h"
#include "base/mem.h"
#include "net/frame.h"
#include "net/loop.h"

#define READ_BYTES (64u << 10)
#define OUT_MAX    ((size_t)1 << 30)
#define LINGER_MS  200         // for frames in the socket after the process's end
#define IN_KEPT    (1u << 20)  // bytes of receive buffer that stay between large frames

struct runner {
    struct runner_config config;
    struct child *child;  // NULL once it has ended
    uv_pipe_t channel;
    uv_write_t write;
    struct loop_timer *linger;
    struct buf in, out, writing;
    struct output {
        struct lines lines;
        int64_t run;  // whose the line is that has no end yet
    } outputs[2];     // stdout, stderr
    struct output *current;
    int64_t current_run;  // whose bytes they are that are being cut into lines
    bool busy, channel_open, ended;
    int status;
    char broken[200];  // empty: nothing
};

static void free_runner(struct runner *runner)
{
    buf_deinit(&runner->in);
    buf_deinit(&runner->out);
    buf_deinit(&runner->writing);
    lines_deinit(&runner->outputs[0].lines);
    lines_deinit(&runner->outputs[1].lines);
    mem_free(runner);
}

static void tell_end(struct runner *runner)
{
    loop_timer_cancel(runner->linger);
    runner->config.on_exit(runner->config.arg, runner->status,
                           runner->broken[0] ? runner->broken : NULL);
    free_runner(runner);
}

// The end is told when the process has ended and the last frame was read.
static void on_channel_closed(uv_handle_t *handle)
{
    struct runner *runner = handle->data;
    runner->channel_open = false;
    if (runner->ended)
        tell_end(runner);
}

static void close_channel(struct runner *runner)
{
    if (!uv_is_closing((uv_handle_t *)&runner->channel))
        uv_close((uv_handle_t *)&runner->channel, on_channel_closed);
}

static void on_line(void *arg, struct str line)
{
    struct runner *runner = arg;
    struct output *output = runner->current;
    int64_t run = output->run;
    output->run = runner->current_run;
    runner->config.on_line(runner->config.arg, line, output == &runner->outputs[1], run);
}

static void on_output(void *arg, struct str bytes, bool from_stderr)
{
    struct runner *runner = arg;
    struct output *output = runner->current = &runner->outputs[from_stderr];
    runner->current_run = runner->config.whose(runner->config.arg);
    if (output->lines.part.len == 0)
        output->run = runner->current_run;
    else if (output->run != runner->current_run)
        output->run = 0;
    lines_feed(&output->lines, bytes, on_line, runner);
}

static void end_line(struct runner *runner, struct output *output)
{
    runner->current = output;
    runner->current_run = 0;
    lines_end(&output->lines, on_line, runner);
}

void runner_end_output(struct runner *runner, int64_t run, bool alone)
{
    if (runner->child)
        child_drain(runner->child);
    for (int i = 0; i < 2; i++)
        if (alone || (run != 0 && runner->outputs[i].run == run))
            end_line(runner, &runner->outputs[i]);
}

static void breach(struct runner *runner, const char *what)
{
    if (runner->broken[0])
        return;
    snprintf(runner->broken, sizeof(runner->broken), "%.190s", what);
    runner_kill(runner);
}

static bool take_frame(struct runner *runner, struct str text)
{
    struct json frame, type;
    struct err err = ERR_INIT;
    if (json_parse(text, JSON_DEPTH_LIMIT, &frame, &err)) {
        if (runner->config.on_bad_frame(runner->config.arg, text, err.message))
            return true;
        char what[160];
        snprintf(what, sizeof(what), "it sent a frame that is not JSON: %.110s", err.message);
        breach(runner, what);
        return false;
    }
    if (json_get(frame, "t", &type) && json_is(type, JSON_STRING))
        runner->config.on_frame(runner->config.arg,
                                (struct str){type.text.at + 1, type.text.len - 2}, frame);
    return true;
}

static void take_frames(struct runner *runner)
{
    size_t used = 0;
    struct str text;
    struct err err = ERR_INIT;
    int got = 0;
    while (!runner->broken[0] && (got = frame_next(buf_str(&runner->in), &used, &text, &err)) == 1)
        if (!take_frame(runner, text))
            break;
    if (got < 0)
        breach(runner, err.message);
    buf_drop_front(&runner->in, used);
    if (runner->in.len == 0 && runner->in.cap > IN_KEPT)
        buf_deinit(&runner->in);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    (void)wanted;
    struct runner *runner = handle->data;
    char *room = buf_reserve(&runner->in, READ_BYTES);
    size_t len = room ? runner->in.cap - runner->in.len : 0;
    *out = uv_buf_init(room, (unsigned)(len < (1u << 20) ? len : 1u << 20));
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *chunk)
{
    (void)chunk;
    struct runner *runner = stream->data;
    if (got > 0) {
        runner->in.len += (size_t)got;
        take_frames(runner);
    } else if (got < 0) {
        // Without the socket it can do nothing more for us.
        runner_kill(runner);
        close_channel(runner);
    }
}

static void on_linger(void *arg)
{
    struct runner *runner = arg;
    runner->linger = NULL;
    close_channel(runner);
}

static void on_child_exit(void *arg, int status)
{
    struct runner *runner = arg;
    end_line(runner, &runner->outputs[0]);
    end_line(runner, &runner->outputs[1]);
    runner->child = NULL;
    runner->status = status;
    runner->ended = true;
    if (!runner->channel_open)
        tell_end(runner);
    else  // the socket's end is near, but for copies of it that left the process group
        runner->linger = loop_timer_start(runner->config.loop, LINGER_MS, 0, on_linger, runner);
}

struct runner *runner_start(const struct runner_config *config, struct err *err)
{
    struct runner *runner = mem_alloc(sizeof(*runner));
    runner->config = *config;
    runner->in = BUF_INIT(FRAME_MAX + 4 + READ_BYTES);
    runner->out = BUF_INIT(OUT_MAX);
    runner->writing = BUF_INIT(OUT_MAX);
    lines_init(&runner->outputs[0].lines, config->line_bytes);
    lines_init(&runner->outputs[1].lines, config->line_bytes);
    struct child_config child = {.loop = config->loop,
                                 .argv = config->argv,
                                 .env = config->env,
                                 .folder = config->folder,
                                 .channel = true,
                                 .on_output = on_output,
                                 .on_exit = on_child_exit,
                                 .arg = runner};
    runner->child = child_start(&child, err);
    if (!runner->child) {
        free_runner(runner);
        return NULL;
    }
    uv_pipe_init(loop_uv(config->loop), &runner->channel, 0);
    runner->channel.data = runner;
    runner->channel_open = true;
    uv_pipe_open(&runner->channel, child_take_channel(runner->child));
    uv_read_start((uv_stream_t *)&runner->channel, on_alloc, on_read);
    runner->config.argv = runner->config.env = NULL;
    runner->config.folder = NULL;
    return runner;
}

struct buf *runner_out(struct runner *runner) { return &runner->out; }

static void on_written(uv_write_t *write, int status)
{
    struct runner *runner = write->data;
    runner->busy = false;
    buf_deinit(&runner->writing);
    if (status == 0)
        runner_flush(runner);
}

void runner_flush(struct runner *runner)
{
    uv_stream_t *stream = (uv_stream_t *)&runner->channel;
    if (runner->busy || runner->out.len == 0 || uv_is_closing((uv_handle_t *)stream))
        return;
    uv_buf_t whole = uv_buf_init(runner->out.at, (unsigned)runner->out.len);
    int put = uv_try_write(stream, &whole, 1);
    if (put == (int)runner->out.len) {
        buf_clear(&runner->out);
        return;
    }
    buf_drop_front(&runner->out, put > 0 ? (size_t)put : 0);
    runner->writing = buf_take(&runner->out);
    uv_buf_t rest = uv_buf_init(runner->writing.at, (unsigned)runner->writing.len);
    runner->write.data = runner;
    runner->busy = uv_write(&runner->write, stream, &rest, 1, on_written) == 0;
}

void runner_pause_output(struct runner *runner, bool paused)
{
    if (runner->child)
        child_pause(runner->child, paused);
}

void runner_kill(struct runner *runner)
{
    if (runner->child)
        child_signal(runner->child, SIGKILL);
}
