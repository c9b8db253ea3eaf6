// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/json.h"
#include "base/redact.h"

#define KEEPS(redactor, text) assert_false(redact_text((redactor), STR(text), &out))

static void becomes(const struct redactor *redactor, const char *text, const char *expected)
{
    _cleanup_buf_ struct buf out = BUF_INIT(SIZE_MAX);
    assert_true(redact_text(redactor, str_of(text), &out));
    buf_add_char(&out, '\0');
    assert_string_equal(out.at, expected);
}

static void json_becomes(const struct redactor *redactor, const char *text, const char *expected)
{
    struct json parsed;
    struct err err = ERR_INIT;
    _cleanup_buf_ struct buf out = BUF_INIT(SIZE_MAX);
    assert_true(redact_json(redactor, str_of(text), &out));
    assert_int_equal(json_parse(buf_str(&out), 0, &parsed, &err), 0);
    buf_add_char(&out, '\0');
    assert_string_equal(out.at, expected);
}

static void test_texts(void **state)
{
    (void)state;
    struct redactor *redactor = redactor_new();
    _cleanup_buf_ struct buf out = BUF_INIT(SIZE_MAX);
    KEEPS(NULL, "hunter22");
    KEEPS(redactor, "hunter22");
    redactor_add(redactor, STR("PASS"), STR("hunter22"));
    redactor_add(redactor, STR("LONG"), STR("hunter22-and-more"));
    redactor_add(redactor, STR("SHORT"), STR("abc"));
    becomes(redactor, "hunter22", "[secret PASS]");
    becomes(redactor, "a hunter22hunter22 b", "a [secret PASS][secret PASS] b");
    becomes(redactor, "hunter22-and-more", "[secret LONG]");
    becomes(redactor, "hunter22-and-mor", "[secret PASS]-and-mor");
    KEEPS(redactor, "hunter2");
    KEEPS(redactor, "");
    KEEPS(redactor, "abc");
    redactor_free(redactor);
    redactor_free(NULL);
}

static void test_other_forms(void **state)
{
    (void)state;
    struct redactor *redactor = redactor_new();
    redactor_add(redactor, STR("A"), STR("a\"b\xC3\xBC\xF0\x9F\x98\x80"));
    becomes(redactor, "{\"k\": \"a\\\"b\xC3\xBC\xF0\x9F\x98\x80\"}", "{\"k\": \"[secret A]\"}");
    becomes(redactor, "{\"k\": \"a\\\"b\\u00fc\\ud83d\\ude00\"}", "{\"k\": \"[secret A]\"}");
    redactor_add(redactor, STR("KEY"), STR("-----BEGIN-----\nline-one\r\nline-two\n"));
    becomes(redactor, "line-two", "[secret KEY]");
    becomes(redactor, "> line-one <", "> [secret KEY] <");
    becomes(redactor, "'-----BEGIN-----\\nline-one\\r\\nline-two\\n'", "'[secret KEY]'");
    redactor_add(redactor, STR("OBJECT"),
                 STR("{\"user\":\"me\",\"more\":[{\"word\":\"open \\u0073esame\"}]}"));
    becomes(redactor, "it is open sesame", "it is [secret OBJECT]");
    redactor_add(redactor, STR("BROKEN"), STR("{\"word\":"));
    becomes(redactor, "{\"word\":", "[secret BROKEN]");
    redactor_free(redactor);
}

static void test_json(void **state)
{
    (void)state;
    struct redactor *redactor = redactor_new();
    _cleanup_buf_ struct buf out = BUF_INIT(SIZE_MAX);
    redactor_add(redactor, STR("A"), STR("two\nlines"));
    redactor_add(redactor, STR("B"), STR("12345"));
    json_becomes(redactor, "{\"message\":\"is two\\nlines, \\\"12345\\\"\",\"n\":12345,\"t\":true}",
                 "{\"message\":\"is [secret A], \\\"[secret B]\\\"\",\"n\":12345,\"t\":true}");
    json_becomes(redactor, "[\"a\\\\\",\"\\u00312345\"]", "[\"a\\\\\",\"[secret B]\"]");
    json_becomes(redactor, "\"12345\"", "\"[secret B]\"");
    assert_false(redact_json(redactor, STR("{\"a\":[1,\"x\\\\\",null],\"b\":12345}"), &out));
    assert_false(redact_json(redactor, STR_NONE, &out));
    redactor_free(redactor);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_other_forms),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
