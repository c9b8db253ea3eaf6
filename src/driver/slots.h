// SPDX-License-Identifier: Apache-2.0
// driver/slots: what drivers that start replicas themselves have in common: which replicas a
// service should have, which one goes first, back-off after an end, and telling about it. How a
// replica is started and signalled is the backend's.
//
// A slot keeps its replica id over restarts. Changes are told in the loop's next turn,
// never from inside a call, so that on_change may call any function of the driver.
#ifndef DROVER_DRIVER_SLOTS_H
#define DROVER_DRIVER_SLOTS_H

#include "base/list.h"
#include "driver/driver.h"
#include "model/entity.h"

#define EXIT_CODE_REFUSED 72  // the server refused the agent: never started again

enum slot_told { SLOT_KEEP, SLOT_DRAIN, SLOT_STOP, SLOT_KILL };  // each includes the ones before

struct driver_slot {  // first member of the backend's own struct
    struct list node;
    struct driver_slots *slots;
    char *id, *service_id, *revision, *message;  // owned
    const char *reason;                          // a literal
    enum replica_phase phase;
    enum slot_told told;
    bool alive;       // a process exists
    bool ready;       // its agent takes executions
    bool overdue;     // was stopped because its time was up
    int64_t rollout;  // of its service, that it was told to make room for; 0: none
    int64_t restarts;
    int64_t failures;       // in a row
    int64_t exit_code;      // INT_NONE: none yet
    int64_t started_at;     // wall ms; 0: never
    int64_t started_mono;   // monotonic ms; 0: by an earlier server, or never
    int64_t next_start_at;  // wall ms; while waiting
    int64_t pid;
    int64_t backoff_ms;  // of the newest wait; 0: none yet
    int64_t drain_ms, grace_ms;
    struct loop_timer *timer;  // end of the back-off, or of the time given to stop
};

struct driver_slot_end {
    int64_t code;  // 128 + n: signal n
    bool oom;
    int64_t at;          // wall ms
    struct str message;  // last lines, or what is known instead
};

struct driver_slots_backend {
    size_t slot_size;
    // Starts the slot's process; keeps what a later server needs to know before it does so.
    int (*start)(struct driver_slot *slot, const struct deployment *deployment, struct err *err);
    void (*signal)(struct driver_slot *slot, enum replica_signal signal);  // the slot is alive
    void (*save)(struct driver_slot *slot);                                // the state changed
    void (*forget)(struct driver_slot *slot);  // it is gone for good: drop all but the slot itself
    void (*drop)(struct driver_slot *slot);    // the driver closes: as forget, but keep it on disk
};

struct driver_slots {
    const struct driver_config *config;
    const struct driver_slots_backend *backend;
    const struct clock *clock;
    struct list slots;     // oldest first
    struct list services;  // what was applied
    struct list reports;   // changes not yet told
    struct loop_timer *telling;
};

void driver_slots_init(struct driver_slots *slots, const struct driver_config *config,
                       const struct driver_slots_backend *backend);
void driver_slots_deinit(struct driver_slots *slots);  // tells what was not told yet

// As the functions of driver.h.
int driver_slots_apply(struct driver_slots *slots, const struct deployment *deployment,
                       struct err *err);
void driver_slots_remove(struct driver_slots *slots, struct str service_id, bool force);
void driver_slots_observe(struct driver_slots *slots, struct str service_id,
                          void (*each)(void *, const struct replica_status *), void *arg);
int driver_slots_signal(struct driver_slots *slots, struct str replica_id,
                        enum replica_signal signal, struct err *err);
void driver_slots_ready(struct driver_slots *slots, struct str replica_id, bool ready);

// For backends. A new slot is waiting, due at once, and neither saved nor told.
struct driver_slot *driver_slots_add(struct driver_slots *slots, struct str id,
                                     struct str service_id, struct str revision);
struct driver_slot *driver_slots_find(struct driver_slots *slots, struct str id);  // or NULL
// Its fields were restored: goes on from there. May free it.
void driver_slot_adopted(struct driver_slot *slot);
void driver_slot_running(struct driver_slot *slot, int64_t pid);
void driver_slot_ended(struct driver_slot *slot, const struct driver_slot_end *end);  // may free it

#endif
