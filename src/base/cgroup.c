// SPDX-License-Identifier: Apache-2.0
#include "base/cgroup.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/mem.h"

struct str cgroup_read(const char *path, char *out, size_t size)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, out, size);
    return got < 0 ? STR_NONE : (struct str){out, (size_t)got};
}

static int64_t kills_in(struct str folder, const char *file)
{
    char path[CGROUP_FILE_MAX + 64], text[CGROUP_FILE_MAX];
    snprintf(path, sizeof(path), STR_FMT "/%s", STR_ARG(folder), file);
    struct str lines = cgroup_read(path, text, sizeof(text)), line;
    while (lines.at && (line = str_cut(&lines, '\n')).at) {
        struct str name = str_cut(&line, ' ');
        int64_t count;
        if (str_is(name, "oom_kill") && line.at && str_int(line, &count))
            return count;
    }
    return 0;
}

int64_t cgroup_memory_kills(struct str folder)
{
    return kills_in(folder, "memory.events") + kills_in(folder, "memory.oom_control");
}
