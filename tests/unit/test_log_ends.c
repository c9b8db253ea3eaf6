// SPDX-License-Identifier: Apache-2.0
// When the last log line of an execution has been stored, or was lost.
#include "operation/log_ends.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <uv.h>

#include "base/mem.h"
#include "net/loop.h"

struct place {
    struct platform platform;
    struct clock_fake clock;
    struct arena *arena;
    bool read;
};

static const struct str R = {"replica", 7}, X = {"execution-x", 11}, Y = {"execution-y", 11};

static int setup(void **state)
{
    struct err err = ERR_INIT;
    struct place *place = mem_alloc(sizeof(*place));
    clock_fake_init(&place->clock);
    place->clock.wall_ms = 1800000000000;
    place->clock.mono_ms = 1000000;
    place->arena = arena_new();
    place->platform = (struct platform){
        .loop = loop_new(), .clock = &place->clock.clock, .events = events_new()};
    place->platform.store = store_open(
        &(struct store_config){.driver = "memory", .loop = place->platform.loop}, &err);
    place->platform.logs = logs_open(
        &(struct logs_config){.loop = place->platform.loop, .clock = &place->clock.clock}, &err);
    assert_non_null(place->platform.store);
    assert_non_null(place->platform.logs);
    place->platform.log_ends = log_ends_new(&place->platform);
    place->clock.mono_ms += 60000;  // the start is long ago
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    store_close(place->platform.store);
    logs_close(place->platform.logs);
    log_ends_free(place->platform.log_ends);
    events_free(place->platform.events);
    loop_stop(place->platform.loop);
    loop_run(place->platform.loop);
    loop_free(place->platform.loop);
    arena_free(place->arena);
    mem_free(place);
    return 0;
}

static enum log_end end_of(const struct place *place, struct str id)
{
    return log_ends_of(place->platform.log_ends, id, place->clock.wall_ms);
}

static void an_end_waits_for_its_last_line(void **state)
{
    struct place *place = *state;
    struct log_ends *ends = place->platform.log_ends;
    log_ends_result(ends, R, X, 105);
    log_ends_result(ends, R, Y, 210);
    assert_int_equal(end_of(place, X), LOG_END_OPEN);
    log_ends_stored(ends, R, 100, 5);  // up to 104
    assert_int_equal(end_of(place, X), LOG_END_OPEN);
    log_ends_stored(ends, STR("another"), 105, 500);
    assert_int_equal(end_of(place, X), LOG_END_OPEN);
    log_ends_stored(ends, R, 105, 1);
    assert_int_equal(end_of(place, X), LOG_END_COMPLETE);
    assert_int_equal(end_of(place, Y), LOG_END_OPEN);
    log_ends_stored(ends, R, 106, 1000);
    assert_int_equal(end_of(place, Y), LOG_END_COMPLETE);
}

static void lines_may_come_before_the_result(void **state)
{
    struct place *place = *state;
    struct log_ends *ends = place->platform.log_ends;
    log_ends_stored(ends, R, 100, 10);
    log_ends_result(ends, R, X, 109);
    assert_int_equal(end_of(place, X), LOG_END_COMPLETE);
    log_ends_result(ends, R, Y, 0);  // an agent that knows them to be stored
    assert_int_equal(end_of(place, Y), LOG_END_COMPLETE);
}

static void lines_that_come_again_are_known(void **state)
{
    struct place *place = *state;
    struct log_ends *ends = place->platform.log_ends;
    assert_int_equal(log_ends_repeated(ends, R, 100, 10), 0);
    log_ends_stored(ends, R, 100, 10);
    assert_int_equal(log_ends_repeated(ends, R, 100, 10), 10);
    assert_int_equal(log_ends_repeated(ends, R, 100, 15), 10);  // it grew before it was sent again
    assert_int_equal(log_ends_repeated(ends, R, 110, 10), 0);
    assert_int_equal(log_ends_repeated(ends, STR("another"), 100, 10), 0);
    log_ends_gone(ends, R);
    assert_int_equal(log_ends_repeated(ends, R, 100, 10), 0);
}

static void a_held_end_is_open(void **state)
{
    struct place *place = *state;
    struct log_ends *ends = place->platform.log_ends;
    log_ends_hold(ends, X);
    log_ends_hold(ends, X);
    log_ends_release(ends, X);
    assert_int_equal(end_of(place, X), LOG_END_OPEN);
    log_ends_release(ends, X);
    assert_int_equal(end_of(place, X), LOG_END_COMPLETE);
    log_ends_release(ends, X);  // nothing is held
}

static void was_read(void *arg, struct logs_read *read)
{
    (void)read;
    ((struct place *)arg)->read = true;
}

static size_t lines_of(struct place *place, struct str id, struct log_line *first)
{
    struct logs_read read = {.query = {.executions = &id,
                                       .execution_count = 1,
                                       .system = true,
                                       .start = INT64_MIN,
                                       .end = INT64_MAX,
                                       .after_seq = -1,
                                       .before_seq = INT64_MAX},
                             .arena = place->arena,
                             .done = was_read,
                             .arg = place};
    place->read = false;
    logs_read(place->platform.logs, &read);
    while (!place->read)
        uv_run(loop_uv(place->platform.loop), UV_RUN_ONCE);
    assert_int_equal(read.err.kind, ERR_NONE);
    if (read.count > 0)
        *first = read.lines[0];
    return read.count;
}

static int add_execution(struct tx *tx, void *arg, struct err *err)
{
    struct execution execution;
    entity_clear(&execution_entity, &execution);
    execution.id = *(const struct str *)arg;
    execution.service_id = STR("s");
    execution.project_id = STR("p");
    execution.status = STR("success");
    return tx_insert(tx, &execution_entity, &execution, err);
}

static void wait_until(struct place *place, struct str id, enum log_end end)
{
    while (end_of(place, id) != end)
        uv_run(loop_uv(place->platform.loop), UV_RUN_ONCE);
}

// What a replica took with it is told in the log, after the time in which it may still come.
static void lost_lines_are_told(void **state)
{
    struct place *place = *state;
    struct log_ends *ends = place->platform.log_ends;
    struct err err = ERR_INIT;
    struct log_line line;
    struct str id = X;
    assert_int_equal(store_write_now(place->platform.store, add_execution, &id, &err), 0);
    log_ends_stored(ends, R, 1, 100);
    log_ends_result(ends, R, X, 105);
    log_ends_result(ends, R, Y, 120);  // of a deleted execution: nobody is told
    log_ends_gone(ends, R);
    log_ends_stored(ends, R, 5000, 10);  // its next process
    assert_int_equal(end_of(place, X), LOG_END_OPEN);
    place->clock.mono_ms += 2500;
    wait_until(place, X, LOG_END_LOST);
    wait_until(place, Y, LOG_END_LOST);
    while (lines_of(place, X, &line) == 0)
        ;
    assert_true(str_starts(line.message, STR("the last log lines of this execution were lost")));
    assert_true(str_is(line.service_id, "s") && str_is(line.project_id, "p"));
    assert_int_equal(line.level, LINE_WARNING);
    place->clock.mono_ms += 700000;
    wait_until(place, X, LOG_END_COMPLETE);  // forgotten
}

static void lines_under_way_when_an_agent_ends_count(void **state)
{
    struct place *place = *state;
    struct log_ends *ends = place->platform.log_ends;
    log_ends_result(ends, R, X, 105);
    log_ends_gone(ends, R);
    log_ends_stored(ends, R, 101, 10);
    assert_int_equal(end_of(place, X), LOG_END_COMPLETE);
}

// An agent that is alive gets its time as long as it gets on.
static void an_agent_that_gets_on_is_waited_for(void **state)
{
    struct place *place = *state;
    struct log_ends *ends = place->platform.log_ends;
    log_ends_result(ends, R, X, 1000);
    for (int i = 0; i < 3; i++) {
        place->clock.mono_ms += 29000;
        log_ends_stored(ends, R, 1 + i, 1);
        int64_t until = (int64_t)(uv_hrtime() / 1000000) + 700;
        while ((int64_t)(uv_hrtime() / 1000000) < until)
            uv_run(loop_uv(place->platform.loop), UV_RUN_NOWAIT);
        assert_int_equal(end_of(place, X), LOG_END_OPEN);
    }
    place->clock.mono_ms += 31000;
    wait_until(place, X, LOG_END_LOST);
}

static void after_a_restart_ends_are_open_for_a_while(void **state)
{
    struct place *place = *state;
    const struct log_ends *ends = place->platform.log_ends;
    int64_t started = place->clock.wall_ms;
    place->clock.mono_ms -= 60000 - 1000;
    assert_int_equal(log_ends_of(ends, X, started - 100), LOG_END_OPEN);
    assert_int_equal(log_ends_of(ends, X, started - 3600000), LOG_END_COMPLETE);
    assert_int_equal(log_ends_of(ends, X, started + 100), LOG_END_COMPLETE);
    place->clock.mono_ms += 5000;
    assert_int_equal(log_ends_of(ends, X, started - 100), LOG_END_COMPLETE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_end_waits_for_its_last_line, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_may_come_before_the_result, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_that_come_again_are_known, setup, teardown),
        cmocka_unit_test_setup_teardown(a_held_end_is_open, setup, teardown),
        cmocka_unit_test_setup_teardown(lost_lines_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(lines_under_way_when_an_agent_ends_count, setup, teardown),
        cmocka_unit_test_setup_teardown(an_agent_that_gets_on_is_waited_for, setup, teardown),
        cmocka_unit_test_setup_teardown(after_a_restart_ends_are_open_for_a_while, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
