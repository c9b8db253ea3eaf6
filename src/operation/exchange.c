// SPDX-License-Identifier: Apache-2.0
// Exchanges: what an agent says is taken in at once; what it is to be told gathers on the agent
// (deliveries, ids to terminate, a command), and whichever exchange of its is open carries it.
#include "base/mem.h"
#include "operation/dispatch_internal.h"

#define RECORDED_WAIT    16  // results whose recording may be told later; and how much later
#define RECORDED_WAIT_MS 100

// ── answers ──────────────────────────────────────────────────────────────────────────────────

void exchange_fail(struct dispatch_exchange *exchange, enum err_kind kind, const char *why)
{
    struct err err = ERR_INIT;
    err_set(&err, kind, "%s", why);
    list_remove(&exchange->node);
    exchange->agent = NULL;
    exchange->answered = true;
    exchange->answer(exchange, &err);
    if (exchange->jobs == 0)
        exchange->release(exchange);
}

static bool concurrency_differs(const struct dispatch_agent *agent)
{
    return agent->concurrency > 0 && agent->queue->concurrency > 0 &&
           agent->concurrency != agent->queue->concurrency;
}

static bool agent_has_news(const struct dispatch_agent *agent)
{
    return !list_empty(&agent->out) || !list_empty(&agent->terminate) || agent->command ||
           concurrency_differs(agent);
}

static void exchange_take_deliveries(struct dispatch *d, struct dispatch_exchange *exchange,
                                     struct dispatch_agent *agent)
{
    size_t count = 0;
    list_each (&agent->out, node, next)
        count++;
    exchange->executions = arena_array_of(exchange->arena, struct dispatch_delivery,
                                          count ? count : 1);
    int64_t deadline = dispatch_now(d) + d->config.platform->settings->lease_ms;
    for (struct list *node; (node = list_pop_front(&agent->out));) {
        struct delivery *delivery = list_entry(node, struct delivery, node);
        delivery->lease->deadline = deadline;
        delivery->lease->sent = true;
        delivery->lease->started_at = clock_wall(d->config.platform->clock);
        exchange->executions[exchange->execution_count++] = (struct dispatch_delivery){
            .fence = delivery->lease->fence,
            .body = arena_copy(exchange->arena, (struct str){delivery->body, delivery->body_len}),
        };
        mem_free(delivery->body);
        mem_free(delivery);
    }
}

static void exchange_take_terminations(struct dispatch_exchange *exchange,
                                       struct dispatch_agent *agent)
{
    size_t count = 0;
    list_each (&agent->terminate, node, next)
        count++;
    exchange->terminate = arena_array_of(exchange->arena, struct str, count ? count : 1);
    for (struct list *node; (node = list_pop_front(&agent->terminate));) {
        struct noted *noted = list_entry(node, struct noted, node);
        exchange->terminate[exchange->terminate_count++] = arena_copy(exchange->arena,
                                                                      str_of(noted->id));
        mem_free(noted);
    }
}

// Sent after half of its life, and, as an answer may be lost, again after each further quarter.
static bool token_is_old(const struct dispatch *d, struct dispatch_agent *agent)
{
    int64_t now = dispatch_now(d);
    if (now < agent->renew_at)
        return false;
    agent->renew_at = now + d->config.platform->settings->service_token_ttl_ms / 4;
    return true;
}

void dispatch_answer(struct dispatch *d, struct dispatch_exchange *exchange)
{
    struct dispatch_agent *agent = exchange->agent;
    list_remove(&exchange->node);
    exchange->agent = NULL;
    exchange->answered = true;
    if (agent) {
        exchange_take_deliveries(d, exchange, agent);
        exchange_take_terminations(exchange, agent);
        exchange->command = agent->command;
        agent->command = NULL;
        if (concurrency_differs(agent))  // should the answer be lost, the agent says so
            exchange->tell_concurrency = agent->concurrency = agent->queue->concurrency;
        exchange->renew_token = token_is_old(d, agent);
    }
    exchange->answer(exchange, NULL);
    if (exchange->jobs == 0)
        exchange->release(exchange);
}

void exchange_done_job(struct dispatch *d, struct dispatch_exchange *exchange)
{
    if (!exchange || --exchange->jobs > 0)
        return;
    if (exchange->answered)
        exchange->release(exchange);
    else if (exchange->agent && exchange->results_pending == 0)
        dispatch_dirty(d, exchange->agent->queue);
}

// The oldest exchange that may be answered now: one whose own results are recorded.
struct dispatch_exchange *agent_open_exchange(struct dispatch_agent *agent)
{
    list_each (&agent->exchanges, node, next) {
        struct dispatch_exchange *exchange = list_entry(node, struct dispatch_exchange, node);
        if (exchange->results_pending == 0)
            return exchange;
    }
    return NULL;
}

// An agent that goes on taking work does not wait to hear that its results are recorded: the next
// delivery, or its next exchange, brings that along.
static bool may_wait(const struct dispatch_agent *agent, const struct dispatch_exchange *exchange)
{
    if (!agent->ready || exchange->drop_count > 0 || exchange->lost_count > 0 ||
        exchange->recorded_count > RECORDED_WAIT)
        return false;
    for (size_t i = 0; i < exchange->recorded_count; i++)
        if (!exchange->recorded[i].applied)
            return false;
    return true;
}

void agent_settle(struct dispatch *d, struct dispatch_agent *agent)
{
    list_each (&agent->exchanges, node, next) {
        struct dispatch_exchange *exchange = list_entry(node, struct dispatch_exchange, node);
        bool newest = node->next == &agent->exchanges;
        if (exchange->results_pending > 0)
            continue;
        if (!newest || agent_has_news(agent) || !may_wait(agent, exchange)) {
            dispatch_answer(d, exchange);
        } else if (exchange->recorded_count > 0) {
            int64_t soon = dispatch_now(d) + RECORDED_WAIT_MS;
            exchange->deadline = exchange->deadline < soon ? exchange->deadline : soon;
        }
    }
}

// Whether an answer that is still to come says that this one is recorded.
static bool recorded_waits(const struct dispatch_agent *agent, const struct dispatch_ref *ref)
{
    list_each (&agent->exchanges, node, next) {
        const struct dispatch_exchange *exchange = list_entry(node, struct dispatch_exchange, node);
        for (size_t i = 0; i < exchange->recorded_count; i++)
            if (exchange->recorded[i].ref.fence == ref->fence &&
                str_eq(exchange->recorded[i].ref.id, ref->id))
                return true;
    }
    return false;
}

// ── what the agent says ──────────────────────────────────────────────────────────────────────

static void exchange_note_drop(struct dispatch_exchange *exchange, const struct dispatch_ref *ref)
{
    if (!exchange->drop)
        exchange->drop = arena_array_of(exchange->arena, struct dispatch_ref, exchange->held_count);
    exchange->drop[exchange->drop_count++] = *ref;
}

// Renews what the agent names; what it names and does not have any more it is told to drop.
static void exchange_renew(struct dispatch *d, struct dispatch_agent *agent,
                           struct dispatch_exchange *exchange)
{
    int64_t deadline = agent->heard_at + d->config.platform->settings->lease_ms;
    for (size_t i = 0; i < exchange->held_count; i++) {
        struct lease *lease = lease_of(d, agent, &exchange->held[i]);
        if (lease) {
            lease->deadline = deadline;
            lease->confirmed = true;
            if (lease->to_terminate && agent->heard_at - lease->told_at >= TELL_AGAIN_MS)
                lease_terminate(d, lease);  // the answer that said so may have got lost
            continue;
        }
        bool reported = recorded_waits(agent, &exchange->held[i]);
        for (size_t j = 0; j < exchange->result_count && !reported; j++)
            reported = str_eq(exchange->results[j].ref.id, exchange->held[i].id);
        if (!reported)
            exchange_note_drop(exchange, &exchange->held[i]);
    }
}

static void exchange_take_back(struct dispatch *d, struct dispatch_agent *agent,
                               struct dispatch_exchange *exchange)
{
    for (size_t i = 0; i < exchange->returned_count; i++) {
        struct lease *lease = lease_of(d, agent, &exchange->returned[i]);
        if (lease && lease->state == LEASE_HELD)
            lease_end(d, lease, STR("handed back by its agent"), false);
    }
    for (size_t i = 0; i < exchange->lost_count; i++) {
        struct lease *lease = lease_of(d, agent, &exchange->lost[i].ref);
        if (lease && lease->state == LEASE_HELD)
            lease_end(d, lease, exchange->lost[i].reason, true);
        // Safe before the commit: should the server end now, the next one finds the row still open.
        exchange_recorded(exchange, exchange->lost[i].ref.id, exchange->lost[i].ref.fence,
                          lease != NULL);
    }
}

int dispatch_exchange(struct dispatch *d, struct dispatch_exchange *exchange, struct err *err)
{
    if (d->stopping)
        return err_set(err, ERR_UNAVAILABLE, "the server is stopping");
    struct dispatch_agent *agent = dispatch_find(d, exchange->replica_id);
    if (!agent || !str_is(exchange->service_id, agent->queue->service_id))
        return err_set(err, ERR_NOT_FOUND,
                       "this replica has not said hello to this server: say hello again");
    if (!str_is(exchange->session, agent->session))
        return err_set(err, ERR_CONFLICT, "a newer session speaks for this replica");
    agent->heard_at = dispatch_now(d);
    agent->silent = false;
    agent->capacity = exchange->capacity;
    agent->concurrency = exchange->concurrency;
    exchange->agent = agent;
    exchange->deadline = agent->heard_at + exchange->wait_ms;
    list_push_back(&agent->exchanges, &exchange->node);

    exchange_renew(d, agent, exchange);
    exchange_take_back(d, agent, exchange);
    lease_record_progress(d, exchange);
    lease_record_results(d, exchange);
    bool was_ready = agent->ready;
    agent->ready = exchange->ready;
    if (d->config.on_replica &&
        (exchange->failure.type == JSON_OBJECT || exchange->phase.len > 0 ||
         was_ready != agent->ready || str_is(STR("draining"), exchange->state)))
        d->config.on_replica(d->config.arg, exchange->replica_id, exchange->service_id,
                             exchange->state, exchange->phase, exchange->failure);
    dispatch_dirty(d, agent->queue);
    return 0;
}

void dispatch_exchange_cancel(struct dispatch *d, struct dispatch_exchange *exchange)
{
    (void)d;
    if (exchange->answered)
        return;
    list_remove(&exchange->node);
    exchange->agent = NULL;
    exchange->answered = true;
    if (exchange->jobs == 0)
        exchange->release(exchange);
}
