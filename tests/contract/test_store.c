// SPDX-License-Identifier: Apache-2.0
// One suite for every store driver: rows, and the life of an execution.
#include "store_fixture.h"

// ── rows to play with ────────────────────────────────────────────────────────────────────────

static struct item item_of(const char *id, const char *filename, const char *metadata)
{
    struct item row;
    entity_clear(&item_entity, &row);
    row.id = str_of(id);
    row.dataset_id = STR("d");
    row.filename = str_of(filename);
    row.metadata = str_of(metadata);
    return row;
}

// ── rows ─────────────────────────────────────────────────────────────────────────────────────

static int insert_one(struct tx *tx, struct fixture *fixture, struct err *err)
{
    (void)fixture;
    struct execution row = execution_of("e1", "s", 5);
    return tx_insert(tx, &execution_entity, &row, err);
}

static int read_one(struct tx *tx, struct fixture *fixture, struct err *err)
{
    struct execution row;
    if (tx_get(tx, &execution_entity, STR("e1"), &row, fixture->arena, err) < 0)
        return -1;
    assert_true(str_is(row.id, "e1"));
    assert_true(str_is(row.input, "{\"a\":0.1,\"b\":1180591620717411303424}"));
    assert_null(row.output.at);
    assert_true(row.started_at == INT_NONE);
    assert_true(row.created_at == 5);
    assert_true(row.percent == 0);
    assert_false(row.to_terminate);
    return 0;
}

static int update_one(struct tx *tx, struct fixture *fixture, struct err *err)
{
    struct execution row;
    if (tx_get(tx, &execution_entity, STR("e1"), &row, fixture->arena, err) < 0)
        return -1;
    row.output = STR("");
    row.status_message = STR("two\0parts");
    row.to_terminate = true;
    row.percent = NAN;
    row.started_at = INT64_MAX;
    row.ended_at = INT64_MIN + 1;
    return tx_update(tx, &execution_entity, &row, err);
}

static int check_update(struct tx *tx, struct fixture *fixture, struct err *err)
{
    struct execution row;
    if (tx_get(tx, &execution_entity, STR("e1"), &row, fixture->arena, err) < 0)
        return -1;
    assert_non_null(row.output.at);  // empty is not absent
    assert_int_equal(row.output.len, 0);
    assert_true(str_eq(row.status_message, STR("two\0parts")));
    assert_true(row.to_terminate && isnan(row.percent));
    assert_true(row.started_at == INT64_MAX && row.ended_at == INT64_MIN + 1);
    return 0;
}

static int delete_one(struct tx *tx, struct fixture *fixture, struct err *err)
{
    (void)fixture;
    return tx_delete(tx, &execution_entity, STR("e1"), err);
}

static void test_rows(void **state)
{
    struct fixture *f = *state;
    struct err failure = ERR_INIT, *err = &failure;
    FAILS(ERR_NOT_FOUND, read_now(f, read_one, err));
    OK(write_now(f, insert_one, err));
    OK(read_now(f, read_one, err));
    FAILS(ERR_CONFLICT, write_now(f, insert_one, err));
    OK(write_now(f, update_one, err));
    OK(read_now(f, check_update, err));
    OK(write_now(f, delete_one, err));
    FAILS(ERR_NOT_FOUND, write_now(f, delete_one, err));
    FAILS(ERR_NOT_FOUND, write_now(f, update_one, err));
    FAILS(ERR_NOT_FOUND, read_now(f, read_one, err));
}

static void test_readers_do_not_write(void **state)
{
    struct fixture *f = *state;
    struct err failure = ERR_INIT, *err = &failure;
    FAILS(ERR_INTERNAL, read_now(f, insert_one, err));
    OK(write_now(f, insert_one, err));
    FAILS(ERR_INTERNAL, read_now(f, delete_one, err));
    OK(read_now(f, read_one, err));
}

static int insert_items(struct tx *tx, struct fixture *fixture, struct err *err)
{
    (void)fixture;
    struct item rows[] = {item_of("1", "/a", "{\"k\":3}"), item_of("2", "/b", "{\"k\":\"x\"}"),
                          item_of("3", "/c", "{}"), item_of("4", "/d", "{\"k\":1.5}")};
    for (size_t i = 0; i < 4; i++)
        if (tx_insert(tx, &item_entity, &rows[i], err) < 0)
            return -1;
    return 0;
}

static int take_name(struct tx *tx, struct fixture *fixture, struct err *err)
{
    (void)fixture;
    struct item row = item_of("9", "/b", "{}");
    return tx_insert(tx, &item_entity, &row, err);
}

static int rename_to_taken(struct tx *tx, struct fixture *fixture, struct err *err)
{
    (void)fixture;
    struct item row = item_of("1", "/b", "{}");
    return tx_update(tx, &item_entity, &row, err);
}

static int without_names(struct tx *tx, struct fixture *fixture, struct err *err)
{
    (void)fixture;
    struct item a = item_of("a", NULL, "{}"), b = item_of("b", NULL, "{}");
    return tx_insert(tx, &item_entity, &a, err) < 0 || tx_insert(tx, &item_entity, &b, err) < 0 ? -1
                                                                                                : 0;
}

static void test_unique(void **state)
{
    struct fixture *f = *state;
    struct err failure = ERR_INIT, *err = &failure;
    OK(write_now(f, insert_items, err));
    FAILS(ERR_CONFLICT, write_now(f, take_name, err));
    FAILS(ERR_CONFLICT, write_now(f, rename_to_taken, err));
    OK(write_now(f, without_names, err));  // absent values take nothing
    assert_int_equal(write_now(f, take_name, err), -1);
    assert_non_null(strstr(err->message, "filename '/b'"));
}

// ── lists ────────────────────────────────────────────────────────────────────────────────────

static void ids_of(const void *rows, size_t count, const struct entity *entity, char *out)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        const struct str *id = (const void *)((const char *)rows + i * entity->size);
        memcpy(out + at, id->at, id->len);
        at += id->len;
    }
    out[at] = '\0';
}

static struct query query_of(struct fixture *fixture, const struct entity *entity, const char *text)
{
    struct json json;
    struct query query;
    struct err err = ERR_INIT;
    assert_int_equal(json_parse(str_of(text), 0, &json, &err), 0);
    if (query_parse(json, entity, 100, &limits_default, fixture->arena, &query, &err) < 0)
        fail_msg("%s", err.message);
    return query;
}

static int sorted_items(struct tx *tx, struct fixture *fixture, struct err *err)
{
    static const char *const cases[][2] = {
        {"{}", "1234"},
        {"{\"sort\":{\"id\":\"descending\"}}", "4321"},
        {"{\"sort\":{\"metadata.k\":\"ascending\"}}", "3412"},  // absent, 1.5, 3, "x"
        {"{\"sort\":{\"metadata.k\":\"descending\"}}", "2143"},
        {"{\"sort\":{\"filename\":\"descending\"},\"pageSize\":2}", "43"},
        {"{\"sort\":{\"filename\":\"descending\"},\"pageSize\":2,\"page\":1}", "21"},
        {"{\"pageSize\":3,\"page\":1}", "4"},
        {"{\"pageSize\":3,\"page\":2}", ""},
        {"{\"filter\":{\"filename\":\"/*\"}}", "1234"},
        {"{\"filter\":{\"filename\":{\"$in\":[\"/a\",\"/c\",7]}}}", "13"},
        {"{\"filter\":{\"$or\":[{\"metadata.k\":{\"$gt\":2}},{\"filename\":\"/d\"}]}}", "14"},
        {"{\"filter\":{\"metadata.k\":{\"$ne\":\"x\"}}}", "134"},
        {"{\"filter\":{\"metadata.k\":{\"$exists\":false}}}", "3"},
        {"{\"filter\":{\"metadata.a b\\\"c'\":1}}", ""},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct query query = query_of(fixture, &item_entity, cases[i][0]);
        void *rows;
        size_t count;
        char ids[64];
        if (tx_select(tx, &item_entity, &query, fixture->arena, &rows, &count, err) < 0)
            return -1;
        ids_of(rows, count, &item_entity, ids);
        assert_string_equal(ids, cases[i][1]);
    }
    return 0;
}

static void test_lists(void **state)
{
    struct fixture *f = *state;
    struct err failure = ERR_INIT, *err = &failure;
    OK(write_now(f, insert_items, err));
    OK(read_now(f, sorted_items, err));
}

static int insert_many(struct tx *tx, struct fixture *fixture, struct err *err)
{
    for (int i = 0; i < 50; i++) {
        char *id = arena_cstr(fixture->arena, arena_printf(fixture->arena, "e%02d", i));
        struct execution row = execution_of(id, i % 3 ? "s1" : "s2", 1000 + i);
        if (i % 5 == 0)
            row.status = STR("failed");
        if (i % 10 == 1)
            row.status = STR_NONE;
        if (tx_insert(tx, &execution_entity, &row, err) < 0)
            return -1;
    }
    return 0;
}

static void add_group(void *arg, struct str value, int64_t count)
{
    char *text = arg;
    size_t at = strlen(text);
    snprintf(text + at, 128 - at, STR_FMT "=%lld ", STR_ARG(value), (long long)count);
}

static int count_many(struct tx *tx, struct fixture *fixture, struct err *err)
{
    struct filter *s1 = filter_eq_text(&execution_entity, "serviceId", STR("s1"), fixture->arena);
    struct execution row;
    int64_t count = 0;
    char groups[128] = "";
    OK(tx_count(tx, &execution_entity, NULL, &count, err));
    assert_int_equal(count, 50);
    OK(tx_count(tx, &execution_entity, s1, &count, err));
    assert_int_equal(count, 33);
    OK(tx_find(tx, &execution_entity, s1, &row, fixture->arena, err));
    assert_true(str_is(row.id, "e01"));
    FAILS(ERR_NOT_FOUND,
          tx_find(tx, &execution_entity,
                  filter_eq_text(&execution_entity, "serviceId", STR("none"), fixture->arena), &row,
                  fixture->arena, err));
    OK(tx_count_by(tx, &execution_entity, s1, "status", add_group, groups, err));
    assert_string_equal(groups, "=4 created=23 failed=6 ");
    FAILS(ERR_INTERNAL,
          tx_count_by(tx, &execution_entity, NULL, "attempts", add_group, groups, err));
    return 0;
}

static int delete_some(struct tx *tx, struct fixture *fixture, struct err *err)
{
    struct filter *s1 = filter_eq_text(&execution_entity, "serviceId", STR("s1"), fixture->arena);
    int64_t deleted, count;
    OK(tx_delete_where(tx, &execution_entity, s1, 10, &deleted, err));
    assert_int_equal(deleted, 10);
    OK(tx_delete_where(tx, &execution_entity, s1, 0, &deleted, err));
    assert_int_equal(deleted, 23);
    OK(tx_delete_where(tx, &execution_entity, s1, 5, &deleted, err));
    assert_int_equal(deleted, 0);
    OK(tx_count(tx, &execution_entity, NULL, &count, err));
    assert_int_equal(count, 17);
    OK(tx_delete_where(tx, &execution_entity, NULL, 0, &deleted, err));
    assert_int_equal(deleted, 17);
    return 0;
}

static void test_counts(void **state)
{
    struct fixture *f = *state;
    struct err failure = ERR_INIT, *err = &failure;
    OK(write_now(f, insert_many, err));
    OK(read_now(f, count_many, err));
    OK(write_now(f, delete_some, err));
}

static int bad_filter(struct tx *tx, struct fixture *fixture, struct err *err)
{
    // The largest filter that the parser lets pass: every store must take it.
    struct buf text = BUF_INIT(1024 * 1024);
    buf_add_cstr(&text, "{\"filter\":{\"$or\":[");
    for (int i = 0; i < 500; i++)
        buf_printf(&text, "%s{\"name\":{\"$ne\":\"n%d\"}}", i ? "," : "", i);
    buf_add_cstr(&text, "]}}");
    buf_add_char(&text, '\0');
    struct query query = query_of(fixture, &item_entity, text.at);
    int64_t count;
    int rc = tx_count(tx, &item_entity, query.filter, &count, err);
    buf_deinit(&text);
    assert_int_equal(count, 4);
    return rc;
}

static int deep_filter(struct tx *tx, struct fixture *fixture, struct err *err)
{
    struct buf text = BUF_INIT(1024 * 1024);
    buf_add_cstr(&text, "{\"filter\":");
    for (int i = 0; i < 15; i++)
        buf_add_cstr(&text, i % 2 ? "{\"$and\":[{},{},{},{}," : "{\"$or\":[{\"name\":\"x\"},");
    buf_add_cstr(&text, "{\"name\":{\"$ne\":1}}");
    for (int i = 0; i < 15; i++)
        buf_add_cstr(&text, "]}");
    buf_add_cstr(&text, "}");
    buf_add_char(&text, '\0');
    struct query query = query_of(fixture, &item_entity, text.at);
    int64_t count;
    int rc = tx_count(tx, &item_entity, query.filter, &count, err);
    buf_deinit(&text);
    if (rc == 0)
        assert_int_equal(count, 4);
    return rc;
}

static void test_large_filters(void **state)
{
    struct fixture *f = *state;
    struct err failure = ERR_INIT, *err = &failure;
    OK(write_now(f, insert_items, err));
    OK(read_now(f, bad_filter, err));
    OK(read_now(f, deep_filter, err));
}

// ── settings ─────────────────────────────────────────────────────────────────────────────────

static int use_meta(struct tx *tx, struct fixture *fixture, struct err *err)
{
    struct str value;
    OK(tx_meta_get(tx, "epoch", fixture->arena, &value, err));
    assert_null(value.at);
    OK(tx_meta_set(tx, "epoch", STR("1"), err));
    OK(tx_meta_set(tx, "epoch", STR("2"), err));
    OK(tx_meta_get(tx, "epoch", fixture->arena, &value, err));
    assert_true(str_is(value, "2"));
    return 0;
}

static void test_meta(void **state)
{
    struct fixture *f = *state;
    struct err failure = ERR_INIT, *err = &failure;
    OK(write_now(f, use_meta, err));
}

// ── the life of an execution ─────────────────────────────────────────────────────────────────

static struct execution now_of(struct tx *tx, struct fixture *fixture)
{
    struct err failure = ERR_INIT, *err = &failure;
    struct execution row;
    OK(tx_get(tx, &execution_entity, STR("e1"), &row, fixture->arena, err));
    return row;
}

static int start_twice(struct tx *tx, struct fixture *fixture, struct err *err)
{
    bool applied;
    OK(tx_execution_start(tx, STR("none"), 1, STR("r"), 7, &applied, err));
    assert_false(applied);
    OK(tx_execution_start(tx, STR("e1"), 5, STR("r1"), 7, &applied, err));
    assert_true(applied);
    OK(tx_execution_start(tx, STR("e1"), 5, STR("r2"), 8, &applied, err));
    assert_false(applied);  // the same fence again
    struct execution row = now_of(tx, fixture);
    assert_true(str_is(row.status, "in-progress") && str_is(row.replica_id, "r1"));
    assert_true(row.fence == 5 && row.started_at == 7 && row.updated_at == 7);
    return 0;
}

static int requeue(struct tx *tx, struct fixture *fixture, struct err *err)
{
    bool applied;
    OK(tx_execution_requeue(tx, STR("e1"), 4, 1, STR("old"), &applied, err));
    assert_false(applied);
    OK(tx_execution_requeue(tx, STR("e1"), 6, 1, STR("again"), &applied, err));
    assert_true(applied);
    struct execution row = now_of(tx, fixture);
    assert_true(str_is(row.status, "rerun") && str_is(row.status_message, "again"));
    assert_true(row.fence == 6 && row.attempts == 1);
    return 0;
}

static int finish(struct tx *tx, struct fixture *fixture, struct err *err)
{
    bool applied;
    struct execution_result result = {.id = STR("e1"),
                                      .status = STR("success"),
                                      .output = STR("[0.1]"),
                                      .replica_id = STR("r3"),
                                      .fence = 5,
                                      .started_at = 10,
                                      .ended_at = 12,
                                      .attempts = 2};
    struct execution counted = now_of(tx, fixture);
    counted.attempts = 3;  // somebody counted one more meanwhile
    OK(tx_update(tx, &execution_entity, &counted, err));
    OK(tx_execution_finish(tx, &result, &applied, err));
    assert_false(applied);  // an old fence
    result.fence = 7;
    OK(tx_execution_finish(tx, &result, &applied, err));
    assert_true(applied);
    struct execution row = now_of(tx, fixture);
    assert_true(str_is(row.status, "success") && str_is(row.output, "[0.1]"));
    assert_null(row.status_message.at);  // "again" was of the attempt before
    assert_true(str_is(row.replica_id, "r3") && row.percent == 100 && row.fence == 7);
    assert_true(row.started_at == 10 && row.ended_at == 12 && row.attempts == 3);
    // Final is final.
    result.fence = 100;
    result.status = STR("failed");
    OK(tx_execution_finish(tx, &result, &applied, err));
    assert_false(applied);
    OK(tx_execution_start(tx, STR("e1"), 100, STR("r"), 20, &applied, err));
    assert_false(applied);
    OK(tx_execution_requeue(tx, STR("e1"), 100, 3, STR(""), &applied, err));
    assert_false(applied);
    assert_true(str_is(now_of(tx, fixture).status, "success"));
    return 0;
}

static void test_execution_life(void **state)
{
    struct fixture *f = *state;
    struct err failure = ERR_INIT, *err = &failure;
    OK(write_now(f, insert_one, err));
    OK(write_now(f, start_twice, err));
    OK(write_now(f, requeue, err));
    OK(write_now(f, finish, err));
}

static void add_open(void *arg, struct str id, struct str service_id, struct str status,
                     int64_t fence)
{
    char *text = arg;
    size_t at = strlen(text);
    snprintf(text + at, 512 - at, STR_FMT "/" STR_FMT "/" STR_FMT "/%lld ", STR_ARG(id),
             STR_ARG(service_id), STR_ARG(status), (long long)fence);
}

static int insert_states(struct tx *tx, struct fixture *fixture, struct err *err)
{
    static const char *const states[] = {"rerun",   "created", "in-progress", "success",
                                         "aborted", "failed",  "terminated",  "canceled"};
    for (int i = 0; i < 8; i++) {
        char *id = arena_cstr(fixture->arena, arena_printf(fixture->arena, "e%d", i + 1));
        struct execution row = execution_of(id, "s", i);
        row.status = str_of(states[i]);
        row.fence = i;
        OK(tx_insert(tx, &execution_entity, &row, err));
    }
    return 0;
}

static int each_open(struct tx *tx, struct fixture *fixture, struct err *err)
{
    (void)fixture;
    char text[512] = "";
    if (tx_execution_each_open(tx, add_open, text, err) < 0)
        return -1;
    assert_string_equal(text, "e1/s/rerun/0 e2/s/created/1 e3/s/in-progress/2 ");
    return 0;
}

static void test_open_executions(void **state)
{
    struct fixture *f = *state;
    struct err failure = ERR_INIT, *err = &failure;
    OK(write_now(f, insert_states, err));
    OK(read_now(f, each_open, err));
}

static int use_blob(struct tx *tx, struct fixture *fixture, struct err *err)
{
    (void)fixture;
    struct item row = item_of("1", "/a", "{}");
    row.blob = STR("abc");
    bool used;
    OK(tx_blob_used(tx, STR("abc"), &used, err));
    assert_false(used);
    OK(tx_insert(tx, &item_entity, &row, err));
    OK(tx_blob_used(tx, STR("abc"), &used, err));
    assert_true(used);
    OK(tx_delete(tx, &item_entity, STR("1"), err));
    OK(tx_blob_used(tx, STR("abc"), &used, err));
    assert_false(used);
    return 0;
}

static void test_blob_used(void **state)
{
    struct fixture *f = *state;
    struct err failure = ERR_INIT, *err = &failure;
    OK(write_now(f, use_blob, err));
}

// ── jobs that fail ───────────────────────────────────────────────────────────────────────────

static int two_then_fail(struct tx *tx, struct fixture *fixture, struct err *err)
{
    struct item changed = item_of("1", "/changed", "{}"), added = item_of("x", "/x", "{}");
    (void)fixture;
    if (tx_update(tx, &item_entity, &changed, err) < 0 ||
        tx_insert(tx, &item_entity, &added, err) < 0 ||
        tx_delete(tx, &item_entity, STR("2"), err) < 0)
        return -1;
    return err_set(err, ERR_DENIED, "no");
}

static int items_unchanged(struct tx *tx, struct fixture *fixture, struct err *err)
{
    struct query all = {.limit = 100};
    void *rows;
    size_t count;
    char ids[64];
    if (tx_select(tx, &item_entity, &all, fixture->arena, &rows, &count, err) < 0)
        return -1;
    ids_of(rows, count, &item_entity, ids);
    assert_string_equal(ids, "1234");
    assert_true(str_is(((struct item *)rows)->filename, "/a"));
    return 0;
}

static void test_undo(void **state)
{
    struct fixture *f = *state;
    struct err failure = ERR_INIT, *err = &failure;
    OK(write_now(f, insert_items, err));
    FAILS(ERR_DENIED, write_now(f, two_then_fail, err));
    OK(read_now(f, items_unchanged, err));
}

static int run_suite(const char *name)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_rows, name),
        FIXTURE_TEST(test_readers_do_not_write, name),
        FIXTURE_TEST(test_unique, name),
        FIXTURE_TEST(test_lists, name),
        FIXTURE_TEST(test_counts, name),
        FIXTURE_TEST(test_large_filters, name),
        FIXTURE_TEST(test_meta, name),
        FIXTURE_TEST(test_execution_life, name),
        FIXTURE_TEST(test_open_executions, name),
        FIXTURE_TEST(test_blob_used, name),
        FIXTURE_TEST(test_undo, name),
    };
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void) { return run_suite("sqlite") + run_suite("memory"); }
