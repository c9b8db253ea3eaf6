// SPDX-License-Identifier: Apache-2.0
#include "store/logs.h"

#include "store_fixture.h"

struct place {
    struct fixture *fixture;
    struct logs *logs;
    struct err err;  // of the last thing done
    int done, followed;
    char service[32];  // of the last follow
};

static bool in_memory;  // of the suite that runs

static struct logs *open_logs(struct place *place)
{
    struct err err = ERR_INIT;
    struct logs *logs = logs_open(
        &(struct logs_config){.path = in_memory ? NULL : place->fixture->folder,
                              .loop = place->fixture->loop,
                              .log = place->fixture->log},
        &err);
    if (!logs)
        fail_msg("%s", err.message);
    return logs;
}

static int setup(void **state)
{
    struct place *place = mem_alloc(sizeof(*place));
    place->fixture = fixture_new(NULL);
    place->logs = open_logs(place);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    logs_close(place->logs);
    fixture_free(place->fixture);
    mem_free(place);
    return 0;
}

static void written(void *arg, const struct err *err)
{
    struct place *place = arg;
    place->err = *err;
    place->done++;
    fixture_stop(place->fixture);
}

static struct log_line line_of(int number, const char *service, const char *execution)
{
    return (struct log_line){.at = 1000 + number,
                             .level = number % 2 ? LINE_INFO : LINE_ERROR,
                             .system = number % 10 == 9,
                             .service_id = str_of(service),
                             .project_id = STR("p"),
                             .execution_id = str_of(execution),
                             .function_name = STR("run"),
                             .replica_id = STR("r"),
                             .message = STR("Hello, World")};
}

// Twenty lines by turns of services "a" and "b", half of them of executions.
static void append_twenty(struct place *place)
{
    struct log_line lines[20];
    for (int i = 0; i < 20; i++) {
        lines[i] = line_of(i, i % 2 ? "a" : "b", i % 4 < 2 ? "x" : NULL);
        if (i == 7)
            lines[i].message = STR("needle \xc3\xa9 here");
    }
    logs_append(place->logs, lines, 20, written, place);
    memset(lines, 0, sizeof(lines));  // they were copied
    fixture_run(place->fixture);
    assert_int_equal(place->err.kind, ERR_NONE);
}

static const struct logs_query everything = {.system = true,
                                             .start = INT64_MIN,
                                             .end = INT64_MAX,
                                             .after_seq = -1,
                                             .before_seq = INT64_MAX,
                                             .limit = 100};

static void was_read(void *arg, struct logs_read *read)
{
    (void)read;
    fixture_stop(((struct place *)arg)->fixture);
}

static struct logs_read read_lines(struct place *place, struct logs_query query)
{
    struct logs_read read = {
        .query = query, .arena = place->fixture->arena, .done = was_read, .arg = place};
    logs_read(place->logs, &read);
    fixture_run(place->fixture);
    if (read.err.kind != ERR_NONE)
        fail_msg("%s", read.err.message);
    return read;
}

static size_t count_lines(struct place *place, struct logs_query query)
{
    return read_lines(place, query).count;
}

static void test_append_and_read(void **state)
{
    struct place *place = *state;
    append_twenty(place);
    struct logs_read read = read_lines(place, everything);
    assert_int_equal(read.count, 20);
    for (size_t i = 0; i < 20; i++) {
        assert_true(read.lines[i].at == 1000 + (int64_t)i);
        assert_true(i == 0 || read.lines[i].seq > read.lines[i - 1].seq);
        assert_int_equal(read.lines[i].system, i % 10 == 9);
        assert_int_equal(read.lines[i].level, i % 2 ? LINE_INFO : LINE_ERROR);
        assert_true(str_is(read.lines[i].service_id, i % 2 ? "a" : "b"));
        assert_int_equal(read.lines[i].execution_id.at != NULL, i % 4 < 2);
    }
    assert_true(str_is(read.lines[7].message, "needle \xc3\xa9 here"));
    assert_true(str_is(read.lines[0].function_name, "run"));
    assert_true(str_is(read.lines[0].replica_id, "r"));
    assert_true(str_is(read.lines[0].project_id, "p"));
}

static void test_queries(void **state)
{
    struct place *place = *state;
    append_twenty(place);
    struct logs_query q = everything;
    q.service_id = STR("a");
    assert_int_equal(count_lines(place, q), 10);
    q.system = false;
    assert_int_equal(count_lines(place, q), 8);
    q.project_id = STR("q");
    assert_int_equal(count_lines(place, q), 0);
    q = everything;
    q.project_id = STR("p");
    q.level_min = LINE_WARNING;
    assert_int_equal(count_lines(place, q), 10);
    q = everything;
    q.text = STR("NEEDLE");
    assert_int_equal(count_lines(place, q), 1);
    q = everything;
    q.start = 1005;
    q.end = 1010;
    assert_int_equal(count_lines(place, q), 6);
    q = everything;
    q.executions = (struct str[]){STR("none"), STR("x")};
    q.execution_count = 2;
    assert_int_equal(count_lines(place, q), 10);
    q.service_id = STR("b");
    assert_int_equal(count_lines(place, q), 5);
    q.function_name = STR("other");
    assert_int_equal(count_lines(place, q), 0);
    q = everything;
    q.replica_id = STR("r");
    q.limit = 3;
    assert_int_equal(count_lines(place, q), 3);
}

// Pages by seq, upwards and downwards, see every line once.
static void test_pages(void **state)
{
    struct place *place = *state;
    append_twenty(place);
    struct logs_query q = everything;
    q.limit = 6;
    int64_t wanted = 1000;
    for (;;) {
        struct logs_read read = read_lines(place, q);
        for (size_t i = 0; i < read.count; i++)
            assert_true(read.lines[i].at == wanted++);
        if (read.count < 6)
            break;
        q.after_seq = read.lines[read.count - 1].seq;
    }
    assert_true(wanted == 1020);
    q = everything;
    q.limit = 6;
    q.descending = true;
    for (;;) {
        struct logs_read read = read_lines(place, q);
        for (size_t i = 0; i < read.count; i++)
            assert_true(read.lines[i].at == --wanted);
        if (read.count < 6)
            break;
        q.before_seq = read.lines[read.count - 1].seq;
    }
    assert_true(wanted == 1000);
}

static void test_delete(void **state)
{
    struct place *place = *state;
    append_twenty(place);
    logs_delete_before(place->logs, 1004, written, place);
    fixture_run(place->fixture);
    assert_int_equal(count_lines(place, everything), 16);
    // More than one step, with lines of another service in between.
    struct log_line line = line_of(50, "big", NULL);
    for (int i = 0; i < 2500; i++)
        logs_append(place->logs, &line, 1, NULL, NULL);
    logs_delete_service(place->logs, STR("big"), written, place);
    fixture_run(place->fixture);
    assert_int_equal(place->err.kind, ERR_NONE);
    struct logs_query q = everything;
    q.service_id = STR("big");
    assert_int_equal(count_lines(place, q), 0);
    assert_int_equal(count_lines(place, everything), 16);
}

static void test_delete_project(void **state)
{
    struct place *place = *state;
    append_twenty(place);
    struct log_line lines[] = {line_of(50, "one", NULL), line_of(51, "two", "e")};
    lines[0].project_id = lines[1].project_id = STR("doomed");
    for (int i = 0; i < 1250; i++)
        logs_append(place->logs, lines, 2, NULL, NULL);
    struct log_line other = line_of(52, "one", NULL);
    other.project_id = STR("doomed-not");
    logs_append(place->logs, &other, 1, NULL, NULL);
    logs_append(place->logs, &(struct log_line){.service_id = STR("one"), .message = STR("")}, 1,
                NULL, NULL);
    logs_delete_project(place->logs, STR("doomed"), written, place);
    fixture_run(place->fixture);
    assert_int_equal(place->err.kind, ERR_NONE);
    struct logs_query q = everything;
    q.project_id = STR("doomed");
    assert_int_equal(count_lines(place, q), 0);
    assert_int_equal(count_lines(place, everything), 22);
    // Nothing to name is not everything.
    logs_delete_project(place->logs, STR_NONE, written, place);
    fixture_run(place->fixture);
    assert_int_equal(count_lines(place, everything), 22);
}

static void follow(void *arg, struct str service_id)
{
    struct place *place = arg;
    place->followed++;
    snprintf(place->service, sizeof(place->service), STR_FMT, STR_ARG(service_id));
}

static void test_follow(void **state)
{
    struct place *place = *state;
    logs_on_append(place->logs, follow, place);
    struct log_line lines[2] = {line_of(1, "s", NULL), line_of(2, "s", NULL)};
    logs_append(place->logs, lines, 2, written, place);
    fixture_run(place->fixture);
    assert_int_equal(place->followed, 1);
    assert_string_equal(place->service, "s");
}

// A flood that the disk can not take is refused, not kept in memory without a limit.
static void test_bounded(void **state)
{
    struct place *place = *state;
    size_t size = (size_t)33 * 1024 * 1024;
    char *text = mem_alloc(size);
    memset(text, 'x', size);
    struct log_line line = line_of(1, "s", NULL);
    line.message = (struct str){text, size};
    struct log_line too_much[2] = {line, line};
    logs_append(place->logs, too_much, 2, written, place);
    fixture_run(place->fixture);
    assert_int_equal(place->err.kind, ERR_BUSY);
    mem_free(text);
    append_twenty(place);
    assert_int_equal(count_lines(place, everything), 20);
}

// Seqs go on where they were, also when the newest lines were deleted.
static void test_reopen(void **state)
{
    struct place *place = *state;
    if (in_memory)
        return;
    append_twenty(place);
    int64_t newest = read_lines(place, everything).lines[19].seq;
    logs_delete_before(place->logs, INT64_MAX, NULL, NULL);
    logs_append(place->logs, &(struct log_line){.service_id = STR("s"), .message = STR("")}, 1,
                written, place);
    logs_close(place->logs);  // stores what is queued
    assert_int_equal(place->done, 2);
    place->fixture->stop = false;
    place->logs = open_logs(place);
    struct logs_read read = read_lines(place, everything);
    assert_int_equal(read.count, 1);
    assert_true(read.lines[0].seq > newest);
    assert_non_null(read.lines[0].message.at);
    logs_delete_before(place->logs, INT64_MAX, NULL, NULL);
    logs_close(place->logs);
    place->logs = open_logs(place);
    append_twenty(place);
    assert_true(read_lines(place, everything).lines[0].seq > newest + 1);
}

static void test_levels(void **state)
{
    (void)state;
    static const char *const words[] = {"debug", "info", "warning", "error", "critical"};
    for (size_t i = 0; i < 5; i++)
        assert_string_equal(line_level_word(line_level_parse(str_of(words[i]))), words[i]);
    assert_int_equal(line_level_parse(STR("WARNING")), LINE_WARNING);
    assert_int_equal(line_level_parse(STR("loud")), 0);
    assert_string_equal(line_level_word(35), "warning");
}

#define LOGS_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

static int run_suite(const char *name)
{
    const struct CMUnitTest tests[] = {
        LOGS_TEST(test_append_and_read), LOGS_TEST(test_queries),        LOGS_TEST(test_pages),
        LOGS_TEST(test_delete),          LOGS_TEST(test_delete_project), LOGS_TEST(test_follow),
        LOGS_TEST(test_bounded),         LOGS_TEST(test_reopen),         LOGS_TEST(test_levels),
    };
    in_memory = strcmp(name, "logs in memory") == 0;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void) { return run_suite("logs in a file") + run_suite("logs in memory"); }
