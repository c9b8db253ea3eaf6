// SPDX-License-Identifier: Apache-2.0
#include "store/logs_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "store/sqlite/sqlite_internal.h"
#include "store/store_internal.h"

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX     10000
#define SCHEMA        1
#define CHECKPOINT    1000  // pages in the WAL that are worth copying

struct logs_db {
    sqlite3 *sql;
    char *path;  // NULL in memory
    sqlite3_stmt *begin, *commit, *rollback, *insert, *count, *delete_service, *delete_project,
        *delete_before;
    int64_t next_seq;   // the writer's
    int64_t saved_seq;  // as committed
    int wal_fd;         // for logs_db_sync
    int wal_pages;      // after the last commit
    bool broken;
    struct err broken_by;
};

// The next seq is kept apart from the lines: it must not fall back when the newest are deleted.
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS lines(seq INTEGER PRIMARY KEY,at INTEGER NOT NULL,"
    "  level INTEGER NOT NULL,system INTEGER NOT NULL,service_id TEXT,project_id TEXT,"
    "  execution_id TEXT,function_name TEXT,replica_id TEXT,message TEXT) STRICT;"
    "CREATE INDEX IF NOT EXISTS lines_service ON lines(service_id,seq);"
    "CREATE INDEX IF NOT EXISTS lines_project ON lines(project_id,seq);"
    "CREATE INDEX IF NOT EXISTS lines_execution ON lines(execution_id,seq)"
    "  WHERE execution_id IS NOT NULL;"
    "CREATE INDEX IF NOT EXISTS lines_at ON lines(at);"
    "CREATE TABLE IF NOT EXISTS counter(id INTEGER PRIMARY KEY,next_seq INTEGER NOT NULL) STRICT;"
    "INSERT OR IGNORE INTO counter VALUES(1,1);"
    "PRAGMA user_version=1;";

static void set_broken(struct logs_db *db, const struct err *err)
{
    if (!db->broken)
        db->broken_by = *err;
    db->broken = true;
}

static int fail(struct logs_db *db, const char *doing, struct err *err)
{
    int code = sqlite3_extended_errcode(db->sql);
    bool full = store_sqlite_full(db->sql, false);
    bool disk = full || (code & 0xff) == SQLITE_IOERR;
    err_set(err, disk ? ERR_UNAVAILABLE : ERR_INTERNAL, "logs: %s: %s%s (SQLite code %d)", doing,
            sqlite3_errmsg(db->sql), full ? " (disk full)" : "", code);
    if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC)
        set_broken(db, err);
    return -1;
}

static int exec(struct logs_db *db, const char *text, struct err *err)
{
    return sqlite3_exec(db->sql, text, NULL, NULL, NULL) == SQLITE_OK ? 0
                                                                      : fail(db, "opening", err);
}

// text_has(needle, text)
static void has_function(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    const char *needle = (const char *)sqlite3_value_text(values[0]);
    const char *text = (const char *)sqlite3_value_text(values[1]);
    if (needle && text)
        sqlite3_result_int(
            context, store_has_text((struct str){text, (size_t)sqlite3_value_bytes(values[1])},
                                    (struct str){needle, (size_t)sqlite3_value_bytes(values[0])}));
}

static sqlite3_stmt *prepare(struct logs_db *db, const char *text, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(db->sql, text, -1, &statement, NULL) != SQLITE_OK)
        fail(db, "preparing a statement", err);
    return statement;
}

static int prepare_writer(struct logs_db *db, struct err *err)
{
    db->begin = prepare(db, "BEGIN IMMEDIATE", err);
    db->commit = prepare(db, "COMMIT", err);
    db->rollback = prepare(db, "ROLLBACK", err);
    db->insert = prepare(db, "INSERT INTO lines VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9,?10)", err);
    db->count = prepare(db, "UPDATE counter SET next_seq=?1 WHERE id=1", err);
    db->delete_service = prepare(
        db, "DELETE FROM lines WHERE seq IN (SELECT seq FROM lines WHERE service_id=?1 LIMIT ?2)",
        err);
    db->delete_project = prepare(
        db, "DELETE FROM lines WHERE seq IN (SELECT seq FROM lines WHERE project_id=?1 LIMIT ?2)",
        err);
    db->delete_before = prepare(
        db, "DELETE FROM lines WHERE seq IN (SELECT seq FROM lines WHERE at<?1 LIMIT ?2)", err);
    return db->begin && db->commit && db->rollback && db->insert && db->count &&
                   db->delete_service && db->delete_project && db->delete_before
               ? 0
               : -1;
}

static int64_t number_of(struct logs_db *db, const char *text)
{
    struct err ignored;
    sqlite3_stmt *statement = prepare(db, text, &ignored);
    int64_t n = statement && sqlite3_step(statement) == SQLITE_ROW
                    ? sqlite3_column_int64(statement, 0)
                    : -1;
    sqlite3_finalize(statement);
    return n;
}

static int set_up_writer(struct logs_db *db, struct err *err)
{
    int64_t version = number_of(db, "PRAGMA user_version");
    if (version > SCHEMA)
        return err_set(err, ERR_CONFLICT,
                       "logs: the database has schema %lld, this program knows up to %d; use the "
                       "newer program that wrote it",
                       (long long)version, SCHEMA);
    if (exec(db, schema, err) < 0 || prepare_writer(db, err) < 0)
        return -1;
    db->next_seq = db->saved_seq = number_of(db, "SELECT next_seq FROM counter");
    if (db->next_seq < 0)
        return err_set(err, ERR_INTERNAL, "logs: the line counter is missing");
    if (db->path)
        chmod(db->path, 0600);
    return 0;
}

static int note_pages(void *arg, sqlite3 *sql, const char *name, int pages)
{
    (void)sql;
    (void)name;
    ((struct logs_db *)arg)->wal_pages = pages;
    return SQLITE_OK;
}

struct logs_db *logs_db_open(const char *path, bool writer, struct err *err)
{
    struct logs_db *db = mem_alloc(sizeof(*db));
    db->wal_fd = -1;
    db->path = path ? mem_copy(path, strlen(path)) : NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path ? path : ":memory:", &db->sql, flags, NULL) != SQLITE_OK) {
        err_set(err, ERR_INTERNAL, "logs: opening %s: %s", path ? path : "memory",
                db->sql ? sqlite3_errmsg(db->sql) : "out of memory");
        logs_db_close(db);
        return NULL;
    }
    sqlite3_busy_timeout(db->sql, 10000);
    sqlite3_wal_hook(db->sql, note_pages, db);
    sqlite3_create_function(db->sql, "text_has", 2, SQLITE_UTF8 | SQLITE_DETERMINISTIC, NULL,
                            has_function, NULL, NULL);
    int failed = exec(db,
                      "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                      "PRAGMA journal_size_limit=16777216; PRAGMA cache_size=-4096;"
                      "PRAGMA temp_store=MEMORY",
                      err);
    if (!failed)
        failed = writer ? set_up_writer(db, err) : exec(db, "PRAGMA query_only=ON", err);
    if (failed) {
        logs_db_close(db);
        return NULL;
    }
    return db;
}

void logs_db_close(struct logs_db *db)
{
    if (!db)
        return;
    sqlite3_stmt *const all[] = {db->begin,          db->commit,       db->rollback,
                                 db->insert,         db->count,        db->delete_service,
                                 db->delete_project, db->delete_before};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        sqlite3_finalize(all[i]);
    fd_close_at(&db->wal_fd);
    if (db->broken)
        sqlite3_db_config(db->sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(db->sql);
    mem_free(db->path);
    mem_free(db);
}

static int run(struct logs_db *db, sqlite3_stmt *statement, const char *doing, struct err *err)
{
    int rc = sqlite3_step(statement);
    int failed = rc == SQLITE_DONE ? 0 : fail(db, doing, err);
    sqlite3_reset(statement);
    return failed;
}

int logs_db_begin(struct logs_db *db, struct err *err)
{
    return run(db, db->begin, "beginning", err);
}

void logs_db_rollback(struct logs_db *db)
{
    struct err ignored;
    if (!sqlite3_get_autocommit(db->sql) && run(db, db->rollback, "rolling back", &ignored) < 0)
        sqlite3_exec(db->sql, "ROLLBACK", NULL, NULL, NULL);
    db->next_seq = db->saved_seq;
}

// Not left to SQLite, which keeps the errors of its own checkpoints to itself. One that finds no
// room is tried again after the next commit.
static void copy_wal(struct logs_db *db)
{
    struct err err = ERR_INIT;
    int rc = sqlite3_wal_checkpoint_v2(db->sql, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        fail(db, "copying the WAL", &err);
}

const struct err *logs_db_broken(const struct logs_db *db)
{
    return db->broken ? &db->broken_by : NULL;
}

int logs_db_commit(struct logs_db *db, struct err *err)
{
    int failed = 0;
    if (db->next_seq != db->saved_seq) {
        sqlite3_bind_int64(db->count, 1, db->next_seq);
        failed = run(db, db->count, "counting lines", err);
    }
    if (failed || run(db, db->commit, "committing", err) < 0) {
        logs_db_rollback(db);
        return -1;
    }
    db->saved_seq = db->next_seq;
    if (db->wal_pages >= CHECKPOINT)
        copy_wal(db);
    return 0;
}

static void bind_text(sqlite3_stmt *statement, int at, struct str text)
{
    if (text.at)
        sqlite3_bind_text64(statement, at, text.at, text.len, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_null(statement, at);
}

int logs_db_insert(struct logs_db *db, const struct log_line *line, struct err *err)
{
    sqlite3_stmt *s = db->insert;
    sqlite3_bind_int64(s, 1, db->next_seq);
    sqlite3_bind_int64(s, 2, line->at);
    sqlite3_bind_int(s, 3, line->level);
    sqlite3_bind_int(s, 4, line->system);
    bind_text(s, 5, line->service_id);
    bind_text(s, 6, line->project_id);
    bind_text(s, 7, line->execution_id);
    bind_text(s, 8, line->function_name);
    bind_text(s, 9, line->replica_id);
    bind_text(s, 10, line->message);
    if (run(db, s, "storing a line", err) < 0)
        return -1;
    db->next_seq++;
    return 0;
}

int logs_db_delete(struct logs_db *db, const struct logs_part *part, int64_t limit,
                   int64_t *deleted, struct err *err)
{
    sqlite3_stmt *s = part->service_id.at   ? db->delete_service
                      : part->project_id.at ? db->delete_project
                                            : db->delete_before;
    *deleted = 0;
    if (s == db->delete_before)
        sqlite3_bind_int64(s, 1, part->at);
    else
        bind_text(s, 1, part->service_id.at ? part->service_id : part->project_id);
    sqlite3_bind_int64(s, 2, limit);
    if (run(db, s, "deleting lines", err) < 0)
        return -1;
    *deleted = sqlite3_changes64(db->sql);
    return 0;
}

int logs_db_sync(struct logs_db *db, struct err *err)
{
    char path[4096];
    if (!db->path)
        return 0;
    // The WAL keeps its file while a connection is open. SQLite's locks lie on other files.
    snprintf(path, sizeof(path), "%s-wal", db->path);
    if (db->wal_fd < 0)
        db->wal_fd = open(path, O_RDWR | O_CLOEXEC);
    if (db->wal_fd >= 0 && fdatasync(db->wal_fd) == 0)
        return 0;
    int cause = errno;
    err_errno(err, ERR_UNAVAILABLE, cause, "logs: syncing %s", path);
    if (db->wal_fd >= 0)
        set_broken(db, err);
    return -1;
}

// ── reading ──────────────────────────────────────────────────────────────────────────────────

struct term {  // a condition with one parameter
    const char *text;
    struct str value;
    int64_t number;
    bool given, is_number;
};

static void add_executions(const struct logs_query *query, struct buf *text)
{
    if (query->execution_count == 0)
        return;
    buf_add_cstr(text, " AND execution_id IN (");
    for (size_t i = 0; i < query->execution_count; i++)
        buf_add_cstr(text, i ? ",?" : "?");
    buf_add_char(text, ')');
}

#define TERMS 11

// With executions given their index is the narrow one, so that of the service is kept out ("+").
static void terms_of(const struct logs_query *query, struct term terms[TERMS])
{
    bool narrow = query->execution_count > 0;
    struct term all[TERMS] = {
        {narrow ? " AND +service_id=?" : " AND service_id=?", query->service_id, 0, false, false},
        {narrow || query->service_id.at ? " AND +project_id=?" : " AND project_id=?",
         query->project_id, 0, false, false},
        {" AND function_name=?", query->function_name, 0, false, false},
        {" AND replica_id=?", query->replica_id, 0, false, false},
        {" AND text_has(?,message)", query->text, 0, false, false},
        {" AND level>=?", STR_NONE, query->level_min, query->level_min > 0, true},
        {" AND system=?", STR_NONE, 0, !query->system, true},
        {" AND +at>=?", STR_NONE, query->start, query->start != INT64_MIN, true},
        {" AND +at<=?", STR_NONE, query->end, query->end != INT64_MAX, true},
        {" AND seq>?", STR_NONE, query->after_seq, !query->descending && query->after_seq >= 0,
         true},
        {" AND seq<?", STR_NONE, query->before_seq,
         query->descending && query->before_seq != INT64_MAX, true},
    };
    for (size_t i = 0; i < TERMS; i++) {
        all[i].given |= all[i].value.at != NULL;
        terms[i] = all[i];
    }
}

static sqlite3_stmt *read_statement(struct logs_db *db, const struct logs_query *query,
                                    struct err *err)
{
    struct term terms[TERMS];
    terms_of(query, terms);
    _cleanup_buf_ struct buf text = BUF_INIT((size_t)1024 * 1024);
    buf_add_cstr(&text, "SELECT seq,at,level,system,service_id,project_id,execution_id,"
                        "function_name,replica_id,message FROM lines WHERE 1");
    for (size_t i = 0; i < TERMS; i++)
        if (terms[i].given)
            buf_add_cstr(&text, terms[i].text);
    add_executions(query, &text);
    buf_printf(&text, " ORDER BY seq%s LIMIT ?", query->descending ? " DESC" : "");
    buf_add_char(&text, '\0');
    if (text.over) {
        err_set(err, ERR_TOO_LARGE, "logs: a query names too many executions");
        return NULL;
    }
    sqlite3_stmt *statement = prepare(db, text.at, err);
    int at = 1;
    for (size_t i = 0; statement && i < TERMS; i++) {
        if (!terms[i].given)
            continue;
        if (terms[i].is_number)
            sqlite3_bind_int64(statement, at++, terms[i].number);
        else
            bind_text(statement, at++, terms[i].value);
    }
    for (size_t i = 0; statement && i < query->execution_count; i++)
        bind_text(statement, at++, query->executions[i]);
    int64_t limit = query->limit <= 0 ? LIMIT_DEFAULT : query->limit;
    if (statement)
        sqlite3_bind_int64(statement, at, limit < LIMIT_MAX ? limit : LIMIT_MAX);
    return statement;
}

static struct str column_text(sqlite3_stmt *statement, int column, struct arena *arena)
{
    const char *at = (const char *)sqlite3_column_text(statement, column);
    return arena_copy(arena,
                      (struct str){at, at ? (size_t)sqlite3_column_bytes(statement, column) : 0});
}

static struct log_line line_of(sqlite3_stmt *s, struct arena *arena)
{
    return (struct log_line){
        .seq = sqlite3_column_int64(s, 0),
        .at = sqlite3_column_int64(s, 1),
        .level = sqlite3_column_int(s, 2),
        .system = sqlite3_column_int(s, 3) != 0,
        .service_id = column_text(s, 4, arena),
        .project_id = column_text(s, 5, arena),
        .execution_id = column_text(s, 6, arena),
        .function_name = column_text(s, 7, arena),
        .replica_id = column_text(s, 8, arena),
        .message = column_text(s, 9, arena),
    };
}

int logs_db_read(struct logs_db *db, struct logs_read *read, struct err *err)
{
    sqlite3_stmt *statement = read_statement(db, &read->query, err);
    if (!statement)
        return -1;
    size_t cap = 0;
    int rc;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        if (read->count == cap) {
            cap = cap ? cap * 2 : 32;
            struct log_line *more = arena_array_of(read->arena, struct log_line, cap);
            if (read->count > 0)
                memcpy(more, read->lines, read->count * sizeof(*more));
            read->lines = more;
        }
        read->lines[read->count++] = line_of(statement, read->arena);
    }
    int failed = rc == SQLITE_DONE ? 0 : fail(db, "reading lines", err);
    sqlite3_finalize(statement);
    return failed;
}
