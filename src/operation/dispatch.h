// SPDX-License-Identifier: Apache-2.0
// operation/dispatch: who runs what. Takes ready executions off the queue, leases them to agents
// that have room, renews and ends leases, and accepts each execution's one result. All in the
// memory of the loop thread; fences make it safe: see ARCHITECTURE.md, "Leases and fences".
#ifndef DROVER_OPERATION_DISPATCH_H
#define DROVER_OPERATION_DISPATCH_H

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

// The driver saw the replica end: its leases end now (onReset, maxAttempts).
void dispatch_replica_gone(struct dispatch *dispatch, struct str replica_id, struct str reason);
// Tells the replica's agent to drain, stop or reload with its next answer ("drain", "stop",
// "reload").
void dispatch_command(struct dispatch *dispatch, struct str replica_id, const char *command);

struct dispatch_counts {
    int64_t queued, running, replicas_ready;
};
struct dispatch_counts dispatch_counts(const struct dispatch *dispatch,
                                       struct str service_id);  // absent: all

// ── the agent link (api/agent_link.c parses and writes the JSON; docs/agent-link.md) ─────────
// Added by the module's owner: hello, exchange.

#endif
