// SPDX-License-Identifier: Apache-2.0
// operation/preemption: a replica's machine is wanted for something else: it takes nothing new,
// hands back what it has not finished in the notice it is given, which counts no attempt, and
// another one takes its place.
#ifndef DROVER_OPERATION_PREEMPTION_H
#define DROVER_OPERATION_PREEMPTION_H

#include "operation/op.h"

enum preemption_cause {
    PREEMPTION_OPERATOR,     // somebody asked for it
    PREEMPTION_AGE,          // it has run for as long as a preemptible one may
    PREEMPTION_PROBABILITY,  // --preempt-probability
};

// Notes that the replica is to go, with an event that tells of it, and EVENT_REPLICA_PREEMPTED for
// the controllers. ERR_NOT_FOUND: no such replica lives.
MUST_CHECK int replica_preempt(struct op *op, struct str replica_id, enum preemption_cause cause,
                               struct err *err);

#endif
