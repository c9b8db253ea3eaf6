// SPDX-License-Identifier: Apache-2.0
#include "runner/native/ending.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/mem.h"

#define SMALL_MAX 4096

static struct str read_small(const char *path, char *out)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, out, SMALL_MAX);
    return got < 0 ? STR_NONE : (struct str){out, (size_t)got};
}

// A line "oom_kill N" of a file of the kernel's.
static int64_t count_in(const char *path)
{
    char text[SMALL_MAX];
    struct str lines = read_small(path, text), line;
    while (lines.at && (line = str_cut(&lines, '\n')).at) {
        struct str name = str_cut(&line, ' ');
        int64_t count;
        if (str_is(name, "oom_kill") && line.at && str_int(line, &count))
            return count;
    }
    return 0;
}

int64_t ending_memory_kills(void)
{
    char text[SMALL_MAX], path[SMALL_MAX + 64];
    struct str lines = read_small("/proc/self/cgroup", text), line;
    int64_t kills = 0;
    while (lines.at && (line = str_cut(&lines, '\n')).at) {  // "0::/path", "7:memory:/path"
        str_cut(&line, ':');
        struct str controllers = str_cut(&line, ':');
        if (!line.at || (controllers.len > 0 && !str_is(controllers, "memory")))
            continue;
        bool v2 = controllers.len == 0;
        snprintf(path, sizeof(path), "/sys/fs/cgroup%s" STR_FMT "/%s", v2 ? "" : "/memory",
                 STR_ARG(line), v2 ? "memory.events" : "memory.oom_control");
        kills += count_in(path);
    }
    return kills;
}

struct str ending_describe(int status, bool out_of_memory, struct arena *arena)
{
    if (WIFEXITED(status))
        return arena_printf(arena,
                            "the function's process exited with status %d before the function "
                            "returned",
                            WEXITSTATUS(status));
    int number = WTERMSIG(status);
    if (out_of_memory)
        return STR("the function's process was killed (SIGKILL): out of memory");
    return arena_printf(arena, "the function's process was killed by signal %d (SIG%s, %s)", number,
                        sigabbrev_np(number) ? sigabbrev_np(number) : "?", strsignal(number));
}
