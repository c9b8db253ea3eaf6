// SPDX-License-Identifier: Apache-2.0
// Handing out: takes messages off a service's queue for agents that have room and an open exchange.
#include "base/mem.h"
#include "operation/dispatch_internal.h"

// What is recorded but not told yet still counts in the agent's own capacity.
static int64_t untold(const struct dispatch_agent *agent)
{
    int64_t count = 0;
    list_each (&agent->exchanges, node, next)
        count += (int64_t)list_entry(node, struct dispatch_exchange, node)->recorded_count;
    return count;
}

static int64_t agent_room(const struct dispatch_agent *agent)
{
    if (!agent->ready || agent->silent)
        return 0;
    return agent->capacity - agent->lease_count - agent->fetching - untold(agent);
}

static void agent_deliver(struct dispatch *d, struct dispatch_agent *agent,
                          const struct queue_message *message, struct str body, int64_t attempts)
{
    struct lease *lease = lease_new(d, agent, message->id, fence_next(d->config.platform),
                                    attempts);
    lease->tag = message->tag;
    struct delivery *delivery = mem_alloc(sizeof(*delivery));
    delivery->lease = lease;
    delivery->body = mem_copy(body.at, body.len);
    delivery->body_len = body.len;
    list_push_back(&agent->out, &delivery->node);
}

struct fetched {
    char id[ID_LEN + 1];
    uint64_t tag;
    struct str body;  // in fetch.arena
    int64_t attempts;
    bool deliver, to_terminate, outdated;
};

struct fetch {  // executions whose message carried no body, being read for one agent
    struct dispatch *d;
    char *replica_id, *service_id;
    int64_t agent_number;
    struct arena *arena;
    size_t count;
    struct fetched items[LEASE_BATCH];
};

static int fetch_work(struct op *op, void *arg, struct err *err)
{
    struct fetch *fetch = arg;
    for (size_t i = 0; i < fetch->count; i++) {
        struct fetched *item = &fetch->items[i];
        struct str body = STR_NONE;
        if (execution_fetch(op, str_of(item->id), &body, &item->attempts, &item->to_terminate,
                            &item->deliver, err))
            return -1;
        item->body = arena_copy(fetch->arena, body);
    }
    return 0;
}

static void fetch_done(void *arg, struct err *err)
{
    struct fetch *fetch = arg;
    struct dispatch *d = fetch->d;
    struct str service_id = str_of(fetch->service_id);
    struct work_queue *queue = dispatch_queue(d, service_id);
    struct dispatch_agent *agent = dispatch_find(d, str_of(fetch->replica_id));
    if (agent && agent->number != fetch->agent_number)
        agent = NULL;  // the replica was started again; the room was its predecessor's
    if (agent)
        agent->fetching -= (int64_t)fetch->count;
    for (size_t i = fetch->count; i-- > 0;) {
        struct fetched *item = &fetch->items[i];
        struct queue_message message = {.id = str_of(item->id), .tag = item->tag};
        map_remove(d->reading, message.id);
        if (err->kind != ERR_NONE || item->outdated ||
            (item->deliver && (!agent || !agent->ready))) {
            queue_nack(d->config.queue, service_id, item->tag);
        } else if (item->to_terminate) {
            queue_ack(d->config.queue, service_id, item->tag);
            lease_execution_end_queued(d, message.id);
        } else if (!item->deliver || map_get(d->leases, message.id)) {
            queue_ack(d->config.queue, service_id, item->tag);
        }
    }
    for (size_t i = 0; err->kind == ERR_NONE && agent && agent->ready && i < fetch->count; i++) {
        struct fetched *item = &fetch->items[i];
        struct queue_message message = {.id = str_of(item->id), .tag = item->tag};
        if (item->deliver && !item->outdated && !item->to_terminate &&
            !map_get(d->leases, message.id))
            agent_deliver(d, agent, &message, item->body, item->attempts + 1);
    }
    if (err->kind != ERR_NONE)
        log_error(d->config.platform->log, "dispatch", "cannot read queued executions: %s",
                  err->message);
    dispatch_dirty(d, queue);
    arena_free(fetch->arena);
    mem_free(fetch->replica_id);
    mem_free(fetch->service_id);
    mem_free(fetch);
}

static struct fetch *fetch_new(struct dispatch *d, const struct dispatch_agent *agent)
{
    struct fetch *fetch = mem_alloc(sizeof(*fetch));
    fetch->d = d;
    fetch->arena = arena_new();
    fetch->agent_number = agent->number;
    fetch->replica_id = mem_copy(agent->replica_id, strlen(agent->replica_id));
    fetch->service_id = mem_copy(agent->queue->service_id, strlen(agent->queue->service_id));
    return fetch;
}

static void agent_fill(struct dispatch *d, struct dispatch_agent *agent)
{
    struct queue_message messages[LEASE_BATCH];
    struct str service_id = str_of(agent->queue->service_id);
    int64_t room = agent_room(agent);
    if (room <= 0 || !agent_open_exchange(agent))
        return;
    size_t count = queue_consume(d->config.queue, service_id, messages,
                                 room < LEASE_BATCH ? (size_t)room : LEASE_BATCH);
    struct fetch *fetch = NULL;
    for (size_t i = 0; i < count; i++) {
        struct queue_message *message = &messages[i];
        if (message->id.len > ID_LEN || map_get(d->leases, message->id)) {
            queue_ack(d->config.queue, service_id, message->tag);  // somebody has it already
        } else if (message->body.at && !message->redelivered) {
            agent_deliver(d, agent, message, message->body, 1);
        } else {
            fetch = fetch ? fetch : fetch_new(d, agent);
            struct fetched *item = &fetch->items[fetch->count++];
            memcpy(item->id, message->id.at, message->id.len);
            item->tag = message->tag;
            map_put(d->reading, str_of(item->id), &item->outdated);
        }
    }
    if (fetch) {
        agent->fetching += (int64_t)fetch->count;
        op_run(d->config.platform, OP_READ, fetch_work, fetch_done, fetch);
    }
}

static bool waiting(struct dispatch *d, const struct work_queue *queue)
{
    return queue_depth(d->config.queue, str_of(queue->service_id)) > 0;
}

// Each agent with room gets its share, the one that waited longest first.
static void share_out(struct dispatch *d, struct work_queue *queue)
{
    size_t agents = 0;
    list_each (&queue->agents, count_node, count_next)
        agents++;
    for (; agents > 0 && waiting(d, queue); agents--) {
        struct list *node = list_pop_front(&queue->agents);
        list_push_back(&queue->agents, node);
        agent_fill(d, list_entry(node, struct dispatch_agent, in_queue));
    }
}

// The first agents get all that they have room for: tiny functions, shared among many agents, would
// be told one by one, and the telling costs more than the run.
static void pack(struct dispatch *d, struct work_queue *queue)
{
    list_each (&queue->agents, node, next) {
        if (!waiting(d, queue))
            return;
        agent_fill(d, list_entry(node, struct dispatch_agent, in_queue));
    }
}

// One look at a service.
static void queue_pump(struct dispatch *d, struct work_queue *queue)
{
    bool tiny = queue->mean_ms >= 0 && queue->mean_ms < TINY_MS;
    if (queue->expected == 0)
        (tiny ? pack : share_out)(d, queue);
    list_each (&queue->agents, node, next)
        agent_settle(d, list_entry(node, struct dispatch_agent, in_queue));
}

static void sweep(void *arg)
{
    struct dispatch *d = arg;
    d->sweep_posted = false;
    struct list todo;
    list_init(&todo);
    for (struct list *node; (node = list_pop_front(&d->dirty));)
        list_push_back(&todo, node);
    for (struct list *node; (node = list_pop_front(&todo));)
        queue_pump(d, list_entry(node, struct work_queue, in_dirty));
}

void dispatch_dirty(struct dispatch *d, struct work_queue *queue)
{
    if (list_empty(&queue->in_dirty))
        list_push_back(&d->dirty, &queue->in_dirty);
    if (!d->sweep_posted) {
        d->sweep_posted = true;
        d->sweep = (struct loop_task){.fn = sweep, .arg = d};
        loop_post(d->config.platform->loop, &d->sweep);
    }
}
