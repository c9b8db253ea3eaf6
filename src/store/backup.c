// SPDX-License-Identifier: Apache-2.0
#include "store/backup.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "store/backup_internal.h"
#include "store/log_day.h"
#include "store/store_internal.h"

#define COPY_PAGES 1024  // of a database between two looks at `stop`

struct backup {
    const struct backup_config *config;
    struct backup_report *report;
    struct archive *archive;
    struct blobs *blobs;
    struct json_writer manifest;  // its "files", open
    struct buf damaged;           // names of blobs, as JSON strings with commas
    char *block;                  // BACKUP_BLOCK
    int64_t blobs_total;
    int fd;
    bool failed;  // nothing more is written: a cut archive gets no end
};

static const char *const key_names[] = {"admin-password"};

enum backup_kind backup_kind_of(const char *name)
{
    struct str text = str_of(name);
    if (strcmp(name, BACKUP_ROWS) == 0)
        return BACKUP_IS_ROWS;
    int64_t day;
    if (str_ends(text, STR(".db")) && log_key_parse((struct str){text.at, text.len - 3}, &day))
        return BACKUP_IS_LOGS;
    for (size_t i = 0; i < sizeof(key_names) / sizeof(key_names[0]); i++)
        if (strcmp(name, key_names[i]) == 0)
            return BACKUP_IS_KEY;
    return str_ends(text, STR("-key")) && name[0] != '.' ? BACKUP_IS_KEY : BACKUP_OTHER;
}

enum backup_kind backup_kind_in(const char *folder, const char *name)
{
    if (*folder == '\0')
        return backup_kind_of(name);
    bool database = name[0] != '.' && str_ends(str_of(name), STR(".db"));
    return database ? BACKUP_IS_LOGS : BACKUP_OTHER;
}

void backup_hex(crypto_hash_sha256_state *state, char out[BLOB_NAME_LEN + 1])
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(state, digest);
    sodium_bin2hex(out, BLOB_NAME_LEN + 1, digest, sizeof(digest));
}

int backup_check(sqlite3 *sql, const char *pragma, const char *path, struct err *err)
{
    char text[64], found[200] = "nothing";
    sqlite3_stmt *statement = NULL;
    snprintf(text, sizeof(text), "PRAGMA %s(1)", pragma);
    if (sqlite3_prepare_v2(sql, text, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        snprintf(found, sizeof(found), "%s", (const char *)sqlite3_column_text(statement, 0));
    else
        snprintf(found, sizeof(found), "%s", sqlite3_errmsg(sql));
    sqlite3_finalize(statement);
    if (strcmp(found, "ok") == 0)
        return 0;
    return err_set(err, ERR_INTERNAL, "%s is damaged (%s): %s", path, pragma, found);
}

int backup_each_blob(sqlite3 *sql, int (*each)(void *arg, const char *name, struct err *),
                     void *arg, struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(
        sql, "SELECT DISTINCT blob FROM items WHERE blob IS NOT NULL ORDER BY blob", -1, &statement,
        NULL);
    int failed = 0;
    while (rc == SQLITE_OK && !failed) {
        int step = sqlite3_step(statement);
        if (step != SQLITE_ROW) {
            rc = step == SQLITE_DONE ? SQLITE_DONE : SQLITE_ERROR;
            break;
        }
        const char *name = (const char *)sqlite3_column_text(statement, 0);
        failed = name ? each(arg, name, err) : 0;
    }
    if (!failed && rc != SQLITE_DONE)
        failed = err_set(err, ERR_INTERNAL, "reading which files the rows refer to: %s",
                         sqlite3_errmsg(sql));
    sqlite3_finalize(statement);
    return failed;
}

static int stopped(const struct backup *b, struct err *err)
{
    if (!b->config->stop || !atomic_load(b->config->stop))
        return 0;
    return err_set(err, ERR_UNAVAILABLE, "the backup was stopped");
}

static void progress(const struct backup *b, const char *what, int64_t done, int64_t total)
{
    if (b->config->on_progress)
        b->config->on_progress(b->config->arg, what, done, total);
}

// ── the archive ──────────────────────────────────────────────────────────────────────────────

static int archive_failed(struct backup *b, const char *name, struct err *err)
{
    int number = archive_errno(b->archive);
    bool full = number == ENOSPC || number == EDQUOT;
    return err_set(err, ERR_UNAVAILABLE, "writing %s into the backup: %s%s", name,
                   archive_error_string(b->archive) ? archive_error_string(b->archive) : "failed",
                   full ? " (disk full)" : "");
}

static la_ssize_t on_write(struct archive *archive, void *arg, const void *at, size_t len)
{
    struct backup *b = arg;
    ssize_t n = -1;
    errno = ECANCELED;
    if (!b->failed) {
        do
            n = write(b->fd, at, len);
        while (n < 0 && errno == EINTR);
    }
    if (n >= 0)
        return n;
    archive_set_error(archive, errno, "%s", strerror(errno));
    return -1;
}

static int add_head(struct backup *b, const char *name, int64_t size, struct err *err)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0600);
    archive_entry_set_size(entry, size);
    archive_entry_set_mtime(entry, b->report->created_at / 1000, 0);
    int rc = archive_write_header(b->archive, entry);
    archive_entry_free(entry);
    return rc == ARCHIVE_OK ? 0 : archive_failed(b, name, err);
}

static int add_bytes(struct backup *b, const char *name, const void *at, size_t len,
                     struct err *err)
{
    if (len > 0 && archive_write_data(b->archive, at, len) != (la_ssize_t)len)
        return archive_failed(b, name, err);
    b->report->bytes += (int64_t)len;
    return 0;
}

static int add_text(struct backup *b, const char *name, struct str text, struct err *err)
{
    if (add_head(b, name, (int64_t)text.len, err) || add_bytes(b, name, text.at, text.len, err))
        return -1;
    return 0;
}

// Reads `size` bytes of fd from its start: into the archive, or only to learn their hash.
static int pass_bytes(struct backup *b, const char *name, int fd, int64_t size, bool write,
                      char hash[BLOB_NAME_LEN + 1], struct err *err)
{
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    for (int64_t at = 0; at < size;) {
        int64_t want = size - at < BACKUP_BLOCK ? size - at : BACKUP_BLOCK;
        ssize_t got = pread(fd, b->block, (size_t)want, at);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return err_errno(err, ERR_INTERNAL, got < 0 ? errno : EIO, "reading %s", name);
        crypto_hash_sha256_update(&state, (unsigned char *)b->block, (size_t)got);
        if (write && add_bytes(b, name, b->block, (size_t)got, err))
            return -1;
        at += got;
        if (stopped(b, err))
            return -1;
    }
    backup_hex(&state, hash);
    return 0;
}

static int add_file(struct backup *b, const char *name, const char *path, struct err *err)
{
    char hash[BLOB_NAME_LEN + 1];
    struct stat st;
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_errno(err, ERR_INTERNAL, errno, "reading %s", path);
    if (add_head(b, name, st.st_size, err) || pass_bytes(b, name, fd, st.st_size, true, hash, err))
        return -1;
    json_w_object(&b->manifest);
    json_w_pair_str(&b->manifest, "name", str_of(name));
    json_w_pair_int(&b->manifest, "size", st.st_size);
    json_w_pair_str(&b->manifest, "sha256", str_of(hash));
    json_w_object_end(&b->manifest);
    b->report->files++;
    return 0;
}

// ── databases ────────────────────────────────────────────────────────────────────────────────

static int sql_failed(sqlite3 *sql, const char *doing, const char *path, struct err *err)
{
    int code = sql ? sqlite3_errcode(sql) & 0xff : SQLITE_NOMEM;
    return err_set(err, code == SQLITE_FULL ? ERR_UNAVAILABLE : ERR_INTERNAL, "%s %s: %s%s", doing,
                   path, sql ? sqlite3_errmsg(sql) : "out of memory",
                   code == SQLITE_FULL ? " (disk full)" : "");
}

// The read transaction is what holds the moment: pages that are committed later are not seen, and
// the copy never begins anew however busy the writer is.
static int copy_pages(struct backup *b, sqlite3 *from, sqlite3 *to, const char *path,
                      struct err *err)
{
    sqlite3_backup *copy = sqlite3_backup_init(to, "main", from, "main");
    if (!copy)
        return sql_failed(to, "copying", path, err);
    int rc;
    do {
        rc = sqlite3_backup_step(copy, COPY_PAGES);
        progress(b, path, sqlite3_backup_pagecount(copy) - sqlite3_backup_remaining(copy),
                 sqlite3_backup_pagecount(copy));
    } while (rc == SQLITE_OK && !(b->config->stop && atomic_load(b->config->stop)));
    sqlite3_backup_finish(copy);
    if (rc == SQLITE_DONE)
        return 0;
    return stopped(b, err) ? -1 : sql_failed(to, "copying", path, err);
}

// `target` is made anew. The caller removes it, also after a failure.
static int copy_database(struct backup *b, const char *path, const char *target, struct err *err)
{
    sqlite3 *from = NULL, *to = NULL;
    int failed = -1;
    if (sqlite3_open_v2(path, &from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) !=
        SQLITE_OK) {
        sql_failed(from, "opening", path, err);
        goto out;
    }
    sqlite3_busy_timeout(from, 10000);
    sqlite3_extended_result_codes(from, 1);
    if (sqlite3_exec(from,
                     "PRAGMA query_only=ON; PRAGMA wal_autocheckpoint=0; BEGIN;"
                     "SELECT count(*) FROM sqlite_schema",
                     NULL, NULL, NULL) != SQLITE_OK) {
        sql_failed(from, "reading", path, err);
        goto out;
    }
    if (sqlite3_open_v2(target, &to,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX,
                        NULL) != SQLITE_OK ||
        sqlite3_exec(to, "PRAGMA synchronous=OFF; PRAGMA journal_mode=OFF", NULL, NULL, NULL) !=
            SQLITE_OK) {
        sql_failed(to, "making", target, err);
        goto out;
    }
    failed = copy_pages(b, from, to, path, err) || backup_check(to, "quick_check", path, err);
out:
    sqlite3_close(to);
    sqlite3_close(from);
    return failed ? -1 : 0;
}

static void work_path(const struct backup *b, const char *name, char out[BACKUP_PATH])
{
    snprintf(out, BACKUP_PATH, "%s/backup-%ld-%p-%s", b->config->work, (long)getpid(),
             (const void *)b, name);
}

static void drop_work(const char *path)
{
    static const char *const ends[] = {"", "-journal", "-wal", "-shm"};
    char name[BACKUP_PATH + 16];
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        snprintf(name, sizeof(name), "%s%s", path, ends[i]);
        unlink(name);
    }
}

static int add_database(struct backup *b, const char *folder, const char *name, struct err *err)
{
    char path[BACKUP_PATH], target[BACKUP_PATH], inside[300];
    snprintf(path, sizeof(path), "%s%s%s/%s", b->config->data, *folder ? "/" : "", folder, name);
    snprintf(inside, sizeof(inside), "%s%s%s", folder, *folder ? "/" : "", name);
    if (access(path, F_OK) < 0)
        return 0;  // a day of logs that has just been dropped
    work_path(b, name, target);
    drop_work(target);
    int failed = copy_database(b, path, target, err) || add_file(b, inside, target, err);
    drop_work(target);
    return failed ? -1 : 0;
}

// ── files of the data folder ─────────────────────────────────────────────────────────────────

static int add_listed(struct backup *b, const char *folder, const char *name, struct err *err)
{
    char path[BACKUP_PATH];
    switch (backup_kind_in(folder, name)) {
    case BACKUP_IS_LOGS: return add_database(b, folder, name, err);
    case BACKUP_IS_KEY:
        if (!b->config->keys || *folder)
            return 0;
        snprintf(path, sizeof(path), "%s/%s", b->config->data, name);
        return add_file(b, name, path, err);
    case BACKUP_IS_ROWS:
    case BACKUP_OTHER: break;
    }
    return 0;
}

static int add_folder(struct backup *b, const char *folder, struct err *err)
{
    char path[BACKUP_PATH];
    snprintf(path, sizeof(path), "%s%s%s", b->config->data, *folder ? "/" : "", folder);
    DIR *dir = opendir(path);
    if (!dir)
        return errno == ENOENT || errno == ENOTDIR
                   ? 0
                   : err_errno(err, ERR_INTERNAL, errno, "reading the folder %s", path);
    int failed = 0;
    struct dirent *entry;
    while (!failed && (entry = readdir(dir)))
        failed = add_listed(b, folder, entry->d_name, err) || stopped(b, err);
    closedir(dir);
    return failed ? -1 : 0;
}

// ── blobs ────────────────────────────────────────────────────────────────────────────────────

static int leave_out(struct backup *b, const char *name, const char *why)
{
    buf_printf(&b->damaged, "%s\"%s\"", b->damaged.len ? "," : "", name);
    b->report->damaged++;
    if (b->config->on_damage)
        b->config->on_damage(b->config->arg, name, why);
    return 0;
}

static int add_blob(void *arg, const char *name, struct err *err)
{
    struct backup *b = arg;
    char hash[BLOB_NAME_LEN + 1], inside[BLOB_NAME_LEN + 16];
    int64_t size;
    if (stopped(b, err))
        return -1;
    _cleanup_fd_ int fd = blob_read_fd(b->blobs, str_of(name), &size, err);
    if (fd < 0 && err->kind != ERR_NOT_FOUND)
        return -1;
    if (fd < 0) {
        *err = ERR_INIT;
        return leave_out(b, name, "it is missing");
    }
    snprintf(inside, sizeof(inside), "blobs/%.2s/%s", name, name);
    if (pass_bytes(b, inside, fd, size, false, hash, err)) {
        if (err->kind != ERR_INTERNAL)
            return -1;
        *err = ERR_INIT;
        return leave_out(b, name, "it cannot be read");
    }
    if (strcmp(hash, name) != 0)
        return leave_out(b, name, "its bytes are not those that were stored");
    if (add_head(b, inside, size, err) || pass_bytes(b, inside, fd, size, true, hash, err))
        return -1;
    b->report->blobs++;
    progress(b, "blobs", b->report->blobs, b->blobs_total);
    return strcmp(hash, name) == 0
               ? 0
               : err_set(err, ERR_INTERNAL, "%s changed while it was read", inside);
}

static int count_blob(void *arg, const char *name, struct err *err)
{
    (void)name, (void)err;
    ((struct backup *)arg)->blobs_total++;
    return 0;
}

static int add_blobs(struct backup *b, const char *rows, struct err *err)
{
    sqlite3 *sql = NULL;
    int failed = -1;
    if (sqlite3_open_v2(rows, &sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        sql_failed(sql, "opening", rows, err);
    else
        failed = backup_each_blob(sql, count_blob, b, err) ||
                 backup_each_blob(sql, add_blob, b, err);
    sqlite3_close(sql);
    return failed ? -1 : 0;
}

// ── the whole ────────────────────────────────────────────────────────────────────────────────

static int add_first(struct backup *b, struct err *err)
{
    char at[TIME_TEXT_SIZE];
    _cleanup_buf_ struct buf text = BUF_INIT(4096);
    struct json_writer w = JSON_WRITER(&text);
    time_format(b->report->created_at, at);
    json_w_object(&w);
    json_w_pair_int(&w, "format", BACKUP_FORMAT);
    json_w_pair_str(&w, "drover", str_of(b->config->version));
    json_w_pair_str(&w, "createdAt", str_of(at));
    json_w_pair_bool(&w, "keys", b->config->keys);
    json_w_object_end(&w);
    buf_add_char(&text, '\n');
    return add_text(b, BACKUP_HEAD, buf_str(&text), err);
}

static int add_manifest(struct backup *b, struct err *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(SIZE_MAX);
    struct json_writer w = JSON_WRITER(&text);
    json_w_object(&w);
    json_w_pair_int(&w, "format", BACKUP_FORMAT);
    json_w_pair_int(&w, "createdAt", b->report->created_at);
    json_w_pair_bool(&w, "keys", b->config->keys);
    json_w_pair_int(&w, "blobs", b->report->blobs);
    json_w_array_end(&b->manifest);
    json_w_pair_raw(&w, "files", buf_str(b->manifest.buf));
    json_w_key(&w, "damaged");
    json_w_array(&w);
    buf_add_str(&text, buf_str(&b->damaged));
    json_w_array_end(&w);
    json_w_object_end(&w);
    buf_add_char(&text, '\n');
    return add_text(b, BACKUP_MANIFEST, buf_str(&text), err);
}

static int write_all(struct backup *b, const char *rows, struct err *err)
{
    char path[BACKUP_PATH];
    snprintf(path, sizeof(path), "%s/" BACKUP_ROWS, b->config->data);
    if (copy_database(b, path, rows, err) || add_first(b, err) ||
        add_file(b, BACKUP_ROWS, rows, err) || add_folder(b, "", err) ||
        add_folder(b, "logs", err) || add_blobs(b, rows, err) || add_manifest(b, err))
        return -1;
    return archive_write_close(b->archive) == ARCHIVE_OK ? 0
                                                         : archive_failed(b, BACKUP_MANIFEST, err);
}

static int64_t wall_ms(void) { return clock_wall(clock_system()); }

// Blobs before rows: what the rows refer to when they are copied stays until it is in the archive.
static int open_all(struct backup *b, int fd, int *hold, struct err *err)
{
    char path[BACKUP_PATH];
    snprintf(path, sizeof(path), "%s/" BACKUP_ROWS, b->config->data);
    if (access(path, R_OK) < 0)
        return err_set(err, ERR_NOT_FOUND,
                       "%s is not a data folder: it has no readable " BACKUP_ROWS, b->config->data);
    snprintf(path, sizeof(path), "%s/blobs", b->config->data);
    b->blobs = blobs_attach(path, err);
    if (!b->blobs)
        return -1;
    *hold = blobs_hold(b->blobs, true, err);
    if (*hold < 0)
        return -1;
    b->archive = archive_write_new();
    archive_write_set_format_pax_restricted(b->archive);
    archive_write_set_bytes_per_block(b->archive, BACKUP_BLOCK);
    archive_write_set_bytes_in_last_block(b->archive, 1);
    b->fd = fd;
    return archive_write_open(b->archive, b, NULL, on_write, NULL) == ARCHIVE_OK
               ? 0
               : archive_failed(b, BACKUP_HEAD, err);
}

int backup_write(const struct backup_config *config, int fd, struct backup_report *report,
                 struct err *err)
{
    _cleanup_buf_ struct buf files = BUF_INIT(SIZE_MAX);
    _cleanup_fd_ int hold = -1;
    char rows[BACKUP_PATH];
    struct backup b = {.config = config,
                       .report = report,
                       .manifest = JSON_WRITER(&files),
                       .damaged = BUF_INIT(SIZE_MAX),
                       .block = mem_alloc(BACKUP_BLOCK)};
    *report = (struct backup_report){.created_at = wall_ms(), .keys = config->keys};
    json_w_array(&b.manifest);
    work_path(&b, "rows", rows);
    int failed = open_all(&b, fd, &hold, err) || write_all(&b, rows, err);
    drop_work(rows);
    b.failed = failed;
    if (b.archive)
        archive_write_free(b.archive);
    blobs_close(b.blobs);
    buf_deinit(&b.damaged);
    mem_free(b.block);
    return failed ? -1 : 0;
}

// ── looking only ─────────────────────────────────────────────────────────────────────────────

static int inspect_blob(void *arg, const char *name, struct err *err)
{
    struct backup *b = arg;
    char hash[BLOB_NAME_LEN + 1];
    int64_t size;
    _cleanup_fd_ int fd = blob_read_fd(b->blobs, str_of(name), &size, err);
    if (fd < 0 && err->kind != ERR_NOT_FOUND)
        return -1;
    const char *why = fd < 0 ? "it is missing" : "its bytes are not those that were stored";
    if (fd >= 0 && pass_bytes(b, name, fd, size, false, hash, err) == 0 && strcmp(hash, name) == 0)
        b->report->blobs++;
    else
        leave_out(b, name, why);
    *err = ERR_INIT;
    progress(b, "blobs", b->report->blobs, b->blobs_total);
    return stopped(b, err);
}

static int inspect_database(struct backup *b, const char *folder, const char *name, struct err *err)
{
    char path[BACKUP_PATH];
    sqlite3 *sql = NULL;
    snprintf(path, sizeof(path), "%s%s%s/%s", b->config->data, *folder ? "/" : "", folder, name);
    bool rows = backup_kind_in(folder, name) == BACKUP_IS_ROWS;
    if (!rows && backup_kind_in(folder, name) != BACKUP_IS_LOGS)
        return 0;
    progress(b, path, 0, 0);
    int failed = -1;
    if (sqlite3_open_v2(path, &sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        sql_failed(sql, "opening", path, err);
    else if (sqlite3_busy_timeout(sql, 10000),
             sqlite3_exec(sql, "PRAGMA query_only=ON", NULL, NULL, NULL) != SQLITE_OK)
        sql_failed(sql, "reading", path, err);
    else
        failed = backup_check(sql, "integrity_check", path, err) ||
                 (rows && (backup_each_blob(sql, count_blob, b, err) ||
                           backup_each_blob(sql, inspect_blob, b, err)));
    sqlite3_close(sql);
    b->report->files++;
    return failed ? -1 : 0;
}

static int inspect_folder(struct backup *b, const char *folder, struct err *err)
{
    char path[BACKUP_PATH];
    snprintf(path, sizeof(path), "%s%s%s", b->config->data, *folder ? "/" : "", folder);
    DIR *dir = opendir(path);
    int failed = 0;
    for (struct dirent *entry; dir && !failed && (entry = readdir(dir));)
        failed = inspect_database(b, folder, entry->d_name, err);
    if (dir)
        closedir(dir);
    return failed ? -1 : 0;
}

int backup_inspect(const struct backup_config *config, struct backup_report *report,
                   struct err *err)
{
    char path[BACKUP_PATH];
    struct backup b = {.config = config,
                       .report = report,
                       .damaged = BUF_INIT(SIZE_MAX),
                       .block = mem_alloc(BACKUP_BLOCK)};
    *report = (struct backup_report){.created_at = wall_ms()};
    snprintf(path, sizeof(path), "%s/blobs", config->data);
    b.blobs = blobs_attach(path, err);
    int failed = !b.blobs || inspect_folder(&b, "", err) || inspect_folder(&b, "logs", err);
    blobs_close(b.blobs);
    buf_deinit(&b.damaged);
    mem_free(b.block);
    return failed ? -1 : 0;
}
