// SPDX-License-Identifier: Apache-2.0
// Dispatch in the moments that random schedules hardly meet: what comes between a read and its
// answer, a disk that says no, agents that say what they should not. One thread, as in stage.h.
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

static void on_silent(void *arg, struct str replica_id)
{
    (void)replica_id;
    ((struct world *)arg)->silent++;
}

static void on_replica(void *arg, struct str replica_id, struct str service_id, const char *state,
                       struct str phase, struct json failure)
{
    (void)replica_id, (void)service_id, (void)state, (void)phase, (void)failure;
    ((struct world *)arg)->told++;
}

static void on_recovered(void *arg, struct err *err)
{
    struct world *w = arg;
    w->recovered++;
    w->recovery = err->kind;
}

static void pump(struct world *w)
{
    while (stage_turn(w->platform.loop) || stage_commit(w->workers, 64, false) ||
           stage_read(w->workers, false) || stage_finish(w->workers))
        ;
}

// In one leap, as when the server's process stood still.
static void leap(struct world *w, int64_t ms)
{
    w->clock.mono_ms += ms;
    w->clock.wall_ms += ms;
    stage_timers(w->platform.loop, w->clock.mono_ms);
    pump(w);
}

static void pass(struct world *w, int64_t ms)
{
    for (int64_t step; ms > 0; ms -= step) {
        step = ms < STEP_MS ? ms : STEP_MS;
        leap(w, step);
    }
}

static int add_services(struct op *op, void *arg, struct err *err)
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
static struct world *world_open(bool quiet)
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

static struct world *world_new(void)
{
    struct world *w = world_open(false);
    dispatch_start(w->dispatch, on_recovered, w);
    pump(w);
    assert_int_equal(w->recovered, 1);
    pass(w, LEASE_MS + TICK_MS);  // nobody is expected any more
    return w;
}

static void world_free(struct world *w)
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

static struct str x_id(struct world *w, int n) { return arena_printf(w->arena, "%024d", n); }

struct adding {
    struct world *w;
    struct execution x;
    struct str body;
};

static int add_work(struct op *op, void *arg, struct err *err)
{
    struct adding *adding = arg;
    return tx_insert(op->tx, &execution_entity, &adding->x, err);
}

static void add_row(struct world *w, struct str id, struct str service, const char *status,
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

static void ready(struct world *w, struct str id, const char *body)
{
    events_publish(w->platform.events, &(struct event){.kind = EVENT_EXECUTION_READY,
                                                       .id = id,
                                                       .service_id = S,
                                                       .body = str_of(body)});
}

static struct str create(struct world *w, int n, const char *body)
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

static int read_work(struct tx *tx, void *arg, struct err *err)
{
    struct reading *reading = arg;
    return tx_get(tx, &execution_entity, reading->id, &reading->x, reading->arena, err);
}

static struct execution row(struct world *w, struct str id)
{
    struct reading reading = {.id = id, .arena = w->arena};
    struct err err = ERR_INIT;
    if (store_read_now(w->platform.store, read_work, &reading, &err))
        fail_msg("%s", err.message);
    return reading.x;
}

static void assert_status(struct world *w, struct str id, const char *status)
{
    struct execution x = row(w, id);
    if (!str_is(x.status, status))
        fail_msg("status " STR_FMT ", not %s", STR_ARG(x.status), status);
}

static int terminate_work(struct op *op, void *arg, struct err *err)
{
    struct execution x;
    const struct str *id = arg;
    if (tx_get(op->tx, &execution_entity, *id, &x, op->arena, err))
        return -1;
    x.to_terminate = true;
    return tx_update(op->tx, &execution_entity, &x, err);
}

static void terminate(struct world *w, struct str id)
{
    struct err err = ERR_INIT;
    assert_int_equal(op_run_now(&w->platform, terminate_work, &id, &err), 0);
    events_publish(w->platform.events,
                   &(struct event){.kind = EVENT_EXECUTION_TERMINATE, .id = id, .service_id = S});
}

// ── agents ───────────────────────────────────────────────────────────────────────────────────

static struct str hello(struct world *w, const char *replica, struct dispatch_ref *held,
                        size_t count, size_t *kept)
{
    return dispatch_hello(w->dispatch, str_of(replica), S, held, count, kept, w->arena);
}

static struct str greet(struct world *w, const char *replica)
{
    size_t kept;
    return hello(w, replica, NULL, 0, &kept);
}

static void on_answer(struct dispatch_exchange *base, const struct err *err)
{
    struct talk *talk = (struct talk *)(void *)base;
    assert_false(talk->answered);
    talk->answered = true;
    talk->err = err ? err->kind : ERR_NONE;
}

static void on_release(struct dispatch_exchange *base)
{
    ((struct talk *)(void *)base)->released = true;
}

static struct talk *prepare(struct world *w, const char *replica, struct str session,
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

static void give(struct world *w, struct talk *talk)
{
    struct err err = ERR_INIT;
    if (dispatch_exchange(w->dispatch, &talk->base, &err))
        fail_msg("%s", err.message);
}

static struct talk *ask(struct world *w, const char *replica, struct str session, int64_t capacity)
{
    struct talk *talk = prepare(w, replica, session, capacity);
    give(w, talk);
    return talk;
}

static void reports(struct world *w, struct talk *talk, struct str id, int64_t fence)
{
    talk->base.results = arena_new_of(w->arena, struct dispatch_result);
    talk->base.result_count = 1;
    talk->base.results[0] = (struct dispatch_result){.ref = {.id = id, .fence = fence},
                                                     .status = STR("success"),
                                                     .output = STR("1"),
                                                     .started_at = w->clock.wall_ms,
                                                     .ended_at = w->clock.wall_ms};
}

// One agent with one execution, which has arrived there. Returns its fence.
static int64_t run_one(struct world *w, const char *replica, struct str *session, struct str id)
{
    *session = greet(w, replica);
    struct talk *talk = ask(w, replica, *session, 1);
    pump(w);
    assert_true(talk->answered && talk->base.execution_count == 1);
    assert_non_null(map_get(w->dispatch->leases, id));
    return talk->base.executions[0].fence;
}

// A message more than there should be, as a broker may give.
static void queue_again(struct world *w, struct str id)
{
    struct err err = ERR_INIT;
    struct queue_message message = {.id = id, .body = STR("{}")};
    assert_int_equal(queue_publish(w->queue, S, &message, false, &err), 0);
}

// ── hello ────────────────────────────────────────────────────────────────────────────────────

static void a_newer_session_ends_the_older_ones_calls(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct err err = ERR_INIT;
    struct str first = greet(w, "r1");
    struct talk *old = ask(w, "r1", first, 1);
    pump(w);
    struct str second = greet(w, "r1");
    assert_true(old->answered && old->released && old->err == ERR_CONFLICT);
    struct talk *late = prepare(w, "r1", first, 1);
    assert_int_equal(dispatch_exchange(w->dispatch, &late->base, &err), -1);
    assert_int_equal(err.kind, ERR_CONFLICT);
    give(w, prepare(w, "r1", second, 1));
    assert_true(w->told >= 2);
    world_free(w);
}

static void an_agent_that_names_an_older_fence_does_not_keep_it(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session, id = create(w, 1, "{}");
    int64_t fence = run_one(w, "r1", &session, id);
    struct dispatch_ref held[] = {{.id = id, .fence = fence - 1}};
    size_t kept = 9;
    hello(w, "r1", held, 1, &kept);
    assert_int_equal(kept, 0);
    pump(w);
    assert_status(w, id, "rerun");
    assert_int_equal(row(w, id).attempts, 1);
    world_free(w);
}

static void a_result_under_way_survives_a_hello(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session, id = create(w, 1, "{}");
    int64_t fence = run_one(w, "r1", &session, id);
    struct talk *talk = prepare(w, "r1", session, 1);
    reports(w, talk, id, fence);
    give(w, talk);
    greet(w, "r1");  // names nothing
    pump(w);
    assert_status(w, id, "success");
    assert_true(talk->released);
    world_free(w);
}

static void what_was_given_up_does_not_come_back(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session, id = create(w, 1, "{}");
    struct dispatch_ref held[] = {{.id = id, .fence = run_one(w, "r1", &session, id)}};
    size_t kept;
    greet(w, "r1");  // names nothing; the end of what it had is not written yet
    hello(w, "r1", held, 1, &kept);
    assert_int_equal(kept, 0);
    pump(w);
    assert_status(w, id, "rerun");
    assert_null(map_get(w->dispatch->leases, id));
    world_free(w);
}

static void commands_come_with_the_next_answer(void **state)
{
    (void)state;
    struct world *w = world_new();
    dispatch_command(w->dispatch, STR("nobody"), "drain");
    struct str session = greet(w, "r1");
    dispatch_command(w->dispatch, STR("r1"), "drain");
    struct talk *talk = ask(w, "r1", session, 1);
    pump(w);
    assert_true(talk->answered && strcmp(talk->base.command, "drain") == 0);
    talk = ask(w, "r1", session, 1);
    pump(w);
    assert_false(talk->answered);
    dispatch_command(w->dispatch, STR("r1"), "stop");
    pump(w);
    assert_true(talk->answered && strcmp(talk->base.command, "stop") == 0);
    world_free(w);
}

// ── time ─────────────────────────────────────────────────────────────────────────────────────

static void silence_ends_leases_also_when_nobody_is_told(void **state)
{
    (void)state;
    struct world *w = world_open(true);
    dispatch_expect(w->dispatch, STR("r9"), S);
    dispatch_expect(w->dispatch, STR("r9"), S);  // said twice, counted once
    dispatch_start(w->dispatch, on_recovered, w);
    pump(w);
    struct str id = create(w, 1, "{}"), session = greet(w, "r1");
    struct talk *talk = ask(w, "r1", session, 1);
    pass(w, TICK_MS);
    assert_false(talk->answered);  // r9 may still run it
    pass(w, LEASE_MS - 1000);
    talk = ask(w, "r1", session, 1);
    pump(w);
    assert_false(talk->answered);
    pass(w, 1000);  // r9 had its time
    assert_true(talk->answered && talk->base.execution_count == 1);
    pass(w, LEASE_MS + TICK_MS);
    assert_non_null(map_get(w->dispatch->leases, id));
    pass(w, LEASE_MS + TICK_MS);
    assert_null(map_get(w->dispatch->leases, id));
    pump(w);
    assert_status(w, id, "rerun");
    world_free(w);
}

// Nobody could be heard meanwhile; afterwards an agent has its usual time.
static void a_sleep_of_the_server_costs_no_lease(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session, id = create(w, 1, "{}");
    run_one(w, "r1", &session, id);
    leap(w, 10 * LEASE_MS);
    leap(w, 10 * LEASE_MS);
    assert_true(dispatch_find(w->dispatch, STR("r1")) &&
                !dispatch_find(w->dispatch, STR("r1"))->silent);
    assert_non_null(map_get(w->dispatch->leases, id));
    // One that spoke before the sleep was noticed gains nothing from it.
    w->clock.mono_ms += 10 * LEASE_MS;
    struct str other, second = create(w, 2, "{}");
    run_one(w, "r2", &other, second);
    leap(w, TICK_MS);
    assert_true(dispatch_find(w->dispatch, STR("r2"))->heard_at <= dispatch_now(w->dispatch));
    struct lease *lease = map_get(w->dispatch->leases, second);
    assert_true(lease->deadline <= dispatch_now(w->dispatch) + LEASE_MS);
    pass(w, 2 * LEASE_MS + 4 * TICK_MS);
    assert_null(map_get(w->dispatch->leases, id));
    assert_null(map_get(w->dispatch->leases, second));
    assert_status(w, id, "rerun");
    world_free(w);
}

static void a_sleep_of_the_server_ends_no_recovery(void **state)
{
    (void)state;
    struct world *w = world_open(true);
    dispatch_expect(w->dispatch, STR("r9"), S);
    dispatch_start(w->dispatch, on_recovered, w);
    pump(w);
    create(w, 1, "{}");
    struct str session = greet(w, "r1");
    struct talk *talk = ask(w, "r1", session, 1);
    leap(w, 10 * LEASE_MS);
    assert_false(talk->answered);  // r9 may still run it, and had no time to say so
    pass(w, LEASE_MS - 1000);
    talk = ask(w, "r1", session, 1);
    pump(w);
    assert_false(talk->answered);
    pass(w, 1000 + TICK_MS);
    assert_true(talk->answered && talk->base.execution_count == 1);
    world_free(w);
}

static void an_end_that_cannot_be_written_is_tried_again(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session, id = create(w, 1, "{}");
    run_one(w, "r1", &session, id);
    dispatch_replica_gone(w->dispatch, STR("r1"), STR("it died"));
    for (int i = 0; i < 3; i++) {
        assert_true(stage_commit(w->workers, 64, true));
        while (stage_finish(w->workers))
            ;
        assert_status(w, id, "created");
        w->clock.mono_ms += TICK_MS;
        stage_timers(w->platform.loop, w->clock.mono_ms);
    }
    pump(w);
    assert_status(w, id, "rerun");
    pass(w, 10 * TICK_MS);
    assert_null(w->dispatch->tick);  // an idle server does not wake up
    world_free(w);
}

static void an_end_of_what_is_gone_is_forgotten(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session, id = create(w, 1, "{}");
    run_one(w, "r1", &session, id);
    failing.kind = ERR_NOT_FOUND;
    failing.countdown = 3;  // execution, service, then the statement
    dispatch_replica_gone(w->dispatch, STR("r1"), STR("it died"));
    pump(w);
    assert_int_equal(failing.countdown, 0);
    assert_int_equal(map_count(w->dispatch->ending), 0);
    world_free(w);
}

static void many_starts_are_recorded(void **state)
{
    (void)state;
    struct world *w = world_new();
    for (int n = 0; n < 300; n++)
        create(w, n, "{}");
    struct str session = greet(w, "r1");
    size_t given = 0;
    for (int turn = 0; turn < 10 && given < 300; turn++) {
        struct talk *talk = prepare(w, "r1", session, 1000);
        talk->base.held = arena_array_of(w->arena, struct dispatch_ref, 1);
        give(w, talk);
        pump(w);
        if (talk->answered)
            given += talk->base.execution_count;
    }
    assert_int_equal(given, 300);
    pass(w, RECORD_AFTER_MS + TICK_MS);
    for (int n = 0; n < 300; n++)
        assert_status(w, x_id(w, n), "in-progress");
    world_free(w);
}

static void a_start_that_fails_is_recorded_later(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session, id = create(w, 1, "{}");
    run_one(w, "r1", &session, id);
    failing.countdown = 1;
    pass(w, RECORD_AFTER_MS + TICK_MS);
    assert_status(w, id, "created");
    pass(w, TICK_MS);
    assert_status(w, id, "in-progress");
    world_free(w);
}

// The start fails when its lease is gone, or is somebody's new one.
static void a_start_that_fails_late_does_no_harm(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        struct world *w = world_new();
        struct str session, id = create(w, 1, "{}");
        struct dispatch_ref returned[] = {{.id = id, .fence = run_one(w, "r1", &session, id)}};
        w->clock.mono_ms += RECORD_AFTER_MS + TICK_MS;
        w->clock.wall_ms += RECORD_AFTER_MS + TICK_MS;
        stage_timers(w->platform.loop, w->clock.mono_ms);  // its start is about to be written
        struct talk *back = prepare(w, "r1", session, again);
        back->base.returned = returned;
        back->base.returned_count = 1;
        give(w, back);
        if (again)
            queue_again(w, id);
        failing.countdown = 1;
        pump(w);
        assert_status(w, id, "rerun");
        assert_int_equal(dispatch_counts(w->dispatch, S).running, again);
        world_free(w);
    }
}

// ── events ───────────────────────────────────────────────────────────────────────────────────

static int publish_refused(struct queue *queue, struct str name,
                           const struct queue_message *message, bool front, struct err *err)
{
    (void)queue, (void)name, (void)message, (void)front;
    return err_set(err, ERR_BUSY, "the queue is full");
}

static void a_full_queue_does_no_harm(void **state)
{
    (void)state;
    struct world *w = world_new();
    const struct queue_driver *real = w->queue->driver;
    w->queue_driver = *real;
    w->queue_driver.publish = publish_refused;
    w->queue->driver = &w->queue_driver;
    struct str id = create(w, 1, "{}");
    pump(w);
    assert_status(w, id, "created");
    w->queue->driver = real;
    assert_int_equal(dispatch_counts(w->dispatch, S).queued, 0);
    ready(w, id, "{}");
    assert_int_equal(dispatch_counts(w->dispatch, S).queued, 1);
    world_free(w);
}

static void a_deleted_service_has_no_queue(void **state)
{
    (void)state;
    struct world *w = world_new();
    create(w, 1, "{}");
    events_publish(w->platform.events,
                   &(struct event){.kind = EVENT_SERVICE_CHANGED, .service_id = services[1]});
    pump(w);
    assert_int_equal(dispatch_counts(w->dispatch, S).queued, 1);
    assert_int_equal(dispatch_counts(w->dispatch, services[1]).queued, 0);
    assert_int_equal(dispatch_counts(w->dispatch, STR_NONE).queued, 1);
    greet(w, "r1");
    assert_int_equal(dispatch_counts(w->dispatch, S).replicas_ready, 0);
    events_publish(w->platform.events,
                   &(struct event){.kind = EVENT_SERVICE_DELETED, .service_id = S});
    assert_int_equal(dispatch_counts(w->dispatch, S).queued, 0);
    world_free(w);
}

static void a_stopping_server_still_records(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct err err = ERR_INIT;
    struct str session, id = create(w, 1, "{}");
    int64_t fence = run_one(w, "r1", &session, id);
    struct talk *result = prepare(w, "r1", session, 1);
    reports(w, result, id, fence);
    give(w, result);
    struct talk *waits = ask(w, "r1", session, 1);
    dispatch_stop(w->dispatch);
    assert_true(waits->answered && waits->err == ERR_UNAVAILABLE);
    assert_false(result->answered);
    pump(w);
    assert_true(result->answered && result->err == ERR_NONE && result->base.recorded[0].applied);
    assert_status(w, id, "success");
    struct talk *late = prepare(w, "r1", session, 1);
    assert_int_equal(dispatch_exchange(w->dispatch, &late->base, &err), -1);
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    world_free(w);
    dispatch_free(NULL);
}

// ── between the read and its answer ──────────────────────────────────────────────────────────

// An execution without a body, and an agent for which it is being read.
static struct str begin_reading(struct world *w, struct str *session, struct talk **talk)
{
    struct str id = create(w, 1, NULL);
    *session = greet(w, "r1");
    *talk = ask(w, "r1", *session, 1);
    while (stage_turn(w->platform.loop))
        ;
    assert_non_null(map_get(w->dispatch->reading, id));
    return id;
}

static void assert_given_once(struct world *w, struct talk *talk, struct str id)
{
    pump(w);
    assert_true(talk->answered && talk->base.execution_count == 1);
    assert_non_null(map_get(w->dispatch->leases, id));
    assert_int_equal(dispatch_counts(w->dispatch, S).queued, 0);
    assert_int_equal(dispatch_counts(w->dispatch, S).running, 1);
}

static void what_is_asked_for_while_it_is_read_is_read_again(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session;
    struct talk *talk;
    struct str id = begin_reading(w, &session, &talk);
    ready(w, id, NULL);
    assert_true(stage_read(w->workers, false) && stage_finish(w->workers));
    assert_null(map_get(w->dispatch->leases, id));
    assert_given_once(w, talk, id);
    world_free(w);
}

static void what_cannot_be_read_stays_queued(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session;
    struct talk *talk;
    struct str id = begin_reading(w, &session, &talk);
    failing.countdown = 1;
    assert_true(stage_read(w->workers, false) && stage_finish(w->workers));
    assert_int_equal(dispatch_counts(w->dispatch, S).queued, 1);
    assert_given_once(w, talk, id);
    world_free(w);
}

static void what_is_read_for_a_dead_agent_goes_to_the_next(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session;
    struct talk *talk;
    struct str id = begin_reading(w, &session, &talk);
    dispatch_replica_gone(w->dispatch, STR("r1"), STR("it died"));
    session = greet(w, "r1");  // the same name, another process
    struct talk *next = ask(w, "r1", session, 1);
    assert_true(stage_read(w->workers, false) && stage_finish(w->workers));
    assert_given_once(w, next, id);
    world_free(w);
}

static void what_is_read_for_an_agent_that_drains_stays_queued(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session;
    struct talk *talk;
    struct str id = begin_reading(w, &session, &talk);
    struct talk *draining = prepare(w, "r1", session, 0);
    draining->base.ready = false;
    draining->base.state = "draining";
    give(w, draining);
    assert_true(stage_read(w->workers, false) && stage_finish(w->workers));
    pump(w);
    assert_int_equal(dispatch_counts(w->dispatch, S).queued, 1);
    assert_null(map_get(w->dispatch->leases, id));
    assert_given_once(w, ask(w, "r2", greet(w, "r2"), 1), id);
    world_free(w);
}

static void what_somebody_names_meanwhile_is_not_given(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session;
    struct talk *talk;
    struct str id = begin_reading(w, &session, &talk);
    struct dispatch_ref held[] = {{.id = id, .fence = 1}};
    size_t kept;
    hello(w, "r2", held, 1, &kept);
    assert_int_equal(kept, 1);
    pump(w);
    assert_false(talk->answered);
    assert_int_equal(dispatch_counts(w->dispatch, S).running, 1);
    // A message of what is leased, and one of nobody's: neither is given out.
    struct err err = ERR_INIT;
    queue_again(w, id);
    struct queue_message odd = {.id = STR("an id that is none of ours, too long"),
                                .body = STR("{}")};
    assert_int_equal(queue_publish(w->queue, S, &odd, false, &err), 0);
    struct talk *wide = ask(w, "r1", session, 5);
    pump(w);
    assert_false(wide->answered);
    assert_int_equal(dispatch_counts(w->dispatch, S).queued, 0);
    world_free(w);
}

static void what_came_back_is_read_anew(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str id = create(w, 1, "{\"old\":true}");
    struct queue_message message;
    assert_int_equal(queue_consume(w->queue, S, &message, 1), 1);
    queue_nack(w->queue, S, message.tag);
    struct str session = greet(w, "r1");
    struct talk *talk = ask(w, "r1", session, 1);
    pump(w);
    size_t at;
    assert_given_once(w, talk, id);
    assert_false(str_find(talk->base.executions[0].body, STR("old"), &at));
    world_free(w);
}

// ── results ──────────────────────────────────────────────────────────────────────────────────

static void a_result_that_cannot_be_written_is_repeated(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session, id = create(w, 1, "{}");
    int64_t fence = run_one(w, "r1", &session, id);
    struct talk *talk = prepare(w, "r1", session, 1);
    reports(w, talk, id, fence);
    give(w, talk);
    failing.countdown = 1;
    pump(w);
    assert_int_equal(talk->base.recorded_count, 0);
    assert_status(w, id, "created");
    talk = prepare(w, "r1", session, 1);
    reports(w, talk, id, fence);
    give(w, talk);
    pump(w);
    assert_true(talk->base.recorded_count == 1 && talk->base.recorded[0].applied);
    assert_status(w, id, "success");
    world_free(w);
}

static void a_result_of_the_dead_that_cannot_be_written_is_lost(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session, id = create(w, 1, "{}");
    int64_t fence = run_one(w, "r1", &session, id);
    struct talk *talk = prepare(w, "r1", session, 1);
    reports(w, talk, id, fence);
    give(w, talk);
    dispatch_replica_gone(w->dispatch, STR("r1"), STR("it died"));
    struct lease *lease = map_get(w->dispatch->leases, id);
    assert_true(lease && !lease->agent);
    terminate(w, id);  // there is nobody to tell
    assert_true(stage_commit(w->workers, 1, true));
    pump(w);
    assert_status(w, id, "terminated");
    world_free(w);
}

// An agent reports what it was not sent, just when it is to be terminated: the report is void for
// dispatch, whether somebody else has been given the execution meanwhile or not, and whether it
// could be written or not.
static void a_result_before_its_delivery_is_void(void **state)
{
    (void)state;
    for (int variant = 0; variant < 4; variant++) {
        struct world *w = world_new();
        bool queued = variant & 1, fails = variant & 2;
        struct str session = greet(w, "r1"), id = x_id(w, 1);
        add_row(w, id, S, "created", INT_NONE);
        struct talk *first = ask(w, "r1", session, 1);
        // A lease is made and sent in one turn of the loop: one between the two is made by hand.
        struct dispatch_agent *agent = dispatch_find(w->dispatch, STR("r1"));
        struct lease *lease = lease_new(w->dispatch, agent, id, fence_next(&w->platform), 1);
        struct talk *early = prepare(w, "r1", session, 1);
        reports(w, early, id, lease->fence);
        give(w, early);
        terminate(w, id);
        assert_null(map_get(w->dispatch->leases, id));
        if (queued)
            queue_again(w, id);
        failing.countdown = fails;
        pump(w);
        assert_int_equal(failing.countdown, 0);
        assert_int_equal(early->base.recorded_count, fails ? 0 : 1);
        assert_true(first->answered);
        assert_int_equal(dispatch_counts(w->dispatch, S).running, queued);
        world_free(w);
    }
}

static void progress_that_cannot_be_written_is_left_out(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session, id = create(w, 1, "{}");
    int64_t fence = run_one(w, "r1", &session, id);
    struct talk *talk = prepare(w, "r1", session, 1);
    struct dispatch_progress progress[] = {
        {.ref = {.id = id, .fence = fence}, .percent = 50, .at = w->clock.wall_ms}};
    talk->base.progress = progress;
    talk->base.progress_count = 1;
    give(w, talk);
    failing.countdown = 1;
    pump(w);
    assert_status(w, id, "created");
    assert_non_null(map_get(w->dispatch->leases, id));
    world_free(w);
}

// ── recovery ─────────────────────────────────────────────────────────────────────────────────

static void recovery_takes_any_number(void **state)
{
    (void)state;
    struct world *w = world_open(false);
    for (int n = 0; n < MANY; n++)
        add_row(w, x_id(w, n), n % 10 ? S : x_id(w, 5000 + n), "created", INT_NONE);
    add_row(w, STR("of another make"), S, "created", INT_NONE);
    dispatch_start(w->dispatch, on_recovered, w);
    pump(w);
    assert_int_equal(w->recovery, ERR_NONE);
    assert_int_equal(dispatch_counts(w->dispatch, STR_NONE).queued, MANY);
    assert_int_equal(dispatch_counts(w->dispatch, S).queued, MANY - MANY / 10);
    world_free(w);
}

static void recovery_that_cannot_read_says_so(void **state)
{
    (void)state;
    struct world *w = world_open(false);
    add_row(w, x_id(w, 1), S, "created", INT_NONE);
    dispatch_start(w->dispatch, on_recovered, w);
    assert_true(stage_read(w->workers, true));
    pump(w);
    assert_int_equal(w->recovered, 1);
    assert_int_equal(w->recovery, ERR_UNAVAILABLE);
    assert_int_equal(dispatch_counts(w->dispatch, STR_NONE).queued, 0);
    // Or in the middle of it: what was read is not trusted.
    failing.countdown = 1;
    dispatch_start(w->dispatch, on_recovered, w);
    pump(w);
    assert_int_equal(w->recovered, 2);
    assert_int_equal(w->recovery, ERR_UNAVAILABLE);
    world_free(w);
}

static int read_and_fail(struct tx *tx, failing_open_fn *each, void *arg, struct err *err)
{
    if (failing.real->execution_each_open(tx, each, arg, err))
        return -1;
    return err_set(err, ERR_UNAVAILABLE, "the disk said no at the end");
}

static void half_a_recovery_is_none(void **state)
{
    (void)state;
    struct world *w = world_open(false);
    add_row(w, x_id(w, 1), S, "created", INT_NONE);
    failing.driver.execution_each_open = read_and_fail;
    dispatch_start(w->dispatch, on_recovered, w);
    pump(w);
    assert_int_equal(w->recovery, ERR_UNAVAILABLE);
    assert_int_equal(dispatch_counts(w->dispatch, STR_NONE).queued, 0);
    world_free(w);
}

static void an_agent_may_be_faster_than_recovery(void **state)
{
    (void)state;
    struct world *w = world_open(false);
    struct str id = x_id(w, 1);
    add_row(w, id, S, "in-progress", 7);
    add_row(w, x_id(w, 2), S, "created", INT_NONE);
    dispatch_expect(w->dispatch, STR("r1"), S);
    dispatch_start(w->dispatch, on_recovered, w);
    struct dispatch_ref held[] = {{.id = id, .fence = 7}};
    size_t kept;
    hello(w, "r1", held, 1, &kept);
    assert_int_equal(kept, 1);
    pump(w);
    pass(w, LEASE_MS / 2);
    assert_int_equal(dispatch_counts(w->dispatch, S).queued, 1);
    assert_int_equal(dispatch_counts(w->dispatch, S).running, 1);
    assert_status(w, id, "in-progress");
    world_free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_newer_session_ends_the_older_ones_calls),
        cmocka_unit_test(an_agent_that_names_an_older_fence_does_not_keep_it),
        cmocka_unit_test(a_result_under_way_survives_a_hello),
        cmocka_unit_test(what_was_given_up_does_not_come_back),
        cmocka_unit_test(commands_come_with_the_next_answer),
        cmocka_unit_test(silence_ends_leases_also_when_nobody_is_told),
        cmocka_unit_test(a_sleep_of_the_server_costs_no_lease),
        cmocka_unit_test(a_sleep_of_the_server_ends_no_recovery),
        cmocka_unit_test(an_end_that_cannot_be_written_is_tried_again),
        cmocka_unit_test(an_end_of_what_is_gone_is_forgotten),
        cmocka_unit_test(many_starts_are_recorded),
        cmocka_unit_test(a_start_that_fails_is_recorded_later),
        cmocka_unit_test(a_start_that_fails_late_does_no_harm),
        cmocka_unit_test(a_full_queue_does_no_harm),
        cmocka_unit_test(a_deleted_service_has_no_queue),
        cmocka_unit_test(a_stopping_server_still_records),
        cmocka_unit_test(what_is_asked_for_while_it_is_read_is_read_again),
        cmocka_unit_test(what_cannot_be_read_stays_queued),
        cmocka_unit_test(what_is_read_for_a_dead_agent_goes_to_the_next),
        cmocka_unit_test(what_is_read_for_an_agent_that_drains_stays_queued),
        cmocka_unit_test(what_somebody_names_meanwhile_is_not_given),
        cmocka_unit_test(what_came_back_is_read_anew),
        cmocka_unit_test(a_result_that_cannot_be_written_is_repeated),
        cmocka_unit_test(a_result_of_the_dead_that_cannot_be_written_is_lost),
        cmocka_unit_test(a_result_before_its_delivery_is_void),
        cmocka_unit_test(progress_that_cannot_be_written_is_left_out),
        cmocka_unit_test(recovery_takes_any_number),
        cmocka_unit_test(recovery_that_cannot_read_says_so),
        cmocka_unit_test(half_a_recovery_is_none),
        cmocka_unit_test(an_agent_may_be_faster_than_recovery),
    };
    return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
