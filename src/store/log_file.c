// SPDX-License-Identifier: Apache-2.0
// Opening, and the road of lines into the file; log_file_read.c has the road out.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/log_file_internal.h"
#include "store/sqlite/sqlite_internal.h"
#include "store/store_internal.h"

#define SCHEMA     2
#define SPAN_LINES 1024       // of one entry of spans
#define LEAP       (1 << 20)  // more lines than a power failure can cost
#define NAMES_MAX  100000     // sources that are remembered
#define KEY_MAX    4096       // bytes of a source's names; longer ones are looked up each time
#define CHECKPOINT 4000       // pages in the WAL that are worth copying

// Lines keep the numbers of their service and source, which are named once. The next seq is kept
// apart from the lines: it must not fall back when the newest are deleted. A span says between
// which times some thousand lines in a row were written, so that a time is found without an index
// of it.
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS lines(seq INTEGER PRIMARY KEY,at INTEGER NOT NULL,"
    "  level INTEGER NOT NULL,system INTEGER NOT NULL,service INTEGER NOT NULL,"
    "  source INTEGER NOT NULL,execution TEXT,message TEXT) STRICT;"
    "CREATE INDEX IF NOT EXISTS lines_service ON lines(service);"
    "CREATE INDEX IF NOT EXISTS lines_execution ON lines(execution) WHERE execution IS NOT NULL;"
    "CREATE TABLE IF NOT EXISTS services(id INTEGER PRIMARY KEY,service_id TEXT,"
    "  project_id TEXT) STRICT;"
    "CREATE INDEX IF NOT EXISTS services_service ON services(service_id);"
    "CREATE INDEX IF NOT EXISTS services_project ON services(project_id);"
    "CREATE TABLE IF NOT EXISTS sources(id INTEGER PRIMARY KEY,service INTEGER NOT NULL,"
    "  function_name TEXT,replica_id TEXT) STRICT;"
    "CREATE INDEX IF NOT EXISTS sources_names ON sources(service,replica_id,function_name);"
    "CREATE TABLE IF NOT EXISTS spans(first INTEGER PRIMARY KEY,last INTEGER NOT NULL,"
    "  min_at INTEGER NOT NULL,max_at INTEGER NOT NULL) STRICT;"
    "CREATE TABLE IF NOT EXISTS state(id INTEGER PRIMARY KEY,next_seq INTEGER NOT NULL,"
    "  min_at INTEGER NOT NULL,max_at INTEGER NOT NULL) STRICT;"
    "PRAGMA user_version=2;";

static void set_broken(struct log_file *file, const struct err *err)
{
    if (!file->broken)
        file->broken_by = *err;
    file->broken = true;
}

const struct err *log_file_broken(const struct log_file *file)
{
    return file->broken ? &file->broken_by : NULL;
}

int log_file_fail(struct log_file *file, const char *doing, struct err *err)
{
    int code = sqlite3_extended_errcode(file->sql), kind = code & 0xff;
    bool full = store_sqlite_full(file->sql, false);
    bool disk = full || kind == SQLITE_IOERR;
    file->damaged |= kind == SQLITE_CORRUPT || kind == SQLITE_NOTADB;
    err_set(err, disk ? ERR_UNAVAILABLE : ERR_INTERNAL, "logs: %s: %s%s (%s, SQLite code %d)",
            doing, sqlite3_errmsg(file->sql), full ? " (disk full)" : "",
            file->path ? file->path : "memory", code);
    if (code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC)
        set_broken(file, err);
    return -1;
}

static const char *const texts[STATEMENTS] = {
    [BEGIN] = "BEGIN IMMEDIATE",
    [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",
    [INSERT] = "INSERT INTO lines VALUES(?1,?2,?3,?4,?5,?6,?7,?8)",
    [SAVE_STATE] = "UPDATE state SET next_seq=?1,min_at=?2,max_at=?3 WHERE id=1",
    [SAVE_SPAN] = "INSERT OR REPLACE INTO spans VALUES(?1,?2,?3,?4)",
    [FIND_SERVICE] = "SELECT id FROM services WHERE service_id IS ?1 AND project_id IS ?2",
    [ADD_SERVICE] = "INSERT INTO services(service_id,project_id) VALUES(?1,?2)",
    [FIND_SOURCE] = "SELECT id FROM sources WHERE service=?1 AND replica_id IS ?2 AND "
                    "function_name IS ?3",
    [ADD_SOURCE] = "INSERT INTO sources(service,replica_id,function_name) VALUES(?1,?2,?3)",
    [DELETE_LINES] = "DELETE FROM lines WHERE seq IN (SELECT seq FROM lines WHERE service=?1 "
                     "LIMIT ?2)",
    [DELETE_SOURCES] = "DELETE FROM sources WHERE service=?1",
    [DELETE_SERVICE] = "DELETE FROM services WHERE id=?1",
    [OF_SERVICE] = "SELECT id,project_id FROM services WHERE service_id=?1",
    [OF_PROJECT] = "SELECT id,project_id FROM services WHERE project_id=?1",
    [ANY_LINE] = "SELECT 1 FROM lines LIMIT 1",
    [READ_STATE] = "SELECT next_seq,min_at,max_at FROM state WHERE id=1",
    [FIRST_SPAN] = "SELECT first FROM spans WHERE first>=?1 AND max_at>=?2 ORDER BY first LIMIT 1",
    [LAST_SPAN] = "SELECT last FROM spans WHERE first<=?1 AND min_at<=?2 ORDER BY first DESC "
                  "LIMIT 1",
    [SPAN_BEFORE] = "SELECT max(first) FROM spans WHERE first<=?1",
    [COVERED] = "SELECT last FROM spans ORDER BY first DESC LIMIT 1",
    [NAMES] = "SELECT service_id,project_id,function_name,replica_id FROM sources "
              "JOIN services ON services.id=sources.service WHERE sources.id=?1",
#define WALK(where, order)                                                                         \
    "SELECT seq,at,level,system,service,source,execution,message FROM lines WHERE " where          \
    "seq>=?1 AND seq<=?2 ORDER BY seq" order
    [WALK_UP + LOG_BY_NOTHING] = WALK("", ""),
    [WALK_UP + LOG_BY_SERVICE] = WALK("service=?3 AND ", ""),
    [WALK_UP + LOG_BY_EXECUTION] = WALK("execution=?3 AND ", ""),
    [WALK_DOWN + LOG_BY_NOTHING] = WALK("", " DESC"),
    [WALK_DOWN + LOG_BY_SERVICE] = WALK("service=?3 AND ", " DESC"),
    [WALK_DOWN + LOG_BY_EXECUTION] = WALK("execution=?3 AND ", " DESC"),
};

sqlite3_stmt *log_file_statement(struct log_file *file, enum log_statement which, struct err *err)
{
    sqlite3_stmt **at = &file->statements[which];
    if (!*at && sqlite3_prepare_v3(file->sql, texts[which], -1, SQLITE_PREPARE_PERSISTENT, at,
                                   NULL) != SQLITE_OK)
        log_file_fail(file, "preparing a statement", err);
    return *at;
}

void log_file_bind(sqlite3_stmt *statement, int at, struct str text)
{
    if (text.at)
        sqlite3_bind_text64(statement, at, text.at, text.len, SQLITE_STATIC, SQLITE_UTF8);
    else
        sqlite3_bind_null(statement, at);
}

// Steps a bound statement that gives no rows, and resets it.
static int run(struct log_file *file, sqlite3_stmt *statement, const char *doing, struct err *err)
{
    int rc = sqlite3_step(statement);
    int failed = rc == SQLITE_DONE ? 0 : log_file_fail(file, doing, err);
    sqlite3_reset(statement);
    return failed;
}

static int run_plain(struct log_file *file, enum log_statement which, const char *doing,
                     struct err *err)
{
    sqlite3_stmt *statement = log_file_statement(file, which, err);
    return statement ? run(file, statement, doing, err) : -1;
}

// ── opening ──────────────────────────────────────────────────────────────────────────────────

static int exec(struct log_file *file, const char *text, struct err *err)
{
    return sqlite3_exec(file->sql, text, NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : log_file_fail(file, "opening", err);
}

static int check_version(struct log_file *file, int64_t *version, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    if (sqlite3_prepare_v2(file->sql, "PRAGMA user_version", -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW) {
        sqlite3_finalize(statement);
        return log_file_fail(file, "opening", err);
    }
    *version = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    if (*version <= SCHEMA)
        return 0;
    return err_set(err, ERR_CONFLICT,
                   "logs: %s has schema %lld, this program knows up to %d; use the newer program "
                   "that wrote it",
                   file->path, (long long)*version, SCHEMA);
}

// Lines that a former writer stored and had not yet noted in a span.
static int cover_rest(struct log_file *file, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(
        file->sql,
        "INSERT INTO spans SELECT min(seq),max(seq),min(at),max(at) FROM lines WHERE "
        "seq>(SELECT coalesce(max(last),-1) FROM spans) HAVING count(*)>0",
        -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    int failed = rc == SQLITE_DONE ? 0 : log_file_fail(file, "opening", err);
    sqlite3_finalize(statement);
    return failed;
}

// A power failure may have cost lines whose seqs readers have already seen: those are passed by.
static int set_up_writer(struct log_file *file, struct err *err)
{
    char start[160];
    int64_t first = log_key_first(file->key);
    snprintf(start, sizeof(start), "INSERT OR IGNORE INTO state VALUES(1,%lld,%lld,%lld);",
             (long long)first + 1, (long long)INT64_MAX, (long long)INT64_MIN);
    if (exec(file, schema, err) || exec(file, start, err) || cover_rest(file, err) ||
        log_file_bounds(file, &file->now, err))
        return -1;
    if (file->now.next_seq > first + 1)
        file->now.next_seq = (file->now.next_seq / LEAP + 2) * LEAP;
    file->saved = file->now;
    file->names = map_new();
    return 0;
}

static int note_pages(void *arg, sqlite3 *sql, const char *name, int pages)
{
    (void)sql;
    (void)name;
    ((struct log_file *)arg)->wal_pages = pages;
    return SQLITE_OK;
}

static int set_up(struct log_file *file, enum log_open mode, struct err *err)
{
    int64_t version = 0;
    sqlite3_busy_timeout(file->sql, 10000);
    sqlite3_wal_hook(file->sql, note_pages, file);
    if (exec(file, mode == LOG_OPEN_WRITE ? "PRAGMA journal_mode=WAL" : "PRAGMA query_only=ON",
             err) ||
        exec(file,
             "PRAGMA synchronous=NORMAL; PRAGMA journal_size_limit=33554432;"
             "PRAGMA temp_store=MEMORY",
             err) ||
        exec(file,  // a reader has many files open
             mode == LOG_OPEN_READ ? "PRAGMA cache_size=-1024" : "PRAGMA cache_size=-8192", err) ||
        check_version(file, &version, err))
        return -1;
    if (mode == LOG_OPEN_WRITE)
        return set_up_writer(file, err);
    file->bare = version == 0;
    return 0;
}

struct log_file *log_file_open(const char *path, int64_t key, enum log_open mode, bool *damaged,
                               struct err *err)
{
    struct log_file *file = mem_alloc(sizeof(*file));
    file->key = key;
    file->wal_fd = -1;
    file->path = path ? mem_copy(path, strlen(path)) : NULL;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
    if (path && mode == LOG_OPEN_WRITE) {  // SQLite's further files get the same mode
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        fd_close_at(&fd);
    }
    flags |= mode == LOG_OPEN_WRITE ? SQLITE_OPEN_CREATE : 0;
    int failed = 0;
    if (sqlite3_open_v2(path ? path : ":memory:", &file->sql, flags, NULL) != SQLITE_OK) {
        bool absent = path && access(path, F_OK) < 0 && errno == ENOENT;
        failed = err_set(err, absent ? ERR_NOT_FOUND : ERR_INTERNAL, "logs: opening %s: %s",
                         path ? path : "memory",
                         file->sql ? sqlite3_errmsg(file->sql) : "out of memory");
    }
    if (!failed)
        failed = set_up(file, mode, err);
    if (damaged)
        *damaged = file->damaged;
    if (!failed)
        return file;
    log_file_close(file);
    return NULL;
}

static void forget_names(struct log_file *file)
{
    size_t cursor = 0;
    struct str key;
    for (void *source; file->names && (source = map_next(file->names, &cursor, &key));)
        mem_free(source);
    map_free(file->names);
    file->names = NULL;
    file->last = (struct log_source){0};
    file->last_key_len = 0;
}

void log_file_close(struct log_file *file)
{
    if (!file)
        return;
    for (size_t i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(file->statements[i]);
    forget_names(file);
    fd_close_at(&file->wal_fd);
    if (file->broken)
        sqlite3_db_config(file->sql, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(file->sql);
    mem_free(file->path);
    mem_free(file);
}

bool log_file_damaged(const struct log_file *file) { return file->damaged; }

// ── names ────────────────────────────────────────────────────────────────────────────────────

// The id of the row that `find` finds, or else `add` makes; both are bound alike.
static int find_or_add(struct log_file *file, enum log_statement find, enum log_statement add,
                       int64_t number, const struct str *names, int64_t *id, struct err *err)
{
    const enum log_statement both[] = {find, add};
    for (size_t i = 0; i < 2; i++) {
        sqlite3_stmt *statement = log_file_statement(file, both[i], err);
        if (!statement)
            return -1;
        int at = 1;
        if (number > 0)
            sqlite3_bind_int64(statement, at++, number);
        log_file_bind(statement, at, names[0]);
        log_file_bind(statement, at + 1, names[1]);
        int rc = sqlite3_step(statement);
        *id = rc == SQLITE_ROW ? sqlite3_column_int64(statement, 0)
                               : sqlite3_last_insert_rowid(file->sql);
        int failed = rc == SQLITE_ROW || rc == SQLITE_DONE
                         ? 0
                         : log_file_fail(file, "noting a source", err);
        sqlite3_reset(statement);
        if (failed || rc == SQLITE_ROW)
            return failed;
    }
    return 0;
}

static size_t put_name(char *key, size_t at, struct str name)
{
    uint32_t len = name.at ? (uint32_t)name.len : UINT32_MAX;
    if (at + sizeof(len) + name.len > KEY_MAX)
        return KEY_MAX + 1;
    memcpy(key + at, &len, sizeof(len));
    if (name.at && name.len > 0)
        memcpy(key + at + sizeof(len), name.at, name.len);
    return at + sizeof(len) + name.len;
}

static size_t source_key(const struct log_line *line, char key[KEY_MAX])
{
    const struct str names[] = {line->service_id, line->project_id, line->replica_id,
                                line->function_name};
    size_t len = 0;
    for (size_t i = 0; i < 4 && len <= KEY_MAX; i++)
        len = put_name(key, len, names[i]);
    return len;
}

static int look_up(struct log_file *file, const struct log_line *line, struct log_source *out,
                   struct err *err)
{
    const struct str service[] = {line->service_id, line->project_id};
    const struct str source[] = {line->replica_id, line->function_name};
    return find_or_add(file, FIND_SERVICE, ADD_SERVICE, 0, service, &out->service, err) ||
                   find_or_add(file, FIND_SOURCE, ADD_SOURCE, out->service, source, &out->source,
                               err)
               ? -1
               : 0;
}

struct named_source {
    struct log_source source;
    char key[];
};

// Most lines come from where the one before came from.
static int source_of(struct log_file *file, const struct log_line *line, struct log_source *out,
                     struct err *err)
{
    char key[KEY_MAX];
    size_t len = source_key(line, key);
    if (len <= KEY_MAX && len == file->last_key_len && memcmp(key, file->last_key, len) == 0) {
        *out = file->last;
        return 0;
    }
    if (len > KEY_MAX)
        return look_up(file, line, out, err);
    struct named_source *known = map_get(file->names, (struct str){key, len});
    if (!known) {
        if (look_up(file, line, out, err))
            return -1;
        if (map_count(file->names) >= NAMES_MAX) {
            forget_names(file);
            file->names = map_new();
        }
        known = mem_alloc(sizeof(*known) + len);
        known->source = *out;
        memcpy(known->key, key, len);
        map_put(file->names, (struct str){known->key, len}, known);
    }
    *out = file->last = known->source;
    memcpy(file->last_key, key, len);
    file->last_key_len = len;
    return 0;
}

// ── writing ──────────────────────────────────────────────────────────────────────────────────

int log_file_begin(struct log_file *file, struct err *err)
{
    return run_plain(file, BEGIN, "beginning", err);
}

void log_file_rollback(struct log_file *file)
{
    struct err ignored = ERR_INIT;
    if (!sqlite3_get_autocommit(file->sql) &&
        run_plain(file, ROLLBACK, "rolling back", &ignored) < 0)
        sqlite3_exec(file->sql, "ROLLBACK", NULL, NULL, NULL);
    file->now = file->saved;
    file->span = (struct log_span){0};  // its lines are covered when the file is opened again
    forget_names(file);
    file->names = map_new();
}

static int save_span(struct log_file *file, struct err *err)
{
    sqlite3_stmt *statement = log_file_statement(file, SAVE_SPAN, err);
    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, file->span.first);
    sqlite3_bind_int64(statement, 2, file->now.next_seq - 1);
    sqlite3_bind_int64(statement, 3, file->span.min_at);
    sqlite3_bind_int64(statement, 4, file->span.max_at);
    return run(file, statement, "noting a span", err);
}

static int save_state(struct log_file *file, struct err *err)
{
    sqlite3_stmt *statement = log_file_statement(file, SAVE_STATE, err);
    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, file->now.next_seq);
    sqlite3_bind_int64(statement, 2, file->now.min_at);
    sqlite3_bind_int64(statement, 3, file->now.max_at);
    return run(file, statement, "counting lines", err);
}

// Not left to SQLite, which keeps the errors of its own checkpoints to itself. One that finds no
// room is tried again after the next commit.
static void copy_wal(struct log_file *file, int mode)
{
    struct err err = ERR_INIT;
    int rc = sqlite3_wal_checkpoint_v2(file->sql, NULL, mode, NULL, NULL);
    if (rc != SQLITE_OK && rc != SQLITE_BUSY)
        log_file_fail(file, "copying the WAL", &err);
}

int log_file_commit(struct log_file *file, struct err *err)
{
    bool grew = file->now.next_seq != file->saved.next_seq;
    bool full_span = file->span.count >= SPAN_LINES;
    if ((grew && save_state(file, err)) || (full_span && save_span(file, err)) ||
        run_plain(file, COMMIT, "committing", err)) {
        log_file_rollback(file);
        return -1;
    }
    if (full_span)
        file->span = (struct log_span){0};
    file->saved = file->now;
    if (file->wal_pages >= CHECKPOINT)
        copy_wal(file, SQLITE_CHECKPOINT_PASSIVE);
    return 0;
}

static void count_line(struct log_file *file, int64_t at)
{
    struct log_span *span = &file->span;
    if (span->count++ == 0)
        *span = (struct log_span){file->now.next_seq, at, at, 1};
    span->min_at = at < span->min_at ? at : span->min_at;
    span->max_at = at > span->max_at ? at : span->max_at;
    file->now.min_at = at < file->now.min_at ? at : file->now.min_at;
    file->now.max_at = at > file->now.max_at ? at : file->now.max_at;
    file->now.next_seq++;
}

int log_file_insert(struct log_file *file, const struct log_line *line, struct err *err)
{
    struct log_source source;
    sqlite3_stmt *s = log_file_statement(file, INSERT, err);
    if (!s || source_of(file, line, &source, err))
        return -1;
    sqlite3_bind_int64(s, 1, file->now.next_seq);
    sqlite3_bind_int64(s, 2, line->at);
    sqlite3_bind_int(s, 3, line->level);
    sqlite3_bind_int(s, 4, line->system);
    sqlite3_bind_int64(s, 5, source.service);
    sqlite3_bind_int64(s, 6, source.source);
    log_file_bind(s, 7, line->execution_id);
    log_file_bind(s, 8, line->message);
    if (run(file, s, "storing a line", err))
        return -1;
    count_line(file, line->at);
    return 0;
}

static int run_number(struct log_file *file, enum log_statement which, int64_t number,
                      int64_t limit, struct err *err)
{
    sqlite3_stmt *statement = log_file_statement(file, which, err);
    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, number);
    if (limit > 0)
        sqlite3_bind_int64(statement, 2, limit);
    return run(file, statement, "deleting lines", err);
}

int log_file_delete(struct log_file *file, const struct logs_part *part, int64_t limit,
                    int64_t *deleted, struct err *err)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    int64_t *services;
    size_t count;
    *deleted = 0;
    if (log_file_services(file, part->service_id, part->project_id, arena, &services, &count, err))
        return -1;
    for (size_t i = 0; i < count && *deleted < limit; i++) {
        if (run_number(file, DELETE_LINES, services[i], limit - *deleted, err))
            return -1;
        *deleted += sqlite3_changes64(file->sql);
        if (*deleted < limit && (run_number(file, DELETE_SOURCES, services[i], 0, err) ||
                                 run_number(file, DELETE_SERVICE, services[i], 0, err)))
            return -1;
    }
    if (count > 0) {
        forget_names(file);
        file->names = map_new();
    }
    return 0;
}

int log_file_sync(struct log_file *file, struct err *err)
{
    char path[4096];
    if (!file->path)
        return 0;
    // The WAL keeps its file while a connection is open. SQLite's locks lie on other files.
    snprintf(path, sizeof(path), "%s-wal", file->path);
    if (file->wal_fd < 0)
        file->wal_fd = open(path, O_RDWR | O_CLOEXEC);
    if (file->wal_fd >= 0 && fdatasync(file->wal_fd) == 0)
        return 0;
    int cause = errno;
    err_errno(err, ERR_UNAVAILABLE, cause, "logs: syncing %s", path);
    if (file->wal_fd >= 0)
        set_broken(file, err);
    return -1;
}

void log_file_settle(struct log_file *file)
{
    struct err ignored = ERR_INIT;
    if (file->broken)
        return;
    if (file->span.count > 0 && log_file_begin(file, &ignored) == 0) {
        file->span.count = SPAN_LINES;
        if (log_file_commit(file, &ignored) < 0)
            log_file_rollback(file);
    }
    if (file->path)
        copy_wal(file, SQLITE_CHECKPOINT_TRUNCATE);
}

int64_t log_file_bytes(const struct log_file *file)
{
    struct stat st;
    return file->path && stat(file->path, &st) == 0 ? st.st_size : 0;
}

bool log_file_full(const struct log_file *file)
{
    return file->now.next_seq > log_key_last(file->key) - 4 * (int64_t)LEAP;
}

bool log_file_empty(struct log_file *file)
{
    struct err ignored = ERR_INIT;
    sqlite3_stmt *statement = log_file_statement(file, ANY_LINE, &ignored);
    bool empty = statement && sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_reset(statement);
    return empty;
}
