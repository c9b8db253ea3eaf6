// SPDX-License-Identifier: Apache-2.0
// The pure parts of the command line: texts, times, tables, near names, signatures of Python.
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/near.h"
#include "cli/python_scan.h"
#include "cli/table.h"
#include "cli/text.h"
#include "cli/verb.h"

static void is_text(const struct buf *buf, const char *expected)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    assert_string_equal(arena_cstr(arena, buf_str(buf)), expected);
}

static void durations_are_read_whole_or_not_at_all(void **state)
{
    static const struct {
        const char *text;
        int64_t ms;
    } good[] = {{"0", 0},          {"90", 90000},   {"90s", 90000},
                {"15m", 900000},   {"1h", 3600000}, {"2d", 172800000},
                {"1w", 604800000}, {"250ms", 250},  {"1h30m", 5400000}};
    static const char *const bad[] = {"",
                                      "h",
                                      "1x",
                                      "-1h",
                                      "1h-",
                                      "1 h",
                                      "h1",
                                      "1.5h",
                                      "99999999999999999999",
                                      "9223372036854775807d"};
    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        int64_t ms = -1;
        assert_true(duration_parse(str_of(good[i].text), &ms));
        assert_int_equal(ms, good[i].ms);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int64_t ms;
        assert_false(duration_parse(str_of(bad[i]), &ms));
    }
}

static void moments_are_times_or_times_ago(void **state)
{
    struct err err = ERR_INIT;
    int64_t ms;
    (void)state;
    assert_int_equal(moment_parse("--since", "1h", 10000000, &ms, &err), 0);
    assert_int_equal(ms, 10000000 - 3600000);
    assert_int_equal(moment_parse("--since", "1970-01-01T00:00:01Z", 0, &ms, &err), 0);
    assert_int_equal(ms, 1000);
    assert_int_equal(moment_parse("--since", "soon", 0, &ms, &err), -1);
    assert_int_equal(err.kind, ERR_BAD_INPUT);
    assert_non_null(strstr(err.message, "--since: 'soon'"));
}

static void times_and_sizes_for_people(void **state)
{
    static const struct {
        void (*write)(int64_t value, struct buf *out);
        int64_t value;
        const char *text;
    } cases[] = {
        {duration_text, -5, "0 ms"},
        {duration_text, 820, "820 ms"},
        {duration_text, 3250, "3.2 s"},
        {duration_text, 250000, "4m 10s"},
        {duration_text, 7500000, "2h 5m"},
        {duration_text, 273600000, "3d 4h"},
        {age_text, 10, "now"},
        {age_text, 12000, "12s"},
        {age_text, 240000, "4m"},
        {age_text, 3 * 3600000LL, "3h"},
        {age_text, 4 * 86400000LL, "4d"},
        {bytes_text, 512, "512 B"},
        {bytes_text, 1536, "1.5 KiB"},
        {bytes_text, 200 * 1048576LL, "200 MiB"},
        {bytes_text, INT64_MAX, "8192 PiB"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        _cleanup_buf_ struct buf buf = BUF_INIT(64);
        cases[i].write(cases[i].value, &buf);
        is_text(&buf, cases[i].text);
    }
}

static void test_words_of_a_shell(void **state)
{
    static const char *const words[][2] = {{"hello", "hello"},
                                           {"a/b-c_1.py", "a/b-c_1.py"},
                                           {"my folder", "'my folder'"},
                                           {"", "''"},
                                           {"it's", "'it'\\''s'"},
                                           {"$x", "'$x'"},
                                           {"caf\xC3\xA9", "'caf\xC3\xA9'"}};
    (void)state;
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        struct buf out = BUF_INIT(100);
        text_word(&out, str_of(words[i][0]));
        assert_true(str_is(buf_str(&out), words[i][1]));
        buf_deinit(&out);
    }
}

static void widths_count_columns_not_bytes(void **state)
{
    _cleanup_buf_ struct buf cut = BUF_INIT(64);
    (void)state;
    assert_int_equal(text_width(STR("abc")), 3);
    assert_int_equal(text_width(STR("äö…")), 3);
    assert_int_equal(text_width(STR("日本")), 4);
    assert_int_equal(text_width(STR("e\xCC\x81")), 1);  // a combining accent
    assert_int_equal(text_width(STR("\xFF\xFE")), 2);   // no UTF-8: a column a byte
    text_fit(&cut, STR("日本語"), 4);
    is_text(&cut, "日…");
    buf_clear(&cut);
    text_fit(&cut, STR("abc"), 3);
    is_text(&cut, "abc");
    buf_clear(&cut);
    text_fit(&cut, STR("abc"), 0);
    is_text(&cut, "");
}

static const struct table_column columns[] = {
    {"NAME", 0}, {"COUNT", TABLE_RIGHT}, {"EMPTY", 0}, {"ID", TABLE_KEEP}};

static void fill(struct table *table)
{
    struct table_cell cells[4] = {{STR("a-rather-long-name-of-something"), COLOR_NONE},
                                  {STR("7"), COLOR_NONE},
                                  {STR_NONE, COLOR_NONE},
                                  {STR("0123456789"), COLOR_GREEN}};
    table_row(table, cells);
    cells[0].text = STR("x\n\033[31m");
    table_row(table, cells);
}

static void tables_fit(void **state)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    _cleanup_buf_ struct buf out = BUF_INIT(4096);
    struct table *table = table_new(columns, 4, arena);
    struct terminal terminal = {.width = 0};
    (void)state;
    fill(table);
    assert_int_equal(table_rows(table), 2);
    table_write(table, &terminal, &out);
    is_text(&out, "NAME                             COUNT  EMPTY  ID\n"
                  "a-rather-long-name-of-something      7         0123456789\n"
                  "x ^[[31m                             7         0123456789\n");
    // The name is cut, the empty column left out, the id never cut.
    terminal.width = 30;
    buf_clear(&out);
    table_write(table, &terminal, &out);
    is_text(&out, "NAME         COUNT  ID\n"
                  "a-rather-l…      7  0123456789\n"
                  "x ^[[31m         7  0123456789\n");
    terminal.width = 20;
    buf_clear(&out);
    table_write(table, &terminal, &out);
    is_text(&out, "NAME           COUNT\n"
                  "a-rather-lon…      7\n"
                  "x ^[[31m           7\n");
}

static void colors_only_where_they_are_wanted(void **state)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    _cleanup_buf_ struct buf out = BUF_INIT(4096);
    struct table *table = table_new(columns, 4, arena);
    struct terminal terminal = {.color = true};
    (void)state;
    fill(table);
    table_write(table, &terminal, &out);
    assert_non_null(strstr(arena_cstr(arena, buf_str(&out)), "\033[32m0123456789\033[0m"));
}

static void near_names_are_slips(void **state)
{
    static const struct {
        const char *given, *found;
    } cases[] = {{"servicse", "services"},
                 {"servicesx", "services"},
                 {"lgos", "logs"},
                 {"xyz", NULL},
                 {"a", NULL},
                 {"", NULL}};
    static const char *const names[] = {"services", "logs", "deploy", "up"};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct near near = near_start(str_of(cases[i].given));
        for (size_t k = 0; k < sizeof(names) / sizeof(names[0]); k++)
            near_try(&near, str_of(names[k]));
        assert_true(str_eq(near.found, str_of(cases[i].found)));
    }
}

static void arguments_of_verbs(void **state)
{
    static const struct {
        const char *arguments;
        int least, most;
        const char *second;
    } cases[] = {{NULL, 0, 0, NULL},
                 {"SERVICE FUNCTION [NAME=VALUE…]", 2, INT_MAX, "FUNCTION"},
                 {"[FOLDER]", 0, 1, NULL},
                 {"EXECUTION…", 1, INT_MAX, "EXECUTION"},
                 {"A B", 2, 2, "B"}};
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct verb verb = {.arguments = cases[i].arguments};
        int least, most;
        verb_arguments(&verb, &least, &most);
        assert_int_equal(least, cases[i].least);
        assert_int_equal(most, cases[i].most);
        assert_true(str_eq(verb_argument(&verb, 1), str_of(cases[i].second)));
    }
}

static void scanned(const char *code, bool found, const char *expected)
{
    _cleanup_buf_ struct buf out = BUF_INIT(65536);
    struct json_writer w = JSON_WRITER(&out);
    assert_int_equal(python_scan(str_of(code), "main.py", &w), found);
    if (expected)
        is_text(&out, expected);
}

#define HEAD                                                                                       \
    "[{\"name\":\"default_module\",\"entryPoint\":\"main.py\",\"className\":\"ServiceRunner\","

static void signatures_of_python(void **state)
{
    (void)state;
    scanned("class ServiceRunner(dl.BaseServiceRunner):\n"
            "    def __init__(self, size: int = 3):\n"
            "        def inner(x): pass\n"
            "\n"
            "    # def no(self):\n"
            "    @staticmethod\n"
            "    def run(\n"
            "        item: dl.Item,  # a comment, with a comma\n"
            "        words: str = 'a,)\\'', *args, progress: dl.Progress = None, **more,\n"
            "    ):\n"
            "        pass\n"
            "    async def go(self, t=(1, 2)): return \"def x(self)\"\n"
            "def outside(self): pass\n",
            true,
            HEAD
            "\"initInputs\":[{\"name\":\"size\",\"type\":\"Integer\"}],\"functions\":["
            "{\"name\":\"run\",\"input\":[{\"name\":\"item\",\"type\":\"Item\"},"
            "{\"name\":\"words\",\"type\":\"String\"}],\"output\":[]},"
            "{\"name\":\"go\",\"input\":[{\"name\":\"t\",\"type\":\"Json\"}],\"output\":[]}]}]");
    scanned("class ServiceRunners:\n    def run(self): pass\n", false, NULL);
    scanned("class ServiceRunner:\n    def _hidden(self): pass\n", false, NULL);
    scanned("", false, NULL);
    scanned("class ServiceRunner", false, NULL);
    scanned("class ServiceRunner:\n    def run(self, a='", true, NULL);
    scanned("class ServiceRunner:\n    def run(", true, NULL);
}

static void use_of_dtlpy(void **state)
{
    (void)state;
    assert_true(python_uses_dtlpy(STR("import os\nimport dtlpy as dl\n")));
    assert_true(python_uses_dtlpy(STR("    from dtlpy import x")));
    assert_false(python_uses_dtlpy(STR("# import dtlpy\n")));
}

static void control_characters_become_visible(void **state)
{
    _cleanup_buf_ struct buf out = BUF_INIT(256);
    (void)state;
    terminal_clean(&out, STR("a\tb\n\033]0;title\007\177\xC2\x9B"
                             "1m\xC3\xA4"));
    is_text(&out, "a\tb\n^[]0;title^G^??1m\xC3\xA4");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words_of_a_shell),
        cmocka_unit_test(durations_are_read_whole_or_not_at_all),
        cmocka_unit_test(moments_are_times_or_times_ago),
        cmocka_unit_test(times_and_sizes_for_people),
        cmocka_unit_test(widths_count_columns_not_bytes),
        cmocka_unit_test(tables_fit),
        cmocka_unit_test(colors_only_where_they_are_wanted),
        cmocka_unit_test(near_names_are_slips),
        cmocka_unit_test(arguments_of_verbs),
        cmocka_unit_test(signatures_of_python),
        cmocka_unit_test(use_of_dtlpy),
        cmocka_unit_test(control_characters_become_visible),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
