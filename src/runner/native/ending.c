// SPDX-License-Identifier: Apache-2.0
#include "runner/native/ending.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cgroup.h"

int64_t ending_memory_kills(void)
{
    char text[CGROUP_FILE_MAX], path[CGROUP_FILE_MAX + 64];
    struct str lines = cgroup_read("/proc/self/cgroup", text, sizeof(text)), line;
    int64_t kills = 0;
    while (lines.at && (line = str_cut(&lines, '\n')).at) {  // "0::/path", "7:memory:/path"
        str_cut(&line, ':');
        struct str controllers = str_cut(&line, ':');
        if (!line.at || (controllers.len > 0 && !str_is(controllers, "memory")))
            continue;
        snprintf(path, sizeof(path), "/sys/fs/cgroup%s" STR_FMT,
                 controllers.len > 0 ? "/memory" : "", STR_ARG(line));
        kills += cgroup_memory_kills(str_of(path));
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
