// SPDX-License-Identifier: Apache-2.0
#include "agent/child.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "net/loop.h"

#define CHUNK_BYTES  (16u << 10)
#define DRAIN_CHUNKS 8  // more than a pipe holds
#define SOCKETS      2
#define LINGER_MS    500  // how long output may still come after the program's end

struct child {
    uv_signal_t on_child;
    uv_pipe_t pipes[2];  // its stdout, its stderr
    struct loop_timer *linger;
    struct child_config config;
    pid_t pid;  // 0 once reaped
    pid_t group;
    int status;
    int sockets[SOCKETS];  // our ends of channel and nursery; -1: none, or taken
    int open_pipes, open_handles;
    bool paused, told;
    char chunk[CHUNK_BYTES];
};

// What the two sides of the fork share: descriptors for the child, and the way to say why exec
// failed.
struct launch {
    int out, err, report;
    int sockets[SOCKETS];  // for descriptors 3 and 4
    pid_t parent;
    const struct child_config *config;
};

static void on_handle_closed(uv_handle_t *handle)
{
    struct child *child = handle->data;
    if (--child->open_handles == 0)
        mem_free(child);
}

static void close_all(struct child *child)
{
    for (int i = 0; i < 2; i++)
        if (!uv_is_closing((uv_handle_t *)&child->pipes[i]))
            uv_close((uv_handle_t *)&child->pipes[i], on_handle_closed);
    uv_close((uv_handle_t *)&child->on_child, on_handle_closed);
    loop_timer_cancel(child->linger);
    for (int i = 0; i < SOCKETS; i++)
        fd_close_at(&child->sockets[i]), child->sockets[i] = -1;
}

static void finish(struct child *child)
{
    if (child->told)
        return;
    child->told = true;
    child->config.on_exit(child->config.arg, child->status);
    close_all(child);
}

static void on_linger(void *arg)
{
    struct child *child = arg;
    child->linger = NULL;
    finish(child);
}

static void reap(struct child *child)
{
    siginfo_t info = {0};
    if (child->pid == 0 ||
        waitid(P_PID, (id_t)child->pid, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || !info.si_pid)
        return;
    // While the leader is not reaped its number cannot be another group's.
    kill(-child->group, SIGKILL);
    int status = 0;
    waitpid(child->pid, &status, 0);
    child->pid = 0;
    child->group = 0;
    child->status = status;
    if (child->paused)
        child_pause(child, false);
    if (child->open_pipes == 0)
        finish(child);
    else
        child->linger = loop_timer_start(child->config.loop, LINGER_MS, 0, on_linger, child);
}

static void on_sigchld(uv_signal_t *handle, int signal)
{
    (void)signal;
    reap(handle->data);
}

static void on_alloc(uv_handle_t *handle, size_t wanted, uv_buf_t *out)
{
    (void)wanted;
    struct child *child = handle->data;
    *out = uv_buf_init(child->chunk, CHUNK_BYTES);
}

static void on_read(uv_stream_t *stream, ssize_t got, const uv_buf_t *chunk)
{
    struct child *child = stream->data;
    if (got > 0) {
        bool from_stderr = stream == (uv_stream_t *)&child->pipes[1];
        child->config.on_output(child->config.arg, (struct str){chunk->base, (size_t)got},
                                from_stderr);
        return;
    }
    if (got == 0)
        return;
    uv_close((uv_handle_t *)stream, on_handle_closed);
    if (--child->open_pipes == 0 && child->pid == 0)
        finish(child);
}

static _Noreturn void give_up(const struct launch *launch)
{
    int why = errno;
    ssize_t written = write(launch->report, &why, sizeof(why));
    (void)written;
    _exit(127);
}

// The highest descriptor that exec keeps is 4 (the nursery), 3 (the channel) or 2.
static void place_descriptors(const struct launch *launch)
{
    int null = open("/dev/null", O_RDONLY);
    // Copies above 3 first, so that placing one never overwrites another.
    int out = fcntl(launch->out, F_DUPFD_CLOEXEC, 10);
    int err = fcntl(launch->err, F_DUPFD_CLOEXEC, 10);
    int sockets[SOCKETS];
    for (int i = 0; i < SOCKETS; i++) {
        sockets[i] = launch->sockets[i] < 0 ? -1 : fcntl(launch->sockets[i], F_DUPFD_CLOEXEC, 10);
        if (launch->sockets[i] >= 0 && sockets[i] < 0)
            give_up(launch);
    }
    if (null < 0 || out < 0 || err < 0)
        give_up(launch);
    if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
        give_up(launch);
    for (int i = 0; i < SOCKETS; i++)
        if (sockets[i] >= 0 && dup2(sockets[i], 3 + i) < 0)
            give_up(launch);
}

// Between fork and exec: only async-signal-safe calls.
static _Noreturn void become(struct launch *launch)
{
    for (int signal_number = 1; signal_number < NSIG; signal_number++)
        signal(signal_number, SIG_DFL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != launch->parent)
        _exit(127);
    int report = fcntl(launch->report, F_DUPFD_CLOEXEC, 10);
    if (report >= 0)
        launch->report = report;
    place_descriptors(launch);
    const struct child_config *config = launch->config;
    if (config->folder && chdir(config->folder) != 0)
        give_up(launch);
    if (config->env)
        execvpe(config->argv[0], (char *const *)config->argv, (char *const *)config->env);
    else
        execvp(config->argv[0], (char *const *)config->argv);
    give_up(launch);
}

static int make_pipe(int ends[2], struct err *err)
{
    if (pipe2(ends, O_CLOEXEC) == 0)
        return 0;
    return err_errno(err, ERR_DEPENDENCY, errno, "cannot make a pipe");
}

static int make_socket(int type, int ends[2], struct err *err)
{
    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends) == 0)
        return 0;
    return err_errno(err, ERR_DEPENDENCY, errno, "cannot make a socket pair");
}

// Forks; gives the child's pid, and the reading ends of its output in ends[].
static pid_t launch_child(struct child *child, int ends[2], struct err *err)
{
    int out[2] = {-1, -1}, error[2] = {-1, -1}, report[2] = {-1, -1};
    int channel[2] = {-1, -1}, nursery[2] = {-1, -1};
    pid_t pid = -1;
    const struct child_config *config = &child->config;
    if (make_pipe(out, err) || make_pipe(error, err) || make_pipe(report, err))
        goto close_ends;
    if ((config->channel && make_socket(SOCK_STREAM, channel, err)) ||
        (config->nursery && make_socket(SOCK_SEQPACKET, nursery, err)))
        goto close_ends;
    struct launch launch = {.out = out[1],
                            .err = error[1],
                            .report = report[1],
                            .sockets = {channel[1], nursery[1]},
                            .parent = getpid(),
                            .config = config};
    pid = fork();
    if (pid == 0)
        become(&launch);
    if (pid < 0) {
        err_errno(err, ERR_DEPENDENCY, errno, "cannot start %s", config->argv[0]);
        goto close_ends;
    }
    setpgid(pid, pid);
    close(report[1]);
    report[1] = -1;
    int why = 0;
    ssize_t got;
    do
        got = read(report[0], &why, sizeof(why));
    while (got < 0 && errno == EINTR);
    if (got == (ssize_t)sizeof(why)) {
        waitpid(pid, NULL, 0);
        pid = -1;
        err_errno(err, ERR_DEPENDENCY, why, "cannot start %s", config->argv[0]);
        goto close_ends;
    }
    ends[0] = out[0];
    ends[1] = error[0];
    child->sockets[0] = channel[0];
    child->sockets[1] = nursery[0];
    out[0] = error[0] = channel[0] = nursery[0] = -1;
close_ends:
    fd_close_at(&out[0]), fd_close_at(&out[1]);
    fd_close_at(&error[0]), fd_close_at(&error[1]);
    fd_close_at(&report[0]), fd_close_at(&report[1]);
    fd_close_at(&channel[0]), fd_close_at(&channel[1]);
    fd_close_at(&nursery[0]), fd_close_at(&nursery[1]);
    return pid;
}

struct child *child_start(const struct child_config *config, struct err *err)
{
    struct child *child = mem_alloc(sizeof(*child));
    child->config = *config;
    child->sockets[0] = child->sockets[1] = -1;
    uv_loop_t *uv = loop_uv(config->loop);
    uv_signal_init(uv, &child->on_child);
    uv_pipe_init(uv, &child->pipes[0], 0);
    uv_pipe_init(uv, &child->pipes[1], 0);
    child->open_handles = 3;
    child->on_child.data = child->pipes[0].data = child->pipes[1].data = child;
    // Listening begins before the fork, so that no end is missed.
    uv_signal_start(&child->on_child, on_sigchld, SIGCHLD);
    int ends[2] = {-1, -1};
    child->pid = launch_child(child, ends, err);
    if (child->pid < 0) {
        child->pid = 0;
        close_all(child);
        return NULL;
    }
    child->group = child->pid;
    for (int i = 0; i < 2; i++) {
        uv_pipe_open(&child->pipes[i], ends[i]);
        uv_read_start((uv_stream_t *)&child->pipes[i], on_alloc, on_read);
    }
    child->open_pipes = 2;
    // config is the caller's; only what is needed later stays.
    child->config.argv = NULL;
    child->config.env = NULL;
    child->config.folder = NULL;
    return child;
}

static int take_socket(int *socket)
{
    int fd = *socket;
    *socket = -1;
    return fd;
}

int child_take_channel(struct child *child) { return take_socket(&child->sockets[0]); }

int child_take_nursery(struct child *child) { return take_socket(&child->sockets[1]); }

int child_pid(const struct child *child) { return child->pid; }

void child_pause(struct child *child, bool paused)
{
    if (child->paused == paused)
        return;
    child->paused = paused;
    for (int i = 0; i < 2; i++) {
        uv_stream_t *stream = (uv_stream_t *)&child->pipes[i];
        if (uv_is_closing((uv_handle_t *)stream))
            continue;
        if (paused)
            uv_read_stop(stream);
        else
            uv_read_start(stream, on_alloc, on_read);
    }
}

void child_drain(struct child *child)
{
    struct pollfd polls[2] = {{.fd = -1}, {.fd = -1}};
    for (int i = 0; i < 2 && !child->paused; i++)
        if (uv_fileno((uv_handle_t *)&child->pipes[i], &polls[i].fd) == 0)
            polls[i].events = POLLIN;
    if (poll(polls, 2, 0) <= 0)
        return;
    for (int i = 0; i < 2; i++) {
        ssize_t got = polls[i].revents & POLLIN ? CHUNK_BYTES : 0;
        for (int n = 0; n < DRAIN_CHUNKS && got == CHUNK_BYTES; n++) {
            got = read(polls[i].fd, child->chunk, CHUNK_BYTES);
            if (got > 0)  // an end or an error is the loop's to find
                child->config.on_output(child->config.arg, (struct str){child->chunk, (size_t)got},
                                        i == 1);
        }
    }
}

void child_signal(struct child *child, int signal_number)
{
    if (child->group > 0)  // 0: ended
        kill(-child->group, signal_number);
}

void child_describe(int status, char *out, size_t size)
{
    if (WIFSIGNALED(status))
        snprintf(out, size, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        snprintf(out, size, "exit code %d", WEXITSTATUS(status));
}

void lines_init(struct lines *lines, size_t max)
{
    *lines = (struct lines){.part = BUF_INIT(max + 1), .max = max};
}

void lines_deinit(struct lines *lines) { buf_deinit(&lines->part); }

static void take_piece(struct lines *lines, struct str piece, bool whole,
                       void (*fn)(void *arg, struct str line), void *arg)
{
    while (lines->part.len + piece.len > lines->max) {
        size_t fits = lines->max - lines->part.len;
        buf_add(&lines->part, piece.at, fits);
        fn(arg, buf_str(&lines->part));
        buf_clear(&lines->part);
        piece = (struct str){piece.at + fits, piece.len - fits};
    }
    if (whole && lines->part.len == 0) {
        fn(arg, piece);
        return;
    }
    buf_add(&lines->part, piece.at, piece.len);
    if (whole) {
        fn(arg, buf_str(&lines->part));
        buf_clear(&lines->part);
    }
}

void lines_feed(struct lines *lines, struct str bytes, void (*fn)(void *arg, struct str line),
                void *arg)
{
    while (bytes.len > 0) {
        const char *end = memchr(bytes.at, '\n', bytes.len);
        size_t len = end ? (size_t)(end - bytes.at) : bytes.len;
        take_piece(lines, (struct str){bytes.at, len}, end != NULL, fn, arg);
        size_t used = end ? len + 1 : len;
        bytes = (struct str){bytes.at + used, bytes.len - used};
    }
}

void lines_end(struct lines *lines, void (*fn)(void *arg, struct str line), void *arg)
{
    if (lines->part.len > 0)
        fn(arg, buf_str(&lines->part));
    buf_clear(&lines->part);
}
