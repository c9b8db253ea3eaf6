// SPDX-License-Identifier: Apache-2.0
// control/lifecycle: what a service's replicas say of its newest revision: it takes over, it has,
// or it cannot. Pure: what is seen in, a verdict out; what becomes of it is operation/rollout.h's.
#ifndef DROVER_CONTROL_LIFECYCLE_H
#define DROVER_CONTROL_LIFECYCLE_H

#include <stdbool.h>
#include <stdint.h>

struct lifecycle_rules {
    int64_t rollout_failures;  // of one new agent in a row: the revision before comes back
    int64_t crash_failures;    // of one agent in a row while none serves: the service is stopped
};

struct lifecycle_view {
    int64_t wanted;    // replicas; 0: paused or deleted
    bool good;         // this revision is known to be good
    bool good_before;  // another one is
    int64_t ready;     // replicas of the revision that take executions
    int64_t old;       // replicas of others that are alive
    int64_t old_ready;
    int64_t failures;  // the most in a row of one replica of the revision
};

enum lifecycle_verdict {
    LIFECYCLE_WAIT,  // nothing to decide
    LIFECYCLE_GOOD,
    LIFECYCLE_BACK,  // to the revision that is known to be good
    LIFECYCLE_STOP,
};

enum lifecycle_verdict lifecycle_judge(const struct lifecycle_rules *rules,
                                       const struct lifecycle_view *view);

#endif
