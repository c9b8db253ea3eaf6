// SPDX-License-Identifier: Apache-2.0
// The conditional statements of an execution's life when the row is odd, or the database fails.
#include "store_fixture.h"

#define store_db sqlite_store_db  // each driver has its own
#include "store/sqlite/migrations.h"
#include "store/sqlite/sqlite_internal.h"
#undef store_db

#define ID STR("00000000000000000000000e")

// ── rows that are in no known state ──────────────────────────────────────────────────────────

static void count_open(void *arg, struct str id, struct str service_id, struct str status,
                       int64_t fence)
{
    (void)id, (void)service_id, (void)status, (void)fence;
    ++*(int *)arg;
}

// An unknown status is of a newer server: this one leaves the row alone.
static int odd_row(struct tx *tx, void *arg, struct err *err)
{
    struct execution x;
    bool applied = false;
    int open = 0;
    (void)arg;
    entity_clear(&execution_entity, &x);
    x.id = ID;
    x.status = STR("paused-by-somebody");
    x.fence = 1;
    struct execution_result result = {
        .id = ID, .status = STR("success"), .fence = 9, .ended_at = 5, .started_at = 4};
    assert_int_equal(tx_insert(tx, &execution_entity, &x, err), 0);
    assert_int_equal(tx_execution_start(tx, ID, 9, STR("r"), 5, &applied, err), 0);
    assert_false(applied);
    assert_int_equal(tx_execution_finish(tx, &result, &applied, err), 0);
    assert_false(applied);
    assert_int_equal(tx_execution_requeue(tx, ID, 9, 1, STR("why"), &applied, err), 0);
    assert_false(applied);
    assert_int_equal(tx_execution_each_open(tx, count_open, &open, err), 0);
    assert_int_equal(open, 0);
    return 0;
}

static void unknown_states_are_left_alone(void **state)
{
    static const char *const drivers[] = {"sqlite", "memory"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct fixture *fixture = fixture_new(drivers[i]);
        struct err err = ERR_INIT;
        if (store_write_now(fixture->store, odd_row, NULL, &err))
            fail_msg("%s: %s", drivers[i], err.message);
        fixture_free(fixture);
    }
}

// ── a database that fails ────────────────────────────────────────────────────────────────────

static int all_of_them(struct sqlite_tx *tx, struct arena *arena, int failures)
{
    bool applied = false, used;
    struct str value;
    int open = 0, failed = 0;
    struct execution_result result = {.id = ID, .status = STR("success"), .fence = 9};
    struct err err[7] = {0};
    failed -= store_sqlite_meta_get(&tx->tx, "epoch", arena, &value, &err[0]);
    failed -= store_sqlite_meta_set(&tx->tx, "epoch", STR("1"), &err[1]);
    failed -= store_sqlite_execution_start(&tx->tx, ID, 9, STR("r"), 5, &applied, &err[2]);
    failed -= store_sqlite_execution_finish(&tx->tx, &result, &applied, &err[3]);
    failed -= store_sqlite_execution_requeue(&tx->tx, ID, 9, 1, STR("w"), &applied, &err[4]);
    failed -= store_sqlite_execution_each_open(&tx->tx, count_open, &open, &err[5]);
    failed -= store_sqlite_blob_used(&tx->tx, STR("ab"), &used, &err[6]);
    for (int i = 0; i < 7 && failures; i++)
        assert_true(err[i].kind == ERR_INTERNAL || err[i].kind == ERR_UNAVAILABLE);
    assert_false(applied);
    return failed;
}

static int interrupt(void *arg)
{
    (void)arg;
    return 1;
}

static void a_failing_database_is_told(void **state)
{
    (void)state;
    struct sqlite_store_db db = {0};
    struct sqlite_tx tx = {.tx = {.driver = &store_sqlite_driver, .writer = true}, .db = &db};
    struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    assert_int_equal(sqlite3_open(":memory:", &tx.sql), SQLITE_OK);
    assert_int_equal(all_of_them(&tx, arena, 7), 7);  // there are no tables
    assert_int_equal(store_sqlite_migrate(tx.sql, &store_sqlite_steps, SCHEMA_NEWEST, false, &err),
                     0);
    assert_int_equal(store_sqlite_functions(tx.sql), SQLITE_OK);
    assert_int_equal(all_of_them(&tx, arena, 0), 0);
    sqlite3_progress_handler(tx.sql, 1, interrupt, NULL);
    assert_int_equal(all_of_them(&tx, arena, 7), 7);  // each statement breaks off
    sqlite3_progress_handler(tx.sql, 0, NULL, NULL);
    assert_int_equal(all_of_them(&tx, arena, 0), 0);
    store_sqlite_finalize_all(&tx);
    assert_int_equal(sqlite3_close(tx.sql), SQLITE_OK);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(unknown_states_are_left_alone),
                                       cmocka_unit_test(a_failing_database_is_told)};
    return cmocka_run_group_tests_name("hot", tests, NULL, NULL);
}
