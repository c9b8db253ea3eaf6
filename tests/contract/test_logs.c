// SPDX-License-Identifier: Apache-2.0
#include "store/logs.h"

#include <dirent.h>
#include <fcntl.h>

#include "base/clock.h"
#include "store/log_day.h"
#include "store/log_index.h"
#include "store_fixture.h"

#define DAY       86400000LL
#define FIRST_DAY (20500 * DAY)  // 2026-02-16

struct place {
    struct fixture *fixture;
    struct logs *logs;
    struct clock_fake clock;
    int64_t part_bytes, scan_max;
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
                              .log = place->fixture->log,
                              .clock = &place->clock.clock,
                              .part_bytes = place->part_bytes,
                              .scan_max = place->scan_max},
        &err);
    if (!logs)
        fail_msg("%s", err.message);
    return logs;
}

static int setup(void **state)
{
    struct place *place = mem_alloc(sizeof(*place));
    place->fixture = fixture_new(NULL);
    clock_fake_init(&place->clock);
    place->clock.wall_ms = FIRST_DAY;
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
    assert_int_equal(count_lines(place, everything), 20);
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

static void reopen(struct place *place)
{
    logs_close(place->logs);
    place->fixture->stop = false;
    place->logs = open_logs(place);
}

// Seqs go on where they were, also when the newest lines were deleted.
static void test_reopen(void **state)
{
    struct place *place = *state;
    if (in_memory)
        return;
    append_twenty(place);
    int64_t newest = read_lines(place, everything).lines[19].seq;
    logs_append(place->logs, &(struct log_line){.service_id = STR("s"), .message = STR("")}, 1,
                written, place);
    logs_close(place->logs);  // stores what is queued
    assert_int_equal(place->done, 2);
    place->fixture->stop = false;
    place->logs = open_logs(place);
    struct logs_read read = read_lines(place, everything);
    assert_int_equal(read.count, 21);
    assert_true(read.lines[20].seq > newest);
    assert_non_null(read.lines[20].message.at);
    newest = read.lines[20].seq;
    logs_delete_service(place->logs, STR("s"), NULL, NULL);
    logs_delete_project(place->logs, STR("p"), written, place);
    fixture_run(place->fixture);
    assert_int_equal(count_lines(place, everything), 0);
    reopen(place);
    append_twenty(place);
    assert_true(read_lines(place, everything).lines[0].seq > newest);
}

// ── days ─────────────────────────────────────────────────────────────────────────────────────

static void append_days(struct place *place, int days)
{
    for (int day = 0; day < days; day++) {
        place->clock.wall_ms = FIRST_DAY + day * DAY;
        append_twenty(place);
    }
}

static bool has_file(struct place *place, const char *name)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/logs/%s", place->fixture->folder, name);
    return access(path, F_OK) == 0;
}

// All lines, page by page, in both directions: as many, each once, in order.
static size_t count_pages(struct place *place, struct logs_query q, int64_t limit)
{
    size_t up = 0, down = 0;
    int64_t last = -1;
    q.limit = limit;
    for (struct logs_read read;; q.after_seq = read.more ? read.reached : last) {
        read = read_lines(place, q);
        for (size_t i = 0; i < read.count; i++, up++) {
            assert_true(read.lines[i].seq > last);
            last = read.lines[i].seq;
        }
        assert_true(!read.more || read.reached >= last);
        assert_true(!read.more || read.reached > q.after_seq);
        if ((int64_t)read.count < limit && !read.more)
            break;
    }
    q.descending = true;
    last = INT64_MAX;
    for (struct logs_read read;; q.before_seq = read.more ? read.reached : last) {
        read = read_lines(place, q);
        for (size_t i = 0; i < read.count; i++, down++) {
            assert_true(read.lines[i].seq < last);
            last = read.lines[i].seq;
        }
        assert_true(!read.more || read.reached < q.before_seq);
        if ((int64_t)read.count < limit && !read.more)
            break;
    }
    assert_int_equal(up, down);
    return up;
}

static void test_days(void **state)
{
    struct place *place = *state;
    append_days(place, 5);
    assert_int_equal(count_pages(place, everything, 7), 100);
    struct logs_query q = everything;
    q.service_id = STR("a");
    assert_int_equal(count_pages(place, q, 3), 50);
    q = everything;
    q.executions = (struct str[]){STR("x"), STR("y")};
    q.execution_count = 2;
    assert_int_equal(count_pages(place, q, 3), 50);
    q = everything;
    q.text = STR("NEEDLE");
    assert_int_equal(count_pages(place, q, 2), 5);
    if (in_memory)
        return;
    assert_true(has_file(place, "2026-02-16.db"));
    assert_true(has_file(place, "2026-02-20.db"));
    int64_t newest = read_lines(place, everything).lines[99].seq;
    assert_int_equal(log_key_of(newest), log_day_key(20504));
    place->clock.wall_ms = FIRST_DAY + 3 * DAY;  // the clock was put back: seqs grow all the same
    reopen(place);
    append_twenty(place);
    q = everything;
    q.descending = true;
    assert_true(read_lines(place, q).lines[19].seq > newest);
    assert_int_equal(count_pages(place, everything, 50), 120);
}

static void test_delete_in_all_days(void **state)
{
    struct place *place = *state;
    append_days(place, 3);
    struct log_line line = line_of(50, "big", NULL);
    for (int i = 0; i < 1500; i++)
        logs_append(place->logs, &line, 1, NULL, NULL);
    place->clock.wall_ms += DAY;
    logs_append(place->logs, &line, 1, NULL, NULL);
    place->clock.wall_ms += DAY;
    append_twenty(place);
    logs_delete_service(place->logs, STR("big"), written, place);
    logs_delete_service(place->logs, STR("a"), written, place);
    while (place->done < 6)
        fixture_run(place->fixture);
    struct logs_query q = everything;
    q.service_id = STR("big");
    assert_int_equal(count_lines(place, q), 0);
    q.service_id = STR("a");
    assert_int_equal(count_lines(place, q), 0);
    assert_int_equal(count_lines(place, everything), 40);
    if (!in_memory)
        assert_false(has_file(place, "2026-02-19.db"));  // nothing was left in it
}

// What was begun is ended by the next process.
static void test_deletion_goes_on(void **state)
{
    struct place *place = *state;
    if (in_memory)
        return;
    struct log_line *lines = mem_alloc(30000 * sizeof(*lines));
    for (int i = 0; i < 30000; i++)
        lines[i] = line_of(i, "big", NULL);
    logs_append(place->logs, lines, 30000, written, place);
    fixture_run(place->fixture);
    mem_free(lines);
    logs_delete_service(place->logs, STR("big"), written, place);
    logs_close(place->logs);
    assert_int_equal(place->done, 2);
    assert_int_equal(place->err.kind, ERR_UNAVAILABLE);
    place->fixture->stop = false;
    place->logs = open_logs(place);
    append_twenty(place);
    struct logs_query q = everything;
    q.service_id = STR("big");
    while (count_lines(place, q) > 0)
        usleep(1000);
    assert_int_equal(count_lines(place, everything), 20);
    reopen(place);
    assert_int_equal(count_lines(place, everything), 20);
}

static void keep(struct place *place, int64_t days, int64_t bytes)
{
    logs_keep(place->logs, days, bytes, written, place);
    fixture_run(place->fixture);
    assert_int_equal(place->err.kind, ERR_NONE);
}

static void test_keep(void **state)
{
    struct place *place = *state;
    append_days(place, 5);
    int64_t first = read_lines(place, everything).lines[0].seq;
    keep(place, 0, 0);
    keep(place, 4, 0);
    assert_int_equal(count_lines(place, everything), 100);
    place->clock.wall_ms += DAY - 1;  // of the same day
    keep(place, 3, 0);
    assert_int_equal(count_lines(place, everything), 80);
    struct logs_query q = everything;
    q.after_seq = first;  // of a file that is gone: what comes after it
    assert_int_equal(count_lines(place, q), 80);
    place->clock.wall_ms += 1000 * DAY;
    keep(place, 1, 0);
    assert_int_equal(count_lines(place, everything), 20);  // the newest file stays
    append_twenty(place);
    keep(place, 1, 0);
    assert_int_equal(count_lines(place, everything), 20);
    if (in_memory)
        return;
    assert_false(has_file(place, "2026-02-16.db"));
    place->clock.wall_ms += DAY;
    append_twenty(place);
    keep(place, 0, 1);
    assert_int_equal(count_lines(place, everything), 20);
}

// A day that brings more than a file may hold has several.
static void test_parts(void **state)
{
    struct place *place = *state;
    if (in_memory)
        return;
    place->part_bytes = 200000;
    reopen(place);
    struct log_line *lines = mem_alloc(5000 * sizeof(*lines));
    for (int i = 0; i < 5000; i++)
        lines[i] = line_of(i, "s", NULL);
    for (int i = 0; i < 4; i++) {
        logs_append(place->logs, lines, 5000, written, place);
        fixture_run(place->fixture);
        logs_close(place->logs);
        place->logs = open_logs(place);
    }
    mem_free(lines);
    assert_true(has_file(place, "2026-02-16.db"));
    assert_true(has_file(place, "2026-02-16.2.db"));
    assert_int_equal(count_pages(place, everything, 1000), 20000);
    keep(place, 0, 1000000);
    assert_false(has_file(place, "2026-02-16.db"));
    assert_true(count_pages(place, everything, 1000) < 20000);
}

static void spoil(struct place *place, const char *name, off_t from)
{
    char path[256], text[4096];
    snprintf(path, sizeof(path), "%s/logs/%s", place->fixture->folder, name);
    memset(text, 'x', sizeof(text));
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    off_t end = lseek(fd, 0, SEEK_END);
    for (off_t at = from; at < end; at += (off_t)sizeof(text))
        assert_int_equal(pwrite(fd, text, sizeof(text), at), sizeof(text));
    close(fd);
}

// A damaged file is set aside, whether it is read or written to; the others are served.
static void test_damaged(void **state)
{
    struct place *place = *state;
    if (in_memory)
        return;
    append_days(place, 4);
    int64_t newest = read_lines(place, everything).lines[79].seq;
    logs_close(place->logs);
    spoil(place, "2026-02-17.db", 0);
    spoil(place, "2026-02-18.db", 4096);
    spoil(place, "2026-02-19.db", 0);
    log_free(place->fixture->log);
    place->fixture->log = NULL;  // it would tell
    place->logs = open_logs(place);
    assert_int_equal(count_pages(place, everything, 7), 20);
    append_twenty(place);
    assert_int_equal(count_pages(place, everything, 7), 40);
    assert_true(read_lines(place, everything).lines[39].seq > newest);
    static const char *const aside[] = {"2026-02-17.db.damaged", "2026-02-18.db.damaged",
                                        "2026-02-19.db.damaged"};
    for (size_t i = 0; i < 3; i++)
        assert_true(has_file(place, aside[i]));
    reopen(place);
    append_twenty(place);
    assert_int_equal(count_pages(place, everything, 7), 60);
}

static void test_former_file_is_refused(void **state)
{
    struct place *place = *state;
    struct err err = ERR_INIT;
    char path[256];
    if (in_memory)
        return;
    snprintf(path, sizeof(path), "%s/logs.db", place->fixture->folder);
    fclose(fopen(path, "w"));
    assert_null(logs_open(
        &(struct logs_config){.path = place->fixture->folder, .loop = place->fixture->loop}, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_non_null(strstr(err.message, "move logs.db"));
}

// ── bounded reads, times, texts ──────────────────────────────────────────────────────────────

#define MANY 6000

static unsigned chance(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

// Lines of three services over two days; times by and large growing.
static void append_many(struct place *place, struct log_line lines[MANY], char texts[MANY][64],
                        unsigned *seed)
{
    static const char *const words[] = {"Alpha",         "beta",  "\"gamma\"",
                                        "DELTA\xc3\xa9", "ep si", "zeta%"};
    static const char *const services[] = {"s0", "s1", "s2"};
    for (int i = 0; i < MANY; i++) {
        snprintf(texts[i], 64, "%s %u %s", words[chance(seed) % 6], chance(seed) % 1000,
                 words[chance(seed) % 6]);
        lines[i] = line_of(0, services[chance(seed) % 3], NULL);
        lines[i].at = i * 100 + chance(seed) % 20000;
        lines[i].message = str_of(texts[i]);
    }
    for (int i = 0; i < MANY; i += 500) {
        place->clock.wall_ms = FIRST_DAY + (i >= MANY / 2 ? DAY : 0);
        logs_append(place->logs, lines + i, 500, written, place);
        fixture_run(place->fixture);
    }
}

static size_t count_expected(const struct log_line lines[MANY], const struct logs_query *q)
{
    size_t count = 0;
    for (int i = 0; i < MANY; i++)
        count += lines[i].at >= q->start && lines[i].at <= q->end &&
                 (!q->text.at || strcasestr(lines[i].message.at, q->text.at)) &&
                 (!q->service_id.at || str_eq(q->service_id, lines[i].service_id));
    return count;
}

static void compare_many(struct place *place, const struct log_line lines[MANY], unsigned *seed)
{
    static const char *const needles[] = {"alpha",   "GAMMA\" ", "\xc3\xa9 1", "a",  "9",
                                          "beta 77", "zeta% 12", "nowhere",    "12", " ep si"};
    for (int i = 0; i < 60; i++) {
        struct logs_query q = everything;
        if (chance(seed) % 3)
            q.text = str_of(needles[chance(seed) % 10]);
        if (chance(seed) % 2)
            q.service_id = str_of(chance(seed) % 2 ? "s0" : "s2");
        if (chance(seed) % 2)
            q.start = chance(seed) % (MANY * 100);
        if (chance(seed) % 2)
            q.end = chance(seed) % (MANY * 120);
        size_t found = count_pages(place, q, 1 + chance(seed) % 400);
        if (found != count_expected(lines, &q))
            fail_msg("query %d: text %s, service %s, %lld to %lld: %zu lines, not %zu", i,
                     q.text.at, q.service_id.at, (long long)q.start, (long long)q.end, found,
                     count_expected(lines, &q));
    }
}

static int64_t indexed(struct place *place, const char *name, int64_t day)
{
    struct err err = ERR_INIT;
    char path[256];
    int64_t end = -1, first = log_key_first(log_day_key(day));
    snprintf(path, sizeof(path), "%s/logs/%s", place->fixture->folder, name);
    struct log_index *index = log_index_open(path, false, &err);
    if (index)
        assert_int_equal(log_index_end(index, first, &end, &err), 0);
    log_index_close(index);
    return index ? end - first : 0;
}

static void test_searches_agree(void **state)
{
    struct place *place = *state;
    const char *given = getenv("DROVER_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)getpid();
    print_message("seed %u\n", seed);
    struct log_line *lines = mem_alloc(MANY * sizeof(*lines));
    char(*texts)[64] = mem_alloc(sizeof(char[MANY][64]));
    place->scan_max = 500;
    reopen(place);
    append_many(place, lines, texts, &seed);
    compare_many(place, lines, &seed);
    if (!in_memory && log_index_supported()) {
        while (indexed(place, "2026-02-16.index", 20500) <= MANY / 2 ||
               indexed(place, "2026-02-17.index", 20501) <= MANY / 2 - LOG_BLOCK_LINES)
            usleep(10000);
        compare_many(place, lines, &seed);
        logs_close(place->logs);
        spoil(place, "2026-02-16.index", 8192);
        log_free(place->fixture->log);
        place->fixture->log = NULL;
        place->logs = open_logs(place);
        compare_many(place, lines, &seed);
    }
    mem_free(lines);
    mem_free(texts);
}

// Lines that nobody looks for do not make a read look at them all.
static void test_reads_are_bounded(void **state)
{
    struct place *place = *state;
    place->scan_max = 1000;
    reopen(place);
    struct log_line *lines = mem_alloc(5000 * sizeof(*lines));
    for (int i = 0; i < 5000; i++)
        lines[i] = line_of(i, "s", NULL);
    logs_append(place->logs, lines, 5000, written, place);
    fixture_run(place->fixture);
    mem_free(lines);
    struct logs_query q = everything;
    q.text = STR("~~");
    struct logs_read read = read_lines(place, q);
    assert_true(read.more);
    assert_int_equal(read.count, 0);
    int64_t first = read_lines(place, everything).lines[0].seq;
    assert_in_range(read.reached - first, 500, 1000);
    assert_int_equal(count_pages(place, q, 10), 0);
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
        LOGS_TEST(test_append_and_read),
        LOGS_TEST(test_queries),
        LOGS_TEST(test_pages),
        LOGS_TEST(test_delete),
        LOGS_TEST(test_delete_project),
        LOGS_TEST(test_follow),
        LOGS_TEST(test_bounded),
        LOGS_TEST(test_reopen),
        LOGS_TEST(test_levels),
        LOGS_TEST(test_days),
        LOGS_TEST(test_delete_in_all_days),
        LOGS_TEST(test_deletion_goes_on),
        LOGS_TEST(test_keep),
        LOGS_TEST(test_parts),
        LOGS_TEST(test_damaged),
        LOGS_TEST(test_former_file_is_refused),
        LOGS_TEST(test_searches_agree),
        LOGS_TEST(test_reads_are_bounded),
    };
    in_memory = strcmp(name, "logs in memory") == 0;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void) { return run_suite("logs in a file") + run_suite("logs in memory"); }
