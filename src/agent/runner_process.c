// SPDX-License-Identifier: Apache-2.0
#include "agent/runner_process.h"

#include <signal.h>
#include <stdio.h>

#include "agent/child.h"
#include "agent/frame_pipe.h"
#include "base/mem.h"
#include "net/loop.h"

#define LINGER_MS 200  // for frames in the socket after the process's end

struct runner {
    struct runner_config config;
    struct child *child;  // NULL once it has ended
    struct frame_pipe channel;
    struct loop_timer *linger;
    struct output {
        struct lines lines;
        int64_t run;  // whose the line is that has no end yet
    } outputs[2];     // stdout, stderr
    struct output *current;
    int64_t current_run;  // whose bytes they are that are being cut into lines
    bool channel_open, ended;
    int status;
    char broken[200];  // empty: nothing
};

static void free_runner(struct runner *runner)
{
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
static void on_channel_closed(void *arg)
{
    struct runner *runner = arg;
    runner->channel_open = false;
    if (runner->ended)
        tell_end(runner);
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

static void on_breach(void *arg, const char *what)
{
    struct runner *runner = arg;
    snprintf(runner->broken, sizeof(runner->broken), "%.190s", what);
    runner_kill(runner);
}

static void on_frame(void *arg, struct str type, struct json frame)
{
    struct runner *runner = arg;
    runner->config.on_frame(runner->config.arg, type, frame);
}

static bool on_bad_frame(void *arg, struct str text, const char *why)
{
    struct runner *runner = arg;
    return runner->config.on_bad_frame(runner->config.arg, text, why);
}

static void on_channel_end(void *arg)
{
    struct runner *runner = arg;
    // Without the socket it can do nothing more for us.
    runner_kill(runner);
    frame_pipe_close(&runner->channel);
}

static void on_linger(void *arg)
{
    struct runner *runner = arg;
    runner->linger = NULL;
    frame_pipe_close(&runner->channel);
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
    lines_init(&runner->outputs[0].lines, config->line_bytes);
    lines_init(&runner->outputs[1].lines, config->line_bytes);
    struct child_config child = {.loop = config->loop,
                                 .argv = config->argv,
                                 .env = config->env,
                                 .folder = config->folder,
                                 .channel = true,
                                 .nursery = config->nursery,
                                 .on_output = on_output,
                                 .on_exit = on_child_exit,
                                 .arg = runner};
    runner->child = child_start(&child, err);
    if (!runner->child) {
        free_runner(runner);
        return NULL;
    }
    struct frame_pipe_config channel = {.loop = config->loop,
                                        .on_frame = on_frame,
                                        .on_bad_frame = on_bad_frame,
                                        .on_breach = on_breach,
                                        .on_end = on_channel_end,
                                        .on_closed = on_channel_closed,
                                        .arg = runner};
    frame_pipe_open(&runner->channel, &channel, child_take_channel(runner->child));
    runner->channel_open = true;
    runner->config.argv = runner->config.env = NULL;
    runner->config.folder = NULL;
    return runner;
}

struct buf *runner_out(struct runner *runner) { return &runner->channel.out; }

void runner_flush(struct runner *runner) { frame_pipe_flush(&runner->channel); }

int runner_take_nursery(struct runner *runner) { return child_take_nursery(runner->child); }

int runner_pid(const struct runner *runner) { return runner->child ? child_pid(runner->child) : 0; }

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
