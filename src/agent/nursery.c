// SPDX-License-Identifier: Apache-2.0
#include "agent/nursery.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "agent/child.h"
#include "agent/frame_pipe.h"
#include "agent/orphans.h"
#include "agent/runner_process.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/loop.h"

#define CHUNK_BYTES   (16u << 10)
#define MESSAGE_BYTES 4096
#define FILES_WANTED  8192
#define RIGHTS        3  // channel, standard output, standard error

struct output {
    uv_pipe_t pipe;
    struct lines lines;
    struct process *process;
};

struct process {
    struct worker worker;  // first: what the owner sees
    struct list node;
    struct nursery *nursery;
    struct frame_pipe channel;
    struct output outputs[2];  // stdout, stderr
    int open_handles;
    bool orphan;  // its runner has ended: it is ours to wait for
    bool doomed;  // to be killed as soon as its number is known
    bool ended;
    char broken[200];  // empty: nothing
};

struct nursery {
    struct nursery_config config;
    struct orphans *orphans;
    struct runner *runner;
    int socket;       // the runner's; -1: none
    uv_poll_t *poll;  // of that
    uv_signal_t on_child;
    bool paused, loaded, closing;
    int open_handles;  // the two above, and each process
    struct list processes;
    int64_t numbers;
    size_t asked;
    char chunk[CHUNK_BYTES];
};

static struct process *process_of(struct worker *worker) { return (struct process *)worker; }

static void forget_handle(struct nursery *nursery)
{
    if (--nursery->open_handles > 0 || !nursery->closing)
        return;
    orphans_free(nursery->orphans);
    mem_free(nursery);
}

// ── one process ──────────────────────────────────────────────────────────────────────────────

static void on_handle_closed(struct process *process)
{
    if (--process->open_handles > 0)
        return;
    struct nursery *nursery = process->nursery;
    lines_deinit(&process->outputs[0].lines);
    lines_deinit(&process->outputs[1].lines);
    mem_free(process);
    forget_handle(nursery);
}

static void on_channel_closed(void *arg) { on_handle_closed(arg); }

static void on_output_closed(uv_handle_t *handle)
{
    struct output *output = handle->data;
    on_handle_closed(output->process);
}

static void close_output(struct output *output)
{
    if (!uv_is_closing((uv_handle_t *)&output->pipe))
        uv_close((uv_handle_t *)&output->pipe, on_output_closed);
}

static void close_process(struct process *process)
{
    list_remove(&process->node);
    process->ended = true;
    frame_pipe_close(&process->channel);
    close_output(&process->outputs[0]);
    close_output(&process->outputs[1]);
}

static void on_frame(void *arg, struct str type, struct json frame)
{
    struct process *process = arg;
    const struct nursery_config *config = &process->nursery->config;
    config->on_frame(config->arg, &process->worker, type, frame);
}

static bool on_bad_frame(void *arg, struct str text, const char *why)
{
    struct process *process = arg;
    const struct nursery_config *config = &process->nursery->config;
    return config->on_bad_frame(config->arg, &process->worker, text, why);
}

static void on_breach(void *arg, const char *what)
{
    struct process *process = arg;
    snprintf(process->broken, sizeof(process->broken), "%.190s", what);
    worker_kill(&process->worker);
}

// Without the socket it can do nothing more for us.
static void on_channel_end(void *arg)
{
    struct process *process = arg;
    worker_kill(&process->worker);
}

static void on_line(void *arg, struct str line)
{
    struct output *output = arg;
    struct process *process = output->process;
    const struct nursery_config *config = &process->nursery->config;
    config->on_line(config->arg, &process->worker, line, output == &process->outputs[1]);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    (void)wanted;
    struct output *output = handle->data;
    *out = uv_buf_init(output->process->nursery->chunk, CHUNK_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *chunk)
{
    struct output *output = stream->data;
    if (got > 0)
        lines_feed(&output->lines, (struct str){chunk->base, (size_t)got}, on_line, output);
    else if (got < 0)
        close_output(output);
}

void worker_end_output(struct worker *worker)
{
    struct process *process = process_of(worker);
    for (int i = 0; i < 2; i++) {
        struct output *output = &process->outputs[i];
        char *chunk = process->nursery->chunk;
        uv_os_fd_t fd;
        ssize_t got;
        if (uv_fileno((uv_handle_t *)&output->pipe, &fd) == 0)
            while ((got = read(fd, chunk, CHUNK_BYTES)) > 0)  // its end is the loop's to find
                lines_feed(&output->lines, (struct str){chunk, (size_t)got}, on_line, output);
        lines_end(&output->lines, on_line, output);
    }
}

struct buf *worker_out(struct worker *worker) { return &process_of(worker)->channel.out; }

void worker_kill(struct worker *worker)
{
    process_of(worker)->doomed = true;
    if (worker->pid <= 0)
        return;
    kill(-worker->pid, SIGKILL);
    kill(worker->pid, SIGKILL);  // should it have left its group
}

static void end_process(struct process *process, struct worker_end *end)
{
    const struct nursery_config *config = &process->nursery->config;
    process->worker.pid = 0;
    frame_pipe_drain(&process->channel);
    worker_end_output(&process->worker);
    end->broken = process->broken[0] ? process->broken : NULL;
    close_process(process);
    config->on_end(config->arg, &process->worker, end);
}

static void not_born(struct process *process, const char *why)
{
    struct nursery *nursery = process->nursery;
    close_process(process);
    nursery->asked--;
    if (!nursery->closing)
        nursery->config.on_unborn(nursery->config.arg, why);
}

// ── what the runner says of them ─────────────────────────────────────────────────────────────

static int64_t member_int(struct json message, const char *key)
{
    struct json value;
    int64_t n;
    return json_get(message, key, &value) && json_int(value, &n) ? n : 0;
}

static struct process *by_number(struct nursery *nursery, int64_t number)
{
    list_each (&nursery->processes, it, next) {
        struct process *process = list_entry(it, struct process, node);
        if (process->worker.number == number && !process->orphan)
            return process;
    }
    return NULL;
}

static void take_message(struct nursery *nursery, struct str text)
{
    struct json message, type, value = {0};
    struct err err = ERR_INIT;
    if (json_parse(text, JSON_DEPTH_LIMIT, &message, &err) || !json_get(message, "t", &type))
        return;
    struct process *process = by_number(nursery, member_int(message, "number"));
    bool born = process && process->worker.pid > 0;
    if (process && !born && str_is(type.text, "\"forked\"")) {
        process->worker.pid = (int)member_int(message, "pid");
        nursery->asked--;
        if (process->doomed)
            worker_kill(&process->worker);
        nursery->config.on_born(nursery->config.arg, &process->worker,
                                member_int(message, "threads"));
    } else if (process && !born && str_is(type.text, "\"refused\"")) {
        _cleanup_arena_ struct arena *arena = arena_new();
        json_get(message, "message", &value);
        not_born(process, arena_cstr(arena, json_str(value, arena)));
    } else if (born && str_is(type.text, "\"ended\"")) {
        struct worker_end end = {.known = json_get(message, "status", &value),
                                 .status = (int)member_int(message, "status"),
                                 .peak_kib = member_int(message, "peakMemoryKib"),
                                 .cpu_ms = member_int(message, "cpuMs")};
        end_process(process, &end);
    }
}

static bool keep(void *arg, int pid)
{
    const struct nursery *nursery = arg;
    if (nursery->runner && runner_pid(nursery->runner) == pid)
        return true;
    list_each (&nursery->processes, it, next)
        if (list_entry(it, struct process, node)->worker.pid == pid)
            return true;
    return false;
}

static void sweep(struct nursery *nursery)
{
    if (nursery->loaded)
        orphans_sweep(nursery->orphans, keep, nursery);
}

static void take_messages(struct nursery *nursery)
{
    char text[MESSAGE_BYTES];
    ssize_t got;
    while (nursery->socket >= 0 &&
           (got = recv(nursery->socket, text, sizeof(text), MSG_DONTWAIT)) > 0)
        take_message(nursery, (struct str){text, (size_t)got});
    sweep(nursery);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct nursery *nursery = poll->data;
    (void)events;
    char byte;
    if (status == 0)
        take_messages(nursery);
    // A runner without this socket makes no processes: another one is needed.
    if (status < 0 || recv(nursery->socket, &byte, 1, MSG_DONTWAIT | MSG_PEEK) == 0) {
        uv_poll_stop(poll);
        runner_kill(nursery->runner);
    }
}

// ── those whose runner has ended ─────────────────────────────────────────────────────────────

static void reap(struct nursery *nursery)
{
    list_each (&nursery->processes, it, next) {
        struct process *process = list_entry(it, struct process, node);
        pid_t pid = process->worker.pid;
        struct worker_end end = {0};
        struct rusage used;
        siginfo_t info = {0};
        if (!process->orphan || pid <= 0)
            continue;
        if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && !info.si_pid)
            continue;
        kill(-pid, SIGKILL);  // while its number cannot be another group's
        if (wait4(pid, &end.status, WNOHANG, &used) == pid) {
            end.known = true;
            end.peak_kib = used.ru_maxrss;
            end.cpu_ms = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000 +
                         (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1000;
        }
        end_process(process, &end);
    }
}

static void on_sigchld(uv_signal_t *handle, int signal_number)
{
    (void)signal_number;
    struct nursery *nursery = handle->data;
    reap(nursery);
    sweep(nursery);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct nursery *nursery = handle->data;
    mem_free(handle);
    forget_handle(nursery);
}

static void leave_runner(struct nursery *nursery)
{
    if (!nursery->poll)
        return;
    if (!nursery->closing)
        take_messages(nursery);
    nursery->loaded = false;
    uv_close((uv_handle_t *)nursery->poll, on_poll_closed);
    nursery->poll = NULL;
    fd_close_at(&nursery->socket);
    nursery->socket = -1;
    list_each (&nursery->processes, it, next) {
        struct process *process = list_entry(it, struct process, node);
        if (process->worker.pid <= 0)
            not_born(process, "the runner has ended");
        else
            process->orphan = true;
    }
    if (!nursery->closing)
        reap(nursery);
}

// ── asking ───────────────────────────────────────────────────────────────────────────────────

struct ends {
    int ours[RIGHTS], theirs[RIGHTS];
};

static void close_ends(struct ends *ends)
{
    for (int i = 0; i < RIGHTS; i++) {
        fd_close_at(&ends->ours[i]);
        fd_close_at(&ends->theirs[i]);
    }
}

static int open_ends(struct ends *ends, struct err *err)
{
    int pair[2];
    *ends = (struct ends){{-1, -1, -1}, {-1, -1, -1}};
    for (int i = 0; i < RIGHTS; i++) {
        int rc = i == 0 ? socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair)
                        : pipe2(pair, O_CLOEXEC);
        if (rc != 0)
            return err_errno(err, ERR_UNAVAILABLE, errno, "making the pipes of a process");
        ends->ours[i] = pair[0];
        ends->theirs[i] = pair[1];
    }
    return 0;
}

static int send_request(struct nursery *nursery, int64_t number, const int *descriptors,
                        struct err *err)
{
    char text[64];
    int size = snprintf(text, sizeof(text), "{\"t\":\"fork\",\"number\":%lld}", (long long)number);
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int) * RIGHTS)];
    } control = {0};
    struct iovec part = {text, (size_t)size};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.bytes,
                             .msg_controllen = sizeof(control.bytes)};
    struct cmsghdr *head = CMSG_FIRSTHDR(&message);
    head->cmsg_level = SOL_SOCKET;
    head->cmsg_type = SCM_RIGHTS;
    head->cmsg_len = CMSG_LEN(sizeof(int) * RIGHTS);
    memcpy(CMSG_DATA(head), descriptors, sizeof(int) * RIGHTS);
    if (sendmsg(nursery->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "asking the runner for a process");
    return 0;
}

static struct process *make_process(struct nursery *nursery, const int *ours)
{
    struct process *process = mem_alloc(sizeof(*process));
    process->worker = (struct worker){.number = ++nursery->numbers, .deadline = INT64_MAX};
    process->nursery = nursery;
    process->open_handles = 3;
    struct frame_pipe_config channel = {.loop = nursery->config.loop,
                                        .on_frame = on_frame,
                                        .on_bad_frame = on_bad_frame,
                                        .on_breach = on_breach,
                                        .on_end = on_channel_end,
                                        .on_closed = on_channel_closed,
                                        .arg = process};
    frame_pipe_open(&process->channel, &channel, ours[0]);
    for (int i = 0; i < 2; i++) {
        struct output *output = &process->outputs[i];
        output->process = process;
        lines_init(&output->lines, nursery->config.line_bytes);
        uv_pipe_init(loop_uv(nursery->config.loop), &output->pipe, 0);
        output->pipe.data = output;
        uv_pipe_open(&output->pipe, ours[1 + i]);
        if (!nursery->paused)
            uv_read_start((uv_stream_t *)&output->pipe, on_alloc, on_read);
    }
    list_push_back(&nursery->processes, &process->node);
    nursery->open_handles++;
    return process;
}

int nursery_ask(struct nursery *nursery, struct err *err)
{
    struct ends ends;
    int failed = open_ends(&ends, err);
    if (!failed)
        failed = send_request(nursery, nursery->numbers + 1, ends.theirs, err);
    if (failed) {
        close_ends(&ends);
        return -1;
    }
    make_process(nursery, ends.ours);
    nursery->asked++;
    for (int i = 0; i < RIGHTS; i++)
        ends.ours[i] = -1;
    close_ends(&ends);
    return 0;
}

size_t nursery_asked(const struct nursery *nursery) { return nursery->asked; }

// ── all of them ──────────────────────────────────────────────────────────────────────────────

// Three descriptors for each process may be more than the usual limit of 1024.
static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= FILES_WANTED)
        return;
    limit.rlim_cur = limit.rlim_max < FILES_WANTED ? limit.rlim_max : FILES_WANTED;
    setrlimit(RLIMIT_NOFILE, &limit);
}

struct nursery *nursery_new(const struct nursery_config *config)
{
    struct nursery *nursery = mem_alloc(sizeof(*nursery));
    nursery->config = *config;
    nursery->socket = -1;
    nursery->orphans = orphans_new();
    raise_limit();
    list_init(&nursery->processes);
    uv_signal_init(loop_uv(config->loop), &nursery->on_child);
    nursery->on_child.data = nursery;
    nursery->open_handles = 1;
    uv_signal_start(&nursery->on_child, on_sigchld, SIGCHLD);
    return nursery;
}

static void on_signal_closed(uv_handle_t *handle) { forget_handle(handle->data); }

void nursery_free(struct nursery *nursery)
{
    if (!nursery)
        return;
    nursery->closing = true;
    leave_runner(nursery);
    list_each (&nursery->processes, it, next) {
        struct process *process = list_entry(it, struct process, node);
        worker_kill(&process->worker);
        close_process(process);
    }
    uv_close((uv_handle_t *)&nursery->on_child, on_signal_closed);
}

void nursery_set_runner(struct nursery *nursery, struct runner *runner)
{
    leave_runner(nursery);
    nursery->runner = runner;
    nursery->socket = runner ? runner_take_nursery(runner) : -1;
    if (nursery->socket < 0)
        return;
    nursery->poll = mem_alloc(sizeof(*nursery->poll));
    uv_poll_init(loop_uv(nursery->config.loop), nursery->poll, nursery->socket);
    nursery->poll->data = nursery;
    nursery->open_handles++;
    uv_poll_start(nursery->poll, UV_READABLE, on_poll);
}

void nursery_loaded(struct nursery *nursery)
{
    orphans_spare_present(nursery->orphans);
    nursery->loaded = true;
}

struct worker *nursery_next(struct nursery *nursery, const struct worker *after)
{
    const struct list *at = after ? &((const struct process *)after)->node : &nursery->processes;
    if (at->next == &nursery->processes)
        return NULL;
    return &list_entry(at->next, struct process, node)->worker;
}

void nursery_flush(struct nursery *nursery)
{
    list_each (&nursery->processes, it, next)
        frame_pipe_flush(&list_entry(it, struct process, node)->channel);
}

void nursery_pause_output(struct nursery *nursery, bool paused)
{
    if (nursery->paused == paused)
        return;
    nursery->paused = paused;
    list_each (&nursery->processes, it, next) {
        struct process *process = list_entry(it, struct process, node);
        for (int i = 0; i < 2; i++) {
            uv_stream_t *stream = (uv_stream_t *)&process->outputs[i].pipe;
            if (uv_is_closing((uv_handle_t *)stream))
                continue;
            if (paused)
                uv_read_stop(stream);
            else
                uv_read_start(stream, on_alloc, on_read);
        }
    }
}
