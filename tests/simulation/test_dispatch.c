// SPDX-License-Identifier: Apache-2.0
// Dispatch in the moments that random schedules hardly meet: agents that greet again, time that
// leaps, a disk that says no, a server that stops.
#include "world.h"

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

static void an_agent_that_names_what_another_one_has_does_not_get_it(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session, id = create(w, 1, "{}");
    int64_t fence = run_one(w, "r1", &session, id);
    struct dispatch_ref held[] = {{.id = id, .fence = fence}};
    size_t kept = 9;
    hello(w, "r2", held, 1, &kept);
    assert_int_equal(kept, 0);
    struct lease *lease = map_get(w->dispatch->leases, id);
    assert_string_equal(lease->agent->replica_id, "r1");
    world_free(w);
}

static void a_result_under_way_survives_a_hello(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session, id = create(w, 1, "{}");
    int64_t fence = run_one(w, "r1", &session, id);
    struct talk *talk = tell_result(w, "r1", session, id, fence);
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

static void agents_are_told_another_concurrency(void **state)
{
    (void)state;
    struct world *w = world_new();
    struct str session = greet(w, "r1");
    struct talk *talk = prepare(w, "r1", session, 1);
    talk->base.concurrency = 2;
    give(w, talk);
    pump(w);
    assert_false(talk->answered);
    struct event event = {.kind = EVENT_SERVICE_CHANGED, .service_id = S, .concurrency = 5};
    events_publish(w->platform.events, &event);
    pump(w);
    assert_true(talk->answered && talk->base.tell_concurrency == 5);
    for (int i = 0; i < 2; i++) {  // the answer was lost: it still has the old one
        talk = prepare(w, "r1", session, 1);
        talk->base.concurrency = 2;
        give(w, talk);
        pump(w);
        assert_true(talk->answered && talk->base.tell_concurrency == 5);
    }
    talk = prepare(w, "r1", session, 1);
    talk->base.concurrency = 5;
    give(w, talk);
    pump(w);
    assert_false(talk->answered);
    event.concurrency = 0;  // from now on agents keep what they have
    events_publish(w->platform.events, &event);
    pump(w);
    assert_false(talk->answered);
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
    dispatch_replica_gone(w->dispatch, STR("r1"), STR("it died"), true);
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
    dispatch_replica_gone(w->dispatch, STR("r1"), STR("it died"), true);
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_newer_session_ends_the_older_ones_calls),
        cmocka_unit_test(an_agent_that_names_an_older_fence_does_not_keep_it),
        cmocka_unit_test(an_agent_that_names_what_another_one_has_does_not_get_it),
        cmocka_unit_test(a_result_under_way_survives_a_hello),
        cmocka_unit_test(what_was_given_up_does_not_come_back),
        cmocka_unit_test(commands_come_with_the_next_answer),
        cmocka_unit_test(agents_are_told_another_concurrency),
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
    };
    return cmocka_run_group_tests_name("dispatch", tests, NULL, NULL);
}
