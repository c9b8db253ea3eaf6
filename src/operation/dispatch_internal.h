// SPDX-License-Identifier: Apache-2.0
// The parts of dispatch share these structs: dispatch.c (agents and their exchanges), lease.c (what
// a lease becomes), recover.c (start of the server). Loop thread only.
#ifndef DROVER_OPERATION_DISPATCH_INTERNAL_H
#define DROVER_OPERATION_DISPATCH_INTERNAL_H

#include "base/id.h"
#include "base/map.h"
#include "net/loop.h"
#include "operation/attempt.h"
#include "operation/dispatch.h"

#define LEASE_BATCH     64   // deliveries made at once for one agent
#define RECORD_AFTER_MS 100  // a delivery that runs longer is recorded as in-progress
#define TICK_MS         100
#define TELL_AGAIN_MS   5000
#define TINY_MS         0.5  // shorter functions are run by as few agents as are enough

enum lease_state {
    LEASE_HELD,    // with the agent, or in an answer on its way to it
    LEASE_ENDING,  // its result or its end is being written
};

struct lease {
    char id[ID_LEN + 1];
    enum lease_state state;
    bool recorded;   // tx_execution_start was submitted
    bool sent;       // left in an answer: from then on a lost agent costs an attempt
    bool confirmed;  // the agent has named it
    bool again;      // it was asked for anew meanwhile: queued when this lease ends
    bool to_terminate;
    int64_t told_at;               // mono ms: when the agent was last told to terminate it
    int64_t asked_at;              // wall ms: when it was first told so
    int64_t fence, deadline;       // mono ms
    int64_t started_at;            // wall ms
    int64_t attempts;              // this one included
    struct dispatch_agent *agent;  // NULL once the agent is gone
    struct list in_agent;          // dispatch_agent.leases
    uint64_t tag;                  // of the queue's delivery; 0: none
    struct work_queue *queue;
};

struct dispatch_agent {
    char *replica_id;
    int64_t number;  // its own, also among agents of the same replica
    struct work_queue *queue;
    struct list in_queue;  // work_queue.agents
    char session[33];
    bool ready, silent;
    int64_t renew_at;  // mono ms: when its service token is sent anew
    int64_t heard_at;  // mono ms
    int64_t capacity;
    struct list leases;  // oldest first
    int64_t lease_count;
    int64_t fetching;       // room promised to executions being read
    struct list exchanges;  // open ones, oldest first
    struct list out;        // struct delivery: leased, not yet in an answer
    struct list terminate;  // struct noted: ids to tell
    const char *command;
    int64_t concurrency;  // that it says it has, or was told; 0: does not say
};

struct work_queue {  // one service
    char *service_id;
    struct list agents;
    struct list in_dirty;  // dispatch.dirty
    int64_t expected;      // agents that may still be alive from before; > 0: nothing is handed out
    int64_t running;
    int64_t concurrency;  // that its agents are to have; 0: what they were started with
    double mean_ms;       // of its functions' latest runs; below 0: none has ended
};

struct delivery {
    struct list node;
    struct lease *lease;
    char *body;
    size_t body_len;
};

struct noted {
    struct list node;
    char id[ID_LEN + 1];
};

struct dispatch {
    struct dispatch_config config;
    struct map *agents;    // by replica id
    struct map *queues;    // by service id
    struct map *leases;    // by execution id
    struct map *expected;  // replica id → struct expectation
    struct map *orphans;  // execution id → struct orphan: recorded as running, nobody named it yet
    struct list dirty;    // queues to look at, at the end of this turn
    struct map *reading;  // execution id → bool, of what is read to be handed out: read again?
    struct map *ending;   // execution id → struct ending: its end is being written
    struct list endings;  // struct ending that could not be written yet
    struct loop_task sweep;
    bool sweep_posted, stopping;
    int64_t agents_made;
    struct loop_timer *tick;
    int64_t ticked_at;      // mono ms
    int64_t recover_until;  // mono ms; 0: recovery is over
    struct metric *leased, *ended, *expired, *running;
};

struct expectation {
    char *replica_id;
    struct work_queue *queue;
};

struct orphan {
    char id[ID_LEN + 1];
    struct work_queue *queue;
    int64_t fence;
    bool to_terminate;
};

// first: before what already waits.
void dispatch_publish(struct dispatch *d, struct str service_id,
                      const struct queue_message *message, bool first);
int64_t dispatch_now(const struct dispatch *d);
struct work_queue *dispatch_queue(struct dispatch *d, struct str service_id);  // made when new
void dispatch_dirty(struct dispatch *d,
                    struct work_queue *queue);  // look at it before the loop sleeps
void dispatch_tick_start(struct dispatch *d);
struct dispatch_agent *dispatch_find(struct dispatch *d, struct str replica_id);  // NULL: unknown

// lease.c
struct lease *lease_new(struct dispatch *d, struct dispatch_agent *agent, struct str id,
                        int64_t fence, int64_t attempts);
void lease_drop(struct dispatch *d, struct lease *lease);  // off every list, acknowledged, freed
struct lease *lease_of(struct dispatch *d, const struct dispatch_agent *agent,
                       const struct dispatch_ref *ref);
void lease_terminate(struct dispatch *d, struct lease *lease);  // tells its agent
void lease_end(struct dispatch *d, struct lease *lease, struct str reason, bool counted);
void lease_record_results(struct dispatch *d, struct dispatch_exchange *exchange);
void lease_record_progress(struct dispatch *d, struct dispatch_exchange *exchange);
void lease_record_starts(struct dispatch *d);
void ending_submit(struct dispatch *d, const struct attempt_end *end);
void endings_retry(struct dispatch *d);
void endings_forget(struct dispatch *d);  // dispatch_free: the next server finds the rows open
void lease_execution_end_queued(struct dispatch *d, struct str id);
void exchange_recorded(struct dispatch_exchange *exchange, struct str id, int64_t fence,
                       bool applied);

// exchange.c
void exchange_done_job(struct dispatch *d, struct dispatch_exchange *exchange);
void dispatch_answer(struct dispatch *d, struct dispatch_exchange *exchange);
void exchange_fail(struct dispatch_exchange *exchange, enum err_kind kind, const char *why);
struct dispatch_exchange *agent_open_exchange(
    struct dispatch_agent *agent);  // one that may be answered now
void agent_settle(struct dispatch *d,
                  struct dispatch_agent *agent);  // answers what has news or is outdated

// recover.c
void recover_expectation_met(struct dispatch *d, struct str replica_id);
void recover_tick(struct dispatch *d, int64_t now);
// The execution is nobody's any more: its agent named it, or it was asked for anew. True when it
// was to be terminated meanwhile.
bool recover_confirm(struct dispatch *d, struct str id);

#endif
