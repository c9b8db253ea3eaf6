// SPDX-License-Identifier: Apache-2.0
#include "runner/native/child.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/frame.h"

// The kernel ends executions before their runner, which tells why they ended.
#define OOM_SCORE "800"

static size_t begin(struct buf *out, struct json_writer *w, const char *type)
{
    size_t begun = frame_begin(out);
    *w = JSON_WRITER(out);
    json_w_object(w);
    json_w_pair_str(w, "t", str_of(type));
    return begun;
}

static void tell(struct channel *to, struct buf *frame, struct json_writer *w, size_t begun)
{
    json_w_object_end(w);
    frame_end(frame, begun);
    channel_send(to, buf_str(frame), 0);
}

static void on_log(void *arg, const char *level, struct str text)
{
    _cleanup_buf_ struct buf frame = BUF_INIT(FRAME_MAX);
    struct json_writer w;
    size_t begun = begin(&frame, &w, "log");
    json_w_pair_str(&w, "level", str_of(level));
    json_w_pair_str(&w, "message", text.len > FRAME_MAX / 8 ? STR("[too long]") : text);
    tell(arg, &frame, &w, begun);
}

static void on_progress(void *arg, double percent, struct str message)
{
    _cleanup_buf_ struct buf frame = BUF_INIT(FRAME_MAX);
    struct json_writer w;
    size_t begun = begin(&frame, &w, "progress");
    json_w_key(&w, "percent");
    json_w_double(&w, percent);
    json_w_pair_str(&w, "message", message.len > FRAME_MAX / 8 ? STR("[too long]") : message);
    tell(arg, &frame, &w, begun);
}

static void tell_outcome(struct channel *to, const struct outcome *outcome)
{
    _cleanup_buf_ struct buf frame = BUF_INIT(FRAME_MAX + 4);
    struct json_writer w;
    size_t begun = begin(&frame, &w, "outcome");
    json_w_pair_int(&w, "status", outcome->status);
    json_w_pair_raw(&w, "output", outcome->output);
    json_w_pair_str(&w, "message", outcome->message);
    json_w_pair_str(&w, "type", outcome->type);
    tell(to, &frame, &w, begun);
}

static void leave_the_parent(const struct child *child)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != child->parent)
        _exit(1);
    prctl(PR_SET_CHILD_SUBREAPER, 1);
    setpgid(0, 0);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    if (dup2(child->outputs[0], STDOUT_FILENO) < 0 || dup2(child->outputs[1], STDERR_FILENO) < 0)
        _exit(1);
    close(child->outputs[0]);
    close(child->outputs[1]);
    _cleanup_fd_ int score = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (score >= 0 && write(score, OOM_SCORE, sizeof(OOM_SCORE) - 1) < 0)
        fprintf(stderr, "drover runner: /proc/self/oom_score_adj cannot be set\n");
}

void child_run(const struct child *child)
{
    leave_the_parent(child);
    struct channel channel;
    channel_init(&channel, child->socket, CHANNEL_NO_END);
    struct call call = {.outlet = {on_log, on_progress, &channel}, .cancelled = child->cancelled};
    struct outcome outcome = {.status = OUTCOME_FAILED, .type = STR("LoadError")};
    const char *type;
    if (!child->cold || library_open(child->library, &call.outlet, &type, &outcome.message) == 0)
        outcome = library_run(child->library, child->run, &call);
    fflush(stdout);
    tell_outcome(&channel, &outcome);
    for (;;)
        pause();
}
