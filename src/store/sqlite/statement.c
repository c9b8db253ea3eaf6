// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "store/sqlite/sqlite_internal.h"

// Not IN (…): SQLite fills a temporary table for it each time. The unary + keeps it off the
// indexes.
#define STILL_OPEN "(+status='created' OR +status='in-progress' OR +status='rerun')"
// Why the attempt before ended is not what this one says.
#define NOT_OF_BEFORE "CASE WHEN status='rerun' THEN NULL ELSE status_message END"
#define LEAST         "-9223372036854775808"
#define MOST          "9223372036854775807"

static const char *const fixed_sql[FIXED_COUNT] = {
    [FIXED_BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [FIXED_BEGIN_READ] = "BEGIN",
    [FIXED_COMMIT] = "COMMIT",
    [FIXED_ROLLBACK] = "ROLLBACK",
    [FIXED_MARK] = "SAVEPOINT job",
    [FIXED_KEEP] = "RELEASE job",
    [FIXED_UNDO] = "ROLLBACK TO job",
    [FIXED_META_GET] = "SELECT value FROM meta WHERE key=?1",
    [FIXED_META_SET] = "INSERT INTO meta(key,value) VALUES(?1,?2) "
                       "ON CONFLICT(key) DO UPDATE SET value=excluded.value",
    [FIXED_EXECUTION_START] =
        "UPDATE executions SET status_message=" NOT_OF_BEFORE ",status='in-progress',fence=?2,"
        "replica_id=?3,started_at=?4,updated_at=?4 WHERE id=?1 AND " STILL_OPEN
        " AND coalesce(fence," LEAST ")<?2",
    [FIXED_EXECUTION_FINISH] =
        "UPDATE executions SET status=?2,status_message=coalesce(?3," NOT_OF_BEFORE "),"
        "output=coalesce(?4,output),error=coalesce(?5,error),usage=?11,"
        "percent=CASE WHEN ?2='success' THEN 100.0 ELSE percent END,"
        "replica_id=coalesce(?6,replica_id),fence=coalesce(?7,fence),"
        "started_at=coalesce(?8,started_at),ended_at=coalesce(?9,ended_at),"
        "updated_at=coalesce(?9,updated_at),attempts=coalesce(max(attempts,?10),?10,attempts) "
        "WHERE id=?1 AND " STILL_OPEN " AND coalesce(fence," LEAST ")<=coalesce(?7," LEAST ")",
    [FIXED_EXECUTION_REQUEUE] =
        "UPDATE executions SET status='rerun',status_message=coalesce(?4,status_message),"
        "fence=coalesce(?2,fence),attempts=coalesce(?3,attempts) WHERE id=?1 AND " STILL_OPEN
        " AND coalesce(fence," LEAST ")<=coalesce(?2," LEAST ")",
    [FIXED_EXECUTION_EACH_OPEN] =
        "SELECT id,service_id,status,fence FROM executions INDEXED BY executions_open "
        "WHERE " OPEN_STATES " ORDER BY service_id,created_at,id",
    [FIXED_COUNT_CHANGE] =
        "INSERT INTO execution_counts(service_id,function_name,status,project_id,n) "
        "VALUES(?1,?2,?3,?4,?5) ON CONFLICT DO UPDATE SET n=n+excluded.n",
    [FIXED_SPAN_CHANGE] = "INSERT INTO execution_spans(scope,start,n) VALUES(?1,?2,?3) "
                          "ON CONFLICT DO UPDATE SET n=n+excluded.n",
    [FIXED_SPAN_NEWEST] = "SELECT start,n FROM execution_spans WHERE scope=?1 "
                          "ORDER BY start DESC LIMIT 1",
    [FIXED_SPAN_OF] =
        "SELECT (SELECT coalesce(max(start),0) FROM execution_spans WHERE scope=?1 AND start<=?2),"
        "(SELECT coalesce(min(start)," MOST ") FROM execution_spans WHERE scope=?1 AND start>?2)",
    [FIXED_SPANS_UP] = "SELECT start,n FROM execution_spans WHERE scope=?1 ORDER BY start",
    [FIXED_SPANS_DOWN] = "SELECT start,n FROM execution_spans WHERE scope=?1 ORDER BY start DESC",
    [FIXED_LATEST_OF_PROJECT] = "SELECT max(created_at),0 FROM executions WHERE project_id=?1",
    [FIXED_LATEST_OF_SERVICE] = "SELECT max(created_at),0 FROM executions WHERE service_id=?1",
    [FIXED_BLOB_USED] = "SELECT 1 FROM items WHERE blob=?1 LIMIT 1",
};

// SQLite's files remember the errno: commits write the WAL, copying it writes the database. 0: it
// is not known.
static int file_errno(sqlite3 *sql, bool copying)
{
    int which = copying ? SQLITE_FCNTL_FILE_POINTER : SQLITE_FCNTL_JOURNAL_POINTER, number = 0;
    sqlite3_file *file = NULL;
    if (sqlite3_file_control(sql, "main", which, &file) != SQLITE_OK || !file || !file->pMethods ||
        file->pMethods->xFileControl(file, SQLITE_FCNTL_LAST_ERRNO, &number) != SQLITE_OK)
        return 0;
    return number;
}

// A full quota is the same as a full disk, but SQLite takes it for an error of the disk.
bool store_sqlite_full(sqlite3 *sql, bool copying)
{
    int code = sqlite3_extended_errcode(sql);
    return (code & 0xff) == SQLITE_FULL ||
           (code == SQLITE_IOERR_WRITE && file_errno(sql, copying) == EDQUOT);
}

// SQLite calls the database malformed also when a page cannot be read.
static int disk_err(struct sqlite_tx *tx, const char *doing, int code, struct err *err)
{
    int number = (code & 0xff) == SQLITE_IOERR ? file_errno(tx->sql, tx->copying) : 0;
    return err_set(err, ERR_UNAVAILABLE, "store: %s: the disk failed: %s%s%s (SQLite code %d)",
                   doing, sqlite3_errmsg(tx->sql), number ? ": " : "",
                   number ? strerror(number) : "", code);
}

int store_sqlite_err(struct sqlite_tx *tx, const char *doing, struct err *err)
{
    int code = sqlite3_extended_errcode(tx->sql);
    const char *why = sqlite3_errmsg(tx->sql);
    if (tx->rows)
        row_cache_clear(tx->rows);  // SQLite may have undone the whole transaction
    tx->full = store_sqlite_full(tx->sql, tx->copying);
    switch (tx->full ? SQLITE_FULL : code & 0xff) {
    case SQLITE_FULL:
        return err_set(err, ERR_UNAVAILABLE,
                       "store: %s: disk full; free some space below %s and try again", doing,
                       tx->db->folder);
    case SQLITE_IOERR:
    case SQLITE_CORRUPT: return disk_err(tx, doing, code, err);
    case SQLITE_NOMEM:
        return err_set(err, ERR_UNAVAILABLE, "store: %s: out of memory; try again", doing);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return err_set(err, ERR_UNAVAILABLE, "store: %s: another program holds %s: %s", doing,
                       tx->db->path, why);
    default: return err_set(err, ERR_INTERNAL, "store: %s: %s (SQLite code %d)", doing, why, code);
    }
}

sqlite3_stmt *store_sqlite_prepare(struct sqlite_tx *tx, struct str sql, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v3(tx->sql, sql.at, (int)sql.len, SQLITE_PREPARE_PERSISTENT, &statement,
                           NULL) != SQLITE_OK) {
        char doing[160];
        snprintf(doing, sizeof(doing), "preparing \"%.100s\"", sql.at);
        store_sqlite_err(tx, doing, err);
        return NULL;
    }
    return statement;
}

sqlite3_stmt *store_sqlite_fixed(struct sqlite_tx *tx, enum fixed_statement which, struct err *err)
{
    if (!tx->fixed[which])
        tx->fixed[which] = store_sqlite_prepare(tx, str_of(fixed_sql[which]), err);
    return tx->fixed[which];
}

struct table *store_sqlite_table(struct sqlite_tx *tx, const struct entity *entity, struct err *err)
{
    for (size_t i = 0; i < TABLES_MAX; i++) {
        struct table *table = &tx->tables[i];
        if (!table->entity)
            table->entity = entity;
        if (table->entity == entity)
            return table;
    }
    err_set(err, ERR_INTERNAL, "store: more than %d kinds of entities", TABLES_MAX);
    return NULL;
}

// ── the cache of composed statements ─────────────────────────────────────────────────────────

// The entry to use for a new statement: a free one, else the idle one used longest ago.
static struct cached *cache_victim(struct sqlite_tx *tx)
{
    struct cached *oldest = NULL;
    for (size_t i = 0; i < STATEMENTS_MAX; i++) {
        struct cached *entry = &tx->cache[i];
        if (!entry->statement)
            return entry;
        if (!entry->busy && (!oldest || entry->used < oldest->used))
            oldest = entry;
    }
    return oldest;
}

sqlite3_stmt *store_sqlite_cached(struct sqlite_tx *tx, struct str sql, struct err *err)
{
    uint64_t hash = str_hash(sql);  // equal ones are told apart by the text
    for (size_t i = 0; i < STATEMENTS_MAX; i++) {
        struct cached *entry = &tx->cache[i];
        if (!entry->statement || entry->hash != hash || entry->busy ||
            !str_is(sql, sqlite3_sql(entry->statement)))
            continue;
        entry->used = ++tx->uses;
        entry->busy = true;
        return entry->statement;
    }
    sqlite3_stmt *statement = store_sqlite_prepare(tx, sql, err);
    struct cached *entry = statement ? cache_victim(tx) : NULL;
    if (entry) {  // without one the statement lives until it is released
        sqlite3_finalize(entry->statement);
        *entry = (struct cached){hash, ++tx->uses, statement, true};
    }
    return statement;
}

void store_sqlite_release(struct sqlite_tx *tx, sqlite3_stmt *statement)
{
    for (size_t i = 0; i < STATEMENTS_MAX; i++) {
        if (tx->cache[i].statement != statement)
            continue;
        sqlite3_reset(statement);
        sqlite3_clear_bindings(statement);
        tx->cache[i].busy = false;
        return;
    }
    sqlite3_finalize(statement);
}

void store_sqlite_finalize_all(struct sqlite_tx *tx)
{
    for (size_t i = 0; i < FIXED_COUNT; i++)
        sqlite3_finalize(tx->fixed[i]);
    for (size_t i = 0; i < TABLES_MAX; i++) {
        sqlite3_finalize(tx->tables[i].get);
        sqlite3_finalize(tx->tables[i].insert);
        sqlite3_finalize(tx->tables[i].update);
        sqlite3_finalize(tx->tables[i].delete_row);
    }
    for (size_t i = 0; i < STATEMENTS_MAX; i++)
        sqlite3_finalize(tx->cache[i].statement);
}

int store_sqlite_run(struct sqlite_tx *tx, sqlite3_stmt *statement, const char *doing,
                     struct err *err)
{
    int rc = sqlite3_step(statement);
    int failed = rc == SQLITE_DONE || rc == SQLITE_ROW ? 0 : store_sqlite_err(tx, doing, err);
    sqlite3_reset(statement);
    return failed;
}

// ── values ───────────────────────────────────────────────────────────────────────────────────

// Limits on texts (16 MiB) lie far below those of SQLite (1 GB), so binding does not fail.
void store_sqlite_bind_text(sqlite3_stmt *statement, int at, struct str text)
{
    if (text.at)
        sqlite3_bind_text64(statement, at, text.at, text.len, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_null(statement, at);
}

void store_sqlite_bind_int(sqlite3_stmt *statement, int at, int64_t n)
{
    if (n == INT_NONE)
        sqlite3_bind_null(statement, at);
    else
        sqlite3_bind_int64(statement, at, n);
}

struct str store_sqlite_text(sqlite3_stmt *statement, int column)
{
    const char *at = (const char *)sqlite3_column_text(statement, column);
    return (struct str){at, at ? (size_t)sqlite3_column_bytes(statement, column) : 0};
}

int64_t store_sqlite_int(sqlite3_stmt *statement, int column)
{
    return sqlite3_column_type(statement, column) == SQLITE_NULL
               ? INT_NONE
               : sqlite3_column_int64(statement, column);
}
