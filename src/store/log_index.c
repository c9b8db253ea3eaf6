// SPDX-License-Identifier: Apache-2.0
#include "store/log_index.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"

#define TRIGRAMS_MAX 24  // of one search, spread over the text: more cost more than they narrow

// No columns, no positions: what is found is looked at anyway. One transaction's entries are kept
// in memory, up to hashsize.
#define TABLE "fts5(text,content='',columnsize=0,detail=none,tokenize='trigram case_sensitive 0')"
static const char schema[] =
    "CREATE VIRTUAL TABLE IF NOT EXISTS blocks USING " TABLE ";"
    "CREATE TABLE IF NOT EXISTS progress(id INTEGER PRIMARY KEY,indexed INTEGER NOT NULL) STRICT;"
    "INSERT INTO blocks(blocks,rank) VALUES('hashsize',8388608);";

struct log_index {
    sqlite3 *sql;
    sqlite3_stmt *add, *save, *indexed, *up, *down;
    sqlite3_stmt *walk;  // up or down, while it is being stepped
};

static int fail(struct log_index *index, const char *doing, struct err *err)
{
    return err_set(err, ERR_INTERNAL, "log index: %s: %s (SQLite code %d)", doing,
                   sqlite3_errmsg(index->sql), sqlite3_extended_errcode(index->sql));
}

bool log_index_supported(void)
{
    sqlite3 *sql = NULL;
    bool works = sqlite3_open_v2(":memory:", &sql,
                                 SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                                 NULL) == SQLITE_OK &&
                 sqlite3_exec(sql, "CREATE VIRTUAL TABLE trial USING " TABLE, NULL, NULL, NULL) ==
                     SQLITE_OK;
    sqlite3_close(sql);
    return works;
}

// ── opening ──────────────────────────────────────────────────────────────────────────────────

static int prepare(struct log_index *index, const char *text, sqlite3_stmt **out, struct err *err)
{
    return sqlite3_prepare_v2(index->sql, text, -1, out, NULL) == SQLITE_OK
               ? 0
               : fail(index, "preparing a statement", err);
}

#define WALK(order)                                                                                \
    "SELECT rowid FROM blocks WHERE blocks MATCH ?1 AND rowid>=?2 AND rowid<=?3 ORDER BY "         \
    "rowid" order

static int set_up(struct log_index *index, bool writer, struct err *err)
{
    sqlite3_busy_timeout(index->sql, 10000);
    const char *pragmas = writer ? "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
                                   "PRAGMA journal_size_limit=4194304; PRAGMA cache_size=-4096;"
                                   "PRAGMA temp_store=MEMORY"
                                 : "PRAGMA query_only=ON; PRAGMA cache_size=-1024";
    if (sqlite3_exec(index->sql, pragmas, NULL, NULL, NULL) != SQLITE_OK ||
        (writer && sqlite3_exec(index->sql, schema, NULL, NULL, NULL) != SQLITE_OK))
        return fail(index, "opening", err);
    if (prepare(index, "SELECT indexed FROM progress WHERE id=1", &index->indexed, err))
        return -1;
    if (!writer)
        return prepare(index, WALK(""), &index->up, err) ||
                       prepare(index, WALK(" DESC"), &index->down, err)
                   ? -1
                   : 0;
    return prepare(index, "INSERT INTO blocks(rowid,text) VALUES(?1,?2)", &index->add, err) ||
                   prepare(index, "INSERT OR REPLACE INTO progress VALUES(1,?1)", &index->save, err)
               ? -1
               : 0;
}

struct log_index *log_index_open(const char *path, bool writer, struct err *err)
{
    if (!writer && access(path, F_OK) < 0)
        return NULL;
    struct log_index *index = mem_alloc(sizeof(*index));
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (writer ? SQLITE_OPEN_CREATE : 0);
    if (writer) {  // SQLite's further files get the same mode
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        fd_close_at(&fd);
    }
    int failed = sqlite3_open_v2(path, &index->sql, flags, NULL) == SQLITE_OK
                     ? 0
                     : fail(index, "opening", err);
    if (!failed)
        failed = set_up(index, writer, err);
    if (failed) {
        log_index_close(index);
        return NULL;
    }
    return index;
}

void log_index_close(struct log_index *index)
{
    if (!index)
        return;
    sqlite3_stmt *const all[] = {index->add, index->save, index->indexed, index->up, index->down};
    for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
        sqlite3_finalize(all[i]);
    sqlite3_close(index->sql);
    mem_free(index);
}

// ── writing ──────────────────────────────────────────────────────────────────────────────────

int log_index_end(struct log_index *index, int64_t first, int64_t *indexed, struct err *err)
{
    int rc = sqlite3_step(index->indexed);
    *indexed = rc == SQLITE_ROW ? sqlite3_column_int64(index->indexed, 0) : first;
    int failed = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : fail(index, "reading", err);
    sqlite3_reset(index->indexed);
    return failed;
}

int log_index_begin(struct log_index *index, struct err *err)
{
    return sqlite3_exec(index->sql, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK
               ? 0
               : fail(index, "beginning", err);
}

static int run(struct log_index *index, sqlite3_stmt *statement, struct err *err)
{
    int failed = sqlite3_step(statement) == SQLITE_DONE ? 0 : fail(index, "writing", err);
    sqlite3_reset(statement);
    return failed;
}

int log_index_add(struct log_index *index, int64_t block, struct str text, struct err *err)
{
    sqlite3_bind_int64(index->add, 1, block);
    sqlite3_bind_text64(index->add, 2, text.at, text.len, SQLITE_STATIC, SQLITE_UTF8);
    return run(index, index->add, err);
}

int log_index_commit(struct log_index *index, int64_t indexed, struct err *err)
{
    sqlite3_bind_int64(index->save, 1, indexed);
    if (run(index, index->save, err) == 0 &&
        sqlite3_exec(index->sql, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    if (err->kind == ERR_NONE)
        fail(index, "committing", err);
    log_index_rollback(index);
    return -1;
}

void log_index_rollback(struct log_index *index)
{
    if (!sqlite3_get_autocommit(index->sql))
        sqlite3_exec(index->sql, "ROLLBACK", NULL, NULL, NULL);
}

// ── searching ────────────────────────────────────────────────────────────────────────────────

// Bytes of the character at `at`.
static size_t character(struct str text, size_t at)
{
    size_t end = at + 1;
    while (end < text.len && ((unsigned char)text.at[end] & 0xc0) == 0x80)
        end++;
    return end - at;
}

static size_t characters(struct str text)
{
    size_t count = 0;
    for (size_t at = 0; at < text.len; at += character(text, at))
        count++;
    return count;
}

bool log_index_can_find(struct str text)
{
    return characters(text) >= 3 && !memchr(text.at, '\0', text.len);
}

// Three characters in a row, quoted; FTS5's "and" is the space between them.
static void add_trigram(struct buf *out, struct str text, size_t at)
{
    buf_add_cstr(out, out->len > 0 ? " \"" : "\"");
    for (int i = 0; i < 3; i++) {
        size_t len = character(text, at);
        if (text.at[at] == '"')
            buf_add_char(out, '"');
        buf_add(out, text.at + at, len);
        at += len;
    }
    buf_add_char(out, '"');
}

static void write_match(struct buf *out, struct str text)
{
    size_t trigrams = characters(text) - 2, number = 0, at = 0;
    size_t every = 1 + (trigrams - 1) / TRIGRAMS_MAX;
    for (; number < trigrams; number++, at += character(text, at))
        if (number % every == 0)
            add_trigram(out, text, at);
}

int log_index_seek(struct log_index *index, struct str text, int64_t first, int64_t last,
                   bool descending, struct err *err)
{
    _cleanup_buf_ struct buf match = BUF_INIT(64 * 1024);
    log_index_rest(index);
    write_match(&match, text);
    index->walk = descending ? index->down : index->up;
    sqlite3_bind_text64(index->walk, 1, match.at, match.len, SQLITE_TRANSIENT, SQLITE_UTF8);
    sqlite3_bind_int64(index->walk, 2, first);
    sqlite3_bind_int64(index->walk, 3, last);
    return match.over ? err_set(err, ERR_TOO_LARGE, "log index: the text is too long") : 0;
}

int log_index_next(struct log_index *index, int64_t *block, struct err *err)
{
    int rc = sqlite3_step(index->walk);
    if (rc == SQLITE_ROW) {
        *block = sqlite3_column_int64(index->walk, 0);
        return 1;
    }
    int failed = rc == SQLITE_DONE ? 0 : fail(index, "searching", err);
    log_index_rest(index);
    return failed;
}

void log_index_rest(struct log_index *index)
{
    if (index->walk)
        sqlite3_reset(index->walk);
    index->walk = NULL;
}
