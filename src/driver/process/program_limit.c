// SPDX-License-Identifier: Apache-2.0
#include "driver/program_limit.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/mem.h"
#include "driver/process/process.h"

struct program_limit {
    struct driver_process self;  // as much of it as limits.c needs
    char *id, *note;
};

struct program_limit *program_limit_open(const char *folder, const char *id,
                                         const struct instance_type *instance, const char **note)
{
    struct program_limit *limit = mem_alloc(sizeof(*limit));
    struct err err = ERR_INIT;
    limit->self.arena = arena_new();
    limit->self.config.folder = arena_cstr(limit->self.arena, str_of(folder));
    limit->id = mem_copy(id, strlen(id));
    driver_process_find_cgroups(&limit->self);
    if (driver_process_make_folder(&limit->self, id, &err))
        limit->note = mem_copy(err.message, strlen(err.message));
    else
        limit->note = driver_process_limit(&limit->self, id, instance);
    *note = limit->note;
    return limit;
}

void program_limit_enter(const struct program_limit *limit)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct str paths = driver_process_read(&limit->self, limit->id, "cgroups", arena), path;
    while (paths.at && (path = str_cut(&paths, '\n')).at) {
        _cleanup_fd_ int fd = path.len ? open(arena_cstr(arena, path), O_WRONLY | O_CLOEXEC) : -1;
        if (fd >= 0 && write(fd, "0", 1) != 1)
            continue;  // told by the note when it matters
    }
}

bool program_limit_exceeded(const struct program_limit *limit)
{
    return driver_process_oom(&limit->self, limit->id);
}

void program_limit_close(struct program_limit *limit)
{
    if (!limit)
        return;
    driver_process_unlimit(&limit->self, limit->id);
    driver_process_free_cgroups(&limit->self);
    arena_free(limit->self.arena);
    mem_free(limit->id);
    mem_free(limit->note);
    mem_free(limit);
}
