// SPDX-License-Identifier: Apache-2.0
// The SQLite driver: one file in WAL mode with synchronous=FULL, one writing connection, readers on
// snapshots. The WAL is copied back into the file by a reader while writing goes on; the writer
// only copies what came in meanwhile, so that no commit waits for a long checkpoint.
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/schema.h"
#include "store/sqlite/migrations.h"
#include "store/sqlite/sqlite_internal.h"

#define CHECKPOINT_PAGES 2000                // of 4 KiB: when the WAL is worth copying
#define WAL_KEEP_BYTES   (64 * 1024 * 1024)  // the WAL file is cut to this after a burst

// With the system's own words where SQLite has them: "unable to open" alone helps nobody.
static int open_err(sqlite3 *sql, const char *path, struct err *err)
{
    int number = sql ? sqlite3_system_errno(sql) : ENOMEM;
    const char *why = sql ? sqlite3_errmsg(sql) : "out of memory";
    if (number == 0)
        return err_set(err, ERR_INTERNAL, "store: opening %s: %s", path, why);
    return err_errno(err, ERR_INTERNAL, number, "store: opening %s: %s", path, why);
}

static int exec(sqlite3 *sql, const char *text, const char *path, struct err *err)
{
    return sqlite3_exec(sql, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : open_err(sql, path, err);
}

static int configure(sqlite3 *sql, const char *path, bool writer, struct err *err)
{
    char text[256];
    sqlite3_busy_timeout(sql, 10000);
    sqlite3_extended_result_codes(sql, 1);
    sqlite3_db_config(sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    snprintf(text, sizeof(text),
             "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0;"
             "PRAGMA journal_size_limit=%d; PRAGMA cache_size=-%d; PRAGMA temp_store=MEMORY",
             WAL_KEEP_BYTES, writer ? 16384 : 4096);
    if (exec(sql, text, path, err) < 0)
        return -1;
    if (store_sqlite_functions(sql) != SQLITE_OK)
        return err_set(err, ERR_INTERNAL, "store: %s: %s", path, sqlite3_errmsg(sql));
    return 0;
}

static sqlite3 *open_file(const char *path, bool writer, const char *vfs, struct err *err)
{
    sqlite3 *sql = NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    if (sqlite3_open_v2(path, &sql, flags, vfs) != SQLITE_OK) {
        open_err(sql, path, err);
        sqlite3_close(sql);
        return NULL;
    }
    if (configure(sql, path, writer, err) < 0) {
        sqlite3_close(sql);
        return NULL;
    }
    return sql;
}

static void db_free(struct store_db *db)
{
    if (db->vfs.zName)
        sqlite3_vfs_unregister(&db->vfs);
    fd_close_at(&db->lock_fd);
    mem_free(db->folder);
    mem_free(db->path);
    mem_free(db);
}

static int migrate(const char *path, int to, bool discard, struct err *err)
{
    sqlite3 *sql = open_file(path, false, NULL, err);
    if (!sql)
        return -1;
    int failed = store_sqlite_migrate(sql, &store_sqlite_steps, to, discard, err);
    sqlite3_close(sql);
    if (failed == 0)
        chmod(path, 0600);  // the folder is 0700 already; copies of the file stay private too
    return failed;
}

static int driver_open(const struct store_config *config, struct store_db **out, struct err *err)
{
    // Its statistics cost a lock around every allocation; refused, harmlessly, once SQLite runs.
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    if (store_folder_make(config->path, err) < 0)
        return -1;
    struct store_db *db = mem_alloc(sizeof(*db));
    db->lock_fd = -1;
    db->log = config->log;
    size_t size = strlen(config->path) + sizeof("/drover.db");
    db->folder = mem_copy(config->path, strlen(config->path));
    db->path = mem_alloc(size);
    snprintf(db->path, size, "%s/drover.db", config->path);
    if (store_folder_lock(config->path, &db->lock_fd, err) < 0 ||
        migrate(db->path, SCHEMA_NEWEST, false, err) < 0) {
        db_free(db);
        return -1;
    }
    wal_writes_register(&db->vfs, db->vfs_name);
    *out = db;
    return 0;
}

static void tx_close(struct tx *base)
{
    struct sqlite_tx *tx = sqlite_of(base);
    if (atomic_load(&tx->db->broken))  // the next start recovers from the WAL as it is
        sqlite3_db_config(tx->sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    store_sqlite_finalize_all(tx);
    if (sqlite3_close(tx->sql) != SQLITE_OK)
        log_error(tx->db->log, "store", "closing %s: %s", tx->db->path, sqlite3_errmsg(tx->sql));
    row_cache_free(tx->rows);
    counts_close(tx->counts);
    mem_free(tx);
}

static struct tx *tx_open(struct store_db *db, bool writer, struct err *err)
{
    sqlite3 *sql = open_file(db->path, writer, writer ? db->vfs_name : NULL, err);
    if (!sql)
        return NULL;
    if (!writer && exec(sql, "PRAGMA query_only=ON", db->path, err) < 0) {
        sqlite3_close(sql);
        return NULL;
    }
    struct sqlite_tx *tx = mem_alloc(sizeof(*tx));
    tx->tx = (struct tx){.driver = &store_sqlite_driver, .writer = writer};
    tx->db = db;
    tx->sql = sql;
    if (!writer)
        return &tx->tx;
    tx->rows = row_cache_new();
    tx->counts = counts_open(sql);
    if (tx->counts)
        return &tx->tx;
    err_set(err, ERR_INTERNAL, "store: counting in %s: %s", db->path, sqlite3_errmsg(sql));
    tx_close(&tx->tx);
    return NULL;
}

static int run_fixed(struct tx *base, enum fixed_statement which, const char *doing,
                     struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    sqlite3_stmt *statement = store_sqlite_fixed(tx, which, err);
    return statement ? store_sqlite_run(tx, statement, doing, err) : -1;
}

static bool alive(const struct tx *base)
{
    return !sqlite3_get_autocommit(((const struct sqlite_tx *)(const void *)base)->sql);
}

static void rollback(struct tx *base)
{
    struct err ignored;
    if (base->writer)
        row_cache_clear(sqlite_of(base)->rows);
    if (alive(base) && run_fixed(base, FIXED_ROLLBACK, "rolling back", &ignored) < 0)
        log_error(sqlite_of(base)->db->log, "store", "%s", ignored.message);
}

static int begin(struct tx *base, struct err *err)
{
    if (base->writer)
        counts_clear(sqlite_of(base)->counts);  // of the one before, however it ended
    return run_fixed(base, base->writer ? FIXED_BEGIN_WRITE : FIXED_BEGIN_READ, "beginning", err);
}

static int commit(struct tx *base, bool *fatal, struct err *err)
{
    if (counts_write(sqlite_of(base), err) == 0 &&
        run_fixed(base, FIXED_COMMIT, "committing", err) == 0) {
        counts_committed(sqlite_of(base)->counts);
        return 0;
    }
    // A full disk gets better; after a failed write or fsync nobody knows what the disk holds.
    struct sqlite_tx *tx = sqlite_of(base);
    *fatal = !tx->full && (sqlite3_errcode(tx->sql) & 0xff) != SQLITE_BUSY;
    if (*fatal)
        atomic_store(&tx->db->broken, true);
    if (err->kind != ERR_UNAVAILABLE)
        err->kind = ERR_UNAVAILABLE;
    rollback(base);
    return -1;
}

static int mark(struct tx *base, struct err *err)
{
    counts_mark(sqlite_of(base)->counts);
    return run_fixed(base, FIXED_MARK, "beginning a job", err);
}

static int keep(struct tx *base, struct err *err)
{
    return run_fixed(base, FIXED_KEEP, "ending a job", err);
}

static void undo(struct tx *base)
{
    struct err err;
    row_cache_clear(sqlite_of(base)->rows);
    counts_undo(sqlite_of(base)->counts);
    if (run_fixed(base, FIXED_UNDO, "undoing a job", &err) < 0 ||
        run_fixed(base, FIXED_KEEP, "undoing a job", &err) < 0) {
        log_error(sqlite_of(base)->db->log, "store", "%s", err.message);
        rollback(base);
    }
}

// ── the WAL ──────────────────────────────────────────────────────────────────────────────────

static int wal_hook(void *arg, sqlite3 *sql, const char *name, int pages)
{
    (void)sql;
    (void)name;
    atomic_store(&((struct store_db *)arg)->wal_pages, pages);
    return SQLITE_OK;
}

// Copies what is in the WAL at this moment; neither readers nor the writer wait for it. Without
// room everything stays in the WAL, and it is tried again with the next commits.
static int copy_wal(struct sqlite_tx *tx, struct err *err)
{
    int pages = 0, copied = 0;
    struct err why = ERR_INIT;
    int rc = sqlite3_wal_checkpoint_v2(tx->sql, NULL, SQLITE_CHECKPOINT_PASSIVE, &pages, &copied);
    if (rc == SQLITE_OK || rc == SQLITE_BUSY)
        return 0;
    tx->copying = true;
    store_sqlite_err(tx, "copying the WAL", &why);
    tx->copying = false;
    if (tx->full || (rc & 0xff) != SQLITE_IOERR) {
        log_warn(tx->db->log, "store", "%s", why.message);
        return 0;
    }
    atomic_store(&tx->db->broken, true);
    *err = why;
    return -1;
}

static int after_commit(struct tx *base, bool *wanted, struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    *wanted = false;
    if (atomic_exchange(&tx->db->wal_copied, false)) {
        // The little that is left; then the next commit starts the WAL anew.
        atomic_store(&tx->db->wal_pages, 0);
        return copy_wal(tx, err);
    }
    *wanted = atomic_load(&tx->db->wal_pages) >= CHECKPOINT_PAGES;
    return 0;
}

static int service(struct tx *base, struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    if (copy_wal(tx, err) < 0)
        return -1;
    atomic_store(&tx->db->wal_copied, true);
    return 0;
}

static void rest(struct tx *base) { sqlite3_db_release_memory(sqlite_of(base)->sql); }

static struct tx *tx_open_hooked(struct store_db *db, bool writer, struct err *err)
{
    struct tx *tx = tx_open(db, writer, err);
    if (tx && writer)
        sqlite3_wal_hook(sqlite_of(tx)->sql, wal_hook, db);
    return tx;
}

// ── the schema, offline ──────────────────────────────────────────────────────────────────────

int store_schema_count(void) { return (int)store_sqlite_steps.count; }

const char *store_schema_summary(int step) { return store_sqlite_steps.at[step - 1].summary; }

static int find_file(const char *folder, char *path, size_t size, struct err *err)
{
    if ((size_t)snprintf(path, size, "%s/drover.db", folder) >= size)
        return err_set(err, ERR_BAD_INPUT, "the data folder's path is too long");
    if (access(path, R_OK | W_OK) == 0)
        return 0;
    return err_errno(err, ERR_NOT_FOUND, errno,
                     "%s cannot be opened; name the data folder of a server with --data", path);
}

int store_schema_version(const char *folder, int *version, struct err *err)
{
    char path[4096];
    if (find_file(folder, path, sizeof(path), err) < 0)
        return -1;
    sqlite3 *sql = open_file(path, false, NULL, err);
    if (!sql)
        return -1;
    int failed = store_sqlite_version(sql, version, err);
    sqlite3_close(sql);
    return failed;
}

int store_schema_migrate(const char *folder, int to, bool discard, struct err *err)
{
    char path[4096];
    _cleanup_fd_ int lock = -1;
    if (find_file(folder, path, sizeof(path), err) < 0 || store_folder_lock(folder, &lock, err) < 0)
        return -1;
    return migrate(path, to, discard, err);
}

const struct store_driver store_sqlite_driver = {
    .name = "sqlite",
    .open = driver_open,
    .close = db_free,
    .tx_open = tx_open_hooked,
    .tx_close = tx_close,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .mark = mark,
    .keep = keep,
    .undo = undo,
    .alive = alive,
    .after_commit = after_commit,
    .service = service,
    .rest = rest,
    .get = store_sqlite_get,
    .insert = store_sqlite_insert,
    .update = store_sqlite_update,
    .delete_row = store_sqlite_delete,
    .select = store_sqlite_select,
    .count = store_sqlite_count,
    .delete_where = store_sqlite_delete_where,
    .count_by = store_sqlite_count_by,
    .meta_get = store_sqlite_meta_get,
    .meta_set = store_sqlite_meta_set,
    .execution_start = store_sqlite_execution_start,
    .execution_finish = store_sqlite_execution_finish,
    .execution_requeue = store_sqlite_execution_requeue,
    .execution_each_open = store_sqlite_execution_each_open,
    .blob_used = store_sqlite_blob_used,
};
