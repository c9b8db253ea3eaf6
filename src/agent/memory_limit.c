// SPDX-License-Identifier: Apache-2.0
#include "agent/memory_limit.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

#define SMALL_MAX 4096

static struct str read_small(const char *path, char *out)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, out, SMALL_MAX);
    return got < 0 ? STR_NONE : (struct str){out, (size_t)got};
}

// In memory.events (v2) and memory.oom_control (v1) it is a line "oom_kill N".
static int64_t count_in(struct str cgroup, const char *file)
{
    char path[SMALL_MAX], text[SMALL_MAX];
    snprintf(path, sizeof(path), STR_FMT "/%s", STR_ARG(cgroup), file);
    struct str lines = read_small(path, text), line;
    while (lines.at && (line = str_cut(&lines, '\n')).at) {
        struct str name = str_cut(&line, ' ');
        int64_t count;
        if (str_is(name, "oom_kill") && line.at && str_int(line, &count))
            return count;
    }
    return 0;
}

// Of the replica's cgroups; absent: there is no further one.
static struct str next_cgroup(struct str *lines)
{
    static const struct str end = {"/cgroup.procs", 13};
    struct str line;
    while (lines->at && (line = str_cut(lines, '\n')).at)
        if (line.len > end.len)
            return (struct str){line.at, line.len - end.len};
    return STR_NONE;
}

static struct str read_cgroups(const char *folder, char *text)
{
    char path[SMALL_MAX];
    snprintf(path, sizeof(path), "%s/cgroups", folder);
    return read_small(path, text);
}

int64_t memory_limit_kills(const char *folder)
{
    char text[SMALL_MAX];
    struct str lines = read_cgroups(folder, text), cgroup;
    int64_t kills = 0;
    while ((cgroup = next_cgroup(&lines)).at)
        kills += count_in(cgroup, "memory.events") + count_in(cgroup, "memory.oom_control");
    return kills;
}

void memory_limit_one(const char *folder)
{
    char path[SMALL_MAX], text[SMALL_MAX];
    struct str lines = read_cgroups(folder, text), cgroup;
    while ((cgroup = next_cgroup(&lines)).at) {
        snprintf(path, sizeof(path), STR_FMT "/memory.oom.group", STR_ARG(cgroup));
        _cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        ssize_t written = fd < 0 ? 0 : write(fd, "0", 1);
        (void)written;  // where it may not, the replica goes as a whole
    }
}
