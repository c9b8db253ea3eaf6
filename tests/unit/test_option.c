// SPDX-License-Identifier: Apache-2.0
#include "base/option.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

struct settings {
    const char *listen, *format;
    int64_t slots, timeout, body_max, port;
    bool tls, color;
};

#define AT(member) offsetof(struct settings, member)

static const struct option options[] = {
    {.flag = "--listen",
     .env = "TEST_LISTEN",
     .key = "listen",
     .type = OPTION_TEXT,
     .offset = AT(listen),
     .fallback = "127.0.0.1:8080",
     .unit = "HOST:PORT",
     .group = "Network",
     .help = "Address that the server listens on, where a host of 0.0.0.0 means every address the "
             "machine has at that time."},
    {.flag = "--slots",
     .env = "TEST_SLOTS",
     .key = "slots",
     .type = OPTION_INT,
     .offset = AT(slots),
     .fallback = "4",
     .min = 1,
     .max = 64,
     .unit = "slots",
     .group = "Work",
     .help = "How many run at once."},
    {.flag = "--timeout",
     .env = "TEST_TIMEOUT",
     .key = "timeout",
     .type = OPTION_SECONDS,
     .offset = AT(timeout),
     .fallback = "30s",
     .min = 250,
     .max = 3600000,
     .unit = "TIME",
     .group = "Network",
     .help = "Longest wait."},
    {.flag = "--body-max",
     .key = "bodyMax",
     .type = OPTION_BYTES,
     .offset = AT(body_max),
     .fallback = "10MiB",
     .min = 1024,
     .max = (int64_t)1 << 30,
     .unit = "SIZE",
     .group = "Network",
     .help = "Largest body."},
    {.flag = "--log-format",
     .env = "TEST_LOG_FORMAT",
     .key = "logFormat",
     .type = OPTION_CHOICE,
     .offset = AT(format),
     .fallback = "text",
     .choices = "text|json",
     .help = "Form of the log."},
    {.flag = "--tls",
     .env = "TEST_TLS",
     .key = "tls",
     .type = OPTION_BOOL,
     .offset = AT(tls),
     .help = "Use TLS."},
    {.flag = "--color",
     .type = OPTION_BOOL,
     .offset = AT(color),
     .fallback = "true",
     .help = "Colours."},
    {.flag = "--port",
     .env = "TEST_PORT",
     .type = OPTION_INT,
     .offset = AT(port),
     .help = "A number without limits."},
};

static const struct option_table table = {
    .options = options,
    .count = sizeof(options) / sizeof(options[0]),
    .usage = "drover server [OPTIONS]",
    .summary = "Runs the server.",
    .examples = "drover server --listen :80\ndrover server --tls",
};

struct fixture {
    struct arena *arena;
    struct err err;
    struct settings settings;
    char path[64];
};

static const char *const variables[] = {"TEST_LISTEN",     "TEST_SLOTS", "TEST_TIMEOUT",
                                        "TEST_LOG_FORMAT", "TEST_TLS",   "TEST_PORT"};

static int setup(void **state)
{
    struct fixture *f = test_calloc(1, sizeof(*f));
    f->arena = arena_new();
    memset(&f->settings, 0xAA, sizeof(f->settings));
    for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++)
        unsetenv(variables[i]);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->path[0])
        unlink(f->path);
    arena_free(f->arena);
    test_free(f);
    return 0;
}

static void write_config(struct fixture *f, const char *text)
{
    snprintf(f->path, sizeof(f->path), "/tmp/test_option.XXXXXX");
    int fd = mkstemp(f->path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

// Splits `line` at blanks into argv; gives option_load's answer.
static int load(struct fixture *f, const char *line, int *left, char *argv[16])
{
    char *words = arena_cstr(f->arena, str_of(line)), *save = NULL;
    int argc = 0;
    argv[argc++] = arena_cstr(f->arena, STR("drover"));
    for (char *word = strtok_r(words, " ", &save); word; word = strtok_r(NULL, " ", &save))
        argv[argc++] = word;
    argv[argc] = NULL;
    f->err = ERR_INIT;
    int result = option_load(&table, &argc, argv, f->path[0] ? f->path : NULL, &f->settings,
                             f->arena, &f->err);
    if (left)
        *left = argc;
    return result;
}

static void ok(struct fixture *f, const char *line)
{
    char *argv[16];
    if (load(f, line, NULL, argv) != 0)
        fail_msg("'%s': %s", line, f->err.message);
}

static void refused(struct fixture *f, const char *line, const char *part)
{
    char *argv[16];
    assert_int_equal(load(f, line, NULL, argv), -1);
    assert_int_equal(f->err.kind, ERR_BAD_INPUT);
    if (!strstr(f->err.message, part))
        fail_msg("'%s': expected '%s' within: %s", line, part, f->err.message);
}

static void defaults_fill_every_member(void **state)
{
    struct fixture *f = *state;
    ok(f, "");
    assert_string_equal(f->settings.listen, "127.0.0.1:8080");
    assert_string_equal(f->settings.format, "text");
    assert_int_equal(f->settings.slots, 4);
    assert_int_equal(f->settings.timeout, 30000);
    assert_int_equal(f->settings.body_max, 10 * 1024 * 1024);
    assert_int_equal(f->settings.port, 0);
    assert_false(f->settings.tls);
    assert_true(f->settings.color);
}

static void flag_beats_environment_beats_file_beats_default(void **state)
{
    struct fixture *f = *state;
    write_config(f, "{\"slots\": 5, \"timeout\": \"2m\", \"tls\": true, \"listen\": null,"
                    " \"bodyMax\": 2048, \"logFormat\": \"json\"}");
    ok(f, "");
    assert_int_equal(f->settings.slots, 5);
    assert_int_equal(f->settings.timeout, 120000);
    assert_int_equal(f->settings.body_max, 2048);
    assert_string_equal(f->settings.format, "json");
    assert_string_equal(f->settings.listen, "127.0.0.1:8080");
    assert_true(f->settings.tls);
    setenv("TEST_SLOTS", "6", 1);
    setenv("TEST_TLS", "off", 1);
    setenv("TEST_TIMEOUT", "", 1);
    ok(f, "");
    assert_int_equal(f->settings.slots, 6);
    assert_int_equal(f->settings.timeout, 120000);
    assert_false(f->settings.tls);
    ok(f, "--slots 7 --tls");
    assert_int_equal(f->settings.slots, 7);
    assert_true(f->settings.tls);
}

static void flags_have_all_their_forms(void **state)
{
    struct fixture *f = *state;
    ok(f, "--listen=:80 --slots 9 --no-color --tls=yes --port -5");
    assert_string_equal(f->settings.listen, ":80");
    assert_int_equal(f->settings.slots, 9);
    assert_int_equal(f->settings.port, -5);
    assert_false(f->settings.color);
    assert_true(f->settings.tls);
    ok(f, "--slots 9 --slots 10 --tls --no-tls --listen=");
    assert_int_equal(f->settings.slots, 10);
    assert_false(f->settings.tls);
    assert_string_equal(f->settings.listen, "");
}

static void times_and_sizes_take_units(void **state)
{
    struct fixture *f = *state;
    ok(f, "--timeout 250ms --body-max 64KiB");
    assert_int_equal(f->settings.timeout, 250);
    assert_int_equal(f->settings.body_max, 65536);
    ok(f, "--timeout 1h --body-max 1GiB");
    assert_int_equal(f->settings.timeout, 3600000);
    assert_int_equal(f->settings.body_max, 1 << 30);
    ok(f, "--timeout 5 --body-max 1024B");
    assert_int_equal(f->settings.timeout, 5000);
    assert_int_equal(f->settings.body_max, 1024);
}

static void positional_arguments_stay(void **state)
{
    struct fixture *f = *state;
    char *argv[16];
    int left;
    assert_int_equal(load(f, "one --slots 3 two - -- --slots x", &left, argv), 0);
    assert_int_equal(left, 6);
    assert_string_equal(argv[1], "one");
    assert_string_equal(argv[2], "two");
    assert_string_equal(argv[3], "-");
    assert_string_equal(argv[4], "--slots");
    assert_string_equal(argv[5], "x");
    assert_null(argv[6]);
    assert_int_equal(load(f, "--", &left, argv), 0);
    assert_int_equal(left, 1);
}

static void errors_name_option_source_and_limit(void **state)
{
    struct fixture *f = *state;
    refused(f, "--slots 65", "--slots: '65' is not within 1 to 64 slots (given on the command");
    assert_string_equal(f->err.field, "--slots");
    refused(f, "--slots 0", "1 to 64 slots");
    refused(f, "--slots 99999999999999999999", "is not a whole number");
    refused(f, "--slots 4x", "is not a whole number");
    refused(f, "--slots=", "is not a whole number");
    refused(f, "--timeout 2h", "'2h' is not within 250ms to 1h");
    refused(f, "--timeout 9223372036854775807h", "250ms to 1h");
    refused(f, "--timeout 5KiB", "is not a time such as");
    refused(f, "--timeout -1", "250ms to 1h");
    refused(f, "--body-max 1KB", "is not a size such as");
    refused(f, "--body-max 1", "1KiB to 1GiB");
    refused(f, "--log-format xml", "'xml' is not within text or json");
    refused(f, "--tls=maybe", "is neither true nor false");
    refused(f, "--slots", "--slots needs a value: --slots slots");
    refused(f, "--listen --tls", "--listen needs a value");
    setenv("TEST_SLOTS", "1000", 1);
    refused(f, "", "environment variable TEST_SLOTS");
}

static void unknown_names_get_a_near_one(void **state)
{
    struct fixture *f = *state;
    refused(f, "--slot 3",
            "unknown option '--slot' (given on the command line); did you mean "
            "--slots?");
    refused(f, "--lsiten=x", "did you mean --listen?");
    refused(f, "--completely-different", "--help lists all");
    refused(f, "-x", "unknown option '-x'");
    refused(f, "--no-slots", "unknown option '--no-slots'");
}

static void a_bad_file_says_where(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{\"slots\": 4,\n \"tls\": }", "line 2, column 9"},
        {"[1]", "holds an array, not an object"},
        {"{\"slotz\": 1}", "unknown setting 'slotz'"},
        {"{\"slotz\": 1}", "did you mean slots?"},
        {"{\"slots\": 0.5}", "is not a whole number"},
        {"{\"slots\": [1]}", "is neither a number nor a string"},
        {"{\"listen\": 1}", "is not a string"},
        {"{\"tls\": 1}", "is neither true nor false"},
        {"{\"slots\": 100}", "1 to 64 slots"},
        {"", "the end of the text"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        write_config(f, cases[i].text);
        refused(f, "", cases[i].part);
        assert_non_null(strstr(f->err.message, f->path));
        unlink(f->path);
    }
    refused(f, "", "cannot open configuration file");
    snprintf(f->path, sizeof(f->path), "/tmp");
    refused(f, "", "cannot read configuration file /tmp: Is a directory");
    f->path[0] = '\0';
}

static void a_huge_file_is_refused(void **state)
{
    struct fixture *f = *state;
    size_t size = 1024 * 1024 + 1;
    char *text = test_malloc(size + 1);
    memset(text, ' ', size);
    text[size] = '\0';
    write_config(f, text);
    refused(f, "", "larger than 1 MiB");
    test_free(text);
}

static void peek_looks_at_flags_then_environment(void **state)
{
    (void)state;
    char a0[] = "drover", a1[] = "--slots", a2[] = "--listen", a3[] = "--listen=here", a4[] = "--";
    char *argv[] = {a0, a1, a2, a3, a4, a2, a1, NULL};
    assert_string_equal(option_peek(&table, 7, argv, "--listen"), "here");
    assert_null(option_peek(&table, 1, argv, "--listen"));
    setenv("TEST_LISTEN", "there", 1);
    assert_string_equal(option_peek(&table, 1, argv, "--listen"), "there");
    assert_null(option_peek(&table, 7, argv, "--nothing"));
}

static void help_is_aligned_within_100_columns(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf out = BUF_INIT(100000);
    option_help(&table, &out);
    buf_add_char(&out, '\0');
    assert_false(out.over);
    size_t position = 0;
    for (struct str rest = {out.at, out.len - 1}; rest.at;) {
        struct str line = str_cut(&rest, '\n');
        assert_true(line.len <= 100);
        assert_false(str_ends(line, STR(" ")));
        if (str_starts(line, STR("  --"))) {
            size_t column = 4;  // the help starts behind the first run of two blanks
            assert_true(str_find((struct str){line.at + 4, line.len - 4}, STR("  "), &column));
            column += 4;
            while (line.at[column] == ' ')
                column++;
            position = position ? position : column;
            assert_int_equal(column, position);
        }
    }
    assert_non_null(strstr(out.at, "Usage: drover server [OPTIONS]\n\nRuns the server.\n"));
    assert_non_null(strstr(out.at, "\nNetwork:\n  --listen HOST:PORT"));
    assert_non_null(strstr(out.at, "\nWork:\n  --slots slots"));
    assert_non_null(strstr(out.at, "(default 4; 1 to 64 slots; TEST_SLOTS)"));
    assert_non_null(strstr(out.at, "--log-format text|json"));
    assert_non_null(strstr(out.at, "Examples:\n  drover server --listen :80\n"));
    const char *network = strstr(out.at, "Network:"), *work = strstr(out.at, "Work:");
    const char *body = strstr(out.at, "--body-max");
    assert_true(network < body && body < work);
}

static void markdown_has_one_row_an_option(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf out = BUF_INIT(100000);
    option_markdown(&table, &out);
    buf_add_char(&out, '\0');
    assert_non_null(strstr(out.at, "| `--slots slots` | `TEST_SLOTS` | `slots` | `4` | 1 to 64 "
                                   "slots | How many run at once. |\n"));
    assert_non_null(strstr(out.at, "`--log-format text\\|json`"));
    assert_non_null(strstr(out.at, "### Network\n"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(defaults_fill_every_member),
        TEST(flag_beats_environment_beats_file_beats_default),
        TEST(flags_have_all_their_forms),
        TEST(times_and_sizes_take_units),
        TEST(positional_arguments_stay),
        TEST(errors_name_option_source_and_limit),
        TEST(unknown_names_get_a_near_one),
        TEST(a_bad_file_says_where),
        TEST(a_huge_file_is_refused),
        TEST(peek_looks_at_flags_then_environment),
        TEST(help_is_aligned_within_100_columns),
        TEST(markdown_has_one_row_an_option),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
