// SPDX-License-Identifier: Apache-2.0
#include "store/log_day.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdio.h>
#include <time.h>

static void names_agree_with_gmtime(void **state)
{
    (void)state;
    for (int64_t day = 0; day < 200000; day += 7) {
        char name[LOG_NAME_SIZE], wanted[LOG_NAME_SIZE];
        time_t seconds = day * 86400;
        struct tm tm;
        gmtime_r(&seconds, &tm);
        strftime(wanted, sizeof(wanted), "%Y-%m-%d", &tm);
        log_key_name(log_day_key(day), name);
        assert_string_equal(name, wanted);
        int64_t key;
        assert_true(log_key_parse(str_of(name), &key));
        assert_int_equal(key, log_day_key(day));
    }
}

static void parts_have_numbers_from_2_on(void **state)
{
    (void)state;
    char name[LOG_NAME_SIZE];
    int64_t key;
    log_key_name(log_day_key(20783) + 1, name);
    assert_string_equal(name, "2026-11-26.2");
    for (int64_t part = 0; part < 256; part++) {
        log_key_name(log_day_key(20783) + part, name);
        assert_true(log_key_parse(str_of(name), &key));
        assert_int_equal(key, log_day_key(20783) + part);
        assert_int_equal(log_key_day(key), 20783);
    }
}

static void other_names_are_refused(void **state)
{
    (void)state;
    static const char *const names[] = {
        "",           "2026-11-2",     "2026-11-31",   "2026-02-29",    "2026-13-01",
        "2026-00-10", "2026-11-26.",   "2026-11-26.1", "2026-11-26.0",  "2026-11-26.257",
        "1969-12-31", "2026-11-26.2x", "2026-11-26 ",  "2026-11-26.02", "26-11-2026",
    };
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        int64_t key;
        if (log_key_parse(str_of(names[i]), &key))
            fail_msg("%s was taken", names[i]);
    }
    int64_t key;
    assert_true(log_key_parse(STR("2028-02-29"), &key));
}

static void seqs_grow_with_days_and_parts(void **state)
{
    (void)state;
    int64_t last = -1;
    for (int64_t key = log_day_key(20783); key < log_day_key(20785); key++) {
        assert_true(log_key_first(key) > last);
        last = log_key_last(key);
        assert_true(last > log_key_first(key));
        assert_int_equal(log_key_of(log_key_first(key)), key);
        assert_int_equal(log_key_of(last), key);
    }
}

static void a_day_begins_at_midnight_utc(void **state)
{
    (void)state;
    assert_int_equal(log_day_of(-5), 0);
    assert_int_equal(log_day_of(0), 0);
    assert_int_equal(log_day_of(86399999), 0);
    assert_int_equal(log_day_of(86400000), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_agree_with_gmtime),
        cmocka_unit_test(parts_have_numbers_from_2_on),
        cmocka_unit_test(other_names_are_refused),
        cmocka_unit_test(seqs_grow_with_days_and_parts),
        cmocka_unit_test(a_day_begins_at_midnight_utc),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
