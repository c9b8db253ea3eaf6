// SPDX-License-Identifier: Apache-2.0
// control/watch: which services there are, and whether their newest revision takes over, has done
// so, or cannot (control/lifecycle.h judges, operation/rollout.h acts). Loop thread only.
#ifndef DROVER_CONTROL_WATCH_H
#define DROVER_CONTROL_WATCH_H

#include "control/lifecycle.h"
#include "model/runtime.h"
#include "operation/op.h"

struct watches;

// What the worst replica of a service says; texts are borrowed until the loop's next turn.
struct watch_failure {
    struct str replica_id, type, how, words;
    int64_t failures, exit_code;
};

// Fills in what the replicas of a service say: ready, old, old_ready and failures of the view, and
// of the one that failed most in a row the details.
typedef void (*watch_look_fn)(void *arg, struct str service_id, struct str agents,
                              struct lifecycle_view *view, struct watch_failure *worst);

struct watches *watches_new(const struct platform *platform, watch_look_fn look, void *arg);
void watches_free(struct watches *watches);
void watches_stop(struct watches *watches);  // no more decisions

// The service is as in its row.
void watch_service(struct watches *watches, const struct service *service,
                   const struct runtime *runtime);
bool watch_preemptible(const struct watches *watches, struct str service_id);
void watch_forget(struct watches *watches, struct str service_id);
// One of its replicas has changed: decides what there is to decide.
void watch_look(struct watches *watches, struct str service_id);

#endif
