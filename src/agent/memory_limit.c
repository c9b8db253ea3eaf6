// SPDX-License-Identifier: Apache-2.0
#include "agent/memory_limit.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/mem.h"

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
    char path[CGROUP_FILE_MAX];
    snprintf(path, sizeof(path), "%s/cgroups", folder);
    return cgroup_read(path, text, CGROUP_FILE_MAX);
}

int64_t memory_limit_kills(const char *folder)
{
    char text[CGROUP_FILE_MAX];
    struct str lines = read_cgroups(folder, text), cgroup;
    int64_t kills = 0;
    while ((cgroup = next_cgroup(&lines)).at)
        kills += cgroup_memory_kills(cgroup);
    return kills;
}

void memory_limit_one(const char *folder)
{
    char path[CGROUP_FILE_MAX], text[CGROUP_FILE_MAX];
    struct str lines = read_cgroups(folder, text), cgroup;
    while ((cgroup = next_cgroup(&lines)).at) {
        snprintf(path, sizeof(path), STR_FMT "/memory.oom.group", STR_ARG(cgroup));
        _cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);
        ssize_t written = fd < 0 ? 0 : write(fd, "0", 1);
        (void)written;  // where it may not, the replica goes as a whole
    }
}
