// SPDX-License-Identifier: Apache-2.0
#include "main/place.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

#define INSTALLED "../lib/drover"

// The first of two that is there; the second when none is.
static const char *first(struct arena *arena, const char *self, const char *one, const char *other)
{
    const char *path = arena_printf(arena, "%s/%s", self, one).at;
    return access(path, R_OK) == 0 ? path : arena_printf(arena, "%s/%s", self, other).at;
}

int place_find(struct place *out, struct arena *arena, struct err *err)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    if (len <= 0)
        return err_errno(err, ERR_INTERNAL, errno,
                         "cannot find this program's own folder (/proc/self/exe)");
    self[len] = '\0';
    *strrchr(self, '/') = '\0';
    out->self = arena_cstr(arena, str_of(self));
    out->agent = first(arena, self, "drover-agent", INSTALLED "/drover-agent");
    out->runner = first(arena, self, "runner", INSTALLED "/runner");
    out->example = first(arena, self, "../examples/hello", "../share/drover/examples/hello");
    if (access(out->agent, X_OK) != 0)
        return err_errno(
            err, ERR_DEPENDENCY, errno,
            "drover-agent is missing (%s): build it with `make`, or install Drover anew",
            out->agent);
    if (access(arena_printf(arena, "%s/drover_runner.py", out->runner).at, R_OK) != 0)
        return err_errno(err, ERR_DEPENDENCY, errno,
                         "the Python runner is missing (%s): build it with `make`, or install "
                         "Drover anew",
                         out->runner);
    return 0;
}
