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

int64_t memory_limit_kills(const char *folder)
{
    char path[SMALL_MAX], text[SMALL_MAX];
    snprintf(path, sizeof(path), "%s/cgroups", folder);
    struct str lines = read_small(path, text), line;
    int64_t kills = 0;
    while (lines.at && (line = str_cut(&lines, '\n')).at) {
        static const struct str end = {"/cgroup.procs", 13};
        if (line.len <= end.len)
            continue;
        struct str cgroup = {line.at, line.len - end.len};
        kills += count_in(cgroup, "memory.events") + count_in(cgroup, "memory.oom_control");
    }
    return kills;
}
