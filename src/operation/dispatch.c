// SPDX-License-Identifier: Apache-2.0
// Agents, time and events. The other parts: exchange.c (what is said), handout.c (who gets what),
// lease.c (what a lease becomes), recover.c (the start of a server).
#include "operation/dispatch.h"

#include "base/mem.h"
#include "operation/dispatch_internal.h"

int64_t dispatch_now(const struct dispatch *d) { return clock_mono(d->config.platform->clock); }

struct work_queue *dispatch_queue(struct dispatch *d, struct str service_id)
{
    struct work_queue *queue = map_get(d->queues, service_id);
    if (queue)
        return queue;
    queue = mem_alloc(sizeof(*queue));
    queue->service_id = mem_copy(service_id.at, service_id.len);
    queue->mean_ms = -1;
    list_init(&queue->agents);
    list_init(&queue->in_dirty);
    map_put(d->queues, str_of(queue->service_id), queue);
    return queue;
}

static void queue_free(struct dispatch *d, struct work_queue *queue)
{
    list_remove(&queue->in_dirty);
    map_remove(d->queues, str_of(queue->service_id));
    mem_free(queue->service_id);
    mem_free(queue);
}

// ── agents ───────────────────────────────────────────────────────────────────────────────────

static struct dispatch_agent *agent_new(struct dispatch *d, struct str replica_id,
                                        struct work_queue *queue)
{
    struct dispatch_agent *agent = mem_alloc(sizeof(*agent));
    agent->replica_id = mem_copy(replica_id.at, replica_id.len);
    agent->number = ++d->agents_made;
    agent->queue = queue;
    list_init(&agent->leases);
    list_init(&agent->exchanges);
    list_init(&agent->out);
    list_init(&agent->terminate);
    list_push_back(&queue->agents, &agent->in_queue);
    map_put(d->agents, str_of(agent->replica_id), agent);
    return agent;
}

static void deliveries_forget(struct dispatch_agent *agent)
{
    for (struct list *node; (node = list_pop_front(&agent->out));) {
        struct delivery *delivery = list_entry(node, struct delivery, node);
        mem_free(delivery->body);
        mem_free(delivery);
    }
}

// Answers or refuses every open exchange and takes the agent off the books. Its leases must be gone
// or being ended.
static void agent_free(struct dispatch *d, struct dispatch_agent *agent, enum err_kind kind,
                       const char *why)
{
    list_each (&agent->exchanges, node, next)
        exchange_fail(list_entry(node, struct dispatch_exchange, node), kind, why);
    deliveries_forget(agent);
    for (struct list *node; (node = list_pop_front(&agent->terminate));)
        mem_free(list_entry(node, struct noted, node));
    list_each (&agent->leases, node, next) {
        struct lease *lease = list_entry(node, struct lease, in_agent);
        list_remove(&lease->in_agent);
        lease->agent = NULL;
    }
    list_remove(&agent->in_queue);
    map_remove(d->agents, str_of(agent->replica_id));
    mem_free(agent->replica_id);
    mem_free(agent);
}

struct dispatch_agent *dispatch_find(struct dispatch *d, struct str replica_id)
{
    return map_get(d->agents, replica_id);
}

struct str dispatch_hello(struct dispatch *d, struct str replica_id, struct str service_id,
                          struct dispatch_ref *held, size_t held_count, size_t *kept,
                          struct arena *arena)
{
    struct work_queue *queue = dispatch_queue(d, service_id);
    struct dispatch_agent *agent = dispatch_find(d, replica_id);
    if (agent) {
        // The same replica, a new session: what it no longer names is over.
        list_each (&agent->exchanges, node, next)
            exchange_fail(list_entry(node, struct dispatch_exchange, node), ERR_CONFLICT,
                          "a newer session speaks for this replica");
    } else {
        agent = agent_new(d, replica_id, queue);
    }
    struct str session = secret_new(16, arena);
    memcpy(agent->session, session.at, session.len);
    agent->session[session.len] = '\0';
    agent->heard_at = dispatch_now(d);
    agent->renew_at = agent->heard_at + d->config.platform->settings->service_token_ttl_ms / 2;
    agent->ready = agent->silent = false;
    agent->command = NULL;

    list_each (&agent->leases, node, next)
        list_entry(node, struct lease, in_agent)->confirmed = false;
    *kept = 0;
    for (size_t i = 0; i < held_count; i++) {
        struct lease *lease = map_get(d->leases, held[i].id);
        if (lease && (lease->agent != agent || lease->fence != held[i].fence))
            continue;  // somebody else has it by now
        if (map_get(d->ending, held[i].id))
            continue;  // too late: it was given up
        if (!lease) {
            queue_remove_message(d->config.queue, service_id, held[i].id);
            held[i].to_terminate |= recover_confirm(d, held[i].id);
            lease = lease_new(d, agent, held[i].id, held[i].fence, held[i].attempts + 1);
        }
        if (held[i].to_terminate)
            lease_terminate(d, lease);
        lease->sent = lease->confirmed = true;
        lease->deadline = agent->heard_at + d->config.platform->settings->lease_ms;
        held[(*kept)++] = held[i];
    }
    list_each (&agent->leases, node, next) {
        struct lease *lease = list_entry(node, struct lease, in_agent);
        if (!lease->confirmed && lease->state == LEASE_HELD)
            lease_end(d, lease, STR("the agent was started again"), true);
    }
    recover_expectation_met(d, replica_id);
    dispatch_tick_start(d);
    if (d->config.on_replica)
        d->config.on_replica(d->config.arg, replica_id, service_id, "starting", STR_NONE,
                             (struct json){0});
    return arena_copy(arena, str_of(agent->session));
}

void dispatch_replica_gone(struct dispatch *d, struct str replica_id, struct str reason,
                           bool counted)
{
    recover_expectation_met(d, replica_id);
    struct dispatch_agent *agent = dispatch_find(d, replica_id);
    if (!agent)
        return;
    list_each (&agent->leases, node, next) {
        struct lease *lease = list_entry(node, struct lease, in_agent);
        if (lease->state == LEASE_HELD)
            lease_end(d, lease, reason, counted);
    }
    struct work_queue *queue = agent->queue;
    agent_free(d, agent, ERR_NOT_FOUND, "this replica has ended");
    dispatch_dirty(d, queue);
}

void dispatch_command(struct dispatch *d, struct str replica_id, const char *command)
{
    struct dispatch_agent *agent = dispatch_find(d, replica_id);
    if (!agent)
        return;
    agent->command = command;
    if (!list_empty(&agent->exchanges))
        dispatch_dirty(d, agent->queue);
}

// ── time ─────────────────────────────────────────────────────────────────────────────────────

static void agent_tick(struct dispatch *d, struct dispatch_agent *agent, int64_t now)
{
    int64_t lease_ms = d->config.platform->settings->lease_ms;
    list_each (&agent->exchanges, node, next) {
        struct dispatch_exchange *exchange = list_entry(node, struct dispatch_exchange, node);
        if (exchange->results_pending == 0 && now >= exchange->deadline)
            dispatch_answer(d, exchange);
    }
    if (!agent->silent && now - agent->heard_at >= lease_ms) {
        agent->silent = true;
        metric_add(d->expired, 1);
        log_warn(d->config.platform->log, "dispatch",
                 "replica %s has been silent for %lld ms: its leases end", agent->replica_id,
                 (long long)(now - agent->heard_at));
        if (d->config.on_silent)
            d->config.on_silent(d->config.arg, str_of(agent->replica_id));
        return;
    }
    // One more lease time for the driver to see it end; then its executions go on without it.
    bool give_up = agent->silent && now - agent->heard_at > 2 * lease_ms;
    list_each (&agent->leases, node, next) {
        struct lease *lease = list_entry(node, struct lease, in_agent);
        if (lease->state != LEASE_HELD || now < lease->deadline)
            continue;
        if (give_up)
            lease_end(d, lease, STR("its agent has been silent for too long"), true);
        else if (!agent->silent)
            lease_end(d, lease, STR("its delivery did not arrive"), false);
    }
}

// While this process itself stood still nobody could be heard: that time counts against no agent.
static void forgive_own_sleep(struct dispatch *d, int64_t now)
{
    int64_t slept = now - d->ticked_at - TICK_MS;
    int64_t lease_ms = d->config.platform->settings->lease_ms;
    size_t cursor = 0;
    struct str key;
    d->ticked_at = now;
    if (slept < lease_ms / 4)
        return;
    log_warn(d->config.platform->log, "dispatch",
             "this server stood still for %lld ms: its agents' leases last so much longer",
             (long long)slept);
    for (struct dispatch_agent *agent; (agent = map_next(d->agents, &cursor, &key));) {
        // Some may have spoken since.
        agent->heard_at = agent->heard_at + slept < now ? agent->heard_at + slept : now;
        list_each (&agent->leases, node, next) {
            struct lease *lease = list_entry(node, struct lease, in_agent);
            int64_t later = lease->deadline + slept;
            lease->deadline = later < now + lease_ms ? later : now + lease_ms;
        }
    }
    if (d->recover_until != 0)
        d->recover_until += slept;
}

static void tick(void *arg)
{
    struct dispatch *d = arg;
    int64_t now = dispatch_now(d);
    size_t cursor = 0;
    struct str key;
    forgive_own_sleep(d, now);
    for (struct dispatch_agent *agent; (agent = map_next(d->agents, &cursor, &key));)
        agent_tick(d, agent, now);
    lease_record_starts(d);
    endings_retry(d);
    recover_tick(d, now);
    if (map_count(d->agents) == 0 && d->recover_until == 0) {
        loop_timer_cancel(d->tick);  // an idle server does not wake up; an ending that fails does
        d->tick = NULL;
    }
}

void dispatch_tick_start(struct dispatch *d)
{
    if (d->tick)
        return;
    d->ticked_at = dispatch_now(d);
    d->tick = loop_timer_start(d->config.platform->loop, TICK_MS, TICK_MS, tick, d);
}

// ── events ───────────────────────────────────────────────────────────────────────────────────

void dispatch_publish(struct dispatch *d, struct str service_id,
                      const struct queue_message *message, bool first)
{
    struct err err = ERR_INIT;
    if (queue_publish(d->config.queue, service_id, message, first, &err))
        log_error(d->config.platform->log, "dispatch", "cannot queue execution " STR_FMT ": %s",
                  STR_ARG(message->id), err.message);
    dispatch_dirty(d, dispatch_queue(d, service_id));
}

// One that was ended from outside and asked for again may still run somewhere: it waits for that.
static void on_execution_ready(void *arg, const struct event *event)
{
    struct dispatch *d = arg;
    struct lease *lease = map_get(d->leases, event->id);
    bool *outdated = map_get(d->reading, event->id);
    recover_confirm(d, event->id);
    if (lease)
        lease->again = true;
    else if (outdated)
        *outdated = true;
    else
        dispatch_publish(d, event->service_id,
                         &(struct queue_message){.id = event->id, .body = event->body},
                         event->force);
}

static void on_execution_terminate(void *arg, const struct event *event)
{
    struct dispatch *d = arg;
    struct lease *lease = map_get(d->leases, event->id);
    struct orphan *orphan = map_get(d->orphans, event->id);
    bool *outdated = map_get(d->reading, event->id);
    if (outdated)
        *outdated = true;
    if (lease && !lease->sent) {  // it never left
        lease_drop(d, lease);
        lease_execution_end_queued(d, event->id);
    } else if (lease) {
        lease_terminate(d, lease);
    } else if (queue_remove_message(d->config.queue, event->service_id, event->id) || !orphan) {
        lease_execution_end_queued(d, event->id);
    } else {
        orphan->to_terminate = true;
    }
}

static void on_service_deleted(void *arg, const struct event *event)
{
    struct dispatch *d = arg;
    queue_delete(d->config.queue, event->service_id);
}

static void on_service_changed(void *arg, const struct event *event)
{
    struct dispatch *d = arg;
    struct work_queue *queue = dispatch_queue(d, event->service_id);
    queue->concurrency = event->concurrency;
    dispatch_dirty(d, queue);
}

struct dispatch_counts dispatch_counts(const struct dispatch *d, struct str service_id)
{
    struct dispatch_counts counts = {0};
    size_t cursor = 0;
    struct str key;
    for (struct work_queue *queue; (queue = map_next(d->queues, &cursor, &key));) {
        if (service_id.at && !str_is(service_id, queue->service_id))
            continue;
        counts.queued += queue_depth(d->config.queue, str_of(queue->service_id));
        counts.running += queue->running;
        list_each (&queue->agents, node, next)
            counts.replicas_ready += list_entry(node, struct dispatch_agent, in_queue)->ready;
    }
    return counts;
}

// ── life ─────────────────────────────────────────────────────────────────────────────────────

struct dispatch *dispatch_new(const struct dispatch_config *config)
{
    struct dispatch *d = mem_alloc(sizeof(*d));
    d->config = *config;
    d->agents = map_new();
    d->queues = map_new();
    d->leases = map_new();
    d->expected = map_new();
    d->orphans = map_new();
    d->ending = map_new();
    d->reading = map_new();
    list_init(&d->dirty);
    list_init(&d->endings);
    struct metrics *m = config->platform->metrics;
    d->leased = metric_counter(m, "drover_deliveries_total", NULL, "Executions handed to agents.");
    d->ended = metric_counter(m, "drover_results_recorded_total", NULL, "Final results recorded.");
    d->expired = metric_counter(m, "drover_agents_silent_total", NULL,
                                "Agents that fell silent for a lease time.");
    d->running = metric_gauge(m, "drover_executions_running", NULL, "Executions leased to agents.");
    struct events *events = config->platform->events;
    events_subscribe(events, EVENT_EXECUTION_READY, on_execution_ready, d);
    events_subscribe(events, EVENT_EXECUTION_TERMINATE, on_execution_terminate, d);
    events_subscribe(events, EVENT_SERVICE_CHANGED, on_service_changed, d);
    events_subscribe(events, EVENT_SERVICE_DELETED, on_service_deleted, d);
    return d;
}

void dispatch_stop(struct dispatch *d)
{
    d->stopping = true;
    size_t cursor = 0;
    struct str key;
    for (struct dispatch_agent *agent; (agent = map_next(d->agents, &cursor, &key));) {
        agent->ready = false;  // nothing more is handed out
        list_each (&agent->exchanges, node, next) {
            struct dispatch_exchange *exchange = list_entry(node, struct dispatch_exchange, node);
            if (exchange->results_pending == 0)
                exchange_fail(exchange, ERR_UNAVAILABLE, "the server is stopping");
        }
    }
}

void dispatch_free(struct dispatch *d)
{
    if (!d)
        return;
    loop_timer_cancel(d->tick);
    loop_unpost(d->config.platform->loop, &d->sweep);
    d->sweep_posted = true;  // what is let go below calls for no further look
    size_t cursor = 0;
    struct str key;
    for (struct dispatch_agent *agent; (agent = map_next(d->agents, &cursor, &key)); cursor = 0)
        agent_free(d, agent, ERR_UNAVAILABLE, "the server is stopping");
    cursor = 0;
    for (struct lease *lease; (lease = map_next(d->leases, &cursor, &key)); cursor = 0)
        lease_drop(d, lease);
    endings_forget(d);
    cursor = 0;
    for (struct expectation *e; (e = map_next(d->expected, &cursor, &key)); cursor = 0) {
        map_remove(d->expected, key);
        mem_free(e->replica_id);
        mem_free(e);
    }
    cursor = 0;
    for (struct orphan *orphan; (orphan = map_next(d->orphans, &cursor, &key)); cursor = 0) {
        map_remove(d->orphans, key);
        mem_free(orphan);
    }
    cursor = 0;
    for (struct work_queue *queue; (queue = map_next(d->queues, &cursor, &key)); cursor = 0)
        queue_free(d, queue);
    map_free(d->agents);
    map_free(d->queues);
    map_free(d->leases);
    map_free(d->expected);
    map_free(d->orphans);
    map_free(d->ending);
    map_free(d->reading);
    mem_free(d);
}
