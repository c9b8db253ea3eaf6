// SPDX-License-Identifier: Apache-2.0
// driver/plan: which replicas of a service to start and which to let go, so that a new revision
// takes over a few at a time and never fewer are ready than were promised. Pure: for drivers that
// replace replicas themselves.
#ifndef DROVER_DRIVER_PLAN_H
#define DROVER_DRIVER_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct plan_replica {
    bool current;  // of the wanted revision
    bool alive;    // a process exists
    bool ready;    // it takes executions
    bool kept;     // it was not told to go
    bool leaving;  // it makes room for the wanted revision: told to go, and not gone yet
};

struct plan_wish {
    int64_t replicas;
    int64_t surge;  // so many more than `replicas` may live meanwhile, at least 1
};

// Sets go[i] for those of the `count` replicas (oldest first) that are to be told to go now, and
// returns how many new ones to start now. Repeated after every change it comes to an end: all of
// `replicas` are current, the others are gone. Of those that are ready and kept, never fewer than
// `replicas` stay, but where there were fewer before, or `replicas` itself fell.
int64_t driver_plan(const struct plan_wish *wish, const struct plan_replica *all, size_t count,
                    bool *go);

#endif
