// SPDX-License-Identifier: Apache-2.0
// operation/inspect: a look into dispatch's memory, for people who ask why. Loop thread only; texts
// are copied into the arena.
#ifndef DROVER_OPERATION_INSPECT_H
#define DROVER_OPERATION_INSPECT_H

#include "operation/dispatch.h"

struct inspect_agent {
    struct str replica_id;
    bool ready, silent;
    int64_t capacity, leases;
    struct str sample[3];  // ids of executions that it has
    size_t sample_count;
};

struct inspect_service {
    int64_t queued, running;
    struct inspect_agent *agents;
    size_t agent_count;
    // After a restart of the server: agents from before that have not spoken yet, and how long they
    // are waited for at most (ms from now). Nothing is handed out meanwhile.
    int64_t expected, held_ms;
};
void inspect_service(struct dispatch *dispatch, struct str service_id, struct arena *arena,
                     struct inspect_service *out);

enum inspect_place {
    INSPECT_NOWHERE,  // in the queue, or unknown
    INSPECT_LEASED,   // with an agent
    INSPECT_ENDING,   // its lease's end or its result is being written
    INSPECT_ORPHAN,   // recorded as running before the restart; its agent has not spoken yet
};
struct inspect_execution {
    enum inspect_place place;
    struct str replica_id;
    int64_t started_at;  // wall ms
    int64_t asked_at;    // wall ms: when its agent was told to end it; 0: it was not
    bool again;          // it is queued when the lease has ended
};
void inspect_execution(struct dispatch *dispatch, struct str id, struct arena *arena,
                       struct inspect_execution *out);

#endif
