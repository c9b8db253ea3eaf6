// SPDX-License-Identifier: Apache-2.0
// operation/dispatch: who runs what. Takes ready executions off the queue, leases them to agents
// that have room, renews and ends leases, and accepts each execution's one result. All in the
// memory of the loop thread; fences make it safe: see ARCHITECTURE.md, "Leases and fences".
#ifndef DROVER_OPERATION_DISPATCH_H
#define DROVER_OPERATION_DISPATCH_H

#include "base/json.h"
#include "base/list.h"
#include "operation/op.h"
#include "queue/queue.h"

struct dispatch;

struct dispatch_config {
    const struct platform *platform;
    struct queue *queue;
    // A replica's leases ran out (its agent is silent): whoever owns the driver kills it, so that
    // nothing runs twice.
    void (*on_silent)(void *arg, struct str replica_id);
    // A replica said hello, became ready, is draining, or reported a failure to start.
    void (*on_replica)(void *arg, struct str replica_id, struct str service_id, const char *state,
                       struct str phase, struct json failure);
    void *arg;
};

struct dispatch *dispatch_new(const struct dispatch_config *config);
void dispatch_free(struct dispatch *dispatch);

// Rebuilds the queue from the store. Services with agents that may still be alive (expected) are
// held back until each of those said hello, is known dead, or one lease time has passed.
void dispatch_expect(struct dispatch *dispatch, struct str replica_id,
                     struct str service_id);  // before dispatch_start
void dispatch_start(struct dispatch *dispatch, void (*done)(void *arg, struct err *err), void *arg);

// The server is stopping: answers every held exchange with ERR_UNAVAILABLE and takes no more;
// agents carry on and wait for the next server. Results under way are still recorded and answered.
void dispatch_stop(struct dispatch *dispatch);

// The driver saw the replica end: its leases end now. counted: by a failure, which follows onReset
// and maxAttempts; else it was stopped on purpose, and what it ran is queued again as it was.
void dispatch_replica_gone(struct dispatch *dispatch, struct str replica_id, struct str reason,
                           bool counted);
// Tells the replica's agent to drain, stop or reload with its next answer ("drain", "stop",
// "reload").
void dispatch_command(struct dispatch *dispatch, struct str replica_id, const char *command);

struct dispatch_counts {
    int64_t queued, running, replicas_ready;
};
struct dispatch_counts dispatch_counts(const struct dispatch *dispatch,
                                       struct str service_id);  // absent: all

// ── the agent link (api/agent_link.c parses and writes the JSON; docs/agent-link.md) ─────────
struct dispatch_ref {  // one delivery of an execution
    struct str id;
    int64_t fence;
    int64_t attempts;   // before this one; filled in by execution_confirm_held
    bool to_terminate;  // filled in by execution_confirm_held
};
struct dispatch_result {
    struct dispatch_ref ref;
    struct str status, message, output, error, usage;  // the last three: checked JSON
    int64_t started_at, ended_at;
    int64_t log_end;  // number of its last log line (operation/log_ends.h); 0: all are stored
};
struct dispatch_progress {
    struct dispatch_ref ref;
    struct str status, message, output;
    double percent;  // NAN: not said
    int64_t at;
};
struct dispatch_lost {
    struct dispatch_ref ref;
    struct str reason;
};
struct dispatch_delivery {
    int64_t fence;
    struct str body;  // JSON object of the execution, without the fence (execution_delivery)
};
struct dispatch_recorded {
    struct dispatch_ref ref;
    bool applied;
};

// One exchange under way. The caller makes it in its own arena, fills in the first part, and gives
// it away with dispatch_exchange; it comes back exactly once, by `answer`.
struct dispatch_exchange {
    struct arena *arena;  // holds everything here; the caller frees it after `release`
    struct str replica_id, service_id, session;
    bool ready;         // wants work; false while starting or draining
    const char *state;  // "starting" | "ready" | "draining"
    struct str phase;
    int64_t capacity, concurrency, wait_ms;  // concurrency 0: not said
    struct dispatch_ref *held, *returned;
    size_t held_count, returned_count;
    struct dispatch_result *results;
    size_t result_count;
    struct dispatch_progress *progress;
    size_t progress_count;
    struct dispatch_lost *lost;
    size_t lost_count;
    struct json failure;

    // What the agent is told; valid during `answer`.
    struct dispatch_delivery *executions;
    size_t execution_count;
    struct dispatch_recorded *recorded;
    size_t recorded_count;
    struct str *terminate;
    size_t terminate_count;
    struct dispatch_ref *drop;
    size_t drop_count;
    const char *command;       // NULL: none
    int64_t tell_concurrency;  // to be had from now on; 0: as it is
    bool renew_token;  // the service token that the agent has is getting old: send a new one

    void (*answer)(struct dispatch_exchange *exchange,
                   const struct err *err);                // err NULL: an answer
    void (*release)(struct dispatch_exchange *exchange);  // nobody uses it any more
    void *owner;                                          // the caller's

    // The module's own.
    struct list node;
    struct dispatch_agent *agent;
    int64_t deadline;
    int jobs;  // store jobs that still read from the arena
    int results_pending;
    bool answered;
};

// ERR_CONFLICT: the session is not the newest of this replica. ERR_NOT_FOUND: it never said hello
// to this server process (the agent says hello again). On failure the exchange stays the caller's.
MUST_CHECK int dispatch_exchange(struct dispatch *dispatch, struct dispatch_exchange *exchange,
                                 struct err *err);
// The agent's connection is gone: no answer is wanted; release follows.
void dispatch_exchange_cancel(struct dispatch *dispatch, struct dispatch_exchange *exchange);

// An agent's first words: makes it known under a new session, whose name is returned (lives in
// `arena`). `held`: what it still holds and the store confirmed (execution_confirm_held); *kept of
// them (moved to the front of the array) are leased to it again.
struct str dispatch_hello(struct dispatch *dispatch, struct str replica_id, struct str service_id,
                          struct dispatch_ref *held, size_t held_count, size_t *kept,
                          struct arena *arena);

#endif
