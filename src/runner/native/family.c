// SPDX-License-Identifier: Apache-2.0
#include "runner/native/family.h"

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

#define ROUNDS 1000  // of killing what keeps forking

static void read_file(const char *path, struct buf *out)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *room;
    while (fd >= 0 && (room = buf_reserve(out, 4096))) {
        ssize_t got = read(fd, room, 4096);
        if (got <= 0)
            return;
        out->len += (size_t)got;
    }
}

// The pids of all children, whichever thread started them, each followed by a blank.
static void children_of(pid_t pid, struct buf *out)
{
    char path[64];
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = opendir(path);
    if (!tasks)
        return;
    for (const struct dirent *task; (task = readdir(tasks));) {
        snprintf(path, sizeof(path), "/proc/%d/task/%.20s/children", (int)pid, task->d_name);
        if (task->d_name[0] != '.')
            read_file(path, out);
    }
    closedir(tasks);
}

static bool next_pid(struct str *rest, pid_t *pid)
{
    int64_t number;
    struct str word = str_cut(rest, ' ');
    if (!word.at || !str_int(word, &number))
        return false;
    *pid = (pid_t)number;
    return true;
}

struct buf family_children(void)
{
    struct buf list = BUF_INIT(1 << 20);
    children_of(getpid(), &list);
    return list;
}

bool family_has(const struct buf *children, pid_t pid)
{
    struct str rest = buf_str(children);
    for (pid_t one; next_pid(&rest, &one);)
        if (one == pid)
            return true;
    return false;
}

void family_sweep(bool (*known)(void *arg, pid_t pid), void *arg)
{
    bool found = true;
    for (int round = 0; found && round < ROUNDS; round++) {
        _cleanup_buf_ struct buf list = family_children();
        struct str rest = buf_str(&list);
        found = false;
        for (pid_t child; next_pid(&rest, &child);) {
            if (known(arg, child))
                continue;
            kill(child, SIGKILL);  // what it has started comes to us: the next round's
            waitpid(child, NULL, 0);
            found = true;
        }
    }
}
