// SPDX-License-Identifier: Apache-2.0
#include "base/err.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "base/str.h"

static void setting_replaces_what_was_there(void **state)
{
    (void)state;
    struct err err = {.kind = ERR_BUSY, .retry_after = 5, .field = "old"};
    assert_int_equal(err_set(&err, ERR_NOT_FOUND, "no %s '%d'", "item", 7), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    assert_string_equal(err.message, "no item '7'");
    assert_string_equal(err.field, "");
    assert_int_equal(err.retry_after, 0);
}

static void a_field_has_a_path(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    assert_int_equal(err_field(&err, "concurrency", "must be %s", "positive"), -1);
    assert_int_equal(err.kind, ERR_BAD_INPUT);
    err_under(&err, "runtime");
    assert_string_equal(err.field, "runtime.concurrency");
    err_field(&err, "[3]", "is wrong");
    err_under(&err, "modules");
    assert_string_equal(err.field, "modules[3]");
    err_under(&err, "");
    assert_string_equal(err.field, "modules[3]");
    err_field(&err, "", "is wrong");
    err_under(&err, "whole");
    assert_string_equal(err.field, "whole");
}

static void wrapping_adds_context_and_keeps_the_rest(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    err_errno(&err, ERR_INTERNAL, ENOENT, "cannot open %s", "a.db");
    assert_string_equal(err.message, "cannot open a.db: No such file or directory");
    err.retry_after = 3;
    assert_int_equal(err_wrap(&err, "store %d", 1), -1);
    assert_string_equal(err.message, "store 1: cannot open a.db: No such file or directory");
    assert_int_equal(err.kind, ERR_INTERNAL);
    assert_int_equal(err.retry_after, 3);
    err_set(&err, ERR_BUSY, "again: %s", err.message);
    assert_string_equal(err.message, "again: store 1: cannot open a.db: No such file or directory");
    err_field(&err, err.message, "%s", err.message);
    assert_string_equal(err.field, err.message);
}

static void nobody_listening_is_fine(void **state)
{
    (void)state;
    assert_int_equal(err_set(NULL, ERR_BUSY, "x"), -1);
    assert_int_equal(err_field(NULL, "a", "x"), -1);
    assert_int_equal(err_errno(NULL, ERR_BUSY, EIO, "x"), -1);
    assert_int_equal(err_wrap(NULL, "x"), -1);
    assert_int_equal(err_under(NULL, "x"), -1);
}

// Whatever the characters' widths and the offset, the cut message stays valid UTF-8 and full.
static void long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    static const char *const letters[] = {"x", "é", "€", "😀"};
    for (size_t letter = 0; letter < 4; letter++)
        for (int offset = 0; offset < 5; offset++) {
            char text[4000] = "";
            size_t len = 0, width = strlen(letters[letter]);
            for (; len + width < sizeof(text); len += width)
                memcpy(text + len, letters[letter], width + 1);
            struct err err = ERR_INIT;
            err_set(&err, ERR_BUSY, "%.*s%s", offset, "abcde", text);
            struct str message = str_of(err.message);
            assert_true(message.len < sizeof(err.message));
            assert_true(message.len >= sizeof(err.message) - 4);
            assert_true(str_utf8_valid(message));
        }
}

static void every_kind_has_a_status_and_a_name(void **state)
{
    (void)state;
    assert_int_equal(err_status(ERR_BAD_INPUT), 400);
    assert_int_equal(err_status(ERR_TOO_LARGE), 413);
    assert_int_equal(err_status(ERR_UNAVAILABLE), 503);
    assert_string_equal(err_name(ERR_BAD_INPUT), "bad-input");
    for (int i = ERR_BAD_INPUT; i <= ERR_UNAVAILABLE; i++) {
        assert_in_range(err_status((enum err_kind)i), 400, 599);
        assert_true(strlen(err_name((enum err_kind)i)) > 2);
        for (int j = ERR_BAD_INPUT; j < i; j++)
            assert_string_not_equal(err_name((enum err_kind)i), err_name((enum err_kind)j));
    }
    assert_int_equal(err_status((enum err_kind)999), 500);
    assert_string_equal(err_name((enum err_kind)999), "internal");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(setting_replaces_what_was_there),
        cmocka_unit_test(a_field_has_a_path),
        cmocka_unit_test(wrapping_adds_context_and_keeps_the_rest),
        cmocka_unit_test(nobody_listening_is_fine),
        cmocka_unit_test(long_texts_are_cut_between_characters),
        cmocka_unit_test(every_kind_has_a_status_and_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
