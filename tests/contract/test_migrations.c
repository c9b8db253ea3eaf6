// SPDX-License-Identifier: Apache-2.0
// Schemas up and down, with a full queue in the file, and killed in the middle. The machinery is
// tried with steps of its own on top of the product's; the product's own steps go up and down too.
#include <sqlite3.h>
#include <sys/wait.h>

#include "store/schema.h"
#include "store/sqlite/migrations.h"
#include "store_fixture.h"

#define QUEUED 100000

// One step with everything that a step may do: a column, an index, a table, changed rows.
#define WIDER                                                                                      \
    {                                                                                              \
        .summary = "a note for each execution",                                                    \
        .up = "ALTER TABLE executions ADD COLUMN note TEXT;"                                       \
              "UPDATE executions SET note=id||' of '||service_id;"                                 \
              "DROP INDEX executions_project;"                                                     \
              "CREATE INDEX executions_state ON executions(status,note);"                          \
              "CREATE TABLE notes(id TEXT PRIMARY KEY NOT NULL) STRICT;",                          \
        .down = "DROP TABLE notes; DROP INDEX executions_state;"                                   \
                "CREATE INDEX executions_project ON "                                              \
                "executions(project_id,created_at,id);"                                            \
                "ALTER TABLE executions DROP COLUMN note;",                                        \
        .lost = "notes", .lost_count = "SELECT count(*) FROM notes",                               \
    }

static struct schema_step wide_at[16];
static struct schema_steps wide = {wide_at, 0};
static int base, widest;  // the product's newest schema, and the one on top of it

static void make_steps(void)
{
    base = (int)store_sqlite_steps.count;
    widest = base + 1;
    assert_true(widest <= (int)(sizeof(wide_at) / sizeof(*wide_at)));
    memcpy(wide_at, store_sqlite_steps.at, (size_t)base * sizeof(*wide_at));
    wide_at[base] = (struct schema_step)WIDER;
    wide.count = (size_t)widest;
}

static sqlite3 *open_at(const char *folder)
{
    char path[128];
    sqlite3 *sql;
    snprintf(path, sizeof(path), "%s/drover.db", folder);
    assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
    sqlite3_busy_timeout(sql, 10000);
    return sql;
}

// One text: sums and lists, to compare before and after.
static char *text_of(sqlite3 *sql, const char *query)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(sql, query, -1, &statement, NULL) != SQLITE_OK)
        fail_msg("%s: %s", query, sqlite3_errmsg(sql));
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    const char *text = (const char *)sqlite3_column_text(statement, 0);
    char *copy = mem_copy(text ? text : "", text ? strlen(text) : 0);
    sqlite3_finalize(statement);
    return copy;
}

static char *schema_of(sqlite3 *sql)
{
    return text_of(sql, "SELECT group_concat(type||' '||name||': '||coalesce(sql,''),char(10)) "
                        "FROM (SELECT * FROM sqlite_schema ORDER BY name)");
}

// Every value of every queued row has its part in it.
static char *queue_of(sqlite3 *sql)
{
    return text_of(sql,
                   "SELECT count(*)||' '||count(DISTINCT id)||' '||sum(length(input))||' '||"
                   "sum(attempts*(rowid%1009))||' '||sum((created_at%1000003)*(rowid%101))||' '||"
                   "min(id)||' '||max(id)||' '||(SELECT count(*) FROM executions INDEXED BY "
                   "executions_open WHERE status='created' OR status='in-progress' OR "
                   "status='rerun') FROM executions");
}

static void check_text(char *found, const char *wanted)
{
    assert_string_equal(found, wanted);
    mem_free(found);
}

static int version_of(sqlite3 *sql)
{
    struct err err = ERR_INIT;
    int version = -1;
    assert_int_equal(store_sqlite_version(sql, &version, &err), 0);
    return version;
}

static void go(sqlite3 *sql, const struct schema_steps *steps, int to)
{
    struct err err = ERR_INIT;
    if (store_sqlite_migrate(sql, steps, to, false, &err) < 0)
        fail_msg("to %d: %s", to, err.message);
    assert_int_equal(version_of(sql), to);
}

static int fill(struct tx *tx, void *arg, struct err *err)
{
    (void)arg;
    for (int i = 0; i < QUEUED; i++) {
        char id[32];
        struct execution row;
        snprintf(id, sizeof(id), "e%023d", i);
        entity_clear(&execution_entity, &row);
        row.id = str_of(id);
        row.service_id = STR("service");
        row.status = i % 10 == 9 ? STR("rerun") : STR("created");
        row.attempts = i % 10 == 9;
        row.created_at = row.updated_at = 1700000000000 + i * 7;
        row.input = STR("{\"number\": 1}");
        if (tx_insert(tx, &execution_entity, &row, err) < 0)
            return -1;
    }
    return 0;
}

static int count_open(struct tx *tx, void *arg, struct err *err)
{
    return tx_count(tx, &execution_entity, NULL, arg, err);
}

static int setup(void **state)
{
    struct fixture *f = fixture_new("sqlite");
    struct err err = ERR_INIT;
    assert_int_equal(store_write_now(f->store, fill, NULL, &err), 0);
    store_close(f->store);
    f->store = NULL;
    *state = f;
    return 0;
}

static int setup_empty(void **state)
{
    *state = fixture_new(NULL);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (!f->store)
        f->store = fixture_open(f, "memory");
    fixture_free(f);
    return 0;
}

static void reopen_and_count(struct fixture *f)
{
    struct err err = ERR_INIT;
    int64_t found = 0;
    f->store = fixture_open(f, "sqlite");
    assert_int_equal(store_read_now(f->store, count_open, &found, &err), 0);
    assert_int_equal(found, QUEUED);
}

static void test_up_and_down(void **state)
{
    struct fixture *f = *state;
    sqlite3 *sql = open_at(f->folder);
    char *schema = schema_of(sql), *queue = queue_of(sql);
    for (int round = 0; round < 2; round++) {
        go(sql, &wide, widest);
        check_text(queue_of(sql), queue);
        check_text(text_of(sql, "SELECT count(*) FROM executions WHERE note=id||' of service'"),
                   "100000");
        go(sql, &wide, base);
        check_text(schema_of(sql), schema);
        check_text(queue_of(sql), queue);
    }
    check_text(text_of(sql, "PRAGMA integrity_check"), "ok");
    sqlite3_close(sql);
    mem_free(schema);
    mem_free(queue);
    reopen_and_count(f);
}

// ── killed in the middle ─────────────────────────────────────────────────────────────────────

static int steps_left;

static int count_down(void *arg)
{
    (void)arg;
    if (--steps_left == 0)
        kill(getpid(), SIGKILL);
    return 0;
}

// A child goes to schema `to` and is killed after so many thousand instructions of SQLite's, or
// just after the end when there are not so many. True when it was killed on its way.
static bool killed_on_the_way(const char *folder, int to, int after)
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct err err = ERR_INIT;
        sqlite3 *sql = open_at(folder);
        sqlite3_exec(sql, "PRAGMA cache_size=-200", NULL, NULL, NULL);  // spills into the WAL
        steps_left = after;
        sqlite3_progress_handler(sql, 1000, count_down, NULL);
        _exit(store_sqlite_migrate(sql, &wide, to, false, &err) == 0 ? 0 : 1);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFSIGNALED(status);
}

static void test_killed_on_the_way(void **state)
{
    struct fixture *f = *state;
    sqlite3 *sql = open_at(f->folder);
    char *schema = schema_of(sql), *queue = queue_of(sql);
    go(sql, &wide, widest);
    char *wide_schema = schema_of(sql);
    go(sql, &wide, base);
    sqlite3_close(sql);
    int kills = 0;
    for (int to = widest, after = 1;; after = after * 3 / 2 + 1) {
        bool killed = killed_on_the_way(f->folder, to, after);
        kills += killed;
        sql = open_at(f->folder);
        int version = version_of(sql);
        assert_int_equal(version == to, !killed);
        check_text(schema_of(sql), version == base ? schema : wide_schema);
        check_text(queue_of(sql), queue);
        check_text(text_of(sql, "PRAGMA quick_check"), "ok");
        sqlite3_close(sql);
        if (!killed) {  // it has arrived: now the other way
            to = to == widest ? base : widest;
            after = 1;
        }
        if (!killed && to == widest)
            break;
    }
    print_message("killed %d times on the way up and down: queued %d, lost 0\n", kills, QUEUED);
    assert_true(kills >= 10);
    sql = open_at(f->folder);
    go(sql, &wide, base);
    sqlite3_close(sql);
    mem_free(schema);
    mem_free(wide_schema);
    mem_free(queue);
    reopen_and_count(f);
}

// ── refusals ─────────────────────────────────────────────────────────────────────────────────

static void refused(sqlite3 *sql, const struct schema_steps *steps, int to, enum err_kind kind,
                    const char *why)
{
    struct err err = ERR_INIT;
    int before = version_of(sql);
    char *schema = schema_of(sql);
    assert_int_equal(store_sqlite_migrate(sql, steps, to, false, &err), -1);
    assert_int_equal(err.kind, kind);
    if (!strstr(err.message, why))
        fail_msg("'%s' does not say '%s'", err.message, why);
    assert_int_equal(version_of(sql), before);
    check_text(schema_of(sql), schema);
    assert_true(sqlite3_get_autocommit(sql));
    mem_free(schema);
}

static void test_refusals(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    sqlite3 *sql = open_at(f->folder);
    go(sql, &wide, widest);
    refused(sql, &store_sqlite_steps, SCHEMA_NEWEST, ERR_CONFLICT, "`drover schema --data ");
    refused(sql, &wide, widest + 1, ERR_BAD_INPUT, "there is no schema");
    refused(sql, &wide, 0, ERR_CONFLICT, "no way back from step 1");
    assert_int_equal(sqlite3_exec(sql, "INSERT INTO notes VALUES('a'),('b')", NULL, NULL, NULL),
                     SQLITE_OK);
    refused(sql, &wide, base, ERR_CONFLICT, "would lose 2 notes; stay at");
    assert_int_equal(store_sqlite_migrate(sql, &wide, base, true, &err), 0);
    assert_int_equal(version_of(sql), base);
    // A step that does not work leaves what was.
    wide_at[base].up = "CREATE TABLE half(id TEXT); CREATE TABLE orgs(id TEXT)";
    refused(sql, &wide, widest, ERR_INTERNAL, "nothing was changed");
    make_steps();
    sqlite3_close(sql);
}

// The product's own steps: from each schema up and back is the same schema, where there is a way.
static void test_own_steps(void **state)
{
    struct fixture *f = *state;
    sqlite3 *sql = open_at(f->folder);
    for (int version = 1; version <= base; version++) {
        go(sql, &store_sqlite_steps, version);
        char *schema = schema_of(sql);
        if (version < base && store_sqlite_steps.at[version].down) {
            go(sql, &store_sqlite_steps, version + 1);
            go(sql, &store_sqlite_steps, version);
            check_text(schema_of(sql), schema);
        }
        mem_free(schema);
        assert_non_null(store_schema_summary(version));
    }
    sqlite3_close(sql);
}

static void test_offline(void **state)
{
    struct fixture *f = *state;
    struct err err = ERR_INIT;
    int version = 0;
    assert_int_equal(store_schema_version(f->folder, &version, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    f->store = fixture_open(f, "sqlite");
    assert_int_equal(store_schema_version(f->folder, &version, &err), 0);
    assert_int_equal(version, store_schema_count());
    assert_int_equal(store_schema_migrate(f->folder, 1, false, &err), -1);  // a server runs
    assert_int_equal(err.kind, ERR_CONFLICT);
    store_close(f->store);
    f->store = NULL;
    for (int to = store_schema_count(); to >= 1; to--)
        assert_int_equal(store_schema_migrate(f->folder, to, true, &err), 0);
    f->store = fixture_open(f, "sqlite");  // and up again by itself
    assert_int_equal(store_schema_version(f->folder, &version, &err), 0);
    assert_int_equal(version, store_schema_count());
}

int main(void)
{
    make_steps();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_up_and_down, setup, teardown),
        cmocka_unit_test_setup_teardown(test_killed_on_the_way, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup_empty, teardown),
        cmocka_unit_test_setup_teardown(test_own_steps, setup_empty, teardown),
        cmocka_unit_test_setup_teardown(test_offline, setup_empty, teardown),
    };
    return cmocka_run_group_tests_name("migrations", tests, NULL, NULL);
}
