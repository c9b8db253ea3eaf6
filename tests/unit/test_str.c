// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define GLOB(pattern, text) str_glob(str_of(pattern), str_of(text))

static void comparing_is_bytewise(void **state)
{
    (void)state;
    assert_true(str_cmp(STR("a"), STR("b")) < 0);
    assert_true(str_cmp(STR("a"), STR("aa")) < 0);
    assert_true(str_cmp(STR("\xff"), STR("a")) > 0);
    assert_int_equal(str_cmp(STR(""), STR_NONE), 0);
    assert_true(str_starts(STR("abc"), STR("ab")));
    assert_true(str_starts(STR("abc"), STR("")));
    assert_false(str_starts(STR("a"), STR("ab")));
    assert_true(str_ends(STR("abc"), STR("bc")));
    assert_false(str_ends(STR("c"), STR("bc")));
    assert_true(str_case_eq(STR("Content-TYPE"), STR("content-type")));
    assert_false(str_case_eq(STR("@"), STR("`")));
    assert_true(str_eq(STR_NONE, STR("")));
}

static void cutting_and_trimming(void **state)
{
    (void)state;
    assert_true(str_is(str_trim(STR(" \t a b\r\n")), "a b"));
    assert_int_equal(str_trim(STR("  ")).len, 0);
    struct str rest = STR("a,,b");
    assert_true(str_is(str_cut(&rest, ','), "a"));
    assert_true(str_is(str_cut(&rest, ','), ""));
    assert_non_null(rest.at);
    assert_true(str_is(str_cut(&rest, ','), "b"));
    assert_null(rest.at);
    rest = STR("a,");
    str_cut(&rest, ',');
    assert_non_null(rest.at);
    assert_int_equal(rest.len, 0);
    size_t at = 9;
    assert_true(str_find(STR("hello"), STR("l"), &at));
    assert_int_equal(at, 2);
    assert_true(str_find(STR(""), STR(""), &at));
    assert_int_equal(at, 0);
    assert_false(str_find(STR("he"), STR("hello"), NULL));
}

static void integers_are_whole_strings_in_range(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "-",
                                        "+",
                                        "1 ",
                                        " 1",
                                        "1.0",
                                        "0x1",
                                        "1e3",
                                        "--1",
                                        "9223372036854775808",
                                        "-9223372036854775809",
                                        "99999999999999999999999"};
    int64_t n = 77;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(str_int(str_of(wrong[i]), &n));
    assert_int_equal(n, 77);
    assert_true(str_int(STR("9223372036854775807"), &n));
    assert_true(n == INT64_MAX);
    assert_true(str_int(STR("-9223372036854775808"), &n));
    assert_true(n == INT64_MIN);
    assert_true(str_int(STR("+0042"), &n));
    assert_int_equal(n, 42);
}

static void stars_match_within_and_across_segments(void **state)
{
    (void)state;
    assert_true(GLOB("*.py", "main.py"));
    assert_false(GLOB("*.py", "a/main.py"));
    assert_true(GLOB("**.py", "a/b/main.py"));
    assert_true(GLOB("**/test_*", "a/b/test_x"));
    assert_false(GLOB("**/test_*", "a/test_x/y"));
    assert_true(GLOB("a/**", "a/b/c"));
    assert_true(GLOB("**", ""));
    assert_true(GLOB("***", "a/b"));
    assert_true(GLOB("", ""));
    assert_false(GLOB("", "a"));
    assert_true(GLOB("a*b*c", "a-b-b-c"));
    assert_false(GLOB("a?[x]", "abx"));
    assert_true(GLOB("a?[x]", "a?[x]"));
}

static bool naive_glob(const char *p, const char *t)
{
    if (p[0] == '*' && p[1] == '*') {
        while (*p == '*')
            p++;
        for (;; t++) {
            if (naive_glob(p, t))
                return true;
            if (!*t)
                return false;
        }
    }
    if (*p == '*') {
        for (;; t++) {
            if (naive_glob(p + 1, t))
                return true;
            if (!*t || *t == '/')
                return false;
        }
    }
    return *p == *t && (*p == '\0' || naive_glob(p + 1, t + 1));
}

static void random_word(char *out, const char *letters, size_t max)
{
    size_t len = (size_t)random() % max, count = strlen(letters);
    for (size_t i = 0; i < len; i++)
        out[i] = letters[(size_t)random() % count];
    out[len] = '\0';
}

static void glob_agrees_with_plain_recursion(void **state)
{
    (void)state;
    int matched = 0;
    srandom(20261123);
    for (int i = 0; i < 300000; i++) {
        char pattern[9], text[13];
        random_word(pattern, "ab/**", sizeof(pattern));
        random_word(text, "ab/", sizeof(text));
        bool expected = naive_glob(pattern, text);
        if (GLOB(pattern, text) != expected)
            fail_msg("'%s' and '%s' should give %d", pattern, text, expected);
        matched += expected;
    }
    assert_true(matched > 10000);
}

static void a_hostile_glob_ends_soon(void **state)
{
    (void)state;
    static char text[3000];
    memset(text, 'a', sizeof(text));
    struct str s = {text, sizeof(text)};
    assert_false(str_glob(STR("*a*a*a*a*a*a*a*a*a*a*b"), s));
    assert_false(str_glob(STR("**a**a**a**a**a**a**a**b"), s));
}

static void utf8_is_checked_strictly(void **state)
{
    (void)state;
    static const char *const good[] = {"",
                                       "a",
                                       "é",
                                       "€",
                                       "😀",
                                       "\xED\x9F\xBF",
                                       "\xEE\x80\x80",
                                       "\xF4\x8F\xBF\xBF",
                                       "\xC2\x80",
                                       "\xE0\xA0\x80"};
    static const char *const wrong[] = {
        "\x80",         "\xC0\x80",         "\xC1\xBF",         "\xE0\x9F\xBF",
        "\xED\xA0\x80", "\xF0\x8F\xBF\xBF", "\xF4\x90\x80\x80", "\xF5\x80\x80\x80",
        "\xC3",         "\xE2\x82",         "\xF0\x9F\x98",     "\xFF",
        "a\xC3z",       "\xE2\x28\xA1"};
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        assert_true(str_utf8_valid(str_of(good[i])));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(str_utf8_valid(str_of(wrong[i])));
    assert_true(str_utf8_valid(STR_NONE));
}

static void cleaning_gives_valid_text_without_nul(void **state)
{
    (void)state;
    char out[300];
    size_t len = str_utf8_clean(STR("a\0b\xFFé"), out);
    assert_true(str_eq((struct str){out, len}, STR("a␀b\xEF\xBF\xBDé")));
    srandom(20261123);
    for (int i = 0; i < 20000; i++) {
        char in[100];
        size_t size = (size_t)random() % sizeof(in);
        for (size_t j = 0; j < size; j++)
            in[j] = (char)random();
        struct str text = {in, size};
        len = str_utf8_clean(text, out);
        assert_true(len <= 3 * size);
        assert_true(str_utf8_valid((struct str){out, len}));
        assert_null(memchr(out, '\0', len));
        if (str_utf8_valid(text) && !memchr(in, '\0', size))
            assert_true(str_eq(text, (struct str){out, len}));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(comparing_is_bytewise),
        cmocka_unit_test(cutting_and_trimming),
        cmocka_unit_test(integers_are_whole_strings_in_range),
        cmocka_unit_test(stars_match_within_and_across_segments),
        cmocka_unit_test(glob_agrees_with_plain_recursion),
        cmocka_unit_test(a_hostile_glob_ends_soon),
        cmocka_unit_test(utf8_is_checked_strictly),
        cmocka_unit_test(cleaning_gives_valid_text_without_nul),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
