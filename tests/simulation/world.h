// SPDX-License-Identifier: Apache-2.0
// Dispatch with its store and queue on one thread (stage.h), executions, and agents that say what a
// test lets them say.
#ifndef DROVER_TESTS_SIMULATION_WORLD_H
#define DROVER_TESTS_SIMULATION_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "../unit/failing_store.h"
#include "base/mem.h"
#include "operation/dispatch_internal.h"
#include "stage.h"

#define LEASE_MS 15000
#define STEP_MS  2000  // less than what dispatch takes for a sleep of its own
#define MANY     1100  // open executions: more than recovery makes room for at first

struct world {
    struct clock_fake clock;
    struct settings settings;
    struct fences fences;
    struct platform platform;
    struct queue *queue;
    struct queue_driver queue_driver;
    struct dispatch *dispatch;
    struct workers *workers;
    struct arena *arena;
    bool quiet;  // dispatch has nobody to tell
    int silent, told, recovered;
    enum err_kind recovery;
};

struct talk {  // one exchange
    struct dispatch_exchange base;
    bool answered, released;
    enum err_kind err;
};

static const struct str services[] = {{"000000000000000000000001", 24},
                                      {"000000000000000000000002", 24}};
#define S (services[0])

// ── the world ────────────────────────────────────────────────────────────────────────────────

static inline void on_silent(void *arg, struct str replica_id)
{
    (void)replica_id;
    ((struct world *)arg)->silent++;
}

static inline void on_replica(void *arg, struct str replica_id, struct str service_id,
                              const char *state, struct str phase, struct json failure)
{
    (void)replica_id, (void)service_id, (void)state, (void)phase, (void)failure;
    ((struct world *)arg)->told++;
}

static inline void on_recovered(void *arg, struct err *err)
{
    struct world *w = arg;
    w->recovered++;
    w->recovery = err->kind;
}

static inline void pump(struct world *w)
{
    while (stage_turn(w->platform.loop) || stage_commit(w->workers, 64, false) ||
           stage_read(w->workers, false) || stage_finish(w->workers))
        ;
}

// In one leap, as when the server's process stood still.
static inline void leap(struct world *w, int64_t ms)
{
    w->clock.mono_ms += ms;
    w->clock.wall_ms += ms;
    stage_timers(w->platform.loop, w->clock.mono_ms);
    pump(w);
}

static inline void pass(struct world *w, int64_t ms)
{
    for (int64_t step; ms > 0; ms -= step) {
        step = ms < STEP_MS ? ms : STEP_MS;
        leap(w, step);
    }
}

static inline int add_services(struct op *op, void *arg, struct err *err)
{
    (void)arg;
    for (size_t i = 0; i < 2; i++) {
        struct service service;
        entity_clear(&service_entity, &service);
        service.id = services[i];
        service.name = i ? STR("failed") : STR("rerun");
        service.on_reset = service.name;
        service.project_id = STR("p");
        service.active = true;
        if (tx_insert(op->tx, &service_entity, &service, err))
            return -1;
    }
    return 0;
}

// Up to dispatch_start, which is the test's.
static inline struct world *world_open(bool quiet)
{
    struct world *w = mem_alloc(sizeof(*w));
    struct err err = ERR_INIT;
    stage_seed(1);
    clock_fake_init(&w->clock);
    w->clock.wall_ms = 1800000000000;
    w->clock.mono_ms = 1000;
    w->settings = (struct settings){.lease_ms = LEASE_MS,
                                    .attempts_default = 3,
                                    .output_max = 1 << 20,
                                    .service_token_ttl_ms = 1000000};
    w->arena = arena_new();
    w->fences.epoch = 1;
    w->platform = (struct platform){.fences = &w->fences,
                                    .loop = loop_new(),
                                    .log = log_new(-1, LOG_ERROR, LOG_TEXT),
                                    .clock = &w->clock.clock,
                                    .settings = &w->settings,
                                    .events = events_new(),
                                    .metrics = metrics_new()};
    stage_timers(w->platform.loop, w->clock.mono_ms);
    struct store_config store = {.driver = "memory", .loop = w->platform.loop};
    w->platform.store = store_open(&store, &err);
    w->workers = stage_workers();
    assert_int_equal(op_run_now(&w->platform, add_services, NULL, &err), 0);
    assert_int_equal(store_read_now(w->platform.store, failing_install, NULL, &err), 0);
    assert_int_equal(store_write_now(w->platform.store, failing_install, NULL, &err), 0);
    struct queue_config queue = {.driver = "embedded", .body_memory = 1 << 20};
    w->queue = queue_open(&queue, &err);
    struct dispatch_config config = {.platform = &w->platform,
                                     .queue = w->queue,
                                     .on_silent = quiet ? NULL : on_silent,
                                     .on_replica = quiet ? NULL : on_replica,
                                     .arg = w};
    w->dispatch = dispatch_new(&config);
    return w;
}

static inline struct world *world_new(void)
{
    struct world *w = world_open(false);
    dispatch_start(w->dispatch, on_recovered, w);
    pump(w);
    assert_int_equal(w->recovered, 1);
    pass(w, LEASE_MS + TICK_MS);  // nobody is expected any more
    return w;
}

static inline void world_free(struct world *w)
{
    pump(w);
    dispatch_free(w->dispatch);
    stage_kill(w->workers);
    store_close(w->platform.store);
    stage_forget(w->platform.loop);
    queue_close(w->queue);
    events_free(w->platform.events);
    metrics_free(w->platform.metrics);
    loop_free(w->platform.loop);
    log_free(w->platform.log);
    arena_free(w->arena);
    mem_free(w);
}

// ── executions ───────────────────────────────────────────────────────────────────────────────

static inline struct str x_id(struct world *w, int n) { return arena_printf(w->arena, "%024d", n); }

struct adding {
    struct world *w;
    struct execution x;
    struct str body;
};

static inline int add_work(struct op *op, void *arg, struct err *err)
{
    struct adding *adding = arg;
    return tx_insert(op->tx, &execution_entity, &adding->x, err);
}

static inline void add_row(struct world *w, struct str id, struct str service, const char *status,
                           int64_t fence)
{
    struct err err = ERR_INIT;
    struct adding adding = {.w = w};
    entity_clear(&execution_entity, &adding.x);
    adding.x.id = id;
    adding.x.service_id = service;
    adding.x.project_id = STR("p");
    adding.x.status = str_of(status);
    adding.x.fence = fence;
    adding.x.created_at = w->clock.wall_ms;
    if (op_run_now(&w->platform, add_work, &adding, &err))
        fail_msg("%s", err.message);
}

static inline void ready(struct world *w, struct str id, const char *body)
{
    events_publish(w->platform.events, &(struct event){.kind = EVENT_EXECUTION_READY,
                                                       .id = id,
                                                       .service_id = S,
                                                       .body = str_of(body)});
}

static inline struct str create(struct world *w, int n, const char *body)
{
    struct str id = x_id(w, n);
    add_row(w, id, S, "created", INT_NONE);
    ready(w, id, body);
    return id;
}

struct reading {
    struct str id;
    struct execution x;
    struct arena *arena;
};

static inline int read_work(struct tx *tx, void *arg, struct err *err)
{
    struct reading *reading = arg;
    return tx_get(tx, &execution_entity, reading->id, &reading->x, reading->arena, err);
}

static inline struct execution row(struct world *w, struct str id)
{
    struct reading reading = {.id = id, .arena = w->arena};
    struct err err = ERR_INIT;
    if (store_read_now(w->platform.store, read_work, &reading, &err))
        fail_msg("%s", err.message);
    return reading.x;
}

static inline void assert_status(struct world *w, struct str id, const char *status)
{
    struct execution x = row(w, id);
    if (!str_is(x.status, status))
        fail_msg("status " STR_FMT ", not %s", STR_ARG(x.status), status);
}

static inline int terminate_work(struct op *op, void *arg, struct err *err)
{
    struct execution x;
    const struct str *id = arg;
    if (tx_get(op->tx, &execution_entity, *id, &x, op->arena, err))
        return -1;
    x.to_terminate = true;
    return tx_update(op->tx, &execution_entity, &x, err);
}

static inline void terminate(struct world *w, struct str id)
{
    struct err err = ERR_INIT;
    assert_int_equal(op_run_now(&w->platform, terminate_work, &id, &err), 0);
    events_publish(w->platform.events,
                   &(struct event){.kind = EVENT_EXECUTION_TERMINATE, .id = id, .service_id = S});
}

// ── agents ───────────────────────────────────────────────────────────────────────────────────

static inline struct str hello(struct world *w, const char *replica, struct dispatch_ref *held,
                               size_t count, size_t *kept)
{
    return dispatch_hello(w->dispatch, str_of(replica), S, held, count, kept, w->arena);
}

static inline struct str greet(struct world *w, const char *replica)
{
    size_t kept;
    return hello(w, replica, NULL, 0, &kept);
}

static inline void on_answer(struct dispatch_exchange *base, const struct err *err)
{
    struct talk *talk = (struct talk *)(void *)base;
    assert_false(talk->answered);
    talk->answered = true;
    talk->err = err ? err->kind : ERR_NONE;
}

static inline void on_release(struct dispatch_exchange *base)
{
    ((struct talk *)(void *)base)->released = true;
}

static inline struct talk *prepare(struct world *w, const char *replica, struct str session,
                                   int64_t capacity)
{
    struct talk *talk = arena_new_of(w->arena, struct talk);
    talk->base = (struct dispatch_exchange){.arena = w->arena,
                                            .replica_id = str_of(replica),
                                            .service_id = S,
                                            .session = session,
                                            .ready = true,
                                            .state = "ready",
                                            .capacity = capacity,
                                            .wait_ms = 1000000,
                                            .answer = on_answer,
                                            .release = on_release};
    return talk;
}

static inline void give(struct world *w, struct talk *talk)
{
    struct err err = ERR_INIT;
    if (dispatch_exchange(w->dispatch, &talk->base, &err))
        fail_msg("%s", err.message);
}

static inline struct talk *ask(struct world *w, const char *replica, struct str session,
                               int64_t capacity)
{
    struct talk *talk = prepare(w, replica, session, capacity);
    give(w, talk);
    return talk;
}

static inline void reports(struct world *w, struct talk *talk, struct str id, int64_t fence)
{
    talk->base.results = arena_new_of(w->arena, struct dispatch_result);
    talk->base.result_count = 1;
    talk->base.results[0] = (struct dispatch_result){.ref = {.id = id, .fence = fence},
                                                     .status = STR("success"),
                                                     .output = STR("1"),
                                                     .started_at = w->clock.wall_ms,
                                                     .ended_at = w->clock.wall_ms};
}

// An exchange that brings one result.
static inline struct talk *tell_result(struct world *w, const char *replica, struct str session,
                                       struct str id, int64_t fence)
{
    struct talk *talk = prepare(w, replica, session, 1);
    reports(w, talk, id, fence);
    give(w, talk);
    return talk;
}

// One agent with one execution, which has arrived there. Returns its fence.
static inline int64_t run_one(struct world *w, const char *replica, struct str *session,
                              struct str id)
{
    *session = greet(w, replica);
    struct talk *talk = ask(w, replica, *session, 1);
    pump(w);
    assert_true(talk->answered && talk->base.execution_count == 1);
    assert_non_null(map_get(w->dispatch->leases, id));
    return talk->base.executions[0].fence;
}

// A message more than there should be, as a broker may give.
static inline void queue_again(struct world *w, struct str id)
{
    struct err err = ERR_INIT;
    struct queue_message message = {.id = id, .body = STR("{}")};
    assert_int_equal(queue_publish(w->queue, S, &message, false, &err), 0);
}

#endif
