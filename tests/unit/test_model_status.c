// SPDX-License-Identifier: Apache-2.0
#include "model_support.h"

#include "model/status.h"

static const char *const words[] = {
    [STATUS_CREATED] = "created",
    [STATUS_IN_PROGRESS] = "in-progress",
    [STATUS_RERUN] = "rerun",
    [STATUS_SUCCESS] = "success",
    [STATUS_FAILED] = "failed",
    [STATUS_TERMINATED] = "terminated",
    [STATUS_ABORTED] = "aborted",
    [STATUS_CANCELED] = "canceled",
    [STATUS_SYSTEM_FAILURE] = "system-failure",
};

static void words_read_back(void **state)
{
    (void)state;
    for (int i = STATUS_CREATED; i <= STATUS_SYSTEM_FAILURE; i++) {
        assert_string_equal(status_word((enum status)i), words[i]);
        assert_int_equal(status_parse(str_of(words[i])), i);
    }
    assert_int_equal(status_parse(STR("inProgress")), STATUS_IN_PROGRESS);
    assert_int_equal(status_parse(STR("completed")), STATUS_SUCCESS);
    assert_int_equal(status_parse(STR("unknown")), STATUS_NONE);
    assert_int_equal(status_parse(STR("")), STATUS_NONE);
    assert_int_equal(status_parse(STR("Created")), STATUS_NONE);
    assert_int_equal(status_parse(STR_NONE), STATUS_NONE);
}

static void ends_are_final(void **state)
{
    (void)state;
    for (int i = STATUS_NONE; i <= STATUS_SYSTEM_FAILURE; i++)
        assert_int_equal(status_final((enum status)i), i >= STATUS_SUCCESS);
    assert_false(status_final((enum status)99));
}

// One letter per pair: rows are from, columns to, in the order of enum status.
static void every_pair_is_as_said(void **state)
{
    (void)state;
    static const char *const allowed[] = {
        //                          N C I R S F T A X Y
        [STATUS_NONE] = "..........",        [STATUS_CREATED] = "..yyyyyyyy",
        [STATUS_IN_PROGRESS] = "..yyyyyy.y", [STATUS_RERUN] = "..yyyyyyyy",
        [STATUS_SUCCESS] = "...y......",     [STATUS_FAILED] = "...y......",
        [STATUS_TERMINATED] = "...y......",  [STATUS_ABORTED] = "...y......",
        [STATUS_CANCELED] = "...y......",    [STATUS_SYSTEM_FAILURE] = "...y......",
    };
    for (int from = STATUS_NONE; from <= STATUS_SYSTEM_FAILURE; from++) {
        for (int to = STATUS_NONE; to <= STATUS_SYSTEM_FAILURE; to++) {
            struct err err = ERR_INIT;
            bool expected = allowed[from][to] == 'y';
            assert_int_equal(status_may_follow((enum status)from, (enum status)to), expected);
            assert_int_equal(status_check((enum status)from, (enum status)to, &err),
                             expected ? 0 : -1);
            if (!expected)
                assert_int_equal(err.kind, ERR_CONFLICT);
        }
    }
    assert_false(status_may_follow(STATUS_CREATED, (enum status)40));
    assert_false(status_may_follow((enum status)40, STATUS_CREATED));
}

static void a_refusal_names_both(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_int_equal(status_check(STATUS_SUCCESS, STATUS_IN_PROGRESS, &err), -1);
    assert_string_equal(err.message,
                        "an execution whose status is success cannot become in-progress");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(words_read_back),
        cmocka_unit_test(ends_are_final),
        cmocka_unit_test(every_pair_is_as_said),
        cmocka_unit_test(a_refusal_names_both),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
