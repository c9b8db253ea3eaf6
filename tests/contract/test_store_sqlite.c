// SPDX-License-Identifier: Apache-2.0
// What only the SQLite store has: a schema, a file that outlives the process, and a disk that can
// fail.
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "store_fixture.h"

// ── a file system that fails on demand ───────────────────────────────────────────────────────

static atomic_int write_answer, sync_answer;  // SQLITE_OK, or what xWrite or xSync shall answer

struct shim_file {
    sqlite3_file base;
    sqlite3_file *real;
};

static sqlite3_file *real_of(sqlite3_file *file) { return ((struct shim_file *)file)->real; }
static int shim_close(sqlite3_file *f) { return real_of(f)->pMethods->xClose(real_of(f)); }
static int shim_read(sqlite3_file *f, void *at, int n, sqlite3_int64 from)
{
    return real_of(f)->pMethods->xRead(real_of(f), at, n, from);
}
static int shim_write(sqlite3_file *f, const void *at, int n, sqlite3_int64 to)
{
    int answer = atomic_load(&write_answer);
    return answer ? answer : real_of(f)->pMethods->xWrite(real_of(f), at, n, to);
}
static int shim_truncate(sqlite3_file *f, sqlite3_int64 n)
{
    return real_of(f)->pMethods->xTruncate(real_of(f), n);
}
static int shim_sync(sqlite3_file *f, int flags)
{
    int answer = atomic_load(&sync_answer);
    return answer ? answer : real_of(f)->pMethods->xSync(real_of(f), flags);
}
static int shim_size(sqlite3_file *f, sqlite3_int64 *n)
{
    return real_of(f)->pMethods->xFileSize(real_of(f), n);
}
static int shim_lock(sqlite3_file *f, int how)
{
    return real_of(f)->pMethods->xLock(real_of(f), how);
}
static int shim_unlock(sqlite3_file *f, int how)
{
    return real_of(f)->pMethods->xUnlock(real_of(f), how);
}
static int shim_reserved(sqlite3_file *f, int *out)
{
    return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}
static int shim_control(sqlite3_file *f, int what, void *arg)
{
    return real_of(f)->pMethods->xFileControl(real_of(f), what, arg);
}
static int shim_sector(sqlite3_file *f) { return real_of(f)->pMethods->xSectorSize(real_of(f)); }
static int shim_device(sqlite3_file *f)
{
    return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}
static int shim_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **out)
{
    return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, out);
}
static int shim_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
    return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}
static void shim_shm_barrier(sqlite3_file *f) { real_of(f)->pMethods->xShmBarrier(real_of(f)); }
static int shim_shm_unmap(sqlite3_file *f, int remove_it)
{
    return real_of(f)->pMethods->xShmUnmap(real_of(f), remove_it);
}

static const sqlite3_io_methods shim_methods = {
    .iVersion = 2,
    .xClose = shim_close,
    .xRead = shim_read,
    .xWrite = shim_write,
    .xTruncate = shim_truncate,
    .xSync = shim_sync,
    .xFileSize = shim_size,
    .xLock = shim_lock,
    .xUnlock = shim_unlock,
    .xCheckReservedLock = shim_reserved,
    .xFileControl = shim_control,
    .xSectorSize = shim_sector,
    .xDeviceCharacteristics = shim_device,
    .xShmMap = shim_shm_map,
    .xShmLock = shim_shm_lock,
    .xShmBarrier = shim_shm_barrier,
    .xShmUnmap = shim_shm_unmap,
};

static sqlite3_vfs shim;
static sqlite3_vfs *real_vfs;

static int shim_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *out)
{
    (void)vfs;
    struct shim_file *opened = (struct shim_file *)file;
    opened->real = (sqlite3_file *)(opened + 1);
    int rc = real_vfs->xOpen(real_vfs, name, opened->real, flags, out);
    opened->base.pMethods = rc == SQLITE_OK ? &shim_methods : NULL;
    return rc;
}

static void register_shim(void)
{
    real_vfs = sqlite3_vfs_find(NULL);
    shim = *real_vfs;
    shim.zName = "failing";
    shim.szOsFile = (int)sizeof(struct shim_file) + real_vfs->szOsFile;
    shim.xOpen = shim_open;
    shim.pNext = NULL;
    sqlite3_vfs_register(&shim, 1);
}

// ── fixture ──────────────────────────────────────────────────────────────────────────────────

static int setup(void **state)
{
    *state = fixture_new("sqlite");
    return 0;
}

static int teardown(void **state)
{
    atomic_store(&write_answer, SQLITE_OK);
    atomic_store(&sync_answer, SQLITE_OK);
    fixture_free(*state);
    return 0;
}

static int insert_number(struct tx *tx, void *arg, struct err *err)
{
    char id[16];
    struct execution row;
    snprintf(id, sizeof(id), "e%06d", *(int *)arg);
    entity_clear(&execution_entity, &row);
    row.id = str_of(id);
    row.service_id = STR("s");
    row.status = STR("created");
    return tx_insert(tx, &execution_entity, &row, err);
}

static int count_rows(struct tx *tx, void *arg, struct err *err)
{
    return tx_count(tx, &execution_entity, NULL, arg, err);
}

static int64_t rows_of(struct store *store)
{
    struct err err = ERR_INIT;
    int64_t count = -1;
    assert_int_equal(store_read_now(store, count_rows, &count, &err), 0);
    return count;
}

static int insert_now(struct store *store, int number, struct err *err)
{
    *err = ERR_INIT;
    return store_write_now(store, insert_number, &number, err);
}

static sqlite3 *open_raw(const struct fixture *fixture)
{
    char path[128];
    sqlite3 *sql;
    snprintf(path, sizeof(path), "%s/drover.db", fixture->folder);
    assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
    return sql;
}

static int64_t raw_int(sqlite3 *sql, const char *text)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(sql, text, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return n;
}

// ── schema ───────────────────────────────────────────────────────────────────────────────────

static const char *column_type(const struct field *field)
{
    switch (field->type) {
    case FIELD_TEXT:
    case FIELD_JSON: return "TEXT";
    case FIELD_DOUBLE: return "REAL";
    case FIELD_INT:
    case FIELD_TIME:
    case FIELD_BOOL: return "INTEGER";
    }
    return "";
}

static void check_table(sqlite3 *sql, const struct entity *entity)
{
    char text[512];
    int64_t stored = 0;
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *field = &entity->fields[i];
        if (!field->column || (field->flags & (FIELD_UNSTORED | FIELD_VIRTUAL)))
            continue;
        snprintf(text, sizeof(text),
                 "SELECT count(*) FROM pragma_table_info('%s') WHERE name='%s' AND type='%s'",
                 entity->table, field->column, column_type(field));
        if (raw_int(sql, text) != 1)
            fail_msg("%s.%s %s is not in the schema", entity->table, field->column,
                     column_type(field));
        stored++;
    }
    snprintf(text, sizeof(text), "SELECT count(*) FROM pragma_table_info('%s')", entity->table);
    if (raw_int(sql, text) != stored)
        fail_msg("%s has columns that no field has", entity->table);
    // Its unique columns have a unique index, and nothing else has.
    snprintf(text, sizeof(text),
             "SELECT count(*) FROM pragma_index_list('%s') l WHERE l.\"unique\" AND l.origin='c' "
             "AND (SELECT group_concat(name) FROM pragma_index_info(l.name)) IS NOT '%s'",
             entity->table, entity->unique ? entity->unique : "");
    if (raw_int(sql, text) != 0)
        fail_msg("%s has a unique index that its entity does not name", entity->table);
    snprintf(text, sizeof(text),
             "SELECT count(*) FROM pragma_index_list('%s') WHERE \"unique\" AND origin='c'",
             entity->table);
    if (raw_int(sql, text) != (entity->unique != NULL))
        fail_msg("%s lacks its unique index", entity->table);
}

static void test_schema(void **state)
{
    sqlite3 *sql = open_raw(*state);
    for (size_t i = 0; entity_all[i]; i++)
        check_table(sql, entity_all[i]);
    sqlite3_close(sql);
}

// Lists in their usual order are read from an index, not sorted.
static void test_lists_are_indexed(void **state)
{
    static const char *const queries[] = {
        "SELECT input FROM executions WHERE service_id=?1 ORDER BY created_at DESC,id DESC",
        "SELECT input FROM executions WHERE project_id=?1 ORDER BY created_at DESC,id DESC",
        "SELECT input FROM executions WHERE service_id=?1 AND (status='failed' OR "
        "status='terminated' OR status='aborted' OR status='canceled' OR "
        "status='system-failure') AND status=?2 ORDER BY created_at DESC,id DESC",
        "SELECT input FROM executions WHERE service_id=?1 AND (status='created' OR "
        "status='in-progress' OR status='rerun') AND status IN (?2,?3) ORDER BY created_at,id",
        "SELECT input FROM executions ORDER BY id DESC",
        "SELECT input FROM executions WHERE command_id=?1 ORDER BY id",
        "SELECT id,service_id,status,fence FROM executions INDEXED BY executions_open "
        "WHERE (status='created' OR status='in-progress' OR status='rerun') "
        "ORDER BY service_id,created_at,id",
        "SELECT name FROM items WHERE dataset_id=?1 AND id>?2 ORDER BY id",
        "SELECT message FROM execution_statuses WHERE execution_id=?1 ORDER BY id",
        "SELECT action FROM audit WHERE project_id=?1 ORDER BY at DESC,id DESC",
        "SELECT action FROM audit ORDER BY at DESC,id DESC",
    };
    sqlite3 *sql = open_raw(*state);
    for (size_t i = 0; i < sizeof(queries) / sizeof(*queries); i++) {
        char text[512];
        sqlite3_stmt *statement;
        snprintf(text, sizeof(text), "EXPLAIN QUERY PLAN %s", queries[i]);
        assert_int_equal(sqlite3_prepare_v2(sql, text, -1, &statement, NULL), SQLITE_OK);
        while (sqlite3_step(statement) == SQLITE_ROW) {
            const char *plan = (const char *)sqlite3_column_text(statement, 3);
            if (strstr(plan, "TEMP B-TREE") || !strstr(plan, "INDEX"))
                fail_msg("%s: %s", queries[i], plan);
        }
        sqlite3_finalize(statement);
    }
    sqlite3_close(sql);
}

static void test_newer_schema(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    store_close(f->store);
    f->store = NULL;
    sqlite3 *sql = open_raw(f);
    assert_int_equal(sqlite3_exec(sql, "PRAGMA user_version=999", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(sql);
    assert_null(store_open(
        &(struct store_config){.driver = "sqlite", .path = f->folder, .loop = f->loop}, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_non_null(strstr(err.message, "999"));
    char command[128];
    snprintf(command, sizeof(command), "`drover schema --data %s --to ", f->folder);
    assert_non_null(strstr(err.message, command));
}

static void test_one_at_a_time(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    char pid[32];
    assert_null(store_open(
        &(struct store_config){.driver = "sqlite", .path = f->folder, .loop = f->loop}, &err));
    assert_int_equal(err.kind, ERR_CONFLICT);
    snprintf(pid, sizeof(pid), "%ld", (long)getpid());
    assert_non_null(strstr(err.message, pid));
}

// ── surviving ────────────────────────────────────────────────────────────────────────────────

static void test_reopen(void **state)
{
    struct fixture *f = *state;
    struct err err;
    for (int i = 0; i < 10; i++)
        assert_int_equal(insert_now(f->store, i, &err), 0);
    store_close(f->store);
    f->store = fixture_open(f, "sqlite");
    assert_int_equal(rows_of(f->store), 10);
}

static void write_until_killed(const struct fixture *f, int acknowledge)
{
    struct err err = ERR_INIT;
    struct store *store = store_open(
        &(struct store_config){.driver = "sqlite", .path = f->folder, .loop = loop_new()}, &err);
    for (int i = 0; store; i++) {
        if (insert_now(store, i, &err) < 0 || write(acknowledge, "x", 1) != 1)
            break;
    }
    _exit(1);
}

// Whatever was acknowledged is there after the process was killed in the middle of its work.
static void test_killed(void **state)
{
    struct fixture *f = *state;
    int ends[2], status;
    char byte;
    int64_t acknowledged = 0;
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0)
        write_until_killed(f, ends[1]);
    close(ends[1]);
    while (acknowledged < 50 && read(ends[0], &byte, 1) == 1)
        acknowledged++;
    kill(child, SIGKILL);
    while (read(ends[0], &byte, 1) == 1)
        acknowledged++;
    close(ends[0]);
    waitpid(child, &status, 0);
    assert_true(WIFSIGNALED(status));
    f->store = fixture_open(f, "sqlite");
    int64_t found = rows_of(f->store);
    assert_true(found == acknowledged || found == acknowledged + 1);
    sqlite3 *sql = open_raw(f);
    assert_int_equal(raw_int(sql, "SELECT integrity_check='ok' FROM pragma_integrity_check"), 1);
    sqlite3_close(sql);
}

// ── a failing disk ───────────────────────────────────────────────────────────────────────────

static void test_disk_full(void **state)
{
    struct fixture *f = *state;
    struct err err;
    log_free(f->log);
    f->log = NULL;
    store_close(f->store);
    f->store = fixture_open(f, "sqlite");
    assert_int_equal(insert_now(f->store, 1, &err), 0);
    atomic_store(&write_answer, SQLITE_FULL);
    assert_int_equal(insert_now(f->store, 2, &err), -1);
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "disk full"));
    assert_false(store_failed(f->store));
    assert_int_equal(rows_of(f->store), 1);  // reading goes on
    atomic_store(&write_answer, SQLITE_OK);
    assert_int_equal(insert_now(f->store, 3, &err), 0);  // and writing, once there is room
    assert_int_equal(rows_of(f->store), 2);
    assert_int_equal(f->fatals, 0);
}

static void check_fatal(struct fixture *f)
{
    struct err err;
    assert_int_equal(insert_now(f->store, 2, &err), -1);
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_true(store_failed(f->store));
    // Never tried again, not even when the disk seems to be well.
    atomic_store(&sync_answer, SQLITE_OK);
    atomic_store(&write_answer, SQLITE_OK);
    assert_int_equal(insert_now(f->store, 3, &err), -1);
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_int_equal(rows_of(f->store), 1);
    for (int i = 0; f->fatals == 0 && i < 1000; i++) {
        uv_run(loop_uv(f->loop), UV_RUN_NOWAIT);
        usleep(1000);
    }
    assert_int_equal(f->fatals, 1);
}

static void fresh_store(struct fixture *f)
{
    struct err err;
    log_free(f->log);
    f->log = NULL;
    store_close(f->store);
    f->store = fixture_open(f, "sqlite");
    assert_int_equal(insert_now(f->store, 1, &err), 0);
}

static void test_fsync_fails(void **state)
{
    fresh_store(*state);
    atomic_store(&sync_answer, SQLITE_IOERR_FSYNC);
    check_fatal(*state);
}

static void test_write_fails(void **state)
{
    fresh_store(*state);
    atomic_store(&write_answer, SQLITE_IOERR_WRITE);
    check_fatal(*state);
}

// ── the WAL ──────────────────────────────────────────────────────────────────────────────────

static int insert_big(struct tx *tx, void *arg, struct err *err)
{
    static char text[100000];
    int *number = arg;
    char id[16];
    struct execution row;
    memset(text, ' ', sizeof(text));
    text[0] = '{';
    text[sizeof(text) - 1] = '}';
    for (int i = 0; i < 10; i++) {
        snprintf(id, sizeof(id), "e%06d", (*number)++);
        entity_clear(&execution_entity, &row);
        row.id = str_of(id);
        row.input = (struct str){text, sizeof(text)};
        if (tx_insert(tx, &execution_entity, &row, err) < 0)
            return -1;
    }
    return 0;
}

// 200 MB written leave a WAL of a bounded size, with no checkpoint in the way of a commit.
static void test_wal_is_bounded(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    struct stat st;
    char path[128];
    off_t most = 0;
    int number = 0;
    snprintf(path, sizeof(path), "%s/drover.db-wal", f->folder);
    for (int i = 0; i < 200; i++) {
        assert_int_equal(store_write_now(f->store, insert_big, &number, &err), 0);
        assert_int_equal(stat(path, &st), 0);
        most = st.st_size > most ? st.st_size : most;
    }
    print_message("largest WAL: %.1f MB\n", (double)most / 1e6);
    assert_true(most < 100 * 1000 * 1000);
    assert_int_equal(rows_of(f->store), 2000);
}

#define SQLITE_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SQLITE_TEST(test_schema),       SQLITE_TEST(test_lists_are_indexed),
        SQLITE_TEST(test_newer_schema), SQLITE_TEST(test_one_at_a_time),
        SQLITE_TEST(test_reopen),       SQLITE_TEST(test_killed),
        SQLITE_TEST(test_disk_full),    SQLITE_TEST(test_fsync_fails),
        SQLITE_TEST(test_write_fails),  SQLITE_TEST(test_wal_is_bounded),
    };
    register_shim();
    return cmocka_run_group_tests_name("sqlite", tests, NULL, NULL);
}
