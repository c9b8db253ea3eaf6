// SPDX-License-Identifier: Apache-2.0
#include "agent/orphans.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "base/str.h"

#define CHILDREN_MAX (1u << 20)  // bytes of their numbers
#define SPARED_MOST  1024

struct orphans {
    int spared[SPARED_MOST];
    size_t count;
};

struct orphans *orphans_new(void)
{
    prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    return mem_alloc(sizeof(struct orphans));
}

void orphans_free(struct orphans *orphans) { mem_free(orphans); }

static void read_all(const char *path, struct buf *out)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *room;
    ssize_t got = 1;
    while (fd >= 0 && got > 0 && (room = buf_reserve(out, 4096))) {
        got = read(fd, room, out->cap - out->len);
        out->len += got > 0 ? (size_t)got : 0;
    }
}

// The numbers of this process's children: each of its threads has a list.
static void list_children(struct buf *out)
{
    DIR *tasks = opendir("/proc/self/task");
    for (const struct dirent *task; tasks && (task = readdir(tasks));) {
        char path[300];
        if (task->d_name[0] == '.')
            continue;
        snprintf(path, sizeof(path), "/proc/self/task/%s/children", task->d_name);
        read_all(path, out);
    }
    if (tasks)
        closedir(tasks);
}

static bool is_spared(const struct orphans *orphans, int pid)
{
    for (size_t i = 0; i < orphans->count; i++)
        if (orphans->spared[i] == pid)
            return true;
    return false;
}

static void each_child(void (*fn)(void *arg, int pid), void *arg)
{
    _cleanup_buf_ struct buf text = BUF_INIT(CHILDREN_MAX);
    list_children(&text);
    struct str rest = buf_str(&text), word;
    int64_t pid;
    while (rest.len > 0 && (word = str_cut(&rest, ' ')).at)
        if (str_int(word, &pid) && pid > 0)
            fn(arg, (int)pid);
}

static void spare(void *arg, int pid)
{
    struct orphans *orphans = arg;
    if (orphans->count < SPARED_MOST)
        orphans->spared[orphans->count++] = pid;
}

void orphans_spare_present(struct orphans *orphans)
{
    orphans->count = 0;
    each_child(spare, orphans);
}

struct sweep {
    const struct orphans *orphans;
    bool (*keep)(void *arg, int pid);
    void *arg;
};

static void end(void *arg, int pid)
{
    const struct sweep *sweep = arg;
    if (sweep->keep(sweep->arg, pid))
        return;
    if (!is_spared(sweep->orphans, pid))
        kill(pid, SIGKILL);
    waitpid(pid, NULL, WNOHANG);
}

void orphans_sweep(struct orphans *orphans, bool (*keep)(void *arg, int pid), void *arg)
{
    struct sweep sweep = {orphans, keep, arg};
    each_child(end, &sweep);
}
