// SPDX-License-Identifier: Apache-2.0
// store/sqlite: what its files share. A connection belongs to one thread at a time; its statements
// are prepared once. Texts are bound without a copy: a statement is reset before its caller's
// texts go away, and every parameter is bound again before the next step.
#ifndef DROVER_STORE_SQLITE_SQLITE_INTERNAL_H
#define DROVER_STORE_SQLITE_SQLITE_INTERNAL_H

#define SQLITE_ENABLE_PREUPDATE_HOOK  // declares what Debian's library has; see counts.c
#include <sqlite3.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "store/store_internal.h"

// The executions that partial indexes hold, as the schema's third step says it.
#define OPEN_STATES "(status='created' OR status='in-progress' OR status='rerun')"
#define BAD_STATES                                                                                 \
    "(status='failed' OR status='terminated' OR status='aborted' OR status='canceled' OR "         \
    "status='system-failure')"

#define WAL_WRITES_NAME 32

struct store_db {
    char *folder, *path;
    sqlite3_vfs vfs;  // the writer's; see wal_writes.c
    char vfs_name[WAL_WRITES_NAME];
    int lock_fd;
    struct log *log;
    atomic_int wal_pages;    // after the last commit
    atomic_bool wal_copied;  // a reader copied most of the WAL: the writer may finish it
    atomic_bool broken;      // the disk failed: nothing is synced any more, not at the close either
};

enum fixed_statement {
    FIXED_BEGIN_WRITE,
    FIXED_BEGIN_READ,
    FIXED_COMMIT,
    FIXED_ROLLBACK,
    FIXED_MARK,
    FIXED_KEEP,
    FIXED_UNDO,
    FIXED_META_GET,
    FIXED_META_SET,
    FIXED_EXECUTION_START,
    FIXED_EXECUTION_FINISH,
    FIXED_EXECUTION_REQUEUE,
    FIXED_EXECUTION_EACH_OPEN,
    FIXED_BLOB_USED,
    FIXED_COUNT_CHANGE,
    FIXED_SPAN_CHANGE,
    FIXED_SPAN_NEWEST,
    FIXED_SPAN_OF,
    FIXED_SPANS_UP,
    FIXED_SPANS_DOWN,
    FIXED_LATEST_OF_PROJECT,
    FIXED_LATEST_OF_SERVICE,
    FIXED_COUNT
};

struct table {  // statements of one entity
    const struct entity *entity;
    sqlite3_stmt *get, *insert, *update, *delete_row;
};

#define TABLES_MAX     32
#define STATEMENTS_MAX 64  // of the cache of composed statements

struct cached {
    uint64_t hash, used;
    sqlite3_stmt *statement;
    bool busy;
};

struct row_cache;
struct counts;

struct sqlite_tx {
    struct tx tx;
    struct row_cache *rows;  // of the writer; NULL: a reader
    struct counts *counts;   // the same
    struct store_db *db;
    sqlite3 *sql;
    sqlite3_stmt *fixed[FIXED_COUNT];
    struct table tables[TABLES_MAX];
    struct cached cache[STATEMENTS_MAX];
    uint64_t uses;
    bool full;     // what failed last did so for want of room
    bool copying;  // the WAL, just now
};

static inline struct sqlite_tx *sqlite_of(struct tx *tx) { return (struct sqlite_tx *)(void *)tx; }

// statement.c: every function that gives a statement gives it reset.
sqlite3_stmt *store_sqlite_fixed(struct sqlite_tx *tx, enum fixed_statement which, struct err *err);
struct table *store_sqlite_table(struct sqlite_tx *tx, const struct entity *entity,
                                 struct err *err);
sqlite3_stmt *store_sqlite_prepare(struct sqlite_tx *tx, struct str sql, struct err *err);
sqlite3_stmt *store_sqlite_cached(struct sqlite_tx *tx, struct str sql, struct err *err);
void store_sqlite_release(struct sqlite_tx *tx, sqlite3_stmt *statement);  // back to the cache
void store_sqlite_finalize_all(struct sqlite_tx *tx);
// Runs a statement that gives no rows, and resets it.
int store_sqlite_run(struct sqlite_tx *tx, sqlite3_stmt *statement, const char *doing,
                     struct err *err);
// Fills err from the connection's last error. ERR_UNAVAILABLE for a full or failing disk; tx->full
// says which.
int store_sqlite_err(struct sqlite_tx *tx, const char *doing, struct err *err);

// Whether what failed last did so because the disk or the quota is full; `copying`: the WAL.
bool store_sqlite_full(sqlite3 *sql, bool copying);

void store_sqlite_bind_text(sqlite3_stmt *statement, int at, struct str text);  // absent: NULL
void store_sqlite_bind_int(sqlite3_stmt *statement, int at, int64_t n);         // INT_NONE: NULL
struct str store_sqlite_text(sqlite3_stmt *statement, int column);  // until the next step
int64_t store_sqlite_int(sqlite3_stmt *statement, int column);

// functions.c: SQL functions that give filters their meaning.
int store_sqlite_functions(sqlite3 *sql);
struct json_term;  // a filter's leaf on a JSON column, given to the function json_term by pointer
struct json_term *store_sqlite_json_term(const struct filter *leaf, struct arena *arena);

// row_cache.c: the writer's copies of hot rows.
enum row_cached { ROW_UNKNOWN, ROW_FOUND, ROW_ABSENT };
struct row_cache *row_cache_new(void);
void row_cache_free(struct row_cache *cache);
enum row_cached row_cache_get(struct row_cache *cache, const struct entity *entity, struct str id,
                              void *row, struct arena *arena);  // texts are copied into the arena
void row_cache_put(struct row_cache *cache, const struct entity *entity, struct str id,
                   const void *row);  // NULL: there is none
void row_cache_forget(struct row_cache *cache, const struct entity *entity, struct str id);
void row_cache_clear(struct row_cache *cache);

// counts.c: how many executions there are. Changes are noted from counts_open on, and written by
// counts_write at the end of a transaction, with those of spans.c.
struct counts *counts_open(sqlite3 *sql);  // NULL: see sqlite3_errmsg
void counts_close(struct counts *counts);
void counts_mark(struct counts *counts);   // a job begins
void counts_undo(struct counts *counts);   // what was noted since the mark did not happen
void counts_clear(struct counts *counts);  // a transaction begins
int counts_write(struct sqlite_tx *tx, struct err *err);
void counts_committed(struct counts *counts);
// Whether the table execution_counts answers how many rows of the entity match the filter: its
// columns are named as those of the executions, and n is how many.
bool counts_serve(const struct entity *entity, const struct filter *filter);
bool counts_column(const struct field *field);
// What the open transaction of a writer changed and did not write yet.
int64_t counts_pending(const struct sqlite_tx *tx, const struct filter *filter);

// wal_writes.c: a VFS for a connection with synchronous=FULL, which the caller unregisters.
void wal_writes_register(sqlite3_vfs *vfs, char name[WAL_WRITES_NAME]);

// spans.c: how many executions there are in spans of time.
struct spans *spans_new(void);
void spans_free(struct spans *spans);
void spans_begin(struct spans *spans);  // a transaction, as counts_clear; and so on
void spans_mark(struct spans *spans);
void spans_undo(struct spans *spans);
void spans_note(struct spans *spans, struct str project_id, struct str service_id, int64_t at,
                int by);  // at: ms, when it was created
int spans_write(struct sqlite_tx *tx, struct spans *spans, struct err *err);
void spans_committed(struct spans *spans);
// Whether the rows before this page can be passed over, and by whose spans.
bool spans_serve(const struct sqlite_tx *tx, const struct entity *entity, const struct query *query,
                 struct str *scope);
// Takes off the offset what lies before a bound: rows before it (descending: created_at at or after
// it) are not to be read.
int spans_skip(struct sqlite_tx *tx, struct str scope, bool descending, int64_t *offset,
               int64_t *bound, struct err *err);

// rows.c
void store_sqlite_columns(const struct entity *entity, struct buf *out);  // "id,name,…"
void store_sqlite_read_row(sqlite3_stmt *statement, const struct entity *entity, void *row,
                           struct arena *arena);
int store_sqlite_get(struct tx *, const struct entity *, struct str id, void *row, struct arena *,
                     struct err *);
int store_sqlite_insert(struct tx *, const struct entity *, const void *row, struct err *);
int store_sqlite_update(struct tx *, const struct entity *, const void *row, struct err *);
int store_sqlite_delete(struct tx *, const struct entity *, struct str id, struct err *);

// where.c: SQL under construction with the values for its parameters, all in one arena.
enum bind_kind { BIND_TEXT, BIND_INT, BIND_DOUBLE, BIND_TERM };
struct bind {
    enum bind_kind kind;
    struct str text;
    int64_t integer;
    double number;
    struct json_term *term;
};
struct sql {
    const struct entity *entity;  // whose rows the conditions are about
    struct buf text;
    struct arena *arena;
    struct bind *binds;
    size_t count, cap;
};
void store_sqlite_sql_init(struct sql *sql, const struct entity *entity);
void store_sqlite_sql_deinit(struct sql *sql);
void store_sqlite_where(struct sql *sql, const struct filter *filter);  // " WHERE …" or nothing
void store_sqlite_add_bind(struct sql *sql, struct bind bind);          // writes "?" as well
// The cached statement for the finished text, bound.
sqlite3_stmt *store_sqlite_sql_prepare(struct sqlite_tx *tx, struct sql *sql, struct err *err);

// query.c
int store_sqlite_select(struct tx *, const struct entity *, const struct query *, struct arena *,
                        void **rows, size_t *count, struct err *);
int store_sqlite_count(struct tx *, const struct entity *, const struct filter *, int64_t *count,
                       struct err *);
int store_sqlite_delete_where(struct tx *, const struct entity *, const struct filter *,
                              int64_t limit, int64_t *deleted, struct err *);
int store_sqlite_count_by(struct tx *, const struct entity *, const struct filter *,
                          const struct field *,
                          void (*each)(void *arg, struct str value, int64_t count), void *arg,
                          struct err *);

// hot.c
int store_sqlite_meta_get(struct tx *, const char *key, struct arena *, struct str *value,
                          struct err *);
int store_sqlite_meta_set(struct tx *, const char *key, struct str value, struct err *);
int store_sqlite_execution_start(struct tx *, struct str id, int64_t fence, struct str replica_id,
                                 int64_t now, bool *applied, struct err *);
int store_sqlite_execution_finish(struct tx *, const struct execution_result *, bool *applied,
                                  struct err *);
int store_sqlite_execution_requeue(struct tx *, struct str id, int64_t fence, int64_t attempts,
                                   struct str message, bool *applied, struct err *);
int store_sqlite_execution_each_open(struct tx *,
                                     void (*each)(void *arg, struct str id, struct str service_id,
                                                  struct str status, int64_t fence),
                                     void *arg, struct err *);
int store_sqlite_blob_used(struct tx *, struct str sha256, bool *used, struct err *);

#endif
