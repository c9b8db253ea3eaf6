// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <time.h>

static void times_have_one_text_form(void **state)
{
    (void)state;
    static const struct {
        int64_t ms;
        const char *text;
    } cases[] = {
        {0, "1970-01-01T00:00:00.000Z"},
        {-1, "1969-12-31T23:59:59.999Z"},
        {1795421730123, "2026-11-23T08:15:30.123Z"},
        {951782400000, "2000-02-29T00:00:00.000Z"},
        {INT64_MAX, "9999-12-31T23:59:59.999Z"},
        {INT64_MIN, "0001-01-01T00:00:00.000Z"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[TIME_TEXT_SIZE];
        time_format(cases[i].ms, text);
        assert_string_equal(text, cases[i].text);
    }
}

static void iso_8601_forms_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ms;
    } cases[] = {
        {"1970-01-01", 0},
        {"1970-01-01T00:00", 0},
        {"1970-01-01 00:00:01", 1000},
        {"1970-01-01t00:00:01z", 1000},
        {"1970-01-01T00:00:01.5Z", 1500},
        {"1970-01-01T00:00:01,25Z", 1250},
        {"1970-01-01T00:00:00.123999999", 123},
        {"1970-01-01T02:00:00+02:00", 0},
        {"1970-01-01T02:00:00.000001+0200", 0},
        {"1969-12-31T22:00:00-02", 0},
        {"2024-02-29T12:00:00Z", 1709208000000},
        {"0001-01-01", -62135596800000},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t ms = -7;
        if (!time_parse(str_of(cases[i].text), &ms) || ms != cases[i].ms)
            fail_msg("%s gave %lld", cases[i].text, (long long)ms);
    }
}

static void malformed_times_are_refused(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "2026",
                                        "2026-11",
                                        "2026-1-01",
                                        "2026-13-01",
                                        "2026-00-01",
                                        "2026-02-29",
                                        "1900-02-29",
                                        "2026-04-31",
                                        "2026-11-23T",
                                        "2026-11-23T08",
                                        "2026-11-23T24:00",
                                        "2026-11-23T08:60",
                                        "2026-11-23T08:15:60",
                                        "2026-11-23T08:15:30.",
                                        "2026-11-23T08:15:30.Z",
                                        "2026-11-23T08:15:30+",
                                        "2026-11-23T08:15:30+2",
                                        "2026-11-23T08:15:30+24:00",
                                        "2026-11-23T08:15:30ZZ",
                                        "2026-11-23Z",
                                        " 2026-11-23",
                                        "2026-11-23 ",
                                        "0000-01-01",
                                        "2026/11/23",
                                        "20261123",
                                        "2026-11-23X08:15"};
    int64_t ms = 77;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (time_parse(str_of(wrong[i]), &ms))
            fail_msg("'%s' was taken", wrong[i]);
    assert_false(time_parse(STR_NONE, &ms));
    assert_false(time_parse(STR("2026-11-23\0"), &ms));
    assert_int_equal(ms, 77);
}

// Against the C library's calendar, and back.
static void formatting_agrees_with_gmtime(void **state)
{
    (void)state;
    srandom(20261123);
    for (int i = 0; i < 20000; i++) {
        int64_t ms = ((int64_t)random() << 15 | random() % 32768) % 253402300800000 -
                     (i % 2 ? 62135596800000 : 0);
        char text[TIME_TEXT_SIZE], expected[64];
        time_t seconds = (time_t)(ms >= 0 ? ms / 1000 : -((999 - ms) / 1000));
        struct tm tm;
        gmtime_r(&seconds, &tm);
        snprintf(expected, sizeof(expected), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec,
                 (int)(ms - (int64_t)seconds * 1000));
        time_format(ms, text);
        assert_string_equal(text, expected);
        int64_t back;
        assert_true(time_parse(str_of(text), &back));
        assert_true(back == ms);
    }
}

static void clocks_run_and_fakes_stand_still(void **state)
{
    (void)state;
    const struct clock *clock = clock_system();
    assert_true(clock_wall(clock) > 1700000000000);
    int64_t before = clock_mono(clock);
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
    assert_true(clock_mono(clock) - before >= 4);
    struct clock_fake fake;
    clock_fake_init(&fake);
    assert_int_equal(clock_wall(&fake.clock), 0);
    fake.wall_ms = 5;
    fake.mono_ms = 6;
    assert_int_equal(clock_wall(&fake.clock), 5);
    assert_int_equal(clock_mono(&fake.clock), 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_have_one_text_form),
        cmocka_unit_test(iso_8601_forms_are_read),
        cmocka_unit_test(malformed_times_are_refused),
        cmocka_unit_test(formatting_agrees_with_gmtime),
        cmocka_unit_test(clocks_run_and_fakes_stand_still),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
