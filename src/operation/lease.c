// SPDX-License-Identifier: Apache-2.0
// What a lease becomes: a recorded result, or an end without one. A lease stays in memory until the
// store has committed what it became, so nobody else gets the execution before.
#include "base/mem.h"
#include "operation/dispatch_internal.h"
#include "operation/log_ends.h"

struct lease *lease_new(struct dispatch *d, struct dispatch_agent *agent, struct str id,
                        int64_t fence, int64_t attempts)
{
    struct lease *lease = mem_alloc(sizeof(*lease));
    memcpy(lease->id, id.at, id.len < ID_LEN ? id.len : ID_LEN);
    lease->fence = fence;
    lease->attempts = attempts;
    lease->agent = agent;
    lease->queue = agent->queue;
    lease->started_at = clock_wall(d->config.platform->clock);
    lease->deadline = dispatch_now(d) + d->config.platform->settings->lease_ms;
    list_push_back(&agent->leases, &lease->in_agent);
    agent->lease_count++;
    agent->queue->running++;
    map_put(d->leases, str_of(lease->id), lease);
    metric_add(d->leased, 1);
    metric_add(d->running, 1);
    return lease;
}

static void delivery_forget(struct lease *lease)  // one that was not sent yet
{
    if (!lease->agent)
        return;
    list_each (&lease->agent->out, node, next) {
        struct delivery *delivery = list_entry(node, struct delivery, node);
        if (delivery->lease != lease)
            continue;
        list_remove(node);
        mem_free(delivery->body);
        mem_free(delivery);
        return;
    }
}

void lease_drop(struct dispatch *d, struct lease *lease)
{
    delivery_forget(lease);
    map_remove(d->leases, str_of(lease->id));
    if (lease->tag)
        queue_ack(d->config.queue, str_of(lease->queue->service_id), lease->tag);
    list_remove(&lease->in_agent);
    if (lease->agent)
        lease->agent->lease_count--;
    lease->queue->running--;
    metric_add(d->running, -1);
    if (lease->again)
        dispatch_publish(d, str_of(lease->queue->service_id),
                         &(struct queue_message){.id = str_of(lease->id)}, true);
    dispatch_dirty(d, lease->queue);
    mem_free(lease);
}

void lease_terminate(struct dispatch *d, struct lease *lease)
{
    if (!lease->to_terminate)
        lease->asked_at = clock_wall(d->config.platform->clock);
    lease->to_terminate = true;
    lease->told_at = dispatch_now(d);
    if (!lease->agent)
        return;  // it is being ended as it is
    struct noted *noted = mem_alloc(sizeof(*noted));
    memcpy(noted->id, lease->id, sizeof(noted->id));
    list_push_back(&lease->agent->terminate, &noted->node);
    dispatch_dirty(d, lease->queue);
}

struct lease *lease_of(struct dispatch *d, const struct dispatch_agent *agent,
                       const struct dispatch_ref *ref)
{
    struct lease *lease = map_get(d->leases, ref->id);
    return lease && lease->agent == agent && lease->fence == ref->fence ? lease : NULL;
}

// ── an end without a result ──────────────────────────────────────────────────────────────────

struct ending {
    struct list node;  // dispatch.endings, while it waits to be tried again
    struct dispatch *d;
    struct arena *arena;
    struct attempt_end end;
    bool queued;  // terminated before it was handed out
};

static int ending_work(struct op *op, void *arg, struct err *err)
{
    struct ending *ending = arg;
    if (ending->queued)
        return execution_end_queued(op, ending->end.ref.id, ending->end.ref.fence, err);
    return execution_attempt_ended(op, &ending->end, err);
}

static void ending_free(struct ending *ending)
{
    struct dispatch *d = ending->d;
    if (map_get(d->ending, ending->end.ref.id) == ending)
        map_remove(d->ending, ending->end.ref.id);
    log_ends_release(d->config.platform->log_ends, ending->end.ref.id);
    arena_free(ending->arena);
    mem_free(ending);
}

static void ending_done(void *arg, struct err *err)
{
    struct ending *ending = arg;
    struct dispatch *d = ending->d;
    if (err->kind != ERR_NONE && err->kind != ERR_NOT_FOUND) {
        log_error(d->config.platform->log, "dispatch",
                  "cannot record the end of execution " STR_FMT ", trying again: %s",
                  STR_ARG(ending->end.ref.id), err->message);
        list_push_back(&d->endings, &ending->node);
        dispatch_tick_start(d);
        return;
    }
    ending_free(ending);
}

static void ending_run(struct dispatch *d, const struct attempt_end *end, bool queued)
{
    struct ending *ending = mem_alloc(sizeof(*ending));
    list_init(&ending->node);
    ending->d = d;
    ending->arena = arena_new();
    ending->end = *end;
    ending->end.ref.id = arena_copy(ending->arena, end->ref.id);
    ending->end.replica_id = arena_copy(ending->arena, end->replica_id);
    ending->end.reason = arena_copy(ending->arena, end->reason);
    ending->queued = queued;
    map_put(d->ending, ending->end.ref.id, ending);
    log_ends_hold(d->config.platform->log_ends, ending->end.ref.id);
    op_run(d->config.platform, OP_RECORD, ending_work, ending_done, ending);
}

void ending_submit(struct dispatch *d, const struct attempt_end *end) { ending_run(d, end, false); }

void endings_forget(struct dispatch *d)
{
    for (struct list *node; (node = list_pop_front(&d->endings));)
        ending_free(list_entry(node, struct ending, node));
}

void endings_retry(struct dispatch *d)
{
    struct list todo;
    list_init(&todo);
    for (struct list *node; (node = list_pop_front(&d->endings));)
        list_push_back(&todo, node);
    for (struct list *node; (node = list_pop_front(&todo));)
        op_run(d->config.platform, OP_RECORD, ending_work, ending_done,
               list_entry(node, struct ending, node));
}

void lease_end(struct dispatch *d, struct lease *lease, struct str reason, bool counted)
{
    struct attempt_end end = {
        .ref = {.id = str_of(lease->id), .fence = lease->fence},
        .replica_id = lease->agent ? str_of(lease->agent->replica_id) : STR_NONE,
        .reason = reason,
        .counted = counted && lease->sent,
    };
    ending_submit(d, &end);
    lease_drop(d, lease);  // comes back as EVENT_EXECUTION_READY once the row says so
}

// ── results ──────────────────────────────────────────────────────────────────────────────────

struct recording {  // the results of one exchange, written together
    struct dispatch *d;
    struct dispatch_exchange *exchange;
    size_t count;
    struct recording_item {
        struct execution_result result;
        bool watched, applied;
    } * items;  // in the exchange's arena
    struct str service_id;
};

static int recording_work(struct op *op, void *arg, struct err *err)
{
    struct recording *recording = arg;
    for (size_t i = 0; i < recording->count; i++)
        if (execution_record(op, &recording->items[i].result, recording->service_id,
                             recording->items[i].watched, &recording->items[i].applied, err))
            return -1;
    return 0;
}

void exchange_recorded(struct dispatch_exchange *exchange, struct str id, int64_t fence,
                       bool applied)
{
    if (!exchange->recorded)
        exchange->recorded = arena_array_of(exchange->arena, struct dispatch_recorded,
                                            exchange->result_count + exchange->lost_count);
    exchange->recorded[exchange->recorded_count++] = (struct dispatch_recorded){
        .ref = {.id = id, .fence = fence}, .applied = applied};
}

static void recording_done(void *arg, struct err *err)
{
    struct recording *recording = arg;
    struct dispatch *d = recording->d;
    struct dispatch_exchange *exchange = recording->exchange;
    for (size_t i = 0; i < recording->count; i++) {
        struct recording_item *item = &recording->items[i];
        struct lease *lease = map_get(d->leases, item->result.id);
        bool ours = lease && lease->fence == item->result.fence;
        if (err->kind != ERR_NONE) {
            if (ours)
                lease->state = LEASE_HELD;  // the agent repeats it
            if (ours && !lease->agent)
                lease_end(d, lease, STR("its agent ended before its result was recorded"), true);
            continue;
        }
        metric_add(d->ended, item->applied);
        if (ours)
            lease_drop(d, lease);
        exchange_recorded(exchange, item->result.id, item->result.fence, item->applied);
    }
    if (err->kind != ERR_NONE)
        log_error(d->config.platform->log, "dispatch", "cannot record results: %s", err->message);
    exchange->results_pending = 0;
    exchange_done_job(d, exchange);
    mem_free(recording);
}

static void note_duration(struct work_queue *queue, const struct dispatch_result *result)
{
    if (result->started_at < 0 || result->ended_at < result->started_at)
        return;  // not said, or the clock was set back
    double took = (double)(result->ended_at - result->started_at);
    queue->mean_ms = queue->mean_ms < 0 ? took : queue->mean_ms + (took - queue->mean_ms) / 16;
}

void lease_record_results(struct dispatch *d, struct dispatch_exchange *exchange)
{
    if (exchange->result_count == 0)
        return;
    struct recording *recording = mem_alloc(sizeof(*recording));
    recording->d = d;
    recording->exchange = exchange;
    recording->items = arena_array_of(exchange->arena, struct recording_item,
                                      exchange->result_count);
    recording->service_id = exchange->service_id;
    for (size_t i = 0; i < exchange->result_count; i++) {
        const struct dispatch_result *given = &exchange->results[i];
        struct lease *lease = lease_of(d, exchange->agent, &given->ref);
        if (!lease) {
            exchange_recorded(exchange, given->ref.id, given->ref.fence, false);
            continue;
        }
        if (lease->state == LEASE_ENDING)
            continue;  // being written: a later exchange is told
        lease->state = LEASE_ENDING;
        note_duration(exchange->agent->queue, given);
        log_ends_result(d->config.platform->log_ends, exchange->replica_id, given->ref.id,
                        given->log_end);
        struct recording_item *item = &recording->items[recording->count++];
        item->watched = events_watched(d->config.platform->events, given->ref.id);
        item->result = (struct execution_result){
            .id = given->ref.id,
            .fence = given->ref.fence,
            .status = given->status,
            .message = given->message,
            .output = given->output,
            .error = given->error,
            .usage = given->usage,
            .replica_id = exchange->replica_id,
            .started_at = given->started_at,
            .ended_at = given->ended_at,
            .attempts = lease->attempts,
        };
    }
    if (recording->count == 0) {
        mem_free(recording);
        return;
    }
    exchange->results_pending = 1;
    exchange->jobs++;
    op_run(d->config.platform, OP_RECORD, recording_work, recording_done, recording);
}

// ── progress ─────────────────────────────────────────────────────────────────────────────────

struct progress_job {
    struct dispatch *d;
    struct dispatch_exchange *exchange;
    size_t count;
    struct dispatch_progress *items;  // in the exchange's arena
};

static int progress_work(struct op *op, void *arg, struct err *err)
{
    struct progress_job *job = arg;
    for (size_t i = 0; i < job->count; i++)
        if (execution_progress(op, &job->items[i], job->exchange->replica_id, err))
            return -1;
    return 0;
}

static void progress_done(void *arg, struct err *err)
{
    struct progress_job *job = arg;
    if (err->kind != ERR_NONE)
        log_warn(job->d->config.platform->log, "dispatch", "progress not recorded: %s",
                 err->message);
    exchange_done_job(job->d, job->exchange);
    mem_free(job);
}

void lease_record_progress(struct dispatch *d, struct dispatch_exchange *exchange)
{
    if (exchange->progress_count == 0)
        return;
    struct progress_job *job = mem_alloc(sizeof(*job));
    job->d = d;
    job->exchange = exchange;
    job->items = arena_array_of(exchange->arena, struct dispatch_progress,
                                exchange->progress_count);
    for (size_t i = 0; i < exchange->progress_count; i++)
        if (lease_of(d, exchange->agent, &exchange->progress[i].ref))
            job->items[job->count++] = exchange->progress[i];
    if (job->count == 0) {
        mem_free(job);
        return;
    }
    exchange->jobs++;
    op_run(d->config.platform, OP_RECORD_LAZY, progress_work, progress_done, job);
}

// ── starts ───────────────────────────────────────────────────────────────────────────────────

#define START_BATCH 256

struct starts {
    struct dispatch *d;
    size_t count;
    struct start {
        char id[ID_LEN + 1];
        char *replica_id;
        int64_t fence, at;
    } items[START_BATCH];
};

static int starts_work(struct op *op, void *arg, struct err *err)
{
    struct starts *starts = arg;
    for (size_t i = 0; i < starts->count; i++) {
        const struct start *start = &starts->items[i];
        bool applied;
        if (tx_execution_start(op->tx, str_of(start->id), start->fence, str_of(start->replica_id),
                               start->at, &applied, err))
            return -1;
    }
    return 0;
}

static void starts_done(void *arg, struct err *err)
{
    struct starts *starts = arg;
    for (size_t i = 0; i < starts->count; i++) {
        struct lease *lease = map_get(starts->d->leases, str_of(starts->items[i].id));
        if (err->kind != ERR_NONE && lease && lease->fence == starts->items[i].fence)
            lease->recorded = false;
        mem_free(starts->items[i].replica_id);
    }
    mem_free(starts);
}

// Short executions end before this and never cost the extra write.
void lease_record_starts(struct dispatch *d)
{
    struct starts *starts = NULL;
    int64_t now = clock_wall(d->config.platform->clock);
    size_t cursor = 0;
    struct str key;
    for (struct dispatch_agent *agent; (agent = map_next(d->agents, &cursor, &key));) {
        list_each (&agent->leases, node, next) {
            struct lease *lease = list_entry(node, struct lease, in_agent);
            if (lease->recorded || !lease->sent || lease->state != LEASE_HELD ||
                now - lease->started_at < RECORD_AFTER_MS)
                continue;
            if (!starts) {
                starts = mem_alloc(sizeof(*starts));
                starts->d = d;
            }
            lease->recorded = true;
            struct start *start = &starts->items[starts->count++];
            memcpy(start->id, lease->id, sizeof(start->id));
            start->replica_id = mem_copy(agent->replica_id, strlen(agent->replica_id));
            start->fence = lease->fence;
            start->at = lease->started_at;
            if (starts->count == START_BATCH) {
                op_run(d->config.platform, OP_RECORD_LAZY, starts_work, starts_done, starts);
                starts = NULL;
            }
        }
    }
    if (starts)
        op_run(d->config.platform, OP_RECORD_LAZY, starts_work, starts_done, starts);
}

// Terminated while queued.
void lease_execution_end_queued(struct dispatch *d, struct str id)
{
    ending_run(d, &(struct attempt_end){.ref = {.id = id, .fence = fence_next(d->config.platform)}},
               true);
}
