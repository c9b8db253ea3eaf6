// SPDX-License-Identifier: Apache-2.0
// What the tests of src/model share. Include after the standard headers that cmocka needs.
#ifndef DROVER_TESTS_MODEL_SUPPORT_H
#define DROVER_TESTS_MODEL_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"

// cmocka's per-test state is one arena.
static inline int support_setup(void **state)
{
    *state = arena_new();
    return 0;
}

static inline int support_teardown(void **state)
{
    arena_free(*state);
    return 0;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, support_setup, support_teardown)

static inline struct json parse(const char *text)
{
    struct err err = ERR_INIT;
    struct json json;
    if (json_parse(str_of(text), 0, &json, &err) < 0)
        fail_msg("%s: %s", text, err.message);
    return json;
}

static inline void assert_text(struct str text, const char *expected)
{
    if (!text.at)
        fail_msg("absent, expected \"%s\"", expected);
    if (!str_is(text, expected))
        fail_msg("\"" STR_FMT "\", expected \"%s\"", STR_ARG(text), expected);
}

static inline void assert_json(struct str text, const char *expected, struct arena *arena)
{
    struct json json;
    struct err err = ERR_INIT;
    if (json_parse(text, 0, &json, &err) < 0)
        fail_msg("%s in " STR_FMT, err.message, STR_ARG(text));
    if (!json_equal(json, parse(expected), arena))
        fail_msg(STR_FMT "\nexpected %s", STR_ARG(text), expected);
}

static inline void assert_refused(int result, const struct err *err, const char *field,
                                  const char *message)
{
    assert_int_equal(result, -1);
    assert_int_equal(err->kind, ERR_BAD_INPUT);
    assert_string_equal(err->field, field);
    if (!strstr(err->message, message))
        fail_msg("\"%s\" does not hold \"%s\"", err->message, message);
}

#endif
