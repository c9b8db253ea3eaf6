// SPDX-License-Identifier: Apache-2.0
#include "runner/native/execution.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"
#include "net/frame.h"
#include "runner/native/child.h"
#include "runner/native/family.h"

#define READ_BYTES (64u << 10)
#define SHARED     sizeof(atomic_bool)

// ── starting ─────────────────────────────────────────────────────────────────────────────────

static void fail(struct execution *self, const char *type, struct str message)
{
    self->outcome = (struct outcome){
        .status = OUTCOME_FAILED, .type = str_of(type), .message = message};
    self->has_outcome = self->ending = true;
}

static void close_fds(struct execution *self)
{
    fd_close_at(&self->process);
    fd_close_at(&self->socket);
    fd_close_at(&self->outputs[0]);
    fd_close_at(&self->outputs[1]);
    self->process = self->socket = self->outputs[0] = self->outputs[1] = -1;
}

// In the fork: nothing of the parent's but what the library itself opened.
static _Noreturn void become_child(struct execution *self, struct child *child)
{
    struct relay *relay = self->relay;
    close(relay->channel->fd);
    list_each (&relay->executions, it, next)
        close_fds(list_entry(it, struct execution, node));
    child_run(child);
}

static int open_ends(struct execution *self, struct child *child)
{
    int pair[2], out[2], error[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return -1;
    self->socket = pair[0];
    child->socket = pair[1];
    if (pipe2(out, O_CLOEXEC) != 0)
        return -1;
    self->outputs[0] = out[0];
    child->outputs[0] = out[1];
    if (pipe2(error, O_CLOEXEC) != 0)
        return -1;
    self->outputs[1] = error[0];
    child->outputs[1] = error[1];
    const int ours[] = {self->socket, self->outputs[0], self->outputs[1]};
    for (int i = 0; i < 3; i++)
        fcntl(ours[i], F_SETFL, O_NONBLOCK);
    return 0;
}

static int fork_child(struct execution *self)
{
    struct child child = {.library = self->relay->library,
                          .run = self->run,
                          .cancelled = self->cancelled,
                          .cold = self->relay->cold,
                          .parent = getpid(),
                          .socket = -1,
                          .outputs = {-1, -1}};
    int failed = open_ends(self, &child);
    if (!failed) {
        fflush(NULL);
        self->pid = fork();
        if (self->pid == 0)
            become_child(self, &child);
        self->process = self->pid > 0 ? (int)syscall(SYS_pidfd_open, self->pid, 0) : -1;
        failed = self->process < 0 ? -1 : 0;
    }
    int why = errno;
    fd_close_at(&child.socket);
    fd_close_at(&child.outputs[0]);
    fd_close_at(&child.outputs[1]);
    errno = why;
    return failed;
}

static atomic_bool *share_flag(void)
{
    void *at = mmap(NULL, SHARED, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return NULL;
    return at;
}

void execution_start(struct relay *relay, struct run *run)
{
    struct execution *self = mem_alloc(sizeof(*self));
    *self = (struct execution){.relay = relay,
                               .run = run,
                               .process = -1,
                               .socket = -1,
                               .outputs = {-1, -1},
                               .in = BUF_INIT(FRAME_MAX + READ_BYTES),
                               .lines = {BUF_INIT(FRAME_MAX), BUF_INIT(FRAME_MAX)},
                               .pending = BUF_INIT(SIZE_MAX)};
    list_push_back(&relay->executions, &self->node);
    relay->count++;
    run->started = report_now();
    self->cancelled = share_flag();
    if (self->cancelled && fork_child(self) == 0)
        return;
    fail(self, "ProcessEnded",
         arena_printf(run->arena, "no process could be started for the execution: %s",
                      strerror(errno)));
    self->reaped = self->pid <= 0;
    execution_advance(self);
}

static void free_execution(struct execution *self)
{
    list_remove(&self->node);
    self->relay->count--;
    close_fds(self);
    if (self->cancelled)
        munmap(self->cancelled, SHARED);
    buf_deinit(&self->in);
    buf_deinit(&self->lines[0]);
    buf_deinit(&self->lines[1]);
    buf_deinit(&self->pending);
    run_free(self->run);
    mem_free(self);
}

// ── what its process says ────────────────────────────────────────────────────────────────────

static void add_entry(struct execution *self, const char *level, struct str text)
{
    self->cost += report_log(&self->pending, &self->relay->library->limits, self->run, level, text);
}

static struct str text_of(struct json frame, const char *key, struct arena *arena)
{
    struct json value = {0};
    json_get(frame, key, &value);
    return json_str(value, arena);
}

static void take_outcome(struct execution *self, struct json frame)
{
    struct arena *arena = self->run->arena;
    struct json status = {0}, output = {0};
    int64_t number = OUTCOME_FAILED;
    json_get(frame, "status", &status);
    json_get(frame, "output", &output);
    (void)json_int(status, &number);
    self->outcome = (struct outcome){.status = number == OUTCOME_SUCCESS      ? OUTCOME_SUCCESS
                                               : number == OUTCOME_TERMINATED ? OUTCOME_TERMINATED
                                                                              : OUTCOME_FAILED,
                                     .output = arena_copy(arena, output.text),
                                     .message = text_of(frame, "message", arena),
                                     .type = text_of(frame, "type", arena)};
    self->has_outcome = self->ending = true;
}

static void take(struct execution *self, struct json frame)
{
    _cleanup_arena_ struct arena *scratch = arena_new();
    struct json percent = {0};
    struct str type = text_of(frame, "t", scratch);
    double number = NAN;
    if (str_is(type, "log")) {
        add_entry(self, report_level(text_of(frame, "level", scratch)),
                  text_of(frame, "message", scratch));
    } else if (str_is(type, "progress")) {
        json_get(frame, "percent", &percent);
        (void)json_double(percent, &number);
        report_progress(&self->pending, self->run, number, text_of(frame, "message", scratch));
    } else if (str_is(type, "outcome")) {
        take_outcome(self, frame);
    }
}

// The next frame; false when none is whole. What is no frame comes from user code that wrote to a
// descriptor which is not its own.
static bool take_frame(struct execution *self)
{
    size_t used = 0;
    struct str text;
    struct json frame;
    struct err err = ERR_INIT;
    if (self->has_outcome)
        return false;
    int got = frame_next(buf_str(&self->in), &used, &text, &err);
    if (got == 0)
        return false;
    if (got < 0 || json_parse(text, JSON_DEPTH_LIMIT, &frame, &err)) {
        fail(self, "ProcessEnded",
             arena_printf(self->run->arena,
                          "the function wrote to the runner's own socket what is no frame: %s",
                          err.message));
        return true;
    }
    take(self, frame);
    buf_drop_front(&self->in, used);
    return true;
}

// Of a line that was written over (progress bars) the last state counts.
static struct str last_state(struct str line)
{
    if (line.len > 0 && line.at[line.len - 1] == '\r')
        line.len--;
    const char *back = line.len > 0 ? memrchr(line.at, '\r', line.len) : NULL;
    if (back)
        line = (struct str){back + 1, line.len - (size_t)(back + 1 - line.at)};
    return line;
}

// The next line of stdout (0) or stderr (1); `rest`: also one without an end.
static bool take_line(struct execution *self, int which, bool rest)
{
    struct buf *lines = &self->lines[which];
    int64_t limit = self->relay->library->limits.line_bytes;
    size_t most = limit > 0 ? (size_t)limit : READ_BYTES;
    const char *end = lines->len > 0 ? memchr(lines->at, '\n', lines->len) : NULL;
    size_t len = end ? (size_t)(end - lines->at) : lines->len;
    if (len == lines->len && len < most && !(rest && len > 0))
        return false;
    size_t taken = len > most ? most : len + (end ? 1 : 0);
    add_entry(self, which == 0 ? "INFO" : "ERROR",
              last_state((struct str){lines->at, len > most ? most : len}));
    buf_drop_front(lines, taken);
    return true;
}

// True: something came.
static bool read_into(int *fd, struct buf *out)
{
    char *room = *fd >= 0 ? buf_reserve(out, READ_BYTES) : NULL;
    if (!room)
        return false;
    ssize_t got = read(*fd, room, READ_BYTES);
    if (got > 0)
        out->len += (size_t)got;
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
        close(*fd);
        *fd = -1;
    }
    return got > 0;
}

// ── its end ──────────────────────────────────────────────────────────────────────────────────

static bool is_known(void *arg, pid_t pid)
{
    struct relay *relay = arg;
    list_each (&relay->executions, it, next)
        if (list_entry(it, struct execution, node)->pid == pid)
            return true;
    return family_has(&relay->before, pid);
}

static void end_process(struct execution *self)
{
    struct relay *relay = self->relay;
    struct rusage usage;
    int status = 0;
    kill(self->pid, SIGKILL);
    while (wait4(self->pid, &status, 0, &usage) < 0 && errno == EINTR)
        ;
    self->reaped = true;
    self->pid = 0;
    family_sweep(is_known, relay);
    if (!self->has_outcome) {
        int64_t kills = ending_memory_kills();
        bool too_large = kills > relay->memory_kills && WIFSIGNALED(status) &&
                         WTERMSIG(status) == SIGKILL;
        fail(self, too_large ? "OutOfMemory" : "ProcessEnded",
             ending_describe(status, too_large, self->run->arena));
        relay->memory_kills = kills;
    }
    self->outcome.measured = true;
    self->outcome.peak_kib = usage.ru_maxrss;
    self->outcome.cpu_ms = (int64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
                           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

static bool send_pending(struct execution *self)
{
    if (self->pending.len == 0)
        return true;
    if (!channel_try_send(self->relay->channel, buf_str(&self->pending), self->cost))
        return false;
    buf_clear(&self->pending);
    self->cost = 0;
    return true;
}

// Reads what the dead process has left in its pipes.
static bool read_rest(struct execution *self)
{
    bool more = read_into(&self->outputs[0], &self->lines[0]);
    return read_into(&self->outputs[1], &self->lines[1]) || more;
}

void execution_advance(struct execution *self)
{
    while (send_pending(self)) {
        if (self->last) {
            free_execution(self);
            return;
        }
        if (take_line(self, 0, false) || take_line(self, 1, false) || take_frame(self))
            continue;
        if (!self->ending)
            return;
        if (!self->reaped)
            end_process(self);
        else if (!read_rest(self) && !take_line(self, 0, true) && !take_line(self, 1, true)) {
            self->cost = report_result(&self->pending, &self->relay->library->limits, self->run,
                                       &self->outcome);
            self->last = true;
        }
    }
}

void execution_kill(struct execution *self)
{
    if (self->ending)
        return;
    fail(self, "ProcessEnded", STR("the function's process was ended from outside"));
    execution_advance(self);
}

// ── waiting for it ───────────────────────────────────────────────────────────────────────────

void execution_poll(const struct execution *self, struct pollfd polled[EXECUTION_FDS])
{
    bool waits = self->pending.len > 0;
    const int fds[EXECUTION_FDS] = {self->outputs[0], self->outputs[1], self->socket,
                                    self->process};
    for (int i = 0; i < EXECUTION_FDS; i++)
        polled[i] = (struct pollfd){.fd = waits ? -1 : fds[i], .events = POLLIN};
}

void execution_hear(struct execution *self, const struct pollfd polled[EXECUTION_FDS])
{
    if (polled[0].revents)
        read_into(&self->outputs[0], &self->lines[0]);
    if (polled[1].revents)
        read_into(&self->outputs[1], &self->lines[1]);
    if (polled[2].revents)
        read_into(&self->socket, &self->in);
    if (polled[3].revents) {
        while (read_into(&self->socket, &self->in))
            ;
        self->ending = true;
    }
    if (polled[0].revents || polled[1].revents || polled[2].revents || polled[3].revents)
        execution_advance(self);
}
