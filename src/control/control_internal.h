// SPDX-License-Identifier: Apache-2.0
// The parts of control share this: control.c (services and the driver), replicas.c (the rows of
// observed replicas), collect.c (housekeeping),
// retention.c (what is past its time), deletions.c (what was in deleted projects and datasets).
// Loop thread only.
#ifndef DROVER_CONTROL_CONTROL_INTERNAL_H
#define DROVER_CONTROL_CONTROL_INTERNAL_H

#include "base/id.h"
#include "base/list.h"
#include "base/map.h"
#include "control/control.h"
#include "control/preempt.h"
#include "control/replica_events.h"
#include "control/watch.h"
#include "net/loop.h"
#include "operation/deletion.h"

struct control {
    const struct platform *platform;
    struct dispatch *dispatch;
    struct driver *driver;
    struct map *replicas;  // struct replica_view by id
    struct loop_timer *collect, *retention_pause;
    struct list again;  // struct reconcile that failed, to be tried again
    struct loop_timer *again_timer;
    struct retention *retaining;  // under way
    struct commands *commands;
    struct watches *watches;
    struct preempt_rules preempt;
    struct loop_timer *preempt_timer;
    bool started, stopped, collecting, deleting;
    int64_t clock_offset;   // of the wall clock to the monotonic one, when it was last looked at
    int64_t collect_after;  // monotonic ms: until then ages are not to be trusted
    struct deletion_step deletion;  // the step under way
    char cleaned[UUID_LEN + 1];     // the deleted project whose log lines are deleted; "": none
    struct loop_timer *deletion_wait;
    int deletion_waits;
    struct map *cuts;  // cuts.c: what is gathered; NULL: nothing
    struct loop_timer *cuts_timer;
    struct metric *replicas_running, *restarts;
};

// replicas.c
struct replica_view;
void replica_observed(struct control *control, const struct replica_status *status);
// False: it said what was known.
bool replica_spoke(struct control *control, struct str replica_id, struct str service_id,
                   const char *state, struct str phase, struct json failure);
// Its leases ran out: whatever ends it now, that is why. Forgotten when it starts again.
void replica_silent(struct control *control, struct str replica_id);
enum replica_silence replica_silence_of(const struct control *control, struct str replica_id);
// Those that are alive and were not told to go.
void replicas_each_kept(struct control *control,
                        void (*each)(void *arg, struct str replica_id, struct str service_id,
                                     int64_t age_ms),
                        void *arg);
// What a service's replicas say, for control/watch.h; arg is the control.
void replicas_look(void *arg, struct str service_id, struct str agents, struct lifecycle_view *view,
                   struct watch_failure *worst);
// Deletes the rows that an earlier server left of replicas that the driver does not know.
void replicas_settle(struct control *control);
void replica_views_free(struct control *control);

// collect.c
void collect_start(struct control *control);

// cuts.c
void cuts_add(struct control *control, const struct event *event);  // EVENT_EXECUTION_CUT
void cuts_stop(struct control *control);                            // tells what is gathered
void silence_add(struct control *control, struct str replica_id);

// preempt.c
void preempt_subscribe(struct control *control);
void preempt_start(struct control *control);

// retention.c
struct retention;
void retention_go(struct control *control);    // begins, unless it is under way
void retention_stop(struct control *control);  // what is under way ends with its step

// deletions.c
void deletions_subscribe(struct control *control);
void deletions_go_on(struct control *control);

#endif
