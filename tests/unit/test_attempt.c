// SPDX-License-Identifier: Apache-2.0
// What becomes of an execution when a delivery of it starts, reports or ends: whose word counts,
// and what is done when the store fails in between.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "failing_store.h"
#include "net/loop.h"
#include "operation/attempt.h"

#define X   STR("00000000000000000000000e")
#define S   STR("000000000000000000000001")
#define NOW 1800000000000

struct world {
    struct settings settings;
    struct fences fences;
    struct platform platform;
    void (*test)(struct op *op);
};

static int world_work(struct op *op, void *arg, struct err *err)
{
    (void)failing_install(op->tx, NULL, err);
    ((struct world *)arg)->test(op);
    return 0;
}

static void with_world(void (*test)(struct op *op))
{
    struct world world = {.settings = {.output_max = 100, .attempts_default = 2}, .test = test};
    struct err err = ERR_INIT;
    world.platform = (struct platform){.loop = loop_new(),
                                       .log = log_new(-1, LOG_ERROR, LOG_TEXT),
                                       .clock = clock_system(),
                                       .fences = &world.fences,
                                       .settings = &world.settings};
    world.platform.store = store_open(&(struct store_config){.driver = "memory",
                                                             .loop = world.platform.loop,
                                                             .log = world.platform.log},
                                      &err);
    assert_non_null(world.platform.store);
    if (op_run_now(&world.platform, world_work, &world, &err))
        fail_msg("%s", err.message);
    store_close(world.platform.store);
    loop_free(world.platform.loop);
    log_free(world.platform.log);
}

// ── rows ─────────────────────────────────────────────────────────────────────────────────────

static struct execution blank(const char *status, int64_t fence)
{
    struct execution x;
    entity_clear(&execution_entity, &x);
    x.id = X;
    x.service_id = S;
    x.project_id = STR("p1");
    x.function_name = STR("run");
    x.status = str_of(status);
    x.fence = fence;
    x.created_at = x.updated_at = NOW;
    return x;
}

static void put(struct op *op, struct execution x)
{
    struct err err = ERR_INIT;
    if (tx_update(op->tx, &execution_entity, &x, &err) &&
        tx_insert(op->tx, &execution_entity, &x, &err))
        fail_msg("%s", err.message);
}

static void put_service(struct op *op, const char *on_reset)
{
    struct service service;
    struct err err = ERR_INIT;
    entity_clear(&service_entity, &service);
    service.id = S;
    service.name = STR("s");
    service.project_id = STR("p1");
    service.on_reset = str_of(on_reset);
    if (tx_update(op->tx, &service_entity, &service, &err) &&
        tx_insert(op->tx, &service_entity, &service, &err))
        fail_msg("%s", err.message);
}

static struct execution row(struct op *op)
{
    struct execution x;
    struct err err = ERR_INIT;
    if (tx_get(op->tx, &execution_entity, X, &x, op->arena, &err))
        fail_msg("%s", err.message);
    return x;
}

static void assert_status(struct op *op, const char *status)
{
    struct execution x = row(op);
    if (!str_is(x.status, status))
        fail_msg("status " STR_FMT ", not %s", STR_ARG(x.status), status);
}

static int events(struct op *op, enum event_kind kind)
{
    int count = 0;
    for (const struct event *event = op->events; event; event = event->next)
        count += event->kind == kind;
    op->events = NULL;
    op->events_tail = &op->events;
    return count;
}

// Fails the first call of the store, then the second, …, until the operation needs no more of them.
// Each time it gives the store's own error on. Returns how many there were.
static int troubles(struct op *op, struct execution before, int (*run)(struct op *, struct err *))
{
    for (int n = 1;; n++) {
        struct err err = ERR_INIT;
        put(op, before);
        failing.countdown = n;
        int rc = run(op, &err);
        bool failed = failing.countdown == 0;
        failing.countdown = 0;
        if (!failed) {
            assert_int_equal(rc, 0);
            return n - 1;
        }
        assert_int_equal(rc, -1);
        assert_int_equal(err.kind, ERR_UNAVAILABLE);
    }
}

// ── delivering ───────────────────────────────────────────────────────────────────────────────

static void delivery_says_what_there_is(struct op *op)
{
    struct json json, value;
    struct err err = ERR_INIT;
    int64_t n;
    struct execution x = blank("created", INT_NONE);
    struct str text = execution_delivery(&x, op->arena);
    assert_int_equal(json_parse(text, 0, &json, &err), 0);
    assert_true(json_get(json, "input", &value) && str_is(value.text, "{}"));
    assert_false(json_get(json, "since", &value));
    assert_false(json_get(json, "timeoutS", &value));
    x.input = STR("{\"a\":1}");
    x.timeout_s = 7;
    x.rerun_fence = 0;
    text = execution_delivery(&x, op->arena);
    assert_int_equal(json_parse(text, 0, &json, &err), 0);
    assert_true(json_get(json, "input", &value) && str_is(value.text, "{\"a\":1}"));
    assert_true(json_get(json, "timeoutS", &value) && json_int(value, &n) && n == 7);
    assert_false(json_get(json, "since", &value));
    x.rerun_fence = 9;
    text = execution_delivery(&x, op->arena);
    assert_int_equal(json_parse(text, 0, &json, &err), 0);
    assert_true(json_get(json, "since", &value) && json_int(value, &n) && n == 9);
}

static int run_fetch(struct op *op, struct err *err)
{
    struct str body;
    int64_t attempts;
    bool to_terminate, deliver;
    return execution_fetch(op, X, &body, &attempts, &to_terminate, &deliver, err);
}

static void only_open_ones_are_fetched(struct op *op)
{
    struct str body;
    int64_t attempts = -1;
    bool to_terminate = true, deliver = true;
    struct err err = ERR_INIT;
    assert_int_equal(execution_fetch(op, X, &body, &attempts, &to_terminate, &deliver, &err), 0);
    assert_false(deliver);  // there is none
    struct execution x = blank("success", 5);
    put(op, x);
    deliver = true;
    assert_int_equal(execution_fetch(op, X, &body, &attempts, &to_terminate, &deliver, &err), 0);
    assert_false(deliver);
    put(op, blank("created", INT_NONE));
    assert_int_equal(execution_fetch(op, X, &body, &attempts, &to_terminate, &deliver, &err), 0);
    assert_true(deliver && !to_terminate && attempts == 0);
    x = blank("rerun", 5);
    x.attempts = 2;
    x.to_terminate = true;
    put(op, x);
    assert_int_equal(execution_fetch(op, X, &body, &attempts, &to_terminate, &deliver, &err), 0);
    assert_true(deliver && to_terminate && attempts == 2);
    assert_int_equal(troubles(op, x, run_fetch), 1);
}

static struct dispatch_ref held_one;
static size_t kept_now;

static int run_confirm(struct op *op, struct err *err)
{
    struct dispatch_ref held[] = {held_one};
    int rc = execution_confirm_held(op, S, held, 1, &kept_now, err);
    if (rc == 0 && kept_now)
        held_one = held[0];
    return rc;
}

static bool keeps(struct op *op, struct execution x, int64_t fence)
{
    struct err err = ERR_INIT;
    put(op, x);
    held_one = (struct dispatch_ref){.id = X, .fence = fence};
    assert_int_equal(run_confirm(op, &err), 0);
    return kept_now == 1;
}

static void an_agent_keeps_what_nobody_else_got(struct op *op)
{
    struct execution x = blank("in-progress", 5);
    assert_true(keeps(op, x, 5));
    assert_int_equal(held_one.attempts, 0);
    assert_true(keeps(op, x, 6));                   // delivered, not recorded yet
    assert_false(keeps(op, x, 4));                  // somebody got it since
    assert_false(keeps(op, blank("rerun", 5), 5));  // its attempt ended without a result
    assert_true(keeps(op, blank("created", INT_NONE), 1));
    assert_false(keeps(op, blank("success", 5), 5));
    x.service_id = STR("another");
    assert_false(keeps(op, x, 5));
    x = blank("in-progress", 5);
    x.attempts = 3;
    x.to_terminate = true;
    assert_true(keeps(op, x, 5));
    assert_true(held_one.attempts == 3 && held_one.to_terminate);
    assert_int_equal(troubles(op, x, run_confirm), 1);
}

// ── reporting ────────────────────────────────────────────────────────────────────────────────

static struct execution_result result;
static bool watched;  // somebody waits for the end

static int run_record(struct op *op, struct err *err)
{
    bool applied;
    return execution_record(op, &result, S, watched, &applied, err);
}

static void a_result_is_recorded_once(struct op *op)
{
    bool applied = false;
    struct err err = ERR_INIT;
    result = (struct execution_result){.id = X,
                                       .status = STR("success"),
                                       .output = STR("1"),
                                       .fence = 5,
                                       .started_at = NOW,
                                       .ended_at = NOW,
                                       .attempts = 1};
    put(op, blank("in-progress", 6));
    assert_int_equal(execution_record(op, &result, S, watched, &applied, &err), 0);
    assert_false(applied);  // an old fence
    assert_int_equal(events(op, EVENT_EXECUTION_ENDED), 0);
    put(op, blank("in-progress", 5));
    assert_int_equal(execution_record(op, &result, S, watched, &applied, &err), 0);
    assert_true(applied);
    assert_int_equal(events(op, EVENT_EXECUTION_ENDED), 1);
    applied = false;
    assert_int_equal(execution_record(op, &result, S, watched, &applied, &err), 0);
    assert_false(applied);  // it is final
    assert_int_equal(troubles(op, blank("in-progress", 5), run_record), 1);
}

static void a_watched_end_brings_its_row(struct op *op)
{
    bool applied;
    struct err err = ERR_INIT;
    result = (struct execution_result){.id = X,
                                       .status = STR("success"),
                                       .output = STR("[1]"),
                                       .fence = 5,
                                       .started_at = NOW,
                                       .ended_at = NOW};
    put(op, blank("in-progress", 5));
    watched = true;
    assert_int_equal(execution_record(op, &result, S, watched, &applied, &err), 0);
    const struct event *event = op->events;
    assert_true(event && event->kind == EVENT_EXECUTION_ENDED && event->row);
    assert_true(str_is(event->row->status, "success") && str_is(event->row->output, "[1]"));
    assert_int_equal(troubles(op, blank("in-progress", 5), run_record), 3);
    watched = false;
}

static void a_big_output_becomes_a_failure(struct op *op)
{
    char big[102];
    bool applied;
    struct err err = ERR_INIT;
    memset(big, '1', 101);
    put(op, blank("in-progress", 5));
    result = (struct execution_result){
        .id = X, .status = STR("success"), .output = {big, 101}, .fence = 5, .ended_at = NOW};
    assert_int_equal(execution_record(op, &result, S, watched, &applied, &err), 0);
    assert_status(op, "failed");
    struct execution x = row(op);
    size_t at;
    assert_true(!x.output.at && str_find(x.error, STR("OutputTooLarge"), &at));
}

static struct dispatch_progress progress;

static int run_progress(struct op *op, struct err *err)
{
    return execution_progress(op, &progress, STR("r1"), err);
}

static void progress_shows_what_it_says(struct op *op)
{
    struct err err = ERR_INIT;
    progress = (struct dispatch_progress){.ref = {.id = X, .fence = 5}, .percent = NAN, .at = NOW};
    struct execution x = blank("rerun", 4);
    x.status_message = STR("of before");
    x.percent = 20;
    put(op, x);
    assert_int_equal(run_progress(op, &err), 0);
    x = row(op);
    assert_true(str_is(x.status, "in-progress") && x.fence == 5 && x.started_at == NOW);
    assert_true(!x.status_message.at && x.percent == 20 && !x.output.at);
    progress.percent = 40;
    progress.message = STR("on it");
    progress.output = STR("[1]");
    progress.at = NOW + 5;
    assert_int_equal(run_progress(op, &err), 0);
    x = row(op);
    assert_true(x.percent == 40 && str_is(x.status_message, "on it") && str_is(x.output, "[1]"));
    assert_int_equal(x.started_at, NOW);
    put(op, blank("in-progress", 6));
    assert_int_equal(run_progress(op, &err), 0);
    assert_int_equal(row(op).fence, 6);  // an old fence: nothing is changed
    put(op, blank("failed", 5));
    assert_int_equal(run_progress(op, &err), 0);
    assert_status(op, "failed");
    assert_int_equal(troubles(op, blank("in-progress", 5), run_progress), 3);
}

// ── ending ───────────────────────────────────────────────────────────────────────────────────

static struct attempt_end ending;

static int run_end(struct op *op, struct err *err)
{
    return execution_attempt_ended(op, &ending, err);
}

static void ends(struct op *op, struct execution x, bool counted, const char *status,
                 int64_t attempts)
{
    struct err err = ERR_INIT;
    put(op, x);
    ending = (struct attempt_end){.ref = {.id = X, .fence = 5},
                                  .replica_id = STR("r1"),
                                  .reason = STR("it died\nlast words"),
                                  .counted = counted};
    if (run_end(op, &err))
        fail_msg("%s", err.message);
    assert_status(op, status);
    assert_int_equal(row(op).attempts, attempts);
}

static void on_reset_decides_after_a_death(struct op *op)
{
    struct execution x = blank("in-progress", 5);
    put_service(op, "rerun");
    ends(op, x, false, "rerun", 0);
    assert_int_equal(events(op, EVENT_EXECUTION_READY), 1);
    ends(op, x, true, "rerun", 1);
    x.attempts = 1;  // the default is two attempts
    ends(op, x, true, "failed", 2);
    assert_true(str_is(row(op).status_message, "it died (no attempts are left)\nlast words"));
    x.max_attempts = 5;
    ends(op, x, true, "rerun", 2);
    x.to_terminate = true;
    events(op, EVENT_EXECUTION_CUT);
    ends(op, x, true, "terminated", 2);
    assert_int_equal(events(op, EVENT_EXECUTION_ENDED), 1);
    ends(op, x, false, "terminated", 1);
    put_service(op, "failed");
    ends(op, blank("in-progress", 5), true, "failed", 1);
    assert_true(str_is(row(op).status_message, "it died\nlast words"));
}

static void an_old_end_changes_nothing(struct op *op)
{
    put_service(op, "rerun");
    ends(op, blank("in-progress", 6), true, "in-progress", INT_NONE);
    ends(op, blank("success", 5), true, "success", INT_NONE);
}

static void without_its_service_it_fails(struct op *op)
{
    ends(op, blank("in-progress", 5), true, "failed", 1);  // there is no such service
}

static void trouble_at_an_end_is_passed_on(struct op *op)
{
    put_service(op, "rerun");
    ends(op, blank("in-progress", 5), true, "rerun", 1);
    assert_int_equal(troubles(op, blank("in-progress", 5), run_end), 4);
    put_service(op, "failed");
    assert_int_equal(troubles(op, blank("in-progress", 5), run_end), 3);
}

// Between the read and the statement nobody can write: but the statement decides by itself.
static int requeue_refused(struct tx *tx, struct str id, int64_t fence, int64_t attempts,
                           struct str message, bool *applied, struct err *err)
{
    (void)tx, (void)id, (void)fence, (void)attempts, (void)message, (void)err;
    *applied = false;
    return 0;
}

static void a_refused_requeue_tells_nobody(struct op *op)
{
    put_service(op, "rerun");
    failing.driver.execution_requeue = requeue_refused;
    ends(op, blank("in-progress", 5), true, "in-progress", INT_NONE);
    assert_int_equal(events(op, EVENT_EXECUTION_READY), 0);
    failing.driver.execution_requeue = failing_execution_requeue;
}

static int run_end_queued(struct op *op, struct err *err)
{
    return execution_end_queued(op, X, 7, err);
}

static void the_queued_end_when_they_were_to(struct op *op)
{
    struct err err = ERR_INIT;
    put(op, blank("created", INT_NONE));
    assert_int_equal(run_end_queued(op, &err), 0);
    assert_status(op, "created");  // nobody asked for it
    struct execution x = blank("created", INT_NONE);
    x.to_terminate = true;
    put(op, x);
    assert_int_equal(run_end_queued(op, &err), 0);
    assert_status(op, "terminated");
    assert_int_equal(run_end_queued(op, &err), 0);  // final by now
    assert_int_equal(troubles(op, x, run_end_queued), 2);
}

#define TEST(name)                                                                                 \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        with_world(name);                                                                          \
    }
TEST(delivery_says_what_there_is)
TEST(only_open_ones_are_fetched)
TEST(an_agent_keeps_what_nobody_else_got)
TEST(a_result_is_recorded_once)
TEST(a_watched_end_brings_its_row)
TEST(a_big_output_becomes_a_failure)
TEST(progress_shows_what_it_says)
TEST(on_reset_decides_after_a_death)
TEST(an_old_end_changes_nothing)
TEST(without_its_service_it_fails)
TEST(trouble_at_an_end_is_passed_on)
TEST(a_refused_requeue_tells_nobody)
TEST(the_queued_end_when_they_were_to)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delivery_says_what_there_is),
        cmocka_unit_test(test_only_open_ones_are_fetched),
        cmocka_unit_test(test_an_agent_keeps_what_nobody_else_got),
        cmocka_unit_test(test_a_result_is_recorded_once),
        cmocka_unit_test(test_a_watched_end_brings_its_row),
        cmocka_unit_test(test_a_big_output_becomes_a_failure),
        cmocka_unit_test(test_progress_shows_what_it_says),
        cmocka_unit_test(test_on_reset_decides_after_a_death),
        cmocka_unit_test(test_an_old_end_changes_nothing),
        cmocka_unit_test(test_without_its_service_it_fails),
        cmocka_unit_test(test_trouble_at_an_end_is_passed_on),
        cmocka_unit_test(test_a_refused_requeue_tells_nobody),
        cmocka_unit_test(test_the_queued_end_when_they_were_to),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
