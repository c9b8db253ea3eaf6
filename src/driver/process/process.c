// SPDX-License-Identifier: Apache-2.0
#include "driver/process/process.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static int make_folders(const char *path, struct err *err)
{
    _cleanup_free_ char *part = mem_copy(path, strlen(path));
    for (char *at = part + 1; *at; at++) {
        if (*at != '/')
            continue;
        *at = '\0';
        mkdir(part, 0700);  // whether it worked is seen at the last one
        *at = '/';
    }
    if (mkdir(part, 0700) != 0 && errno != EEXIST)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot make the folder %s for replicas",
                         path);
    return 0;
}

static const char *keep(struct arena *arena, const char *text)
{
    return text ? arena_cstr(arena, str_of(text)) : NULL;
}

// Agents have working directories of their own: what they are told are whole paths.
static const char *keep_path(struct arena *arena, const char *text)
{
    char here[PATH_MAX];
    if (!text || *text == '/' || !getcwd(here, sizeof(here)))
        return keep(arena, text);
    return arena_printf(arena, "%s/%s", here, text).at;
}

static const char *keep_url(struct arena *arena, const char *url)
{
    struct str text = str_of(url);
    if (!str_starts(text, STR("unix:")) || str_starts(text, STR("unix:/")))
        return keep(arena, url);
    return arena_printf(arena, "unix:%s", keep_path(arena, url + 5)).at;
}

static int keep_config(struct driver_process *self, const struct driver_config *config,
                       struct err *err)
{
    struct driver_config *own = &self->config;
    *own = *config;
    if (make_folders(config->folder, err) != 0)
        return -1;
    own->driver = keep(self->arena, config->driver);
    own->folder = keep_path(self->arena, config->folder);
    char *program = realpath(config->agent_program, NULL);
    own->agent_program = keep_path(self->arena, program ? program : config->agent_program);
    free(program);
    own->agent_url = keep_url(self->arena, config->agent_url);
    own->agent_ca = keep(self->arena, config->agent_ca);
    own->public_url = keep(self->arena, config->public_url);
    own->cache = keep_path(self->arena, config->cache);
    own->python = keep(self->arena, config->python);
    own->node = keep(self->arena, config->node);
    own->runner_folder = keep_path(self->arena, config->runner_folder);
    own->cgroup = keep(self->arena, config->cgroup);
    return 0;
}

static int adopt_all(struct driver_process *self, struct err *err)
{
    struct dirent **entries;
    // In order of names, which is the order of age.
    int count = scandir(self->config.folder, &entries, NULL, alphasort);
    if (count < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot read the folder %s",
                         self->config.folder);
    for (int i = 0; i < count; i++) {
        driver_process_adopt(self, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return 0;
}

static void process_close(struct driver *driver)
{
    struct driver_process *self = (struct driver_process *)driver;
    driver_slots_deinit(&self->slots);
    driver_process_free_cgroups(self);
    arena_free(self->arena);
    mem_free(self);
}

static struct driver *process_open(const struct driver_config *config, struct err *err)
{
    if (!config->folder || !config->agent_program || !config->agent_url || !config->loop) {
        err_set(err, ERR_INTERNAL,
                "the process driver needs folder, agent_program, agent_url "
                "and loop");
        return NULL;
    }
    struct driver_process *self = mem_alloc(sizeof(*self));
    self->driver.ops = &driver_process;
    self->arena = arena_new();
    driver_slots_init(&self->slots, &self->config, &driver_process_backend);
    int rc = keep_config(self, config, err);
    if (rc == 0) {
        driver_process_find_cgroups(self);
        rc = adopt_all(self, err);
    }
    if (rc != 0) {
        process_close(&self->driver);
        return NULL;
    }
    return &self->driver;
}

static int process_apply(struct driver *driver, const struct deployment *deployment,
                         struct err *err)
{
    return driver_slots_apply(&((struct driver_process *)driver)->slots, deployment, err);
}

static int process_remove(struct driver *driver, struct str service_id, bool force, struct err *err)
{
    (void)err;
    driver_slots_remove(&((struct driver_process *)driver)->slots, service_id, force);
    return 0;
}

static void process_observe(struct driver *driver, struct str service_id,
                            void (*each)(void *, const struct replica_status *), void *arg)
{
    driver_slots_observe(&((struct driver_process *)driver)->slots, service_id, each, arg);
}

static int process_signal(struct driver *driver, struct str replica_id, enum replica_signal signal,
                          struct err *err)
{
    return driver_slots_signal(&((struct driver_process *)driver)->slots, replica_id, signal, err);
}

static void process_ready(struct driver *driver, struct str replica_id, bool ready)
{
    driver_slots_ready(&((struct driver_process *)driver)->slots, replica_id, ready);
}

const struct driver_ops driver_process = {
    .name = "process",
    .open = process_open,
    .close = process_close,
    .apply = process_apply,
    .remove = process_remove,
    .observe = process_observe,
    .signal = process_signal,
    .ready = process_ready,
};
