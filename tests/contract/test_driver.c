// SPDX-License-Identifier: Apache-2.0
// What every driver must do; run for each implementation.
#include "contract/driver_fixture.h"

static void test_apply_up_and_down(void **state)
{
    struct bench *bench = bench_new(*state);
    apply(bench, "1.0.0.0", 3);
    struct tally tally = settle(bench, 3, 3);
    assert_true(tally.newest.pid > 0);
    apply(bench, "1.0.0.0", 3);
    assert_int_equal(observe(bench).all, 3);
    apply(bench, "1.0.0.0", 1);
    struct event *last = event_of(bench, tally.newest.id, REPLICA_EXITED);
    assert_int_equal(last->exit_code, 0);
    assert_string_equal(last->reason, "Completed");
    struct tally left = settle(bench, 1, 1);
    assert_string_equal(left.newest.id, tally.oldest.id);
    apply(bench, "1.0.0.0", 0);
    settle(bench, 0, 0);
    bench_free(bench);
}

// One new one lives beside the old ones; each that is ready lets an old one go.
static void test_another_revision_replaces(void **state)
{
    struct bench *bench = bench_new(*state);
    apply(bench, "1.0.0.0", 2);
    struct tally before = settle(bench, 2, 2);
    driver_ready(bench->driver, str_of(before.oldest.id), true);
    driver_ready(bench->driver, str_of(before.newest.id), true);
    apply(bench, "1.0.1.0", 2);
    settle(bench, 3, 3);
    newest_is_ready(bench);
    event_of(bench, before.oldest.id, REPLICA_EXITED);
    settle(bench, 3, 3);
    assert_string_equal(observe(bench).oldest.id, before.newest.id);
    newest_is_ready(bench);
    struct event *end = event_of(bench, before.newest.id, REPLICA_EXITED);
    assert_string_equal(end->reason, "Completed");
    settle(bench, 2, 2);
    bench_free(bench);
}

// What serves nobody is not waited for: the new ones come at once, also in place of one that fails.
static void test_replaces_at_once_what_serves_nobody(void **state)
{
    struct bench *bench = bench_new(*state);
    apply(bench, "1.0.0.0", 1);
    struct tally before = settle(bench, 1, 1);
    apply(bench, "1.0.1.0", 1);
    event_of(bench, before.oldest.id, REPLICA_EXITED);
    struct tally after = settle(bench, 1, 1);
    end_with(bench, after.oldest.id, 1);
    event_of(bench, after.oldest.id, REPLICA_WAITING);
    apply(bench, "1.0.2.0", 1);
    event_of(bench, after.oldest.id, REPLICA_EXITED);
    settle(bench, 1, 1);
    bench_free(bench);
}

// The old one has not finished what it runs when its time is up, or when somebody is in a hurry.
static void test_force_stops_what_drains(void **state)
{
    struct bench *bench = bench_new(*state);
    struct err err = ERR_INIT;
    behave(bench, "stubborn");
    struct deployment first = deployment_of("1.0.0.0", 1);
    first.grace_ms = 100;
    assert_int_equal(driver_apply(bench->driver, &first, &err), 0);
    struct tally before = settle(bench, 1, 1);
    driver_ready(bench->driver, str_of(before.oldest.id), true);
    apply(bench, "1.0.1.0", 1);
    settle(bench, 2, 2);
    newest_is_ready(bench);
    event_of(bench, before.oldest.id, REPLICA_STOPPING);
    struct deployment hurry = deployment_of("1.0.1.0", 1);
    hurry.force = true;
    assert_int_equal(driver_apply(bench->driver, &hurry, &err), 0);
    assert_int_equal(event_of(bench, before.oldest.id, REPLICA_EXITED)->exit_code, 128 + 9);
    settle(bench, 1, 1);
    bench_free(bench);
}

static void test_remove_drains_or_kills(void **state)
{
    struct bench *bench = bench_new(*state);
    struct err err = ERR_INIT;
    apply(bench, "1.0.0.0", 2);
    struct tally tally = settle(bench, 2, 2);
    assert_int_equal(driver_remove(bench->driver, SERVICE, false, &err), 0);
    settle(bench, 0, 0);
    assert_int_equal(event_of(bench, tally.oldest.id, REPLICA_EXITED)->exit_code, 0);
    behave(bench, "stubborn");
    apply(bench, "1.0.0.0", 1);
    tally = settle(bench, 1, 1);
    assert_int_equal(driver_remove(bench->driver, SERVICE, true, &err), 0);
    assert_int_equal(event_of(bench, tally.oldest.id, REPLICA_EXITED)->exit_code, 128 + 9);
    settle(bench, 0, 0);
    bench_free(bench);
}

static void test_signals(void **state)
{
    static const enum replica_signal signals[] = {REPLICA_DRAIN, REPLICA_STOP, REPLICA_KILL};
    struct bench *bench = bench_new(*state);
    struct err err = ERR_INIT;
    assert_int_equal(driver_signal(bench->driver, STR("nobody"), REPLICA_STOP, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    apply(bench, "1.0.0.0", 1);
    for (size_t i = 0; i < 3; i++) {
        struct tally tally = settle(bench, 1, 1);
        signal_to(bench, tally.oldest.id, signals[i]);
        struct event *end = event_of(bench, tally.oldest.id, REPLICA_EXITED);
        assert_int_equal(end->exit_code, signals[i] == REPLICA_KILL ? 128 + 9 : 0);
        assert_string_equal(end->reason, "Completed");
        event_of(bench, tally.oldest.id, REPLICA_STOPPING);
        assert_string_not_equal(settle(bench, 1, 1).oldest.id, tally.oldest.id);
    }
    bench_free(bench);
}

static void test_time_to_stop_ends(void **state)
{
    struct bench *bench = bench_new(*state);
    struct err err = ERR_INIT;
    behave(bench, "stubborn");
    struct deployment deployment = deployment_of("1.0.0.0", 1);
    deployment.drain_ms = deployment.grace_ms = 100;
    assert_int_equal(driver_apply(bench->driver, &deployment, &err), 0);
    struct tally tally = settle(bench, 1, 1);
    apply(bench, "1.0.0.0", 0);
    struct event *end = event_of(bench, tally.oldest.id, REPLICA_EXITED);
    assert_int_equal(end->exit_code, 128 + 9);
    assert_string_equal(end->reason, "Error");
    bench_free(bench);
}

static void test_crashes_back_off(void **state)
{
    struct bench *bench = bench_new(*state);
    apply(bench, "1.0.0.0", 1);
    const int64_t waits[] = {100, 200, 400, 400};
    struct tally tally = settle(bench, 1, 1);
    for (int i = 0; i < 4; i++) {
        size_t from = bench->count;
        int64_t before = clock_wall(clock_system());
        end_with(bench, tally.oldest.id, 3 + i);
        struct event *wait = event_from(bench, tally.oldest.id, REPLICA_WAITING, from);
        assert_string_equal(wait->reason, "CrashLoopBackOff");
        assert_non_null(strstr(wait->message, "last words"));
        assert_int_equal(wait->exit_code, 3 + i);
        assert_int_equal(wait->restarts, i);
        assert_int_equal(wait->failures, i + 1);
        assert_true(wait->next_start_at >= before + waits[i]);
        assert_true(wait->next_start_at <= clock_wall(clock_system()) + waits[i]);
        struct tally again = settle(bench, 1, 1);
        assert_string_equal(again.oldest.id, tally.oldest.id);
        assert_int_equal(again.oldest.restarts, i + 1);
    }
    driver_ready(bench->driver, str_of(tally.oldest.id), true);
    end_with(bench, tally.oldest.id, 1);
    struct event *served = event_from(bench, tally.oldest.id, REPLICA_WAITING, bench->count);
    assert_int_equal(served->failures, 0);  // it could start
    apply(bench, "1.0.0.0", 0);             // one that waits is simply forgotten
    event_of(bench, tally.oldest.id, REPLICA_EXITED);
    settle(bench, 0, 0);
    bench_free(bench);
}

static void test_refused_is_not_started_again(void **state)
{
    struct bench *bench = bench_new(*state);
    apply(bench, "1.0.0.0", 1);
    struct tally tally = settle(bench, 1, 1);
    end_with(bench, tally.oldest.id, EXIT_CODE_REFUSED);
    struct event *end = event_of(bench, tally.oldest.id, REPLICA_EXITED);
    assert_int_equal(end->exit_code, EXIT_CODE_REFUSED);
    assert_int_equal(observe(bench).all, 0);
    usleep(120000);
    apply(bench, "1.0.0.0", 1);
    assert_string_not_equal(settle(bench, 1, 1).oldest.id, tally.oldest.id);
    bench_free(bench);
}

static void test_bad_deployments(void **state)
{
    struct bench *bench = bench_new(*state);
    struct err err = ERR_INIT;
    struct deployment deployment = deployment_of("1.0.0.0", -1);
    assert_int_equal(driver_apply(bench->driver, &deployment, &err), -1);
    assert_int_equal(err.kind, ERR_BAD_INPUT);
    assert_int_equal(observe(bench).all, 0);
    struct driver_config config = {.driver = "pigeon"};
    assert_null(driver_open(&config, &err));
    bench_free(bench);
}

#define CONTRACT_FOR(driver)                                                                       \
    CONTRACT(test_apply_up_and_down, driver), CONTRACT(test_another_revision_replaces, driver),    \
        CONTRACT(test_replaces_at_once_what_serves_nobody, driver),                                \
        CONTRACT(test_force_stops_what_drains, driver),                                            \
        CONTRACT(test_remove_drains_or_kills, driver), CONTRACT(test_signals, driver),             \
        CONTRACT(test_time_to_stop_ends, driver), CONTRACT(test_crashes_back_off, driver),         \
        CONTRACT(test_refused_is_not_started_again, driver),                                       \
        CONTRACT(test_bad_deployments, driver)

int main(int argc, char **argv)
{
    int rc;
    if (ran_as_agent(argc, argv, &rc))
        return rc;
    const struct CMUnitTest tests[] = {
        CONTRACT_FOR("memory"),
        CONTRACT_FOR("process"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
