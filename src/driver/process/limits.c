// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cgroup.h"
#include "base/mem.h"
#include "driver/process/process.h"

#define ROOT     "/sys/fs/cgroup"
#define PIDS_MAX 8192  // threads and processes of one replica

static char *join(const char *folder, const char *first, const char *second)
{
    struct buf text = BUF_INIT(1 << 16);
    buf_add_cstr(&text, folder);
    buf_add_cstr(&text, first);
    buf_add_cstr(&text, second);
    char *path = mem_copy(buf_str(&text).at, text.len);
    buf_deinit(&text);
    return path;
}

static bool put(const char *folder, const char *file, const char *value)
{
    _cleanup_free_ char *path = join(folder, "/", file);
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd >= 0 && write(fd, value, strlen(value)) == (ssize_t)strlen(value);
}

static bool put_number(const char *folder, const char *file, int64_t value)
{
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64, value);
    return put(folder, file, text);
}

// ── where ────────────────────────────────────────────────────────────────────────────────────
// The folder of this process in a hierarchy; lines of /proc/self/cgroup are "N:controllers:/path",
// with v2 "0::/path". NULL: there is none, or it is not ours to write.
static char *own_folder(struct str groups, const char *controller)
{
    struct str line;
    while ((line = str_cut(&groups, '\n')).at) {
        struct str path = line;
        (void)str_cut(&path, ':');
        struct str names = str_cut(&path, ':'), name;
        bool mine = *controller == '\0' && names.len == 0;
        while (!mine && names.at && (name = str_cut(&names, ',')).at)
            mine = name.len > 0 && str_is(name, controller);
        if (!mine || !path.at)
            continue;
        _cleanup_free_ char *rest = mem_copy(path.at, path.len);
        _cleanup_free_ char *root = join(ROOT, *controller ? "/" : "", controller);
        char *folder = join(root, str_is(path, "/") ? "" : rest, "");
        if (access(folder, W_OK) == 0)
            return folder;
        mem_free(folder);
        return NULL;
    }
    return NULL;
}

// With v2 a folder hands controllers down only while no process is directly in it.
static bool hands_down(const char *folder)
{
    static const char *const wanted[] = {"memory", "cpu", "pids"};
    char text[CGROUP_FILE_MAX];
    (void)put(folder, "cgroup.subtree_control", "+memory +cpu +pids");
    _cleanup_free_ char *path = join(folder, "/", "cgroup.subtree_control");
    struct str have = cgroup_read(path, text, sizeof(text));
    size_t at;
    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++)
        if (!have.at || !str_find(have, str_of(wanted[i]), &at))
            return false;
    return true;
}

void driver_process_find_cgroups(struct driver_process *self)
{
    struct process_cgroups *cgroups = &self->cgroups;
    const char *configured = self->config.cgroup;
    char text[CGROUP_FILE_MAX];
    struct str groups = cgroup_read("/proc/self/cgroup", text, sizeof(text));
    if (configured && *configured == '\0')
        return;
    cgroups->v2 = configured || access(ROOT "/cgroup.controllers", R_OK) == 0;
    if (!cgroups->v2) {
        cgroups->memory = own_folder(groups, "memory");
        cgroups->cpu = own_folder(groups, "cpu");
        cgroups->pids = own_folder(groups, "pids");
        return;
    }
    char *folder = configured ? join(configured, "", "") : own_folder(groups, "");
    if (folder && hands_down(folder)) {
        cgroups->memory = join(folder, "", "");
        cgroups->cpu = join(folder, "", "");
        cgroups->pids = join(folder, "", "");
    }
    mem_free(folder);
}

void driver_process_free_cgroups(struct driver_process *self)
{
    mem_free(self->cgroups.memory);
    mem_free(self->cgroups.cpu);
    mem_free(self->cgroups.pids);
}

// ── one replica's ────────────────────────────────────────────────────────────────────────────
static char *replica_cgroup(const char *folder, const char *id)
{
    return folder ? join(folder, "/drover-", id) : NULL;
}

// Fresh, so that counters start at zero.
static bool make_cgroup(const char *path)
{
    if (!path)
        return false;
    rmdir(path);
    return mkdir(path, 0755) == 0 || errno == EEXIST;
}

static void add_procs(struct buf *list, const char *path)
{
    if (!path || str_find(buf_str(list), str_of(path), &(size_t){0}))
        return;
    buf_add_cstr(list, path);
    buf_add_cstr(list, "/cgroup.procs\n");
}

char *driver_process_limit(const struct driver_process *self, const char *id,
                           const struct instance_type *instance)
{
    const struct process_cgroups *in = &self->cgroups;
    _cleanup_free_ char *memory = replica_cgroup(in->memory, id);
    _cleanup_free_ char *cpu = replica_cgroup(in->cpu, id);
    _cleanup_free_ char *pids = replica_cgroup(in->pids, id);
    int64_t bytes = instance->memory_mib << 20;
    int64_t weight = instance->cpu_milli / 10;
    weight = weight < 1 ? 1 : weight > 10000 ? 10000 : weight;
    bool memory_ok = make_cgroup(memory) &&
                     put_number(memory, in->v2 ? "memory.max" : "memory.limit_in_bytes", bytes);
    // Out of memory ends the whole replica, not a part of it that nobody restarts.
    if (memory_ok && in->v2)
        (void)put(memory, "memory.oom.group", "1");
    bool cpu_ok = (in->v2 ? memory_ok : make_cgroup(cpu)) &&
                  put_number(cpu, in->v2 ? "cpu.weight" : "cpu.shares",
                             in->v2 ? weight : instance->cpu_milli * 1024 / 1000 + 2);
    bool pids_ok = (in->v2 ? memory_ok : make_cgroup(pids)) &&
                   put_number(pids, "pids.max", PIDS_MAX);
    struct buf list = BUF_INIT(1 << 16);
    add_procs(&list, memory_ok ? memory : NULL);
    add_procs(&list, cpu_ok ? cpu : NULL);
    add_procs(&list, pids_ok ? pids : NULL);
    struct err err = ERR_INIT;
    bool told = driver_process_put(self, id, "cgroups", buf_str(&list), &err) == 0;
    buf_deinit(&list);
    if (told && memory_ok && cpu_ok)
        return NULL;
    return join(!told || (!memory_ok && !cpu_ok) ? "memory and CPU limits"
                : memory_ok                      ? "CPU limit"
                                                 : "memory limit",
                " not enforced: ", told ? "no writable cgroup" : err.message);
}

bool driver_process_oom(const struct driver_process *self, const char *id)
{
    _cleanup_free_ char *memory = replica_cgroup(self->cgroups.memory, id);
    return memory && cgroup_memory_kills(str_of(memory)) > 0;
}

void driver_process_unlimit(const struct driver_process *self, const char *id)
{
    const char *const folders[] = {self->cgroups.memory, self->cgroups.cpu, self->cgroups.pids};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        _cleanup_free_ char *path = replica_cgroup(folders[i], id);
        if (path)
            rmdir(path);
    }
}
