// SPDX-License-Identifier: Apache-2.0
// driver/process: agents as processes of this machine, one supervisor each (agent/supervise.h),
// which outlive the server. This page is internal to the folder.
//
// A replica's folder DIR/<replica id>/ (0700) holds
//   replica.json  what the driver knows, rewritten whole at every change
//   spec.json     the agent's (docs/agent-link.md)
//   cgroups       cgroup.procs files that the agent enters, one a line
//   lock          flocked by the supervisor for as long as it lives; the lock is taken here and
//                 inherited, so there is no moment at which a started replica looks dead
//   supervisor.json, stderr.txt, exit.json   the supervisor's
//   home/, tmp/   the agent's HOME and TMPDIR
#ifndef DROVER_DRIVER_PROCESS_PROCESS_H
#define DROVER_DRIVER_PROCESS_PROCESS_H

#include <sys/types.h>

#include "base/arena.h"
#include "base/json.h"
#include "driver/slots.h"

struct uv_poll_s;

struct process_cgroups {        // folders in which replicas get cgroups of their own; NULL: none
    char *memory, *cpu, *pids;  // owned; one and the same with cgroup v2
    bool v2;
};

struct driver_process {
    struct driver driver;
    struct driver_config config;  // texts in the arena
    struct driver_slots slots;
    struct arena *arena;
    struct process_cgroups cgroups;
};

struct process_replica {
    struct driver_slot slot;
    struct str project_id;   // owned
    char *limits_note;       // what could not be enforced; owned, NULL: nothing
    int pidfd;               // of the supervisor; -1: not known (yet)
    int64_t supervisor;      // its pid
    struct uv_poll_s *poll;  // on pidfd
    int64_t look_ms;
    struct loop_timer *look;  // waits for supervisor.json, or for the supervisor's answer to a kill
};

struct process_ids {  // supervisor.json
    int64_t pid, agent_pid;
    uint64_t start_time, agent_start_time;
    bool same_boot;  // else all of it is history
};

// ── replica.c: one replica; the slots' backend ───────────────────────────────────────────────
extern const struct driver_slots_backend driver_process_backend;
// Takes up what the folder of that name tells; a folder that tells nothing is removed.
void driver_process_adopt(struct driver_process *self, const char *name);

// ── folder.c ─────────────────────────────────────────────────────────────────────────────────
char *driver_process_path(const struct driver_process *self, const char *id,
                          const char *file);  // mem_free; file may be NULL
// Writes a file (0600) at once or not at all.
MUST_CHECK int driver_process_put(const struct driver_process *self, const char *id,
                                  const char *file, struct str text, struct err *err);
// The file's first 64 KiB; absent when it cannot be read.
struct str driver_process_read(const struct driver_process *self, const char *id, const char *file,
                               struct arena *arena);
// As before, as a JSON object; false when it is not there or not one.
bool driver_process_read_json(const struct driver_process *self, const char *id, const char *file,
                              struct arena *arena, struct json *out);
MUST_CHECK int driver_process_make_folder(const struct driver_process *self, const char *id,
                                          struct err *err);
void driver_process_unlink(const struct driver_process *self, const char *id, const char *file);
// Out of the way at once, deleted on libuv's pool.
void driver_process_remove_folder(const struct driver_process *self, const char *id);
// The locked descriptor, or -1 with errno (EWOULDBLOCK: a supervisor lives).
int driver_process_lock(const struct driver_process *self, const char *id);

// ── system.c: processes ──────────────────────────────────────────────────────────────────────
// Starts the supervisor of a folder with a clean environment; it inherits lock_fd. Its pid, or -1.
MUST_CHECK pid_t driver_process_spawn(const struct driver_process *self, const char *folder,
                                      int lock_fd, struct err *err);
bool driver_process_ids(const struct driver_process *self, const char *id, struct process_ids *out);
int driver_process_pidfd(int64_t pid, uint64_t start_time);  // -1: not that process any more
int driver_process_send(int pidfd, int signal);              // 0, or -1 with errno
// Kills what descends from the supervisor, what is left of the agent's session, and whoever has the
// TMPDIR that only the replica's processes have.
void driver_process_sweep(const struct driver_process *self, const char *id,
                          const struct process_ids *ids);

// ── limits.c ─────────────────────────────────────────────────────────────────────────────────
// Finds what is writable: the configured folder, or the server's own cgroup (v2, else v1).
void driver_process_find_cgroups(struct driver_process *self);
void driver_process_free_cgroups(struct driver_process *self);
// Makes the replica's cgroups and writes the file that names them. Returns what is not enforced as
// a sentence (mem_free), or NULL.
char *driver_process_limit(const struct driver_process *self, const char *id,
                           const struct instance_type *instance);
bool driver_process_oom(const struct driver_process *self, const char *id);  // killed for memory?
void driver_process_unlimit(const struct driver_process *self, const char *id);

#endif
