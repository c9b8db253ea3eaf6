// SPDX-License-Identifier: Apache-2.0
// The way back of store/backup. Everything is written beside, checked, synced, and only then given
// its name: a folder that is there is whole.
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <libgen.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/map.h"
#include "base/mem.h"
#include "store/backup_internal.h"
#include "store/sqlite/migrations.h"
#include "store/sqlite/sqlite_internal.h"

#define TEXT_MAX     (64 << 20)  // bytes of the manifest
#define EPOCH_STEP   1000        // starts that the old server may have made since the backup
#define HOUR_MS      3600000
#define NAME_LONGEST 200
#define BESIDE       ".restoring-"
#define CHECK_STEPS  1000000  // of SQLite's machine, between two looks at `stop`
#define WAIT_MS      100

struct restore {
    const struct restore_config *config;
    struct backup_report *report;
    struct archive *archive;
    struct arena *arena;
    struct map *hashes;  // name → "sha256" of the files written, in the arena
    struct buf manifest;
    bool head;
    char root[BACKUP_PATH];  // the folder beside
    int lock;                // on it: says that it is no left-over
    char *block, *input;
    int fd;
};

static void progress(const struct restore *r, const char *what, int64_t done, int64_t total)
{
    if (r->config->on_progress)
        r->config->on_progress(r->config->arg, what, done, total);
}

static bool is_stopped(const struct restore *r)
{
    return r->config && r->config->stop && atomic_load(r->config->stop);
}

static int stopped(const struct restore *r, struct err *err)
{
    return is_stopped(r) ? err_set(err, ERR_UNAVAILABLE, "the restore was stopped") : 0;
}

static int bad(struct err *err, const char *what)
{
    return err_set(err, ERR_BAD_INPUT,
                   "this is not a whole backup: %s; nothing was restored, use another archive",
                   what);
}

static int read_failed(struct restore *r, struct err *err)
{
    const char *why = archive_error_string(r->archive);
    if (stopped(r, err))
        return -1;
    return bad(err, why ? why : "it cannot be read");
}

// ── one entry ────────────────────────────────────────────────────────────────────────────────

static int write_out(int fd, const char *at, size_t len, const char *path, struct err *err)
{
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, ERR_UNAVAILABLE, errno, "writing %s", path);
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

static int take_file(struct restore *r, const char *name, char hash[BLOB_NAME_LEN + 1],
                     struct err *err)
{
    char path[BACKUP_PATH * 2];
    snprintf(path, sizeof(path), "%s/%s", r->root, name);
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return bad(err, "a file is in it twice");
    if (fd < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "making %s", path);
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    for (;;) {
        la_ssize_t got = archive_read_data(r->archive, r->block, BACKUP_BLOCK);
        if (got < 0)
            return read_failed(r, err);
        if (got == 0)
            break;
        crypto_hash_sha256_update(&state, (unsigned char *)r->block, (size_t)got);
        r->report->bytes += got;
        if (write_out(fd, r->block, (size_t)got, path, err))
            return -1;
    }
    backup_hex(&state, hash);
    return 0;
}

// "blobs/ab/abcdef…": the name says what the bytes must be.
static bool is_blob(const char *name)
{
    const char *hex = name + sizeof("blobs/ab/") - 1;
    return str_starts(str_of(name), STR("blobs/")) &&
           strlen(name) == sizeof("blobs/ab/") - 1 + BLOB_NAME_LEN && name[8] == '/' &&
           strspn(hex, "0123456789abcdef") == BLOB_NAME_LEN && memcmp(name + 6, hex, 2) == 0;
}

static int take_blob(struct restore *r, const char *name, struct err *err)
{
    char folder[BACKUP_PATH + 16], hash[BLOB_NAME_LEN + 1];
    snprintf(folder, sizeof(folder), "%s/blobs", r->root);
    mkdir(folder, 0700);
    snprintf(folder, sizeof(folder), "%s/blobs/%.2s", r->root, name + 6);
    mkdir(folder, 0700);  // what fails here fails at the file
    if (take_file(r, name, hash, err))
        return -1;
    if (strcmp(hash, name + sizeof("blobs/ab/") - 1) != 0)
        return err_set(err, ERR_BAD_INPUT,
                       "the backup is damaged: %s has other bytes than its name says; nothing was "
                       "restored, use another archive",
                       name);
    r->report->blobs++;
    progress(r, "blobs", r->report->blobs, 0);
    return 0;
}

static int take_text(struct restore *r, struct buf *out, struct err *err)
{
    for (;;) {
        la_ssize_t got = archive_read_data(r->archive, r->block, BACKUP_BLOCK);
        if (got < 0)
            return read_failed(r, err);
        if (got == 0)
            return out->over ? bad(err, "its manifest is too large") : 0;
        buf_add(out, r->block, (size_t)got);
    }
}

static bool is_listed_file(const char *name)
{
    const char *last = strrchr(name, '/');
    if (last && strncmp(name, "logs/", 5) == 0 && last == name + 4)
        return backup_kind_in("logs", last + 1) == BACKUP_IS_LOGS;
    return !last && backup_kind_of(name) != BACKUP_OTHER;
}

static int take_listed(struct restore *r, const char *name, struct err *err)
{
    char folder[BACKUP_PATH + 16];
    char *hash = arena_alloc(r->arena, BLOB_NAME_LEN + 1);
    if (strchr(name, '/')) {
        snprintf(folder, sizeof(folder), "%s/logs", r->root);
        mkdir(folder, 0700);
    }
    if (take_file(r, name, hash, err))
        return -1;
    map_put(r->hashes, arena_copy(r->arena, str_of(name)), hash);
    r->report->files++;
    progress(r, name, 1, 1);
    return 0;
}

static int take_entry(struct restore *r, struct archive_entry *entry, struct err *err)
{
    const char *name = archive_entry_pathname(entry);
    if (!name || archive_entry_filetype(entry) != AE_IFREG || strlen(name) > NAME_LONGEST)
        return bad(err, "it has an entry that no backup has");
    if (!r->head && strcmp(name, BACKUP_HEAD) != 0)
        return bad(err, "its first entry is not " BACKUP_HEAD);
    if (r->manifest.len > 0)
        return bad(err, "something comes after its manifest");
    r->head = true;
    if (strcmp(name, BACKUP_HEAD) == 0) {
        _cleanup_buf_ struct buf head = BUF_INIT(4096);
        return take_text(r, &head, err);
    }
    if (strcmp(name, BACKUP_MANIFEST) == 0)
        return take_text(r, &r->manifest, err);
    if (is_blob(name))
        return take_blob(r, name, err);
    if (is_listed_file(name))
        return take_listed(r, name, err);
    return bad(err, "it has a file that no backup has");
}

static int take_all(struct restore *r, struct err *err)
{
    struct archive_entry *entry;
    for (;;) {
        int rc = archive_read_next_header(r->archive, &entry);
        if (rc == ARCHIVE_EOF)
            return r->manifest.len > 0 ? 0 : bad(err, "it was cut off before its manifest");
        if (rc != ARCHIVE_OK)
            return read_failed(r, err);
        if (take_entry(r, entry, err))
            return -1;
    }
}

// ── is it whole? ─────────────────────────────────────────────────────────────────────────────

static int check_listed(struct restore *r, struct json files, struct err *err)
{
    struct json_iter it = json_each(files);
    struct str key;
    size_t count = 0;
    for (struct json file; json_next(&it, &key, &file); count++) {
        struct json name = {0}, sha = {0};
        json_get(file, "name", &name);
        json_get(file, "sha256", &sha);
        const char *hash = map_get(r->hashes, json_str(name, r->arena));
        if (!hash || !str_is(json_str(sha, r->arena), hash))
            return err_set(err, ERR_BAD_INPUT,
                           "the backup is damaged: " STR_FMT " is missing or has other bytes than "
                           "its manifest says; nothing was restored, use another archive",
                           STR_ARG(name.text));
    }
    return count == map_count(r->hashes) ? 0 : bad(err, "it has files that its manifest lacks");
}

static int read_manifest(struct restore *r, struct json *manifest, int64_t *blobs, struct err *err)
{
    struct json value = {0};
    int64_t format = 0;
    if (json_parse(buf_str(&r->manifest), 0, manifest, err) || !json_is(*manifest, JSON_OBJECT))
        return bad(err, "its manifest is not JSON");
    if (json_get(*manifest, "format", &value))
        (void)json_int(value, &format);
    if (format != BACKUP_FORMAT)
        return err_set(err, ERR_BAD_INPUT,
                       "the backup has format %lld, this program reads %d; use the program that "
                       "wrote it, or a newer one",
                       (long long)format, BACKUP_FORMAT);
    if (json_get(*manifest, "blobs", &value))
        (void)json_int(value, blobs);
    if (json_get(*manifest, "keys", &value))
        (void)json_bool(value, &r->report->keys);
    if (json_get(*manifest, "createdAt", &value))
        (void)json_int(value, &r->report->created_at);
    return 0;
}

static int check_manifest(struct restore *r, struct err *err)
{
    struct json manifest, value = {0};
    int64_t blobs = -1;
    if (read_manifest(r, &manifest, &blobs, err))
        return -1;
    if (blobs != r->report->blobs)
        return bad(err, "blobs are missing");
    return json_get(manifest, "files", &value) ? check_listed(r, value, err)
                                               : bad(err, "its manifest lists no files");
}

static int see_blob(void *arg, const char *name, struct err *err)
{
    struct restore *r = arg;
    char path[BACKUP_PATH * 2];
    (void)err;
    snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", r->root, name, name);
    if (access(path, F_OK) == 0)
        return 0;
    r->report->damaged++;
    if (r->config->on_damage)
        r->config->on_damage(r->config->arg, name,
                             "it was damaged already when the backup was made");
    return 0;
}

// What the backup itself left out is in its manifest; anything else that is missing is damage.
static int check_blobs(struct restore *r, sqlite3 *sql, struct err *err)
{
    struct json manifest, damaged = {0};
    if (backup_each_blob(sql, see_blob, r, err) ||
        json_parse(buf_str(&r->manifest), 0, &manifest, err))
        return -1;
    json_get(manifest, "damaged", &damaged);
    return r->report->damaged <= (int64_t)json_count(damaged)
               ? 0
               : bad(err, "blobs that its rows refer to are missing");
}

// ── databases ────────────────────────────────────────────────────────────────────────────────

static int64_t epoch_of(sqlite3 *sql)
{
    sqlite3_stmt *statement = NULL;
    int64_t epoch = 0;
    if (sqlite3_prepare_v2(sql, "SELECT value FROM meta WHERE key='epoch'", -1, &statement, NULL) ==
            SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        epoch = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return epoch;
}

// The old server may have been started again since, and its agents may still hold executions. Hours
// since 1970 grow from restore to restore, and keep fences below 2^53.
static int raise_epoch(sqlite3 *sql, struct err *err)
{
    char text[128];
    int64_t epoch = epoch_of(sql) + EPOCH_STEP, hours = clock_wall(clock_system()) / HOUR_MS;
    snprintf(text, sizeof(text), "INSERT OR REPLACE INTO meta(key,value) VALUES('epoch','%lld')",
             (long long)(epoch > hours ? epoch : hours));
    if (sqlite3_exec(sql, text, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    return err_set(err, ERR_INTERNAL, "setting the restored epoch: %s", sqlite3_errmsg(sql));
}

static int check_rows(struct restore *r, sqlite3 *sql, struct err *err)
{
    if (store_sqlite_functions(sql) != SQLITE_OK)
        return err_set(err, ERR_INTERNAL, "opening the restored rows: %s", sqlite3_errmsg(sql));
    return store_sqlite_migrate(sql, &store_sqlite_steps, SCHEMA_NEWEST, false, err) ||
                   check_blobs(r, sql, err) || raise_epoch(sql, err)
               ? -1
               : 0;
}

static int on_check(void *arg)
{
    const struct restore *r = arg;
    progress(r, "checking", 0, 0);
    return is_stopped(r);
}

static int check_database(struct restore *r, struct str name, struct err *err)
{
    char path[BACKUP_PATH * 2];
    sqlite3 *sql = NULL;
    snprintf(path, sizeof(path), "%s/" STR_FMT, r->root, STR_ARG(name));
    progress(r, "checking", 0, 0);
    int failed = -1;
    if (sqlite3_open_v2(path, &sql, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
        err_set(err, ERR_BAD_INPUT, "opening " STR_FMT ": %s", STR_ARG(name),
                sql ? sqlite3_errmsg(sql) : "out of memory");
    else if (sqlite3_progress_handler(sql, CHECK_STEPS, on_check, r), true)
        failed = backup_check(sql, "integrity_check", path, err) ||
                 (str_is(name, BACKUP_ROWS) && check_rows(r, sql, err));
    if (failed && is_stopped(r)) {
        *err = ERR_INIT;
        (void)stopped(r, err);
    }
    if (sqlite3_close(sql) != SQLITE_OK && !failed)  // the last one: empties the WAL
        failed = err_set(err, ERR_INTERNAL, "closing " STR_FMT, STR_ARG(name));
    return failed ? -1 : 0;
}

static int check_databases(struct restore *r, struct err *err)
{
    size_t cursor = 0;
    struct str name;
    bool rows = false;
    while (map_next(r->hashes, &cursor, &name)) {
        rows = rows || str_is(name, BACKUP_ROWS);
        if (str_ends(name, STR(".db")) && check_database(r, name, err))
            return -1;
    }
    return rows ? 0 : bad(err, "it has no " BACKUP_ROWS);
}

// ── the folder ───────────────────────────────────────────────────────────────────────────────

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st, (void)type, (void)ftw;
    return remove(path);
}

static int is_empty(const char *path, struct err *err)
{
    DIR *dir = opendir(path);
    if (!dir && errno == ENOENT)
        return 0;
    if (!dir)
        return err_errno(err, ERR_CONFLICT, errno, "reading %s", path);
    bool found = false;
    for (struct dirent *entry; !found && (entry = readdir(dir));)
        found = strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
    closedir(dir);
    if (!found)
        return 0;
    int lock = -1;
    char file[BACKUP_PATH + 16];
    snprintf(file, sizeof(file), "%s/drover.lock", path);
    if (access(file, F_OK) == 0 && store_folder_lock(path, &lock, err) < 0)
        return -1;
    fd_close_at(&lock);
    return err_set(err, ERR_CONFLICT,
                   "%s is not empty; restore into a new folder, or move this one away", path);
}

static void remove_tree(const char *path) { nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

// Takes the folder for this process, for as long as the descriptor is open. -1: another one has it.
static int lock_folder(const char *path)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0)
        fd_close_at(&fd);
    return fd;
}

// What restores into the same folder left behind when they were killed.
static void remove_leftovers(const char *target)
{
    char above[BACKUP_PATH], last[BACKUP_PATH], path[BACKUP_PATH * 2];
    snprintf(above, sizeof(above), "%s", target);
    snprintf(last, sizeof(last), "%s", target);
    const char *folder = dirname(above);
    struct str start = str_of(basename(last));
    DIR *dir = opendir(folder);
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        struct str name = str_of(entry->d_name);
        if (!str_starts(name, start) ||
            !str_starts((struct str){name.at + start.len, name.len - start.len}, STR(BESIDE)))
            continue;
        snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
        _cleanup_fd_ int lock = lock_folder(path);
        if (lock >= 0)
            remove_tree(path);
    }
    if (dir)
        closedir(dir);
}

// r->root is set only once it is a folder of our own: what is named there is removed on failure.
static int make_beside(struct restore *r, struct err *err)
{
    const char *data = r->config->data;
    char root[BACKUP_PATH];
    size_t len = strlen(data);
    while (len > 1 && data[len - 1] == '/')
        len--;
    if (len == 0 || len > BACKUP_PATH / 2)
        return err_set(err, ERR_BAD_INPUT, "the data folder's path is %s",
                       len ? "too long" : "empty");
    _cleanup_free_ char *target = mem_copy(data, len), *copy = mem_copy(data, len);
    if (is_empty(target, err) || store_folder_make(dirname(copy), err) < 0)
        return -1;
    remove_leftovers(target);
    snprintf(root, sizeof(root), "%s" BESIDE "%ld", target, (long)getpid());
    if (mkdir(root, 0700) < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "making %s", root);
    memcpy(r->root, root, sizeof(root));
    r->lock = lock_folder(root);
    return 0;
}

static int put_in_place(struct restore *r, struct err *err)
{
    const char *data = r->config->data;
    char path[BACKUP_PATH];
    _cleanup_fd_ int fd = open(r->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || syncfs(fd) < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "syncing %s", r->root);
    snprintf(path, sizeof(path), "%s", data);
    if (rename(r->root, path) < 0)  // over an empty folder, or nothing
        return err_errno(err, ERR_CONFLICT, errno, "naming the restored folder %s", data);
    r->root[0] = '\0';
    return store_folder_sync(dirname(path), err);
}

// A pipe may be silent for long.
static la_ssize_t on_read(struct archive *archive, void *arg, const void **at)
{
    struct restore *r = arg;
    struct pollfd wait = {.fd = r->fd, .events = POLLIN};
    *at = r->input;
    for (;;) {
        progress(r, "reading", r->report->bytes, 0);
        if (is_stopped(r)) {
            archive_set_error(archive, ECANCELED, "stopped");
            return -1;
        }
        if (poll(&wait, 1, WAIT_MS) <= 0)
            continue;
        ssize_t n = read(r->fd, r->input, BACKUP_BLOCK);
        if (n >= 0)
            return n;
        if (errno != EINTR && errno != EAGAIN) {
            archive_set_error(archive, errno, "%s", strerror(errno));
            return -1;
        }
    }
}

static struct archive *new_reader(void)
{
    struct archive *archive = archive_read_new();
    archive_read_support_format_tar(archive);
    archive_read_support_filter_all(archive);  // whoever compressed it need not undo that
    return archive;
}

static int open_archive(struct restore *r, struct err *err)
{
    r->archive = new_reader();
    return archive_read_open(r->archive, r, NULL, on_read, NULL) == ARCHIVE_OK
               ? 0
               : read_failed(r, err);
}

int backup_restore(const struct restore_config *config, int fd, struct backup_report *report,
                   struct err *err)
{
    struct restore r = {.config = config,
                        .report = report,
                        .arena = arena_new(),
                        .hashes = map_new(),
                        .manifest = BUF_INIT(TEXT_MAX),
                        .block = mem_alloc(BACKUP_BLOCK),
                        .input = mem_alloc(BACKUP_BLOCK),
                        .fd = fd,
                        .lock = -1};
    *report = (struct backup_report){0};
    int failed = sodium_init() < 0 || make_beside(&r, err) || open_archive(&r, err) ||
                 take_all(&r, err) || check_manifest(&r, err) || check_databases(&r, err) ||
                 put_in_place(&r, err);
    if (failed && r.root[0])
        remove_tree(r.root);
    fd_close_at(&r.lock);
    if (r.archive)
        archive_read_free(r.archive);
    map_free(r.hashes);
    buf_deinit(&r.manifest);
    arena_free(r.arena);
    mem_free(r.block);
    mem_free(r.input);
    return failed ? -1 : 0;
}

int backup_look(int fd, struct backup_report *report, struct err *err)
{
    struct restore r = {
        .report = report, .manifest = BUF_INIT(TEXT_MAX), .block = mem_alloc(BACKUP_BLOCK)};
    struct archive_entry *entry;
    struct json manifest, value = {0};
    *report = (struct backup_report){0};
    r.archive = new_reader();
    int rc = archive_read_open_fd(r.archive, fd, BACKUP_BLOCK), failed = 0;
    if (rc != ARCHIVE_OK)
        failed = read_failed(&r, err);
    while (!failed && (rc = archive_read_next_header(r.archive, &entry)) == ARCHIVE_OK) {
        const char *name = archive_entry_pathname(entry);
        report->bytes += archive_entry_size(entry);
        if (name && strcmp(name, BACKUP_MANIFEST) == 0)
            failed = take_text(&r, &r.manifest, err);
    }
    if (!failed && rc != ARCHIVE_EOF)
        failed = read_failed(&r, err);
    if (!failed && r.manifest.len == 0)
        failed = bad(err, "it was cut off before its manifest");
    if (!failed)
        failed = read_manifest(&r, &manifest, &report->blobs, err);
    if (!failed && json_get(manifest, "files", &value))
        report->files = (int64_t)json_count(value);
    if (!failed && json_get(manifest, "damaged", &value))
        report->damaged = (int64_t)json_count(value);
    if (r.archive)
        archive_read_free(r.archive);
    buf_deinit(&r.manifest);
    mem_free(r.block);
    return failed ? -1 : 0;
}
