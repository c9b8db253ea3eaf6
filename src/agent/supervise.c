// SPDX-License-Identifier: Apache-2.0
#include "agent/supervise.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/close_range.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"

#define LOCK_FD        3
#define OUTPUT_KEPT    ((size_t)16 << 10)
#define KILL_PAUSE_MS  2
#define KILL_PATIENCE  30000  // ms; a process that cannot die (disk wait) must not hide the end
#define EXIT_NOT_AGENT 126    // of the fork that was to become the agent

struct supervisor {
    const char *folder;
    pid_t agent;
    bool agent_ended, killed;
    int agent_status;  // as waitpid says
    int signals;       // signalfd
    int output;        // read end of the agent's stdout and stderr; -1: ended
    struct buf kept;
};

static int complain(const char *what)
{
    fprintf(stderr, "drover-agent: supervisor: %s: %s\n", what, strerror(errno));
    return -1;
}

// ── files ────────────────────────────────────────────────────────────────────────────────────
static int write_all(int fd, const char *at, size_t len)
{
    while (len > 0) {
        ssize_t wrote = write(fd, at, len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return -1;
        at += wrote;
        len -= (size_t)wrote;
    }
    return 0;
}

// The working directory is the replica's folder. Afterwards the file is there, whole, also when
// the power fails.
static int put_file(const char *name, const char *at, size_t len)
{
    char temporary[64];
    snprintf(temporary, sizeof(temporary), ".%s.tmp", name);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return complain(name);
    int rc = write_all(fd, at, len);
    if (rc == 0)
        rc = fsync(fd);
    if (close(fd) != 0 || rc != 0 || rename(temporary, name) != 0)
        return complain(name);
    int folder = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
        fsync(folder);
        close(folder);
    }
    return 0;
}

static size_t read_small(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t got = read(fd, out, size - 1);
    close(fd);
    out[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

// Fields of /proc/PID/stat after the name, which may hold any byte: the state is field 3.
static bool read_stat(pid_t pid, pid_t *parent, uint64_t *start_time)
{
    char path[32], line[1024];
    snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    if (read_small(path, line, sizeof(line)) == 0)
        return false;
    const char *after = strrchr(line, ')');
    int ppid;
    if (!after || sscanf(after + 1,
                         " %*c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d "
                         "%*d %" SCNu64,
                         &ppid, start_time) != 2)
        return false;
    *parent = ppid;
    return true;
}

// ── starting the agent ───────────────────────────────────────────────────────────────────────
static void write_small(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write_all(fd, text, strlen(text)) != 0)
        fprintf(stderr, "drover-agent: %s: %s\n", path, strerror(errno));
    if (fd >= 0)
        close(fd);
}

static void enter_cgroups(void)
{
    char paths[4096];
    if (read_small("cgroups", paths, sizeof(paths)) == 0)
        return;
    char *rest = paths;
    for (char *path; (path = strsep(&rest, "\n"));)
        if (*path)
            write_small(path, "0");
}

// Between fork and exec; never returns.
static void become_agent(const char *folder, int output, pid_t supervisor)
{
    sigset_t none;
    sigemptyset(&none);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (null < 0 || dup2(null, 0) < 0 || dup2(output, 1) < 0 || dup2(output, 2) < 0)
        _exit(EXIT_NOT_AGENT);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0 || getppid() != supervisor)
        _exit(EXIT_NOT_AGENT);
    setsid();
    enter_cgroups();
    // When the machine runs out of memory, agents go before the server.
    write_small("/proc/self/oom_score_adj", "500");
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    // A core that a handler takes all the same has no memory in it: the agent and its runner hold
    // secrets.
    write_small("/proc/self/coredump_filter", "0");
    sigprocmask(SIG_SETMASK, &none, NULL);
    char spec[4096];
    snprintf(spec, sizeof(spec), "%s/spec.json", folder);
    char name[] = "drover-agent", flag[] = "--spec";
    char *arguments[] = {name, flag, spec, NULL};
    execv("/proc/self/exe", arguments);
    complain("/proc/self/exe");
    _exit(EXIT_NOT_AGENT);
}

static int start_agent(struct supervisor *self)
{
    int pipe_ends[2];
    if (pipe2(pipe_ends, O_CLOEXEC) != 0)
        return complain("pipe");
    fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK);
    pid_t me = getpid();
    self->agent = fork();
    if (self->agent == 0)
        become_agent(self->folder, pipe_ends[1], me);
    close(pipe_ends[1]);
    self->output = pipe_ends[0];
    return self->agent < 0 ? complain("fork") : 0;
}

static int write_supervisor(const struct supervisor *self)
{
    char boot[64], text[512];
    uint64_t mine = 0, agents = 0;
    pid_t parent;
    if (!read_stat(getpid(), &parent, &mine) || !read_stat(self->agent, &parent, &agents))
        return complain("/proc");
    size_t len = read_small("/proc/sys/kernel/random/boot_id", boot, sizeof(boot));
    while (len > 0 && isspace((unsigned char)boot[len - 1]))
        boot[--len] = '\0';
    int size = snprintf(text, sizeof(text),
                        "{\"pid\":%d,\"startTime\":%" PRIu64 ",\"agentPid\":%d,"
                        "\"agentStartTime\":%" PRIu64 ",\"bootId\":\"%s\"}\n",
                        (int)getpid(), mine, (int)self->agent, agents, len ? boot : "");
    return put_file("supervisor.json", text, (size_t)size);
}

// ── watching it ──────────────────────────────────────────────────────────────────────────────
// True while there are children, running or not.
static bool reap(struct supervisor *self)
{
    for (;;) {
        int status;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid == self->agent && pid > 0) {
            self->agent_ended = true;
            self->agent_status = status;
        }
        if (pid <= 0)
            return pid == 0 || errno != ECHILD;
    }
}

// Whoever loses its parent becomes our child (subreaper), so our children are always the top of
// all that is left.
static void kill_children(void)
{
    DIR *proc = opendir("/proc");
    if (!proc)
        return;
    pid_t me = getpid(), parent;
    uint64_t start_time;
    for (const struct dirent *entry; (entry = readdir(proc));) {
        pid_t pid = isdigit((unsigned char)entry->d_name[0])
                        ? (pid_t)strtol(entry->d_name, NULL, 10)
                        : 0;
        // Only we reap them, so a child's pid cannot be another process meanwhile.
        if (pid > 0 && read_stat(pid, &parent, &start_time) && parent == me)
            kill(pid, SIGKILL);
    }
    closedir(proc);
}

static void read_output(struct supervisor *self)
{
    char chunk[8192];
    while (self->output >= 0) {
        ssize_t got = read(self->output, chunk, sizeof(chunk));
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            close(self->output);
            self->output = -1;
            return;
        }
        if (self->kept.len + (size_t)got > 2 * OUTPUT_KEPT)
            buf_drop_front(&self->kept, self->kept.len + (size_t)got - OUTPUT_KEPT);
        buf_add(&self->kept, chunk, (size_t)got);
    }
}

static void kill_everything(struct supervisor *self)
{
    int64_t until = clock_mono(clock_system()) + KILL_PATIENCE;
    while (reap(self) && clock_mono(clock_system()) < until) {
        kill_children();
        read_output(self);
        poll(NULL, 0, KILL_PAUSE_MS);
    }
}

static void on_signals(struct supervisor *self)
{
    struct signalfd_siginfo info;
    while (read(self->signals, &info, sizeof(info)) == (ssize_t)sizeof(info)) {
        if (info.ssi_signo == SIGUSR1)
            self->killed = true;
        else if (info.ssi_signo != SIGCHLD && !self->agent_ended)
            kill(self->agent, (int)info.ssi_signo);
    }
    reap(self);
}

static void watch(struct supervisor *self)
{
    while (!self->agent_ended && !self->killed) {
        struct pollfd fds[] = {{.fd = self->signals, .events = POLLIN},
                               {.fd = self->output, .events = POLLIN}};
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return;
        if (fds[0].revents)
            on_signals(self);
        if (fds[1].revents)
            read_output(self);
    }
}

static int write_end(struct supervisor *self)
{
    char text[128];
    bool signalled = WIFSIGNALED(self->agent_status);
    int size = snprintf(text, sizeof(text), "{\"%s\":%d,\"at\":%" PRId64 ",\"killed\":%s}\n",
                        signalled ? "signal" : "exitCode",
                        signalled ? WTERMSIG(self->agent_status) : WEXITSTATUS(self->agent_status),
                        clock_wall(clock_system()), self->killed ? "true" : "false");
    size_t skip = self->kept.len > OUTPUT_KEPT ? self->kept.len - OUTPUT_KEPT : 0;
    const char *kept = buf_str(&self->kept).at + skip;
    int rc = put_file("stderr.txt", kept, self->kept.len - skip);
    return put_file("exit.json", text, (size_t)size) == 0 ? rc : -1;
}

static int set_up(struct supervisor *self)
{
    sigset_t mask;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGQUIT);
    sigaddset(&mask, SIGUSR1);
    sigaddset(&mask, SIGCHLD);
    if (sigprocmask(SIG_SETMASK, &mask, NULL) != 0)
        return complain("sigprocmask");
    umask(077);
    if (chdir(self->folder) != 0)
        return complain(self->folder);
    if (fcntl(LOCK_FD, F_SETFD, FD_CLOEXEC) != 0) {
        int fd = open("lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || dup3(fd, LOCK_FD, O_CLOEXEC) < 0)
            return complain("lock");
    }
    if (flock(LOCK_FD, LOCK_EX | LOCK_NB) != 0)
        return complain("lock: another supervisor runs here");
    syscall(SYS_close_range, LOCK_FD + 1, ~0U, 0);
    if (prctl(PR_SET_CHILD_SUBREAPER, 1) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return complain("prctl");
    self->signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    return self->signals < 0 ? complain("signalfd") : 0;
}

int supervise_run(const char *folder)
{
    struct supervisor self = {
        .folder = folder, .signals = -1, .output = -1, .kept = BUF_INIT(4 * OUTPUT_KEPT)};
    int rc = 1;
    if (set_up(&self) == 0 && start_agent(&self) == 0) {
        // Without the record nobody could find the agent again.
        if (write_supervisor(&self) != 0)
            self.killed = true;
        watch(&self);
        kill_everything(&self);
        read_output(&self);
        rc = write_end(&self) == 0 ? 0 : 1;
    }
    if (self.output >= 0)
        close(self.output);
    if (self.signals >= 0)
        close(self.signals);
    buf_deinit(&self.kept);
    return rc;
}
