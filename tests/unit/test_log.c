// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <pthread.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"

struct fixture {
    int ends[2];
    struct log *log;
    char text[200000];
};

static struct fixture *start(enum log_level level, enum log_format format)
{
    struct fixture *f = test_calloc(1, sizeof(*f));
    assert_int_equal(pipe(f->ends), 0);
    f->log = log_new(f->ends[1], level, format);
    return f;
}

// What was written so far; the log cannot be used after it.
static char *stop(struct fixture *f)
{
    log_free(f->log);
    close(f->ends[1]);
    size_t len = 0;
    for (ssize_t n; (n = read(f->ends[0], f->text + len, sizeof(f->text) - 1 - len)) > 0;)
        len += (size_t)n;
    f->text[len] = '\0';
    close(f->ends[0]);
    return f->text;
}

static void text_lines_have_columns(void **state)
{
    (void)state;
    struct fixture *f = start(LOG_INFO, LOG_TEXT);
    log_info(f->log, "api", "listening on %s", ":80");
    log_error(f->log, "control", "gone");
    log_debug(f->log, "api", "too quiet to be heard");
    char *text = stop(f);
    int64_t ms;
    assert_true(time_parse((struct str){text, 24}, &ms));
    assert_true(llabs(ms - clock_wall(clock_system())) < 60000);
    assert_true(str_starts(str_of(text + 24), STR(" info  api   listening on :80\n2")));
    assert_non_null(strstr(text, "Z error control gone\n"));
    assert_null(strstr(text, "quiet"));
    test_free(f);
}

static void a_line_stays_a_line(void **state)
{
    (void)state;
    struct fixture *f = start(LOG_DEBUG, LOG_TEXT);
    log_warn(f->log, "api", "a\nb\tc\r\x1b[31m\x7f\xFF é \xC2\x85 \xE2\x80\xA8 end");
    char *text = stop(f);
    assert_non_null(strstr(text, "warn  api   a\\nb\\tc\\x0d\\x1b[31m\\x7f\\xff é \\u0085 \\u2028 "
                                 "end\n"));
    assert_null(strchr(strchr(text, '\n') + 1, '\n'));
    test_free(f);
}

static void json_lines_are_json(void **state)
{
    (void)state;
    struct fixture *f = start(LOG_DEBUG, LOG_JSON);
    log_debug(f->log, "agent", "said \"%s\"", "x\n\xFFy");
    char *text = stop(f);
    struct json line, value;
    struct err err = ERR_INIT;
    assert_int_equal(json_parse(str_of(text), 0, &line, &err), 0);
    assert_int_equal(json_count(line), 4);
    assert_true(json_get(line, "level", &value) && str_is(value.text, "\"debug\""));
    assert_true(json_get(line, "room", &value) && str_is(value.text, "\"agent\""));
    assert_true(json_get(line, "message", &value));
    assert_true(str_is(value.text, "\"said \\\"x\\n\xEF\xBF\xBDy\\\"\""));
    assert_true(json_get(line, "time", &value) && value.text.len == 26);
    assert_true(str_ends(str_of(text), STR("}\n")));
    test_free(f);
}

static void long_messages_are_cut(void **state)
{
    (void)state;
    struct fixture *f = start(LOG_INFO, LOG_TEXT);
    log_info(f->log, "api", "%02000d", 1);
    log_info(f->log, "api", "%*s", 30000, "");
    char *text = stop(f);
    char *second = strchr(text, '\n') + 1;
    assert_int_equal(second - text, 24 + 13 + 2000 + 1 - 0);
    assert_in_range(strlen(second), 16 * 1024, 16 * 1024 + 64);
    assert_int_equal(second[strlen(second) - 1], '\n');
    test_free(f);
}

static void *write_many(void *log)
{
    for (int i = 0; i < 200; i++)
        log_info(log, "api", "%s", "one whole line that must not be mixed with another");
    return NULL;
}

static void lines_of_threads_do_not_mix(void **state)
{
    (void)state;
    struct fixture *f = start(LOG_INFO, LOG_TEXT);
    pthread_t threads[3];
    // 3 * 200 lines of 89 bytes fit in the pipe's 64 KiB.
    for (int i = 0; i < 3; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, f->log), 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    int count = 0;
    for (struct str rest = str_of(stop(f)); rest.len > 0; count++) {
        struct str line = str_cut(&rest, '\n');
        assert_int_equal(line.len, 24 + 13 + 50);
        assert_true(str_ends(line, STR("mixed with another")));
    }
    assert_int_equal(count, 600);
    test_free(f);
}

static void no_log_and_no_reader_are_survived(void **state)
{
    (void)state;
    log_info(NULL, "api", "nobody");
    log_free(NULL);
    struct log *log = log_new(-1, LOG_INFO, LOG_TEXT);
    log_info(log, "api", "into nothing");
    log_free(log);
}

static void levels_have_names(void **state)
{
    (void)state;
    enum log_level level = LOG_ERROR;
    assert_true(log_level_parse("debug", &level));
    assert_int_equal(level, LOG_DEBUG);
    assert_true(log_level_parse("warn", &level));
    assert_int_equal(level, LOG_WARN);
    assert_false(log_level_parse("loud", &level));
    assert_false(log_level_parse(NULL, &level));
    assert_int_equal(level, LOG_WARN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_lines_have_columns),
        cmocka_unit_test(a_line_stays_a_line),
        cmocka_unit_test(json_lines_are_json),
        cmocka_unit_test(long_messages_are_cut),
        cmocka_unit_test(lines_of_threads_do_not_mix),
        cmocka_unit_test(no_log_and_no_reader_are_survived),
        cmocka_unit_test(levels_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
