// SPDX-License-Identifier: Apache-2.0
// Members without a field table: absent and null are the same, other types are named.
#include "model/take.h"

#include "model_support.h"

static void absent_and_null_are_the_same(void **state)
{
    static const char *const texts[] = {"{}", "{\"k\":null}"};
    for (size_t i = 0; i < 2; i++) {
        struct json json = parse(texts[i]), object;
        struct take_names names;
        struct err err = ERR_INIT;
        struct str text = STR("x"), name = STR("x");
        bool flag = true;
        assert_int_equal(take_text(json, "k", &text, *state, &err), 0);
        assert_int_equal(take_name(json, "k", &name, *state, &err), 0);
        assert_int_equal(take_bool(json, "k", &flag, &err), 0);
        assert_int_equal(take_object(json, "k", &object, &err), 0);
        assert_int_equal(take_names(json, "k", &names, *state, &err), 0);
        assert_true(!text.at && !name.at && !flag && object.type == JSON_ABSENT && !names.at);
    }
}

static void gives_what_is_there(void **state)
{
    struct json json = parse("{\"t\":\"\",\"n\":\"\\u0061b\",\"b\":true,\"o\":{\"x\":1},"
                             "\"l\":[\"a\",\"b\"],\"e\":[]}");
    struct json object;
    struct take_names names, none;
    struct err err = ERR_INIT;
    struct str text, name;
    bool flag;
    assert_int_equal(take_text(json, "t", &text, *state, &err), 0);
    assert_text(text, "");
    assert_int_equal(take_name(json, "n", &name, *state, &err), 0);
    assert_text(name, "ab");
    assert_int_equal(take_bool(json, "b", &flag, &err), 0);
    assert_true(flag);
    assert_int_equal(take_object(json, "o", &object, &err), 0);
    assert_text(object.text, "{\"x\":1}");
    assert_int_equal(take_names(json, "l", &names, *state, &err), 0);
    assert_int_equal(names.count, 2);
    assert_text(names.at[1], "b");
    assert_int_equal(take_names(json, "e", &none, *state, &err), 0);
    assert_true(none.at && none.count == 0);
}

static void refuses_other_types(void **state)
{
    struct json json = parse("{\"n\":5,\"t\":\"\",\"l\":[\"a\",5],\"e\":[\"\"]}");
    struct json object;
    struct take_names names;
    struct err err = ERR_INIT;
    struct str text;
    bool flag;
    assert_refused(take_text(json, "n", &text, *state, &err), &err, "n", "must be a string");
    assert_refused(take_name(json, "t", &text, *state, &err), &err, "t", "empty");
    assert_refused(take_bool(json, "n", &flag, &err), &err, "n", "true or false");
    assert_refused(take_bool(json, "t", &flag, &err), &err, "t", "true or false");
    assert_refused(take_object(json, "l", &object, &err), &err, "l", "an object");
    assert_refused(take_names(json, "t", &names, *state, &err), &err, "t", "a list");
    assert_refused(take_names(json, "l", &names, *state, &err), &err, "l[1]", "a string");
    assert_refused(take_names(json, "e", &names, *state, &err), &err, "e[0]", "a string");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(absent_and_null_are_the_same),
        TEST(gives_what_is_there),
        TEST(refuses_other_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
