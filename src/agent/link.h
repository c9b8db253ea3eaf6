// SPDX-License-Identifier: Apache-2.0
// agent/link: the agent's side of docs/agent-link.md: hello, and exchanges, of which at most two
// are under way. What is to be told lies in the slots (SLOT_NEWS) or is given here; it is repeated
// until the server has answered it. Loop thread only; callbacks never run within a call.
#ifndef DROVER_AGENT_LINK_H
#define DROVER_AGENT_LINK_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/slots.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"

struct loop;
struct http_client;
struct link;

struct link_config {
    struct loop *loop;
    struct http_client *http;
    struct log *log;
    const struct clock *clock;
    const char *replica_id, *revision;
    struct slots *slots;
    // Hello was answered. Must lead to link_open, or to the agent's end.
    void (*on_assignment)(void *arg, struct str body);
    // An execution to run; lease_basis: mono ms when the exchange that brings it was sent.
    void (*on_execution)(void *arg, struct json execution, int64_t lease_basis);
    void (*on_terminate)(void *arg, struct str id);
    void (*on_drop)(void *arg, struct str id, int64_t fence);
    void (*on_command)(void *arg, struct str word);
    void (*on_concurrency)(void *arg, int64_t concurrency);
    void (*on_token)(void *arg, struct str token);
    void (*on_answered)(void *arg);                  // after all of these, for each exchange
    void (*on_refused)(void *arg, const char *why);  // the server does not want this agent
    void *arg;
};

struct link *link_new(const struct link_config *config);
void link_free(struct link *link);  // calls under way are cut

void link_hello(struct link *link);  // (again); exchanges pause until link_open
void link_open(struct link *link, const char *session, int64_t lease_ms);

// What every exchange says. A change of state or phase is told at once, capacity with the next.
void link_set_state(struct link *link, const char *state, const char *phase);
// soon: there will be a result in a moment, with which to ask for more.
void link_set_capacity(struct link *link, int64_t capacity, bool soon);

void link_set_concurrency(struct link *link, int64_t concurrency);

void link_set_logs(struct link *link, int64_t stored);  // position up to which lines are stored

void link_progress(struct link *link, struct str members);  // of one object, without its braces
// error: JSON object with message and stack, or absent; then message is told.
void link_failure(struct link *link, const char *type, struct json error, const char *message);

void link_flush(struct link *link);          // sends what is due; once a turn
bool link_settled(const struct link *link);  // nothing is left to tell
// Whether the server may still count this QUEUED slot as ours (its lease is fresh).
bool link_lease_fresh(const struct link *link, const struct slot *slot);

#endif
