// SPDX-License-Identifier: Apache-2.0
// Who gets what, and what comes between a read and its answer, a result and its record, a start of
// the server and its first delivery.
#include "world.h"

// ── who gets what ────────────────────────────────────────────────────────────────────────────

static bool has(struct world *w, const char *replica, struct str id)
{
    const struct lease *lease = map_get(w->dispatch->leases, id);
    return lease && lease->agent && strcmp(lease->agent->replica_id, replica) == 0;
}

// Two agents with room for two. Executions come one after the other, take so long each, and end
// before the next one comes. Says how many of them the agent that had the first one got.
static int count_of_first(struct world *w, int64_t took_ms)
{
    const char *const names[] = {"r1", "r2"};
    struct str sessions[2];
    struct talk *talks[2];
    int first = -1, count = 0;
    for (int i = 0; i < 2; i++) {
        sessions[i] = greet(w, names[i]);
        talks[i] = ask(w, names[i], sessions[i], 2);
    }
    for (int n = 1; n <= 20; n++) {
        struct str id = create(w, n, "{}");
        pump(w);
        int who = has(w, "r1", id) ? 0 : 1;
        assert_true(has(w, names[who], id) && talks[who]->answered);
        first = first < 0 ? who : first;
        count += who == first;
        struct talk *talk = prepare(w, names[who], sessions[who], 2);
        reports(w, talk, id, talks[who]->base.executions[0].fence);
        talk->base.results[0].started_at -= took_ms;
        give(w, talk);
        pump(w);
        assert_status(w, id, "success");
        talks[who] = talk->answered ? ask(w, names[who], sessions[who], 2) : talk;
        pump(w);
    }
    return count;
}

static void tiny_functions_stay_with_one_agent(void **state)
{
    (void)state;
    struct world *w = world_new();
    int count = count_of_first(w, 0);
    assert_true(count == 1 || count == 20);  // the first one was given before any had ended
    world_free(w);
}

static void longer_ones_go_to_all_in_turn(void **state)
{
    (void)state;
    struct world *w = world_new();
    assert_int_equal(count_of_first(w, 1000), 10);
    world_free(w);
}

static void times_that_make_no_sense_say_nothing_of_a_function(void **state)
{
    (void)state;
    static const int64_t times[][2] = {{INT_NONE, 5}, {5, INT_NONE}, {7, 5}, {5, 5}};
    struct world *w = world_new();
    for (int i = 0; i < 4; i++) {
        struct str session, id = create(w, 1 + i, "{}");
        int64_t fence = run_one(w, "r1", &session, id);
        struct talk *talk = prepare(w, "r1", session, 1);
        reports(w, talk, id, fence);
        talk->base.results[0].started_at = times[i][0];
        talk->base.results[0].ended_at = times[i][1];
        give(w, talk);
        pump(w);
        assert_status(w, id, "success");
        assert_true(dispatch_queue(w->dispatch, S)->mean_ms < 0 ? i < 3 : i == 3);
    }
    world_free(w);
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
    dispatch_replica_gone(w->dispatch, STR("r1"), STR("it died"), true);
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
    struct talk *talk = tell_result(w, "r1", session, id, fence);
    failing.countdown = 1;
    pump(w);
    assert_int_equal(talk->base.recorded_count, 0);
    assert_status(w, id, "created");
    talk = tell_result(w, "r1", session, id, fence);
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
    tell_result(w, "r1", session, id, fence);
    dispatch_replica_gone(w->dispatch, STR("r1"), STR("it died"), true);
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
        cmocka_unit_test(tiny_functions_stay_with_one_agent),
        cmocka_unit_test(longer_ones_go_to_all_in_turn),
        cmocka_unit_test(times_that_make_no_sense_say_nothing_of_a_function),
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
    return cmocka_run_group_tests_name("handout", tests, NULL, NULL);
}
