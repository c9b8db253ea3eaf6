// SPDX-License-Identifier: Apache-2.0
// operation/rollout: what becomes of a service's newest revision: it is good, or its agents cannot
// start, and then its last good revision comes back, or, where there is none, the service is
// stopped. The controllers decide when (control/lifecycle.h); here it is done, each in one
// transaction with the event and the notification that tell of it.
#ifndef DROVER_OPERATION_ROLLOUT_H
#define DROVER_OPERATION_ROLLOUT_H

#include "model/runtime.h"
#include "operation/op.h"

// What the service's agents are called now: those of another name are replaced. It is the revision
// and generation for which they were last made anew, so that going back to an old revision keeps
// its agents where they still run. May be borrowed from the service.
struct str service_agents(const struct service *service, struct arena *arena);

// Replicas that the service should have now: none while it is paused; with an autoscaler its
// minReplicas, and at least one.
int64_t service_replicas(const struct service *service, const struct runtime *runtime);

// All agents of that name take executions, and no others are left: a good revision. Nothing when
// the service has moved on or is known to be good.
MUST_CHECK int rollout_good(struct op *op, struct str service_id, struct str agents,
                            struct err *err);

struct rollout_failure {
    struct str service_id, agents;
    struct str replica_id;  // the one that failed most
    struct str type;        // "requirements", "init", "OOMKilled"…
    struct str how;         // "ended with exit code 70"
    struct str words;       // the exact error: the traceback, or the agent's last lines
    int64_t failures;       // in a row
    int64_t memory_mib;     // the limit
    int64_t exit_code;      // INT_NONE: not known
};

// Makes the last good revision the newest one. Nothing when the service has moved on.
MUST_CHECK int rollout_back(struct op *op, const struct rollout_failure *failure, struct err *err);

// Stops the service: no agents until somebody resumes it; what is queued stays queued.
MUST_CHECK int rollout_stop(struct op *op, const struct rollout_failure *failure, struct err *err);

#endif
