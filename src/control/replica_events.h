// SPDX-License-Identifier: Apache-2.0
// control/replica_events: which changes of a replica are worth an event, and in which words. Pure:
// what was and what is, in; a note, out.
#ifndef DROVER_CONTROL_REPLICA_EVENTS_H
#define DROVER_CONTROL_REPLICA_EVENTS_H

#include "driver/driver.h"
#include "operation/service_event.h"

enum replica_silence {  // why the server killed it
    SILENCE_NONE,
    SILENCE_LEASE,  // its leases ran out
    SILENCE_START,  // it has not said a word since its start
};

struct replica_past {  // how the replica was before
    bool seen;         // false: it is new to this server
    enum replica_phase phase;
    enum replica_silence silent;
    bool started;  // this server is past its start: what is new was not adopted
};

// "ended with exit code 1": how the newest end of the replica is told, after "the agent".
struct str replica_how_ended(const struct replica_status *status, enum replica_silence silent,
                             struct arena *arena);

// What the driver says. False: nothing to tell. Texts live in the arena; ids are the status's.
bool replica_event_observed(const struct replica_past *past, const struct replica_status *status,
                            int64_t now, struct arena *arena, struct service_note *note);

// It has become ready, `after_ms` after its start (INT_NONE: not known).
void replica_event_ready(struct str replica_id, struct str revision, int64_t after_ms,
                         struct arena *arena, struct service_note *note);

// What the agent says of its failure to start: its kind ("requirements") and its text.
void replica_event_failed(struct str replica_id, struct str type, struct str text,
                          struct arena *arena, struct service_note *note);

#endif
