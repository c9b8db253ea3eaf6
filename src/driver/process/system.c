// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "driver/process/process.h"

#define SUPERVISOR_LOCK_FD 3
#define ENVIRONMENT_MAX    ((size_t)64 << 10)
#define SWEEPS             16  // rounds of killing what forks meanwhile

// ── starting ─────────────────────────────────────────────────────────────────────────────────
static char *variable(const char *name, const char *value)
{
    struct buf text = BUF_INIT(1 << 17);
    buf_add_cstr(&text, name);
    buf_add_char(&text, '=');
    buf_add_cstr(&text, value);
    char *copy = mem_copy(text.at, text.len);
    buf_deinit(&text);
    return copy;
}

static int plan_files(posix_spawn_file_actions_t *files, const char *output, int lock_fd)
{
    int rc = posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_addopen(files, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, 1, 2);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(files, lock_fd, SUPERVISOR_LOCK_FD);
    return rc;
}

// Its signals stay blocked until it reads them: one that is sent early is not lost, and does not
// kill it.
static int plan_attributes(posix_spawnattr_t *attributes)
{
    sigset_t mask, all;
    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGQUIT);
    sigaddset(&mask, SIGUSR1);
    sigfillset(&all);
    posix_spawnattr_setsigmask(attributes, &mask);
    posix_spawnattr_setsigdefault(attributes, &all);
    return posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                                    POSIX_SPAWN_SETSIGDEF);
}

static int spawn_with(const struct driver_process *self, const char *folder, int lock_fd,
                      char *const environment[], pid_t *pid)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    _cleanup_free_ char *program = mem_copy(self->config.agent_program,
                                            strlen(self->config.agent_program));
    _cleanup_free_ char *path = mem_copy(folder, strlen(folder));
    struct buf output = BUF_INIT(1 << 16);
    buf_printf(&output, "%s/stderr.txt", folder);
    buf_add_char(&output, '\0');
    char flag[] = "--supervise";
    char *arguments[] = {program, flag, path, NULL};
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    int rc = plan_files(&files, output.at, lock_fd);
    if (rc == 0)
        rc = plan_attributes(&attributes);
    if (rc == 0)
        rc = posix_spawn(pid, program, &files, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    buf_deinit(&output);
    return rc;
}

// What of the server's own environment agents get too: how to reach package indexes and git
// servers from here, and where sanitizers write.
static const char *const handed_down[] = {
    "HTTP_PROXY",     "HTTPS_PROXY",    "NO_PROXY",     "http_proxy",    "https_proxy",
    "no_proxy",       "ALL_PROXY",      "all_proxy",    "SSL_CERT_FILE", "SSL_CERT_DIR",
    "PIP_INDEX_URL",  "PIP_CERT",       "PIP_PROXY",    "PIP_NO_INDEX",  "PIP_EXTRA_INDEX_URL",
    "ASAN_OPTIONS",   "UBSAN_OPTIONS",  "LSAN_OPTIONS", "TSAN_OPTIONS",  "PIP_FIND_LINKS",
    "GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
};
#define HANDED_DOWN (sizeof(handed_down) / sizeof(handed_down[0]))

pid_t driver_process_spawn(const struct driver_process *self, const char *folder, int lock_fd,
                           struct err *err)
{
    const char *path = getenv("PATH");
    struct buf home = BUF_INIT(1 << 16), temporary = BUF_INIT(1 << 16);
    buf_printf(&home, "%s/home", folder);
    buf_add_char(&home, '\0');
    buf_printf(&temporary, "%s/tmp", folder);
    buf_add_char(&temporary, '\0');
    char *environment[HANDED_DOWN + 5] = {
        variable("PATH", path ? path : "/usr/local/bin:/usr/bin:/bin"), variable("HOME", home.at),
        variable("TMPDIR", temporary.at), variable("LANG", "C.UTF-8")};
    for (size_t i = 0, count = 4; i < HANDED_DOWN; i++) {
        const char *value = getenv(handed_down[i]);
        if (value)
            environment[count++] = variable(handed_down[i], value);
    }
    pid_t pid = -1;
    int rc = spawn_with(self, folder, lock_fd, environment, &pid);
    for (size_t i = 0; environment[i]; i++)
        mem_free(environment[i]);
    buf_deinit(&home);
    buf_deinit(&temporary);
    if (rc != 0)
        return err_errno(err, ERR_UNAVAILABLE, rc, "cannot start %s", self->config.agent_program);
    return pid;
}

// ── who is who ───────────────────────────────────────────────────────────────────────────────
struct process_stat {
    int64_t pid, parent, session;
    char state;
    uint64_t start_time;
};

static size_t read_text(const char *path, char *out, size_t size)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, out, size - 1);
    out[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

// The name in /proc/PID/stat may hold any byte; fields are counted from its end.
static bool read_stat(int64_t pid, struct process_stat *out)
{
    char path[48], line[1024];
    snprintf(path, sizeof(path), "/proc/%" PRId64 "/stat", pid);
    const char *after = read_text(path, line, sizeof(line)) ? strrchr(line, ')') : NULL;
    out->pid = pid;
    return after && sscanf(after + 1,
                           " %c %" SCNd64 " %*d %" SCNd64 " %*d %*d %*u %*u %*u %*u %*u %*u %*u "
                           "%*d %*d %*d %*d %*d %*d %" SCNu64,
                           &out->state, &out->parent, &out->session, &out->start_time) == 4;
}

bool driver_process_ids(const struct driver_process *self, const char *id, struct process_ids *out)
{
    char boot[64];
    _cleanup_arena_ struct arena *arena = arena_new();
    struct json file, value;
    int64_t start = 0, agent_start = 0;
    *out = (struct process_ids){0};
    if (!driver_process_read_json(self, id, "supervisor.json", arena, &file) ||
        !json_get(file, "pid", &value) || !json_int(value, &out->pid) ||
        !json_get(file, "startTime", &value) || !json_int(value, &start) ||
        !json_get(file, "agentPid", &value) || !json_int(value, &out->agent_pid) ||
        !json_get(file, "agentStartTime", &value) || !json_int(value, &agent_start) ||
        out->pid <= 1 || out->agent_pid <= 1)
        return false;
    out->start_time = (uint64_t)start;
    out->agent_start_time = (uint64_t)agent_start;
    struct str now = {boot, read_text("/proc/sys/kernel/random/boot_id", boot, sizeof(boot))};
    out->same_boot = json_get(file, "bootId", &value) &&
                     str_eq(json_str(value, arena), str_trim(now));
    return true;
}

int driver_process_pidfd(int64_t pid, uint64_t start_time)
{
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
    struct process_stat stat;
    // The start time is read after the descriptor holds the process, so both speak of one.
    if (fd >= 0 && (!read_stat(pid, &stat) || (start_time != 0 && stat.start_time != start_time))) {
        close(fd);
        errno = ESRCH;
        return -1;
    }
    return fd;
}

int driver_process_send(int pidfd, int signal)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0);
}

// ── killing ──────────────────────────────────────────────────────────────────────────────────
static struct process_stat *list_processes(size_t *count)
{
    DIR *proc = opendir("/proc");
    struct process_stat *all = NULL;
    size_t room = 0;
    *count = 0;
    for (const struct dirent *entry; proc && (entry = readdir(proc));) {
        int64_t pid = 0;
        if (!isdigit((unsigned char)entry->d_name[0]) || !str_int(str_of(entry->d_name), &pid))
            continue;
        if (*count == room) {
            room = room ? 2 * room : 256;
            all = mem_resize(all, room * sizeof(*all));
        }
        *count += read_stat(pid, &all[*count]);
    }
    if (proc)
        closedir(proc);
    return all;
}

static bool descends(const struct process_stat *all, size_t count, const struct process_stat *one,
                     int64_t ancestor)
{
    int64_t parent = one->parent;
    for (size_t depth = 0; depth <= count && parent > 1 && parent != ancestor; depth++) {
        int64_t above = 0;
        for (size_t i = 0; i < count && above == 0; i++)
            above = all[i].pid == parent ? all[i].parent : 0;
        parent = above;
    }
    return parent == ancestor;
}

// Whether the environment that a process was started with holds `mark`. The supervisor's does, so
// it is left out: it is the caller's to deal with.
static bool carries(int64_t pid, struct str mark)
{
    char path[48];
    char *text = mem_alloc(ENVIRONMENT_MAX);
    snprintf(path, sizeof(path), "/proc/%" PRId64 "/environ", pid);
    struct str rest = {text, read_text(path, text, ENVIRONMENT_MAX)}, one;
    bool found = false;
    while (!found && rest.len > 0 && (one = str_cut(&rest, '\0')).at)
        found = str_eq(one, mark);
    mem_free(text);
    return found;
}

// True when something was killed: then another round has to look for what it forked.
static bool sweep_once(const struct process_ids *ids, struct str mark)
{
    size_t count;
    bool killed = false;
    struct process_stat *all = list_processes(&count), leader, top;
    // A session's number is free for others only when nobody of the old one is left.
    bool session = !read_stat(ids->agent_pid, &leader) ||
                   leader.start_time == ids->agent_start_time;
    bool tree = read_stat(ids->pid, &top) && top.start_time == ids->start_time;
    for (size_t i = 0; i < count; i++) {
        bool ours = (session && all[i].session == ids->agent_pid &&
                     all[i].start_time >= ids->agent_start_time) ||
                    (tree && descends(all, count, &all[i], ids->pid)) ||
                    (all[i].start_time >= ids->start_time && carries(all[i].pid, mark));
        bool dead = all[i].state == 'Z' || all[i].state == 'X';
        ours = ours && all[i].pid != ids->pid;
        int fd = ours && !dead ? driver_process_pidfd(all[i].pid, all[i].start_time) : -1;
        if (fd < 0)
            continue;
        killed |= driver_process_send(fd, SIGKILL) == 0;
        close(fd);
    }
    mem_free(all);
    return killed;
}

void driver_process_sweep(const struct driver_process *self, const char *id,
                          const struct process_ids *ids)
{
    _cleanup_free_ char *folder = driver_process_path(self, id, "tmp");
    _cleanup_free_ char *mark = variable("TMPDIR", folder);
    for (int i = 0; ids->same_boot && i < SWEEPS && sweep_once(ids, str_of(mark)); i++)
        ;
}
