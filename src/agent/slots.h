// SPDX-License-Identifier: Apache-2.0
// agent/slots: the executions that an agent holds, from their delivery until the server has
// recorded what became of them. Slots are reused with their buffers, so that an execution in the
// steady state allocates nothing. Loop thread only.
#ifndef DROVER_AGENT_SLOTS_H
#define DROVER_AGENT_SLOTS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "base/str.h"

#define SLOT_ID_MAX 64  // bytes of an execution id

enum slot_state {
    SLOT_QUEUED,     // waits for room in the runner; text: its invoke frame
    SLOT_RUNNING,    // in the runner
    SLOT_ABANDONED,  // still in the runner, but what comes of it is not reported any more
    SLOT_NEWS,       // ended, to be reported; text: members of the report
    SLOT_SENT,       // reported in exchange `sent_seq`, not yet answered
    SLOT_STATES
};

enum slot_news { NEWS_RESULT, NEWS_LOST, NEWS_RETURNED };

struct worker;

struct slot {
    struct list node;  // in the list of its state, oldest first
    enum slot_state state;
    enum slot_news news;  // of NEWS and SENT
    bool cancelled;       // a cancel was sent to the runner
    bool terminating;     // a terminate was asked for
    bool given_up;        // its process was killed for it, and is to end
    bool confirmed;       // by the answer of a hello
    bool shrunk;          // the text was replaced, because the server found it too large
    bool has_log;         // it has log lines, perhaps of an earlier attempt
    char id[SLOT_ID_MAX + 1];
    size_t id_len;
    int64_t fence;         // the newest; what reports carry
    int64_t runner_fence;  // what the runner was given
    int64_t run;           // which one of all that were begun, from 1; of RUNNING
    int64_t arrived;       // mono ms
    int64_t lease_basis;   // mono ms of sending the exchange that brought it
    int64_t started_us;    // mono µs; of RUNNING
    int64_t timeout_ms;    // 0: none
    int64_t deadline;      // mono ms; RUNNING: its timeout, or when a cancelled one is given up;
                           // ABANDONED: when the runner is to be replaced. INT64_MAX: none
    int64_t sent_at;       // mono ms
    int64_t sent_seq;
    int64_t log_end;        // NEWS, SENT: position of its last log line (log_sender_added)
    struct worker *worker;  // the process that runs it; NULL: a thread of the runner; of RUNNING
    struct buf function;    // its name, as JSON
    struct buf text;
};

struct slots {
    struct list in[SLOT_STATES];
    size_t count[SLOT_STATES];
    struct list spare;
    struct map *index;  // id → slot; all but ABANDONED
};

void slots_init(struct slots *slots);
void slots_deinit(struct slots *slots);

// A new QUEUED slot for an id that slots_find does not know; id of 1 to SLOT_ID_MAX bytes.
struct slot *slots_add(struct slots *slots, struct str id, int64_t fence);
struct slot *slots_find(const struct slots *slots, struct str id);  // not the abandoned; or NULL
// The one that the runner knows by this fence: RUNNING or ABANDONED; or NULL.
struct slot *slots_find_in_runner(const struct slots *slots, struct str id, int64_t fence);

void slots_move(struct slots *slots, struct slot *slot, enum slot_state state);
// Leaves a RUNNING slot free to be reported, and an ABANDONED one in its place in the runner.
void slots_abandon(struct slots *slots, struct slot *slot, int64_t deadline);
void slots_release(struct slots *slots, struct slot *slot);  // forgets it

static inline struct str slot_id(const struct slot *slot)
{
    return (struct str){slot->id, slot->id_len};
}
static inline struct slot *slots_first(const struct slots *slots, enum slot_state state)
{
    const struct list *head = &slots->in[state];
    return list_empty(head) ? NULL : list_entry(head->next, struct slot, node);
}
static inline size_t slots_in_runner(const struct slots *slots)
{
    return slots->count[SLOT_RUNNING] + slots->count[SLOT_ABANDONED];
}
// All that count as held: not abandoned.
static inline size_t slots_held(const struct slots *slots)
{
    return slots->count[SLOT_QUEUED] + slots->count[SLOT_RUNNING] + slots->count[SLOT_NEWS] +
           slots->count[SLOT_SENT];
}

#endif
