// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct arena *arena;

static struct json parse(const char *text)
{
    struct json value = {0};
    struct err err = ERR_INIT;
    if (json_parse(str_of(text), 0, &value, &err) != 0)
        fail_msg("%s: %s", text, err.message);
    return value;
}

static void refused(struct str text, const char *part)
{
    struct json value;
    struct err err = ERR_INIT;
    assert_int_equal(json_parse(text, 0, &value, &err), -1);
    assert_int_equal(err.kind, ERR_BAD_INPUT);
    if (!strstr(err.message, part))
        fail_msg("expected '%s' within: %s", part, err.message);
}

static void good_documents_are_taken(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum json_type type;
    } cases[] = {
        {"null", JSON_NULL},
        {" true ", JSON_TRUE},
        {"false\n", JSON_FALSE},
        {"0", JSON_NUMBER},
        {"-0", JSON_NUMBER},
        {"-12.5e+10", JSON_NUMBER},
        {"1E5", JSON_NUMBER},
        {"0.0", JSON_NUMBER},
        {"\"\"", JSON_STRING},
        {"\"\\u00e9\\/\\b\"", JSON_STRING},
        {"[]", JSON_ARRAY},
        {"[ ]", JSON_ARRAY},
        {"{}", JSON_OBJECT},
        {"{ }", JSON_OBJECT},
        {"[[],{}]", JSON_ARRAY},
        {"\t{\"a\"\r:\n1 , \"\":[1, 2]}", JSON_OBJECT},
        {"\"\\ud83d\\ude00 😀 \x7f\"", JSON_STRING},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct json value = parse(cases[i].text);
        assert_int_equal(value.type, cases[i].type);
        assert_true(str_eq(value.text, str_trim(str_of(cases[i].text))));
    }
}

static void bad_documents_say_where_and_what(void **state)
{
    (void)state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "line 1, column 1: expected a value (found the end of the text)"},
        {"  ", "column 3: expected a value"},
        {"nul", "expected a value"},
        {"NaN", "expected a value (found 'N')"},
        {"-Infinity", "expected a digit (found 'I')"},
        {"01", "must not start with 0"},
        {"1.", "expected a digit"},
        {".5", "expected a value"},
        {"1e", "expected a digit"},
        {"+1", "expected a value"},
        {"0x10", "expected nothing after the value (found 'x')"},
        {"1 2", "column 3: expected nothing after the value"},
        {"[1,]", "column 4: expected a value (found ']')"},
        {"[1 2]", "column 4: expected ',' or ']'"},
        {"[1", "expected ',' or ']' (found the end of the text)"},
        {"{\"a\":1,}", "column 8: expected a key in double quotes"},
        {"{a:1}", "expected a key"},
        {"{\"a\" 1}", "expected ':' after the key"},
        {"{\"a\":1 \"b\":2}", "expected ',' or '}'"},
        {"{\n \"a\": 1,\n \"é\": tru\n}", "line 3, column 7: expected a value"},
        {"\"abc", "column 1: this string has no closing quote"},
        {"\"a\nb\"", "control characters in a string must be escaped (found byte 0x0a)"},
        {"\"\\x\"", "unknown escape"},
        {"\"\\", "unknown escape"},
        {"\"\\u12g4\"", "four hexadecimal digits"},
        {"\"\\u12", "four hexadecimal digits"},
        {"\"\\u0000\"", "\\u0000 is not allowed"},
        {"\"\\ud800\"", "surrogate"},
        {"\"\\udc00\"", "surrogate"},
        {"\"\\ud800\\u0041\"", "surrogate"},
        {"\"\\ud800\\ud800\"", "surrogate"},
        {"\"\xC3\"", "not valid UTF-8"},
        {"\"\xED\xA0\x80\"", "not valid UTF-8"},
        {"\xEF\xBB\xBF{}", "byte order mark"},
        {"// x\n1", "expected a value"},
        {"'a'", "expected a value"},
        {"]", "expected a value"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        refused(str_of(cases[i].text), cases[i].part);
    refused(STR("\"a\0b\""), "control characters");
    refused(STR("1\0"), "expected nothing after the value (found byte 0x00)");
    refused(STR_NONE, "expected a value");
}

static void depth_is_limited(void **state)
{
    (void)state;
    struct json value;
    struct err err = ERR_INIT;
    static char deep[100000];
    memset(deep, '[', sizeof(deep));
    assert_int_equal(json_parse((struct str){deep, sizeof(deep)}, 1 << 30, &value, &err), -1);
    assert_non_null(strstr(err.message, "nested too deeply"));
    assert_non_null(strstr(err.message, "at most 512 levels"));
    assert_int_equal(json_parse(STR("[[{}],[[]]]"), 3, &value, &err), 0);
    assert_int_equal(json_parse(STR("[[{}],[[]]]"), 2, &value, &err), -1);
    memset(deep + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    assert_int_equal(json_parse((struct str){deep, 2 * JSON_DEPTH_MAX}, 0, &value, &err), 0);
    assert_int_equal(
        json_parse((struct str){deep, 2 * JSON_DEPTH_MAX}, JSON_DEPTH_MAX - 1, &value, &err), -1);
}

static void a_missing_err_is_fine(void **state)
{
    (void)state;
    struct json value;
    assert_int_equal(json_parse(STR("["), 0, &value, NULL), -1);
}

static void walking_gives_the_exact_bytes(void **state)
{
    (void)state;
    struct json doc = parse(
        "{ \"a\" : 1.50 , \"b\\\"]\":[ \"x,\\\\\" ,{\"}\":[]}, null ],\"c\":{}}");
    static const char *const keys[] = {"a", "b\\\"]", "c"};
    static const char *const values[] = {"1.50", "[ \"x,\\\\\" ,{\"}\":[]}, null ]", "{}"};
    struct json_iter it = json_each(doc);
    struct str key;
    struct json value;
    for (int i = 0; i < 3; i++) {
        assert_true(json_next(&it, &key, &value));
        assert_true(str_is(key, keys[i]));
        assert_true(str_is(value.text, values[i]));
    }
    assert_false(json_next(&it, &key, &value));
    assert_false(json_next(&it, &key, &value));
    it = json_each(parse(values[1]));
    assert_true(json_next(&it, &key, &value));
    assert_null(key.at);
    assert_int_equal(value.type, JSON_STRING);
    it = json_each(parse("\"text\""));
    assert_false(json_next(&it, NULL, NULL));
    assert_int_equal(json_count(doc), 3);
    assert_int_equal(json_count(parse(values[1])), 3);
    assert_int_equal(json_count(parse("[ ]")), 0);
    assert_int_equal(json_count(parse("5")), 0);
}

static void getting_by_key_and_path(void **state)
{
    (void)state;
    struct json doc = parse("{\"a\":{\"b\":{\"c\":7}},\"x\":1,\"\\u0078\":2,\"é\":3,\"l\":[1]}");
    struct json value = {0};
    int64_t n = 0;
    assert_true(json_get(doc, "x", &value) && json_int(value, &n));
    assert_int_equal(n, 2);  // the last of two equal keys, one of them written with an escape
    assert_true(json_get(doc, "é", &value));
    assert_false(json_get(doc, "A", &value));
    assert_false(json_get(parse("[1]"), "0", &value));
    assert_true(json_path(doc, STR("a.b.c"), &value) && json_int(value, &n));
    assert_int_equal(n, 7);
    assert_false(json_path(doc, STR("a.b.d"), &value));
    assert_false(json_path(doc, STR("l.0"), &value));
    assert_false(json_path(doc, STR(""), &value));
    assert_true(json_key_is(STR("\\u0061\\n"), "a\n"));
    assert_false(json_key_is(STR("\\u0061\\n"), "a"));
    assert_false(json_key_is(STR("a"), "a\n"));
}

static void integers_by_value(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t n;
    } good[] = {
        {"0", 0},
        {"-0", 0},
        {"-0.0e5", 0},
        {"0e999999999999999999999", 0},
        {"1e3", 1000},
        {"5.0", 5},
        {"-1.50e1", -15},
        {"1000e-3", 1},
        {"0.001e3", 1},
        {"9223372036854775807", INT64_MAX},
        {"-9223372036854775808", INT64_MIN},
        {"-9.223372036854775808E18", INT64_MIN},
        {"10000000000000000000000e-4", 1000000000000000000},
    };
    static const char *const wrong[] = {"0.5",
                                        "1e-1",
                                        "9223372036854775808",
                                        "1e19",
                                        "-9223372036854775809",
                                        "1e99999999999999999999",
                                        "1e-99999999999999999999",
                                        "1.0000000000000000001",
                                        "9223372036854775807.5",
                                        "\"1\"",
                                        "null"};
    int64_t n = 0;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        if (!json_int(parse(good[i].text), &n) || n != good[i].n)
            fail_msg("%s gave %lld", good[i].text, (long long)n);
    }
    n = 77;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (json_int(parse(wrong[i]), &n) || n != 77)
            fail_msg("%s is no integer", wrong[i]);
}

static void doubles_booleans_and_types(void **state)
{
    (void)state;
    double d = 0;
    bool b = false;
    assert_true(json_double(parse("-2.5e-3"), &d));
    assert_true(d == -2.5e-3);
    assert_true(json_double(parse("1000000000000000000000000000000000000000000000000000000000000000"
                                  "0000"),
                            &d));
    assert_true(d == 1e67);
    assert_false(json_double(parse("1e999"), &d));
    assert_false(json_double(parse("\"1\""), &d));
    assert_true(json_bool(parse("true"), &b) && b);
    assert_true(json_bool(parse("false"), &b) && !b);
    assert_false(json_bool(parse("1"), &b));
    assert_true(json_is(parse("null"), JSON_NULL));
    assert_string_equal(json_type_name(JSON_OBJECT), "an object");
    assert_string_equal(json_type_name(JSON_ABSENT), "nothing");
    assert_int_equal(json_of(STR("")).type, JSON_ABSENT);
    assert_int_equal(json_of(STR_NONE).type, JSON_ABSENT);
    assert_true(str_is(json_of(STR(" [1] ")).text, "[1]"));
}

static void strings_are_unescaped(void **state)
{
    (void)state;
    struct str s = json_str(
        parse("\"a\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\u00e9\\u20AC\\ud83d\\ude00z\""), arena);
    assert_true(str_is(s, "a\"\\/\b\f\n\r\tAé€😀z"));
    assert_int_equal(s.at[s.len], '\0');
    assert_non_null(json_str(parse("\"\""), arena).at);
    assert_null(json_str(parse("5"), arena).at);
    assert_null(json_str((struct json){0}, arena).at);
}

static bool equal(const char *a, const char *b)
{
    bool there = json_equal(parse(a), parse(b), arena);
    assert_int_equal(json_equal(parse(b), parse(a), arena), there);
    return there;
}

static void equality_is_by_value(void **state)
{
    (void)state;
    assert_true(
        equal("[1,\"\\u0061\",{\"x\":1,\"y\":[]}]", "[ 1.0, \"a\", {\"y\":[ ],\"x\":1e0} ]"));
    assert_true(equal("100", "1e2"));
    assert_true(equal("0", "-0.0"));
    assert_true(equal("0.001", "10e-4"));
    assert_true(equal("123.4500", "12345e-2"));
    assert_true(equal("{\"a\":1,\"a\":2}", "{\"a\":2}"));
    assert_false(equal("1180591620717411303424", "1180591620717411303425"));
    assert_false(equal("1", "-1"));
    assert_false(equal("1", "10"));
    assert_false(equal("0.1", "0.01"));
    assert_false(equal("1", "\"1\""));
    assert_false(equal("[1]", "[1,2]"));
    assert_false(equal("[]", "{}"));
    assert_false(equal("{\"a\":1}", "{\"a\":1,\"b\":1}"));
    assert_false(equal("{\"a\":1}", "{\"b\":1}"));
    assert_false(equal("true", "false"));
    assert_true(equal("null", "null"));
}

static void merge_patch_follows_rfc_7396(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}"},
        {"{\"a\":\"b\"}", "{\"a\":null}", "{}"},
        {"{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}"},
        {"{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}"},
        {"{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}"},
        {"{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}"},
        {"{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}"},
        {"[\"a\",\"b\"]", "[\"c\",\"d\"]", "[\"c\",\"d\"]"},
        {"{\"a\":\"b\"}", "[\"c\"]", "[\"c\"]"},
        {"{\"a\":\"foo\"}", "null", "null"},
        {"{\"a\":\"foo\"}", "\"bar\"", "\"bar\""},
        {"{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}"},
        {"[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}"},
        {"{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}"},
        {"{\"a\":1,\"\\u0061\":2}", "{\"b\":0.10}", "{\"a\":2,\"b\":0.10}"},
        {"{\"a\":1}", "{\"\\u0061\":3}", "{\"a\":3}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct str merged = json_merge(parse(cases[i][0]), parse(cases[i][1]), arena);
        if (!str_is(merged, cases[i][2]))
            fail_msg("%s with %s gave %s", cases[i][0], cases[i][1], merged.at);
    }
    struct json none = {0};
    assert_true(str_is(json_merge(none, parse("{\"a\":null}"), arena), "{}"));
    assert_true(str_is(json_merge(parse("[1]"), none, arena), "[1]"));
}

static void the_writer_places_commas(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf out = BUF_INIT(1000);
    struct json_writer w = JSON_WRITER(&out);
    json_w_object(&w);
    json_w_pair_str(&w, "s", STR("a\"\\\n\x01"));
    json_w_pair_int(&w, "i", INT64_MIN);
    json_w_pair_bool(&w, "b", true);
    json_w_pair_raw(&w, "r", STR("[0.10]"));
    json_w_key_str(&w, STR("n\t"));
    json_w_null(&w);
    json_w_key(&w, "list");
    json_w_array(&w);
    json_w_object(&w);
    json_w_object_end(&w);
    json_w_int(&w, 0);
    json_w_bool(&w, false);
    json_w_array(&w);
    json_w_array_end(&w);
    json_w_cstr(&w, NULL);
    json_w_raw(&w, STR_NONE);
    json_w_str(&w, STR(""));
    json_w_array_end(&w);
    json_w_object_end(&w);
    assert_true(str_is(buf_str(&out),
                       "{\"s\":\"a\\\"\\\\\\n\\u0001\",\"i\":-9223372036854775808,\"b\":true,"
                       "\"r\":[0.10],\"n\\t\":null,\"list\":[{},0,false,[],null,null,\"\"]}"));
}

static void the_writer_cleans_bytes(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf out = BUF_INIT(1000);
    struct json_writer w = JSON_WRITER(&out);
    json_w_str(&w, STR("a\0b\xFF\xC3é\xE2\x82"));
    assert_true(str_eq(buf_str(&out), STR("\"a␀b\xEF\xBF\xBD\xEF\xBF\xBDé\xEF\xBF\xBD\xEF\xBF\xBD"
                                          "\"")));
}

static void doubles_read_back_and_are_short(void **state)
{
    (void)state;
    static const struct {
        double n;
        const char *text;
    } cases[] = {{0.1, "0.1"},        {5, "5"},
                 {-0.0, "-0"},        {1e300, "1e+300"},
                 {5e-324, "5e-324"},  {0.1 + 0.2, "0.30000000000000004"},
                 {1.0 / 0.0, "null"}, {-1.0 / 0.0, "null"},
                 {0.0 / 0.0, "null"}, {123456789012, "123456789012"}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_buf_ struct buf out = BUF_INIT(100);
        struct json_writer w = JSON_WRITER(&out);
        json_w_double(&w, cases[i].n);
        assert_true(str_is(buf_str(&out), cases[i].text));
    }
    srandom(20261123);
    for (int i = 0; i < 20000; i++) {
        uint64_t bits = (uint64_t)random() << 42 ^ (uint64_t)random() << 21 ^ (uint64_t)random();
        double n, back = 0;
        memcpy(&n, &bits, sizeof(n));
        if (n - n != 0)
            continue;  // NaN or infinite
        _cleanup_buf_ struct buf out = BUF_INIT(100);
        struct json_writer w = JSON_WRITER(&out);
        json_w_double(&w, n);
        buf_add_char(&out, '\0');
        assert_true(json_double(parse(out.at), &back));
        assert_true(back == n);
    }
}

static void write_random(struct json_writer *w, int depth)
{
    char bytes[12];
    int kind = (int)(random() % (depth > 0 ? 8 : 6));
    switch (kind) {
    case 0: json_w_null(w); break;
    case 1: json_w_bool(w, random() % 2); break;
    case 2: json_w_int(w, (int64_t)random() * (random() % 2 ? 1 : -4000000000)); break;
    case 3: json_w_double(w, (double)random() / 1000); break;
    case 4:
    case 5:
        for (size_t i = 0; i < sizeof(bytes); i++)
            bytes[i] = (char)(random() % 4 ? random() % 128 : random());
        json_w_str(w, (struct str){bytes, (size_t)random() % sizeof(bytes)});
        break;
    default:
        kind == 6 ? json_w_array(w) : json_w_object(w);
        for (int left = (int)(random() % 5); left > 0; left--) {
            for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (char)random();
            if (kind == 7)
                json_w_key_str(w, (struct str){bytes, (size_t)random() % 4});
            write_random(w, depth - 1);
        }
        kind == 6 ? json_w_array_end(w) : json_w_object_end(w);
    }
}

// Writes a value anew through the walking functions.
static void rewrite(struct json_writer *w, struct json value)
{
    struct str key;
    struct json child;
    switch (value.type) {
    case JSON_ARRAY:
        json_w_array(w);
        for (struct json_iter it = json_each(value); json_next(&it, NULL, &child);)
            rewrite(w, child);
        json_w_array_end(w);
        break;
    case JSON_OBJECT:
        json_w_object(w);
        for (struct json_iter it = json_each(value); json_next(&it, &key, &child);) {
            json_w_key_str(w, json_unescape(key, arena));
            rewrite(w, child);
        }
        json_w_object_end(w);
        break;
    case JSON_STRING: json_w_str(w, json_str(value, arena)); break;
    default: json_w_raw(w, value.text);
    }
}

static void what_is_written_reads_back_the_same(void **state)
{
    (void)state;
    srandom(20261123);
    for (int i = 0; i < 5000; i++) {
        _cleanup_buf_ struct buf first = BUF_INIT(1 << 20), second = BUF_INIT(1 << 20);
        struct json_writer w = JSON_WRITER(&first);
        write_random(&w, 5);
        buf_add_char(&first, '\0');
        struct json value = parse(first.at);
        w = JSON_WRITER(&second);
        rewrite(&w, value);
        assert_true(str_eq(value.text, buf_str(&second)));
        assert_true(json_equal(value, json_of(buf_str(&second)), arena));
        assert_true(json_equal(json_of(json_merge(value, value, arena)), value, arena) ||
                    memmem(value.text.at, value.text.len, "null", 4));
        arena_reset(arena);
    }
}

static int setup(void **state)
{
    (void)state;
    arena = arena_new();
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(good_documents_are_taken),
        TEST(bad_documents_say_where_and_what),
        TEST(depth_is_limited),
        TEST(a_missing_err_is_fine),
        TEST(walking_gives_the_exact_bytes),
        TEST(getting_by_key_and_path),
        TEST(integers_by_value),
        TEST(doubles_booleans_and_types),
        TEST(strings_are_unescaped),
        TEST(equality_is_by_value),
        TEST(merge_patch_follows_rfc_7396),
        TEST(the_writer_places_commas),
        TEST(the_writer_cleans_bytes),
        TEST(doubles_read_back_and_are_short),
        TEST(what_is_written_reads_back_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
