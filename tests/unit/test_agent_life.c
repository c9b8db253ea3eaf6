// SPDX-License-Identifier: Apache-2.0
// Whole lives of an agent against a server that can be cut off, forget, be late or say no.
#include "agent_fake.h"

#define DONE "[Done] Executing function."

static void check_all(struct fake *fake, const char *status)
{
    for (int i = 0; i < fake->count; i++)
        if (strcmp(fake->executions[i].status, status) != 0)
            fail_msg("%s is \"%s\" (%s), not \"%s\"", fake->executions[i].id,
                     fake->executions[i].status, fake->executions[i].message, status);
}

static bool logged(const struct fake *fake, const char *text)
{
    size_t at;
    return str_find(buf_str(&fake->logs), str_of(text), &at);
}

static bool said(const struct fake *fake, const struct fake_execution *e, const char *message)
{
    char line[200];
    snprintf(line, sizeof(line), "\"execution\":\"%s\",\"function\":\"%s\",\"message\":\"%s\"",
             e->id, e->function, message);
    return logged(fake, line);
}

static void runs_everything_once_and_drains(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    for (int i = 0; i < 300; i++)
        fake_add(&fake, "echo");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    check_all(&fake, "success");
    for (int i = 0; i < fake.count; i++) {
        assert_int_equal(fake.executions[i].reports, 1);
        // Byte for byte what went in.
        assert_int_equal(fake.executions[i].output_len,
                         strlen("{\"n\": 0.1, \"big\": ") + strlen("1180591620717411303424}"));
    }
    assert_int_equal(fake.hellos, 1);
    assert_true(logged(&fake, "unpacking the code"));
    fake_deinit(&fake);
}

static void reports_what_functions_do(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.concurrency = 1;
    struct fake_execution *bad = fake_add(&fake, "fail"), *big = fake_add(&fake, "big");
    struct fake_execution *huge = fake_add(&fake, "huge"), *raw = fake_add(&fake, "raw");
    struct fake_execution *env = fake_add(&fake, "env");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    assert_string_equal(bad->status, "failed");
    assert_string_equal(bad->message, "boom");
    assert_string_equal(big->status, "success");
    assert_int_equal(big->output_len, 300002);
    assert_string_equal(huge->status, "failed");
    assert_non_null(strstr(huge->message, "at most 1000000"));
    assert_string_equal(raw->status, "success");
    assert_string_equal(env->status, "success");
    assert_true(said(&fake, raw, "a raw line"));
    fake_deinit(&fake);
}

static void output_without_a_line_end_stays_with_its_execution(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.concurrency = 1;
    fake.module = "partial";
    struct fake_execution *first = fake_add(&fake, "partial"), *next = fake_add(&fake, "raw");
    struct fake_execution *last = fake_add(&fake, "partial");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    check_all(&fake, "success");
    assert_true(
        logged(&fake, "\"execution\":null,\"function\":null,\"message\":\"said by the init\""));
    assert_true(said(&fake, first, "no line end"));
    assert_true(said(&fake, first, "one") && said(&fake, first, "two"));
    assert_true(said(&fake, next, "a raw line"));
    assert_true(said(&fake, last, "no line end"));
    struct str after = buf_str(&fake.logs);
    size_t at;
    assert_true(str_find(after, STR(DONE), &at));
    after = (struct str){after.at + at, after.len - at};
    assert_false(str_find(after, str_of(first->id), &at));
    fake_deinit(&fake);
}

static void a_progress_over_the_limit_is_told_in_the_log(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    struct fake_execution *painter = fake_add(&fake, "painter");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    check_all(&fake, "success");
    assert_int_equal(fake.largest_progress, 900002);
    assert_true(
        said(&fake, painter,
             "a progress was left out: its output is over --max-output, or its message too long"));
    fake_deinit(&fake);
}

static void lose_first_answers(struct fake *fake, struct json body)
{
    if (json_count(fake_member(body, "results")) > 0 && fake->marks[0]++ < 3)
        fake->fail_answers = 1;
}

static void repeats_results_until_they_are_recorded(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.on_exchange = lose_first_answers;
    for (int i = 0; i < 40; i++)
        fake_add(&fake, "echo");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    check_all(&fake, "success");
    int repeated = 0;
    for (int i = 0; i < fake.count; i++)
        repeated += fake.executions[i].reports > 1;
    assert_true(repeated > 0);
    fake_deinit(&fake);
}

static void restart_while_running(struct fake *fake, struct json body)
{
    (void)body;
    if (fake->executions[0].state == FAKE_GIVEN && fake->marks[0]++ == 0)
        fake->restart_ms = 300;
}

static void survives_a_restarted_server(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.on_exchange = restart_while_running;
    for (int i = 0; i < 12; i++)
        fake_add(&fake, i < 4 ? "slow" : "echo");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    check_all(&fake, "success");
    for (int i = 0; i < 4; i++)
        assert_int_equal(fake.executions[i].fence, 1);  // not given a second time
    assert_int_equal(fake.hellos, 2);
    assert_true(fake.unknown_sessions > 0);
    assert_non_null(strstr(fake.hello_held, "execution-0000"));
    fake_deinit(&fake);
}

static void be_late(struct fake *fake, struct json body)
{
    (void)body;
    if (fake->marks[0] == 0 && strcmp(fake->last_state, "ready") == 0) {
        fake->marks[0] = 1;
        fake->delay_answer = 1100;  // over the lease
    } else if (fake->marks[0] == 1 && fake->delay_answer == 0 && fake->marks[1]++ == 6) {
        // By now the lease has run out: it is given again.
        fake->executions[0].fence++;
        fake->executions[0].state = FAKE_QUEUED;
    }
}

static void does_not_start_what_comes_too_late(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.on_exchange = be_late;
    fake_add(&fake, "echo");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    check_all(&fake, "success");
    assert_int_equal(fake.executions[0].fence, 2);
    assert_int_equal(fake.executions[0].reports, 1);  // the first delivery never ran
    fake_deinit(&fake);
}

static void give_again(struct fake *fake, struct json body)
{
    (void)body;
    if (fake->executions[0].state == FAKE_GIVEN && fake->marks[0]++ == 1)
        fake->redeliver = true;
}

static void takes_the_newer_fence_for_what_runs(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.on_exchange = give_again;
    fake_add(&fake, "slow");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    assert_int_equal(fake.executions[0].fence, 2);
    assert_int_equal(fake.executions[0].reports, 1);
    check_all(&fake, "success");
    fake_deinit(&fake);
}

static void reports_lost_ones_and_goes_on(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.concurrency = 1;
    fake.no_second_delivery = true;
    struct fake_execution *dead = fake_add(&fake, "die"), *next = fake_add(&fake, "echo");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    assert_string_equal(dead->status, "lost");
    assert_string_equal(dead->message, "the runner ended: signal 11 (Segmentation fault)");
    assert_string_equal(next->status, "success");
    assert_true(logged(&fake, "the runner ended: signal 11"));
    fake_deinit(&fake);
}

static void a_result_that_is_not_json_fails_alone(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.concurrency = 2;
    fake.no_second_delivery = true;
    struct fake_execution *bad = fake_add(&fake, "garbled"), *beside = fake_add(&fake, "slow");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    assert_string_equal(bad->status, "failed");
    assert_non_null(strstr(bad->message, "a result that is not JSON: "));
    assert_non_null(strstr(bad->message, "half of a surrogate pair"));
    assert_string_equal(beside->status, "success");
    fake_deinit(&fake);
}

static void replaces_the_runner_after_a_timeout(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.concurrency = 2;
    struct fake_execution *stuck = fake_add(&fake, "hang"), *other = fake_add(&fake, "slow");
    stuck->timeout_s = 1;
    struct fake_execution *later[4];
    for (int i = 0; i < 4; i++)
        later[i] = fake_add(&fake, "slow");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    assert_string_equal(stuck->status, "failed");
    assert_non_null(strstr(stuck->message, "timeout: "));
    assert_string_equal(other->status, "success");
    for (int i = 0; i < 4; i++)
        assert_string_equal(later[i]->status, "success");
    fake_deinit(&fake);
}

static void an_end_from_outside_is_the_last_line(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.concurrency = 2;
    struct fake_execution *stuck = fake_add(&fake, "nag"), *other = fake_add(&fake, "nap");
    stuck->timeout_s = 1;
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    assert_string_equal(stuck->status, "failed");
    assert_string_equal(other->status, "success");
    assert_true(said(&fake, stuck, "still here"));
    assert_true(
        said(&fake, stuck, "timeout: the execution ran longer than 1 s (executionTimeout)"));
    assert_true(said(&fake, stuck, DONE));
    struct str after = buf_str(&fake.logs);
    size_t at;
    assert_true(str_find(after, STR("timeout: "), &at));
    after = (struct str){after.at + at, after.len - at};
    assert_true(str_find(after, STR(DONE), &at));
    after = (struct str){after.at + at, after.len - at};
    assert_false(str_find(after, str_of(stuck->id), &at));
    assert_true(str_find(after, STR("\"function\":null,\"message\":\"still here\""), &at));
    fake_deinit(&fake);
}

static void end_two(struct fake *fake, struct json body)
{
    (void)body;
    if (fake->executions[1].state == FAKE_GIVEN && fake->marks[0]++ == 1)
        fake->terminate = fake->executions[0].id;
    if (fake->executions[0].state == FAKE_DONE && fake->marks[1]++ == 0)
        fake->terminate = fake->executions[1].id;
}

static void terminates_the_willing_and_the_unwilling(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.on_exchange = end_two;
    struct fake_execution *willing = fake_add(&fake, "patient"), *not = fake_add(&fake, "hang");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    assert_string_equal(willing->status, "terminated");
    assert_string_equal(not ->status, "terminated");
    assert_true(said(&fake, not, "terminated, but it did not end within 1 s (drainTime)"));
    assert_true(said(&fake, not, DONE));
    fake_deinit(&fake);
}

static void drop_first(struct fake *fake, struct json body)
{
    (void)body;
    if (fake->executions[0].state == FAKE_GIVEN && fake->marks[0]++ == 1) {
        fake->drop = fake->executions[0].id;
        fake->executions[0].state = FAKE_DONE;
        fake->executions[0].fence++;
    }
}

static void reports_nothing_of_what_was_dropped(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.on_exchange = drop_first;
    fake_add(&fake, "patient");
    fake_add(&fake, "slow");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    assert_int_equal(fake.executions[0].reports, 0);
    assert_string_equal(fake.executions[1].status, "success");
    fake_deinit(&fake);
}

static void command_while_running(struct fake *fake, struct json body)
{
    (void)body;
    if (fake->executions[0].state == FAKE_GIVEN && fake->marks[0]++ == 1) {
        fake->command = fake->final_command;
        fake->final_command = NULL;
    }
}

static void hands_back_what_runs_when_stopped(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.on_exchange = command_while_running;
    fake.final_command = "stop";
    fake.no_second_delivery = true;
    for (int i = 0; i < 4; i++)
        fake_add(&fake, "hang");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    check_all(&fake, "returned");
    fake_deinit(&fake);
}

static void finishes_what_runs_when_drained(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.on_exchange = command_while_running;
    for (int i = 0; i < 8; i++)
        fake_add(&fake, "slow");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    for (int i = 0; i < 8; i++) {
        struct fake_execution *e = &fake.executions[i];
        assert_string_equal(e->status, i < 4 ? "success" : "");
    }
    assert_string_equal(fake.last_state, "draining");
    fake_deinit(&fake);
}

static void reload_once(struct fake *fake, struct json body)
{
    (void)body;
    if (fake->executions[0].state == FAKE_GIVEN && fake->marks[0]++ == 1)
        fake->command = "reload";
}

static void fetches_the_assignment_again_when_told(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.on_exchange = reload_once;
    for (int i = 0; i < 6; i++)
        fake_add(&fake, "slow");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    check_all(&fake, "success");
    assert_int_equal(fake.hellos, 2);
    assert_int_equal(fake.executions[0].reports, 1);
    fake_deinit(&fake);
}

static void replaces_a_runner_that_asks_for_it(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake_add(&fake, "reset");
    for (int i = 0; i < 5; i++)
        fake_add(&fake, "slow");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    check_all(&fake, "success");
    fake_deinit(&fake);
}

static void floods_wait_for_the_server(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake_add(&fake, "chatty");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    check_all(&fake, "success");
    assert_true(logged(&fake, "line 0 x") && logged(&fake, "line 2999 x"));
    fake_deinit(&fake);
}

static void small_server(struct fake *fake, struct json body)
{
    (void)body;
    fake->too_large = 200000;
}

static void a_result_too_large_does_not_stop_others(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    fake.on_exchange = small_server;
    for (int i = 0; i < 8; i++)
        fake_add(&fake, i == 2 ? "big" : "echo");
    assert_int_equal(fake_run(&fake), AGENT_EXIT_TOLD);
    for (int i = 0; i < 8; i++)
        assert_string_equal(fake.executions[i].status, i == 2 ? "failed" : "success");
    assert_non_null(strstr(fake.executions[2].message, "too large"));
    fake_deinit(&fake);
}

static void tells_why_a_service_cannot_start(void **state)
{
    (void)state;
    static const struct {
        const char *module, *requirements, *code;
        int exit_code;
        const char *type, *word;
    } cases[] = {
        {"failing", "[]", NULL, AGENT_EXIT_FAILED, "\"init\"", "no model"},
        {"dying", "[]", NULL, AGENT_EXIT_RUNNER, "\"init\"", "no such library"},
        {"good", "[\"./no-such-folder-here\"]", NULL, AGENT_EXIT_FAILED, "\"requirements\"",
         "no-such-folder-here"},
        {"good", "[]", "{\"type\":\"git\",\"url\":\"file:///etc\"}", AGENT_EXIT_FAILED,
         "\"codebase\"", "not allowed"},
        {"good", "[]",
         "{\"type\":\"item\",\"sha256\":"
         "\"0000000000000000000000000000000000000000000000000000000000000000\"}",
         AGENT_EXIT_FAILED, "\"codebase\"", "SHA-256"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct fake fake;
        fake_init(&fake);
        fake.module = cases[i].module;
        fake.requirements = cases[i].requirements;
        fake.code = cases[i].code;
        fake_add(&fake, "echo");
        assert_int_equal(fake_run(&fake), cases[i].exit_code);
        if (!strstr(fake.failure, cases[i].type) || !strstr(fake.failure, cases[i].word))
            fail_msg("the failure was told as: %s", fake.failure);
        fake_deinit(&fake);
    }
}

static void goes_when_it_is_not_wanted(void **state)
{
    (void)state;
    static const int statuses[] = {401, 403, 404, 409};
    for (size_t i = 0; i < 4; i++) {
        struct fake fake;
        fake_init(&fake);
        fake.refuse_status = statuses[i];
        assert_int_equal(fake_run(&fake), AGENT_EXIT_UNWANTED);
        fake_deinit(&fake);
    }
}

static int git(const struct fake *fake, const char *script)
{
    char line[700];
    snprintf(line, sizeof(line), "mkdir -p %s/repo && cd %s/repo && export HOME=%s && %s",
             fake->root, fake->root, fake->root, script);
    return system(line);
}

static void takes_code_from_git_once_per_commit(void **state)
{
    (void)state;
    struct fake fake;
    fake_init(&fake);
    assert_int_equal(git(&fake, "git init -q . && echo x > main.py && git add . && "
                                "git -c user.name=a -c user.email=a@b commit -qm x && "
                                "git -c user.name=a -c user.email=a@b tag -a v1 -m v1"),
                     0);
    char code[200];
    snprintf(code, sizeof(code),
             "{\"type\":\"git\",\"url\":\"file://%s/repo\",\"tag\":\"v1\",\"credentials\":"
             "{\"username\":\"u\",\"password\":\"p\"}}",
             fake.root);
    fake.code = code;
    fake.git_file = true;
    fake_add(&fake, "echo");
    int exit_code = fake_run(&fake);
    if (exit_code != AGENT_EXIT_TOLD)
        fail_msg("exit code %d: %s", exit_code, fake.failure);
    check_all(&fake, "success");
    assert_int_equal(git(&fake, "test -f ../cache/git/$(git rev-parse HEAD)/main.py && "
                                "test ! -e ../run/git-credentials"),
                     0);
    fake_deinit(&fake);
}

// A branch and an annotated tag whose names only end like the tag's are listed before it, and their
// commit is in the cache: nothing else would be fetched.
static void takes_the_tag_and_not_what_ends_like_it(void **state)
{
    (void)state;
    static const char *const tags[] = {"v1", "main", NULL};
    for (size_t i = 0; i < 3; i++) {
        struct fake fake;
        fake_init(&fake);
        assert_int_equal(git(&fake, "git init -q -b main . && echo old > main.py && git add . && "
                                    "export GIT_CONFIG_COUNT=2 GIT_CONFIG_KEY_0=user.name "
                                    "GIT_CONFIG_VALUE_0=a GIT_CONFIG_KEY_1=user.email "
                                    "GIT_CONFIG_VALUE_1=a@b && git commit -qm old && "
                                    "git branch a/v1 && git branch a/main && git branch a/HEAD && "
                                    "git tag -a a/v1 -m v1 && git tag -a a/main -m v1 && "
                                    "git branch v1 && "
                                    "mkdir -p ../cache/git/$(git rev-parse HEAD) && "
                                    "echo new > main.py && git commit -qam new && git tag v1"),
                         0);
        char code[200];
        snprintf(code, sizeof(code), "{\"type\":\"git\",\"url\":\"file://%s/repo\"%s%s%s}",
                 fake.root, tags[i] ? ",\"tag\":\"" : "", tags[i] ? tags[i] : "",
                 tags[i] ? "\"" : "");
        fake.code = code;
        fake.git_file = true;
        fake_add(&fake, "echo");
        int exit_code = fake_run(&fake);
        if (exit_code != AGENT_EXIT_TOLD)
            fail_msg("exit code %d: %s", exit_code, fake.failure);
        assert_int_equal(
            git(&fake, "grep -q new ../cache/git/$(git rev-parse refs/tags/v1)/main.py"), 0);
        fake_deinit(&fake);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_everything_once_and_drains),
        cmocka_unit_test(reports_what_functions_do),
        cmocka_unit_test(output_without_a_line_end_stays_with_its_execution),
        cmocka_unit_test(a_progress_over_the_limit_is_told_in_the_log),
        cmocka_unit_test(repeats_results_until_they_are_recorded),
        cmocka_unit_test(survives_a_restarted_server),
        cmocka_unit_test(does_not_start_what_comes_too_late),
        cmocka_unit_test(takes_the_newer_fence_for_what_runs),
        cmocka_unit_test(reports_lost_ones_and_goes_on),
        cmocka_unit_test(a_result_that_is_not_json_fails_alone),
        cmocka_unit_test(replaces_the_runner_after_a_timeout),
        cmocka_unit_test(an_end_from_outside_is_the_last_line),
        cmocka_unit_test(terminates_the_willing_and_the_unwilling),
        cmocka_unit_test(reports_nothing_of_what_was_dropped),
        cmocka_unit_test(hands_back_what_runs_when_stopped),
        cmocka_unit_test(finishes_what_runs_when_drained),
        cmocka_unit_test(fetches_the_assignment_again_when_told),
        cmocka_unit_test(replaces_a_runner_that_asks_for_it),
        cmocka_unit_test(floods_wait_for_the_server),
        cmocka_unit_test(a_result_too_large_does_not_stop_others),
        cmocka_unit_test(tells_why_a_service_cannot_start),
        cmocka_unit_test(goes_when_it_is_not_wanted),
        cmocka_unit_test(takes_code_from_git_once_per_commit),
        cmocka_unit_test(takes_the_tag_and_not_what_ends_like_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
