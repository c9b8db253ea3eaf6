// SPDX-License-Identifier: Apache-2.0
#include "model_support.h"

#include "model/module.h"

static void a_pushed_package_is_read(void **state)
{
    struct module *modules;
    size_t count;
    struct err err = ERR_INIT;
    struct json json = parse(
        "[{\"name\":\"default_module\",\"entryPoint\":\"src/main.py\",\"className\":\"Runner\","
        "\"initInputs\":[{\"name\":\"model\",\"type\":\"Json\"}],\"functions\":["
        "{\"name\":\"run\",\"input\":[{\"name\":\"item\",\"type\":\"Item\"},"
        "{\"name\":\"tags\",\"type\":\"String[]\"}],\"output\":[{\"name\":\"n\",\"type\":"
        "\"Integer\"}],\"description\":\"does\",\"computeConfig\":null}],\"computeConfig\":null},"
        "{\"name\":\"second\"}]");
    assert_int_equal(modules_parse(json, &limits_default, *state, &modules, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_text(modules[0].entry_point, "src/main.py");
    assert_text(modules[0].class_name, "Runner");
    assert_int_equal(modules[0].init_input_count, 1);
    assert_text(modules[0].init_inputs[0].type, "Json");

    const struct function *run = function_find(&modules[0], STR("run"));
    assert_non_null(run);
    assert_int_equal(run->input_count, 2);
    assert_text(run->inputs[1].name, "tags");
    assert_text(run->outputs[0].type, "Integer");
    assert_text(run->description, "does");
    assert_null(function_find(&modules[0], STR("walk")));

    assert_text(modules[1].entry_point, "main.py");
    assert_text(modules[1].class_name, "ServiceRunner");
    assert_int_equal(modules[1].function_count, 0);
    assert_ptr_equal(module_find(modules, count, STR_NONE), &modules[0]);
    assert_ptr_equal(module_find(modules, count, STR("second")), &modules[1]);
    assert_null(module_find(modules, count, STR("third")));
    assert_null(module_find(modules, 0, STR_NONE));
}

static void errors_name_the_place(void **state)
{
    static const struct {
        const char *json, *field, *message;
    } cases[] = {
        {"null", "modules", "an array of modules, not null"},
        {"[]", "modules", "an empty one"},
        {"[5]", "modules[0]", "must be an object, not the number 5"},
        {"[{\"name\":\"\"}]", "modules[0].name", "a string that is not empty"},
        {"[{\"name\":7}]", "modules[0].name", "not the number 7"},
        {"[{\"name\":\"a\\nb\"}]", "modules[0].name", "control characters"},
        {"[{\"className\":\"My Runner\"}]", "modules[0].className", "blanks"},
        {"[{\"className\":\"\"}]", "modules[0].className", "a string that is not empty"},
        {"[{\"functions\":[{\"name\":\"1a b\"}]}]", "modules[0].functions[0].name", "blanks"},
        {"[{\"functions\":[{\"name\":\"a\\tb\"}]}]", "modules[0].functions[0].name", "control"},
        {"[{\"name\":\"a\"},{\"name\":\"a\"}]", "modules[1].name", "another module named \"a\""},
        {"[{\"entryPoint\":\"/etc/passwd\"}]", "modules[0].entryPoint", "relative path"},
        {"[{\"entryPoint\":\"a/../../b.py\"}]", "modules[0].entryPoint", "inside the package"},
        {"[{\"entryPoint\":\"a/\"}]", "modules[0].entryPoint", "relative path"},
        {"[{\"entryPoint\":{}}]", "modules[0].entryPoint", "not an object"},
        {"[{\"className\":[]}]", "modules[0].className", "not an array"},
        {"[{\"initInputs\":{}}]", "modules[0].initInputs", "must be an array"},
        {"[{\"initInputs\":[{\"name\":\"a\"}]}]", "modules[0].initInputs[0].type", "not nothing"},
        {"[{\"functions\":5}]", "modules[0].functions", "must be an array"},
        {"[{\"functions\":[null]}]", "modules[0].functions[0]", "not null"},
        {"[{\"functions\":[{\"name\":\"f\"},{}]}]", "modules[0].functions[1].name", "not nothing"},
        {"[{\"functions\":[{\"name\":\"f\"},{\"name\":\"f\"}]}]", "modules[0].functions[1].name",
         "another function named \"f\""},
        {"[{},{\"name\":\"b\",\"functions\":[{\"name\":\"f\",\"input\":[{\"name\":\"x\",\"type\":"
         "\"Int\"}]}]}]",
         "modules[1].functions[0].input[0].type", "not the string \"Int\""},
        {"[{\"functions\":[{\"name\":\"f\",\"output\":[{\"type\":\"Json\"}]}]}]",
         "modules[0].functions[0].output[0].name", "not nothing"},
        {"[{\"functions\":[{\"name\":\"f\",\"input\":[{\"name\":\"x\",\"type\":\"Json\"},"
         "{\"name\":\"x\",\"type\":\"Json\"}]}]}]",
         "modules[0].functions[0].input[1].name", "another parameter"},
        {"[{\"functions\":[{\"name\":\"f\",\"description\":5}]}]",
         "modules[0].functions[0].description", "must be a string"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct err err = ERR_INIT;
        struct module *modules;
        size_t count;
        int result = modules_parse(parse(cases[i].json), &limits_default, *state, &modules, &count,
                                   &err);
        assert_refused(result, &err, cases[i].field, cases[i].message);
    }
}

static void limits_hold(void **state)
{
    struct buf buf = BUF_INIT(1 << 20);
    struct err err = ERR_INIT;
    struct module *modules;
    size_t count;
    buf_add_char(&buf, '[');
    for (int i = 0; i < 257; i++)
        buf_printf(&buf, "%s{\"name\":\"m%d\"}", i ? "," : "", i);
    buf_add_char(&buf, ']');
    assert_refused(
        modules_parse(json_of(buf_str(&buf)), &limits_default, *state, &modules, &count, &err),
        &err, "modules", "modules has 257 entries; --max-functions allows 256");
    buf_clear(&buf);
    buf_add_cstr(&buf, "[{\"functions\":[");
    for (int i = 0; i < 257; i++)
        buf_printf(&buf, "%s{\"name\":\"f%d\"}", i ? "," : "", i);
    buf_add_cstr(&buf, "]}]");
    assert_refused(
        modules_parse(json_of(buf_str(&buf)), &limits_default, *state, &modules, &count, &err),
        &err, "modules[0].functions",
        "modules[0].functions has 257 entries; --max-functions allows 256");
    buf_deinit(&buf);
}

static void kept_modules_are_not_limited(void **state)
{
    static const struct {
        const char *json, *field, *message;
    } cases[] = {
        {"[{\"name\":\"a_long_module_name\"}]", "modules[0].name",
         "modules[0].name has 18 bytes; --max-name allows 16"},
        {"[{\"functions\":[{\"name\":\"a_long_function\",\"description\":\"five and twenty bytes "
         "456\"}]}]",
         "modules[0].functions[0].description", "--max-field allows 20"},
        {"[{\"functions\":[{\"name\":\"f\",\"input\":[{\"name\":\"a\",\"type\":\"Json\"},"
         "{\"name\":\"b\",\"type\":\"Json\"},{\"name\":\"c\",\"type\":\"Json\"}]}]}]",
         "modules[0].functions[0].input", "input has 3 entries; --max-functions allows 2"},
        {"[{\"name\":\"a\"},{\"name\":\"b\"},{\"name\":\"c\"}]", "modules",
         "modules has 3 entries; --max-functions allows 2"},
    };
    struct limits low = limits_default;
    low.name = 16;
    low.field = 20;
    low.functions = 2;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct err err = ERR_INIT;
        struct module *modules;
        size_t count;
        struct json json = parse(cases[i].json);
        assert_refused(modules_parse(json, &low, *state, &modules, &count, &err), &err,
                       cases[i].field, cases[i].message);
        assert_int_equal(modules_parse(json, NULL, *state, &modules, &count, &err), 0);
    }
}

static void types_are_known(void **state)
{
    (void)state;
    static const char *const known[] = {"Item", "Json", "Boolean", "Model[]", "Recipe", "Task[]"};
    static const char *const unknown[] = {"", "item", "[]", "Item[][]", "Item[", "Vector"};
    for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
        assert_true(parameter_type_known(str_of(known[i])));
    for (size_t i = 0; i < sizeof(unknown) / sizeof(*unknown); i++)
        assert_false(parameter_type_known(str_of(unknown[i])));
    assert_false(parameter_type_known(STR_NONE));
}

static void names_are_checked(void **state)
{
    (void)state;
    char longest[64];
    struct err err = ERR_INIT;
    memset(longest, 'a', sizeof(longest));
    assert_int_equal(name_check(STR("my Service_1.2-x"), "name", &err), 0);
    assert_int_equal(name_check((struct str){longest, 63}, "name", &err), 0);
    assert_refused(name_check((struct str){longest, 64}, "name", &err), &err, "name", "64 bytes");
    assert_refused(name_check(STR(""), "name", &err), &err, "name", "empty");
    assert_refused(name_check(STR_NONE, "name", &err), &err, "name", "empty");
    assert_refused(name_check(STR(" a"), "name", &err), &err, "name", "begin or end");
    assert_refused(name_check(STR("a "), "name", &err), &err, "name", "begin or end");
    assert_refused(name_check(STR("a/b"), "service.name", &err), &err, "service.name",
                   "'/' at position 2");
    assert_refused(name_check(STR("\xC3\xA9"), "name", &err), &err, "name", "byte 0xC3");
    assert_refused(name_check(STR("a\tb"), "name", &err), &err, "name", "byte 0x09");
}

static void versions_count_up(void **state)
{
    static const char *const wrong[] = {"",
                                        "1",
                                        "1.0",
                                        "1.0.0.0",
                                        "1.0.x",
                                        "1..0",
                                        "1.0.0.",
                                        "-1.0.0",
                                        "+1.0.0",
                                        "latest",
                                        "1.0.",
                                        "1.0.9223372036854775807",
                                        "1.0.99999999999999999999"};
    struct err err = ERR_INIT;
    struct str next;
    assert_int_equal(version_next(STR("1.0.0"), *state, &next, &err), 0);
    assert_text(next, "1.0.1");
    assert_int_equal(version_next(STR("2.13.99"), *state, &next, &err), 0);
    assert_text(next, "2.13.100");
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        assert_refused(version_next(str_of(wrong[i]), *state, &next, &err), &err, "version",
                       "three numbers");

    assert_int_equal(version_cmp(STR("1.0.0"), STR("1.0.0")), 0);
    assert_true(version_cmp(STR("1.0.9"), STR("1.0.10")) < 0);
    assert_true(version_cmp(STR("2.0.0"), STR("1.9.9")) > 0);
    assert_true(version_cmp(STR("1.0"), STR("1.0.1")) < 0);
    assert_int_equal(version_cmp(STR("1.0"), STR("1.0.0")), 0);
    assert_true(version_cmp(STR("1.a"), STR("1.b")) < 0);
}

static void codebases_are_checked(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{\"type\":\"item\",\"itemId\":\"0123456789abcdef01234567\"}",
        "{\"type\":\"git\",\"gitUrl\":\"https://host/a/b.git\"}",
        "{\"type\":\"git\",\"gitUrl\":\"https:\\/\\/host:8443/a/"
        "b.git\",\"gitTag\":\"v1\",\"credentials\":{}}",
        "{\"type\":\"git\",\"gitUrl\":\"ssh://git@host/a\",\"gitTag\":null,\"credentials\":null}",
    };
    static const struct {
        const char *json, *field, *message;
    } bad[] = {
        {"null", "codebase", "must be an object, not null"},
        {"{}", "codebase.type", "item or git, not nothing"},
        {"{\"type\":\"filesystem\"}", "codebase.type", "filesystem"},
        {"{\"type\":\"item\"}", "codebase.itemId", "not nothing"},
        {"{\"type\":\"item\",\"itemId\":\"\"}", "codebase.itemId", "id of an uploaded item"},
        {"{\"type\":\"item\",\"itemId\":4}", "codebase.itemId", "not the number 4"},
        {"{\"type\":\"git\"}", "codebase.gitUrl", "not nothing"},
        {"{\"type\":\"git\",\"gitUrl\":\"file:///etc\"}", "codebase.gitUrl", "https, http"},
        {"{\"type\":\"git\",\"gitUrl\":\"ext::sh -c x\"}", "codebase.gitUrl", "https, http"},
        {"{\"type\":\"git\",\"gitUrl\":\"git@host:a/b.git\"}", "codebase.gitUrl",
         "ssh://git@host/path"},
        {"{\"type\":\"git\",\"gitUrl\":\"git://host/a\"}", "codebase.gitUrl", "https, http or ssh"},
        {"{\"type\":\"git\",\"gitUrl\":\"https:///a\"}", "codebase.gitUrl", "https, http or ssh"},
        {"{\"type\":\"git\",\"gitUrl\":\"--upload-pack=x\"}", "codebase.gitUrl", "https, http"},
        {"{\"type\":\"git\",\"gitUrl\":\"ssh://-oProxyCommand=x\"}", "codebase.gitUrl", "ssh"},
        {"{\"type\":\"git\",\"gitUrl\":\"https://a b\"}", "codebase.gitUrl", "https, http"},
        {"{\"type\":\"git\",\"gitUrl\":\"https://h\",\"gitTag\":\"--x\"}", "codebase.gitTag",
         "name of a tag"},
        {"{\"type\":\"git\",\"gitUrl\":\"https://h\",\"gitTag\":5}", "codebase.gitTag",
         "not the number 5"},
        {"{\"type\":\"git\",\"gitUrl\":\"https://h\",\"gitTag\":\"v*\"}", "codebase.gitTag",
         "not the string \"v*\"; git check-ref-format"},
        {"{\"type\":\"git\",\"gitUrl\":\"https://h\",\"credentials\":\"x\"}",
         "codebase.credentials", "an object or null"},
    };
    struct err err = ERR_INIT;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
        assert_int_equal(codebase_check(parse(good[i]), &err), 0);
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
        assert_refused(codebase_check(parse(bad[i].json), &err), &err, bad[i].field,
                       bad[i].message);
}

static void credentials_are_two_texts(void **state)
{
    (void)state;
    static const char *const good[] = {"null", "{}", "{\"username\":\"u\"}",
                                       "{\"password\":\"p@ss:w/\u00f6 rd%\",\"username\":null}",
                                       "{\"username\":\"\",\"password\":\"***\"}"};
    static const struct {
        const char *json, *field, *message;
    } bad[] = {
        {"[]", "codebase.credentials", "an object or null"},
        {"{\"username\":5}", "codebase.credentials.username", "must be a string, not a number"},
        {"{\"password\":[\"x\"]}", "codebase.credentials.password", "not an array"},
        {"{\"username\":\"u\",\"password\":{\"id\":\"a\",\"key\":\"b\"}}",
         "codebase.credentials.password", "refers to an integration"},
        {"{\"username\":{\"key\":\"b\"}}", "codebase.credentials.username",
         "give the username itself"},
        {"{\"password\":{}}", "codebase.credentials.password", "not an object"},
        {"{\"password\":\"a\\nb\"}", "codebase.credentials.password", "line breaks"},
        {"{\"username\":\"a\\rb\"}", "codebase.credentials.username", "line breaks"},
        {"{\"token\":\"x\"}", "codebase.credentials",
         "\"token\", which is not known: give username"},
    };
    char text[300];
    struct err err = ERR_INIT;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        snprintf(text, sizeof(text),
                 "{\"type\":\"git\",\"gitUrl\":\"https://h/r\",\"credentials\":%s}", good[i]);
        if (codebase_check(parse(text), &err))
            fail_msg("%s: %s", good[i], err.message);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        snprintf(text, sizeof(text),
                 "{\"type\":\"git\",\"gitUrl\":\"https://h/r\",\"credentials\":%s}", bad[i].json);
        assert_refused(codebase_check(parse(text), &err), &err, bad[i].field, bad[i].message);
    }
    const char *ssh =
        "{\"type\":\"git\",\"gitUrl\":\"ssh://git@h/r\",\"credentials\":{\"password\":\"p\"}}";
    assert_refused(codebase_check(parse(ssh), &err), &err, "codebase.credentials", "an ssh URL");
}

static void tags_are_what_git_takes(void **state)
{
    (void)state;
    static const char *const good[] = {"v1",
                                       "release/2.0",
                                       "a.b-c_d+e",
                                       "gr\u00fc\u00dfe",
                                       "v@1",
                                       "HEAD",
                                       "0123456789abcdef0123456789abcdef01234567"};
    static const char *const bad[] = {"",         "-x",  "v*",     "v?",    "v[1]", "v1~1",
                                      "v1^{}",    "a:b", "a\\\\b", "a b",   "a..b", ".hid",
                                      "a/.",      "a.",  "a/",     "/a",    "a//b", "a.lock",
                                      "x.lock/y", "@",   "v@{1}",  "a\\nb", "a/.b", "a\\u007f"};
    char text[200];
    struct err err = ERR_INIT;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        snprintf(text, sizeof(text),
                 "{\"type\":\"git\",\"gitUrl\":\"https://h/r\",\"gitTag\":\"%s\"}", good[i]);
        if (codebase_check(parse(text), &err))
            fail_msg("%s: %s", good[i], err.message);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        snprintf(text, sizeof(text),
                 "{\"type\":\"git\",\"gitUrl\":\"https://h/r\",\"gitTag\":\"%s\"}", bad[i]);
        if (codebase_check(parse(text), &err) == 0)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_string_equal(err.field, "codebase.gitTag");
    }
}

static void entry_points_choose_a_runner(void **state)
{
    (void)state;
    static const struct {
        const char *entry;
        enum module_runner runner;
    } cases[] = {
        {"main.py", MODULE_PYTHON},    {"main", MODULE_PYTHON},     {"so", MODULE_PYTHON},
        {"a.so.py", MODULE_PYTHON},    {"lib/f.so", MODULE_NATIVE}, {"main.js", MODULE_NODE},
        {"src/main.mjs", MODULE_NODE}, {"main.cjs", MODULE_NODE},   {"main.json", MODULE_PYTHON}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_int_equal(module_runner(str_of(cases[i].entry)), cases[i].runner);
    assert_int_equal(module_runner(STR_NONE), MODULE_PYTHON);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pushed_package_is_read),
        TEST(errors_name_the_place),
        TEST(limits_hold),
        TEST(kept_modules_are_not_limited),
        TEST(types_are_known),
        TEST(names_are_checked),
        TEST(versions_count_up),
        TEST(codebases_are_checked),
        TEST(credentials_are_two_texts),
        TEST(tags_are_what_git_takes),
        TEST(entry_points_choose_a_runner),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
