// SPDX-License-Identifier: Apache-2.0
// The start of a server. What the store says is queued goes to the queue. What it says was running,
// and what agents of before may still run without the store knowing, waits until those agents have
// named what they hold, have been seen dead, or one lease time has passed.
#include "base/mem.h"
#include "model/status.h"
#include "operation/dispatch_internal.h"

struct open_row {
    char id[ID_LEN];
    uint32_t service;
    bool running;
    int64_t fence;
};

struct open_queue {
    char *name;  // owned: its service's id
    size_t waiting;
};

struct recovery {
    struct dispatch *d;
    void (*done)(void *arg, struct err *err);
    void *arg;
    struct map *services;  // service id → index + 1
    struct open_queue *queues;
    size_t queue_count, queue_room;
    struct open_row *rows;
    size_t count, room;
};

static uint32_t recovery_service(struct recovery *r, struct str service_id)
{
    void *index = map_get(r->services, service_id);
    if (index)
        return (uint32_t)((uintptr_t)index - 1);
    if (r->queue_count == r->queue_room) {
        r->queue_room = r->queue_room ? r->queue_room * 2 : 64;
        r->queues = mem_resize(r->queues, r->queue_room * sizeof(*r->queues));
    }
    struct open_queue *queue = &r->queues[r->queue_count];
    *queue = (struct open_queue){.name = mem_copy(service_id.at, service_id.len)};
    map_put(r->services, str_of(queue->name), (void *)(uintptr_t)(r->queue_count + 1));
    return (uint32_t)r->queue_count++;
}

static void on_row(void *arg, struct str id, struct str service_id, struct str status,
                   int64_t fence)
{
    struct recovery *r = arg;
    if (id.len != ID_LEN)
        return;
    if (r->count == r->room) {
        r->room = r->room ? r->room * 2 : 1024;
        r->rows = mem_resize(r->rows, r->room * sizeof(*r->rows));
    }
    struct open_row *row = &r->rows[r->count++];
    memcpy(row->id, id.at, ID_LEN);
    row->service = recovery_service(r, service_id);
    row->running = status_parse(status) == STATUS_IN_PROGRESS;
    row->fence = fence;
    r->queues[row->service].waiting += !row->running;
}

static int recovery_work(struct op *op, void *arg, struct err *err)
{
    return tx_execution_each_open(op->tx, on_row, arg, err);
}

static void orphan_add(struct dispatch *d, const struct open_row *row, struct work_queue *queue)
{
    struct orphan *orphan = mem_alloc(sizeof(*orphan));
    memcpy(orphan->id, row->id, ID_LEN);
    orphan->queue = queue;
    orphan->fence = row->fence;
    map_put(d->orphans, str_of(orphan->id), orphan);
}

static void recovery_done(void *arg, struct err *err)
{
    struct recovery *r = arg;
    struct dispatch *d = r->d;
    bool leased = map_count(d->leases) > 0;
    for (size_t i = 0; err->kind == ERR_NONE && i < r->queue_count; i++)
        queue_reserve(d->config.queue, str_of(r->queues[i].name), r->queues[i].waiting);
    for (size_t i = 0; err->kind == ERR_NONE && i < r->count; i++) {
        struct open_row *row = &r->rows[i];
        struct str name = str_of(r->queues[row->service].name);
        if (leased && map_get(d->leases, (struct str){row->id, ID_LEN}))
            continue;  // its agent was faster than the read
        if (row->running) {
            orphan_add(d, row, dispatch_queue(d, name));
            continue;
        }
        struct queue_message message = {.id = {row->id, ID_LEN}};
        (void)!queue_publish(d->config.queue, name, &message, false, err);
    }
    if (err->kind == ERR_NONE) {
        d->recover_until = dispatch_now(d) + d->config.platform->settings->lease_ms;
        log_info(d->config.platform->log, "dispatch",
                 "%zu executions are queued, %zu were running when the server ended",
                 r->count - map_count(d->orphans), map_count(d->orphans));
        recover_tick(d, dispatch_now(d));
        dispatch_tick_start(d);
    }
    for (size_t i = 0; i < r->queue_count; i++) {
        dispatch_queue(d, str_of(r->queues[i].name));  // counted also while no agent asks for work
        mem_free(r->queues[i].name);
    }
    map_free(r->services);
    mem_free(r->queues);
    mem_free(r->rows);
    r->done(r->arg, err);
    mem_free(r);
}

void dispatch_start(struct dispatch *d, void (*done)(void *arg, struct err *err), void *arg)
{
    struct recovery *r = mem_alloc(sizeof(*r));
    r->d = d;
    r->done = done;
    r->arg = arg;
    r->services = map_new();
    op_run(d->config.platform, OP_READ, recovery_work, recovery_done, r);
}

void dispatch_expect(struct dispatch *d, struct str replica_id, struct str service_id)
{
    if (map_get(d->expected, replica_id))
        return;
    struct expectation *e = mem_alloc(sizeof(*e));
    e->replica_id = mem_copy(replica_id.at, replica_id.len);
    e->queue = dispatch_queue(d, service_id);
    e->queue->expected++;
    map_put(d->expected, str_of(e->replica_id), e);
}

void recover_expectation_met(struct dispatch *d, struct str replica_id)
{
    struct expectation *e = map_remove(d->expected, replica_id);
    if (!e)
        return;
    if (--e->queue->expected == 0)
        dispatch_dirty(d, e->queue);
    mem_free(e->replica_id);
    mem_free(e);
}

bool recover_confirm(struct dispatch *d, struct str id)
{
    struct orphan *orphan = map_remove(d->orphans, id);
    bool to_terminate = orphan && orphan->to_terminate;
    mem_free(orphan);
    return to_terminate;
}

// Orphans of services that expect nobody any more: their agents died with them.
void recover_tick(struct dispatch *d, int64_t now)
{
    if (d->recover_until == 0)
        return;
    bool over = now >= d->recover_until;
    size_t cursor = 0;
    struct str key;
    for (struct expectation *e; over && (e = map_next(d->expected, &cursor, &key)); cursor = 0) {
        log_warn(d->config.platform->log, "dispatch",
                 "replica %s did not come back within the lease time: it is ended", e->replica_id);
        char *replica_id = mem_copy(key.at, key.len);
        recover_expectation_met(d, key);
        if (d->config.on_silent)  // it may still run what others are given from now on
            d->config.on_silent(d->config.arg, str_of(replica_id));
        mem_free(replica_id);
    }
    cursor = 0;
    for (struct orphan *orphan; (orphan = map_next(d->orphans, &cursor, &key));) {
        if (orphan->queue->expected > 0)
            continue;
        struct attempt_end end = {
            .ref = {.id = str_of(orphan->id), .fence = orphan->fence},
            .reason = STR("its agent ended while the server was away"),
            .counted = true,
        };
        ending_submit(d, &end);
        map_remove(d->orphans, key);
        mem_free(orphan);
    }
    if (over)
        d->recover_until = 0;
}
