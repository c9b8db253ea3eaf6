// SPDX-License-Identifier: Apache-2.0
#include "store/log_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/mem.h"
#include "store/store_internal.h"

#define LINES_ENDING  ".db"
#define INDEX_ENDING  ".index"
#define ASIDE_ENDING  ".db.damaged"
#define DELETIONS     "deletions"
#define DELETIONS_MAX (1 << 20)  // bytes

struct entry {
    int64_t key;
    int64_t min_at, max_at;
    bool timed, indexed;
    struct log_file *memory;
};

struct log_files {
    char *folder;  // NULL: in memory
    struct log *log;
    pthread_mutex_t lock;
    struct entry *at;  // the oldest first
    size_t count, cap;
    int64_t highest;
};

static struct entry *find(struct log_files *files, int64_t key)
{
    for (size_t i = files->count; i-- > 0;)
        if (files->at[i].key == key)
            return &files->at[i];
    return NULL;
}

static void insert(struct log_files *files, struct entry entry)
{
    if (files->count == files->cap) {
        files->cap = files->cap ? files->cap * 2 : 64;
        files->at = mem_resize(files->at, files->cap * sizeof(*files->at));
    }
    size_t at = files->count++;
    for (; at > 0 && files->at[at - 1].key > entry.key; at--)
        files->at[at] = files->at[at - 1];
    files->at[at] = entry;
    files->highest = entry.key > files->highest ? entry.key : files->highest;
}

// ── opening ──────────────────────────────────────────────────────────────────────────────────

static bool key_before(struct str name, const char *ending, int64_t *key)
{
    struct str tail = str_of(ending);
    if (!str_ends(name, tail))
        return false;
    name.len -= tail.len;
    return log_key_parse(name, key);
}

void log_files_path(const struct log_files *files, int64_t key, const char *ending,
                    char out[LOG_PATH_SIZE])
{
    char name[LOG_NAME_SIZE];
    log_key_name(key, name);
    snprintf(out, LOG_PATH_SIZE, "%s/%s%s", files->folder, name, ending);
}

static void unlink_one(const struct log_files *files, int64_t key, const char *ending)
{
    char path[LOG_PATH_SIZE];
    log_files_path(files, key, ending, path);
    if (unlink(path) < 0 && errno != ENOENT)
        log_warn(files->log, "logs", "cannot remove %s: %s", path, strerror(errno));
}

static void unlink_index(const struct log_files *files, int64_t key)
{
    unlink_one(files, key, INDEX_ENDING);
    unlink_one(files, key, INDEX_ENDING "-wal");
    unlink_one(files, key, INDEX_ENDING "-shm");
}

static int list_folder(struct log_files *files, struct err *err)
{
    DIR *folder = opendir(files->folder);
    if (!folder)
        return err_errno(err, ERR_INTERNAL, errno, "logs: reading the folder %s", files->folder);
    for (struct dirent *one; (one = readdir(folder));) {
        struct str name = str_of(one->d_name);
        int64_t key;
        if (key_before(name, LINES_ENDING, &key))
            insert(files, (struct entry){.key = key});
        else if (key_before(name, ASIDE_ENDING, &key) && key > files->highest)
            files->highest = key;
    }
    rewinddir(folder);
    for (struct dirent *one; (one = readdir(folder));) {
        int64_t key;
        if (key_before(str_of(one->d_name), INDEX_ENDING, &key) && !find(files, key))
            unlink_index(files, key);
    }
    closedir(folder);
    return 0;
}

static int open_folder(struct log_files *files, const char *data, struct err *err)
{
    char path[LOG_PATH_SIZE];
    if ((size_t)snprintf(path, sizeof(path), "%s/logs", data) > sizeof(path) - 64)
        return err_set(err, ERR_BAD_INPUT, "the data folder's path is too long");
    files->folder = mem_copy(path, strlen(path));
    snprintf(path, sizeof(path), "%s/logs.db", data);
    if (access(path, F_OK) == 0)
        return err_set(err, ERR_CONFLICT,
                       "%s is of a former program, which kept all log lines in one file; this one "
                       "keeps a file a day in %s and cannot read it: move logs.db (and "
                       "logs.db-wal, logs.db-shm) away",
                       path, files->folder);
    return store_folder_make(files->folder, err) || list_folder(files, err) ? -1 : 0;
}

struct log_files *log_files_open(const char *data, struct log *log, struct err *err)
{
    struct log_files *files = mem_alloc(sizeof(*files));
    files->log = log;
    files->highest = -1;
    pthread_mutex_init(&files->lock, NULL);
    if (data && open_folder(files, data, err)) {
        log_files_close(files);
        return NULL;
    }
    return files;
}

void log_files_close(struct log_files *files)
{
    if (!files)
        return;
    for (size_t i = 0; i < files->count; i++)
        log_file_close(files->at[i].memory);
    pthread_mutex_destroy(&files->lock);
    mem_free(files->at);
    mem_free(files->folder);
    mem_free(files);
}

// ── the list ─────────────────────────────────────────────────────────────────────────────────

int64_t *log_files_keys(struct log_files *files, struct arena *arena, size_t *count)
{
    pthread_mutex_lock(&files->lock);
    *count = files->count;
    int64_t *keys = arena_array_of(arena, int64_t, files->count + 1);
    for (size_t i = 0; i < files->count; i++)
        keys[i] = files->at[i].key;
    pthread_mutex_unlock(&files->lock);
    return keys;
}

bool log_files_has(struct log_files *files, int64_t key)
{
    pthread_mutex_lock(&files->lock);
    bool has = find(files, key) != NULL;
    pthread_mutex_unlock(&files->lock);
    return has;
}

int64_t log_files_newest(struct log_files *files)
{
    pthread_mutex_lock(&files->lock);
    int64_t key = files->count > 0 ? files->at[files->count - 1].key : -1;
    pthread_mutex_unlock(&files->lock);
    return key;
}

int64_t log_files_highest(struct log_files *files)
{
    pthread_mutex_lock(&files->lock);
    int64_t key = files->highest;
    pthread_mutex_unlock(&files->lock);
    return key;
}

bool log_files_in_memory(const struct log_files *files) { return !files->folder; }

int64_t log_files_bytes(struct log_files *files, int64_t key)
{
    static const char *const endings[] = {LINES_ENDING, LINES_ENDING "-wal", INDEX_ENDING,
                                          INDEX_ENDING "-wal"};
    int64_t bytes = 0;
    for (size_t i = 0; files->folder && i < sizeof(endings) / sizeof(*endings); i++) {
        char path[LOG_PATH_SIZE];
        struct stat st;
        log_files_path(files, key, endings[i], path);
        if (stat(path, &st) == 0)
            bytes += st.st_size;
    }
    return bytes;
}

void log_files_add(struct log_files *files, int64_t key, struct log_file *memory)
{
    struct err err = ERR_INIT;
    pthread_mutex_lock(&files->lock);
    if (!find(files, key))
        insert(files, (struct entry){.key = key, .memory = memory});
    pthread_mutex_unlock(&files->lock);
    if (files->folder && store_folder_sync(files->folder, &err) < 0)
        log_warn(files->log, "logs", "%s", err.message);
}

struct log_file *log_files_memory(struct log_files *files, int64_t key)
{
    pthread_mutex_lock(&files->lock);
    struct entry *entry = find(files, key);
    struct log_file *memory = entry ? entry->memory : NULL;
    pthread_mutex_unlock(&files->lock);
    return memory;
}

static bool take_off(struct log_files *files, int64_t key)
{
    pthread_mutex_lock(&files->lock);
    struct entry *entry = find(files, key);
    if (entry) {
        log_file_close(entry->memory);
        size_t after = files->count - (size_t)(entry - files->at) - 1;
        memmove(entry, entry + 1, after * sizeof(*entry));
        files->count--;
    }
    pthread_mutex_unlock(&files->lock);
    return entry != NULL;
}

void log_files_remove(struct log_files *files, int64_t key)
{
    if (!take_off(files, key) || !files->folder)
        return;
    unlink_one(files, key, LINES_ENDING);
    unlink_one(files, key, LINES_ENDING "-wal");
    unlink_one(files, key, LINES_ENDING "-shm");
    unlink_index(files, key);
}

void log_files_set_aside(struct log_files *files, int64_t key)
{
    char from[LOG_PATH_SIZE], to[LOG_PATH_SIZE];
    if (!take_off(files, key) || !files->folder)
        return;
    log_files_path(files, key, LINES_ENDING "-wal", from);
    log_files_path(files, key, ASIDE_ENDING "-wal", to);
    (void)rename(from, to);
    log_files_path(files, key, LINES_ENDING, from);
    log_files_path(files, key, ASIDE_ENDING, to);
    if (rename(from, to) < 0)
        log_error(files->log, "logs", "cannot rename the damaged file %s: %s", from,
                  strerror(errno));
    else
        log_error(files->log, "logs",
                  "the log lines in %s cannot be read any more and are left out; sqlite3's "
                  ".recover may save some of them",
                  to);
    unlink_one(files, key, LINES_ENDING "-shm");
    unlink_index(files, key);
}

// ── what is known ────────────────────────────────────────────────────────────────────────────

bool log_files_times(struct log_files *files, int64_t key, int64_t *min_at, int64_t *max_at)
{
    pthread_mutex_lock(&files->lock);
    const struct entry *entry = find(files, key);
    bool known = entry && entry->timed;
    if (known) {
        *min_at = entry->min_at;
        *max_at = entry->max_at;
    }
    pthread_mutex_unlock(&files->lock);
    return known;
}

void log_files_note_times(struct log_files *files, int64_t key, int64_t min_at, int64_t max_at)
{
    pthread_mutex_lock(&files->lock);
    struct entry *entry = find(files, key);
    if (entry) {
        entry->timed = true;
        entry->min_at = min_at;
        entry->max_at = max_at;
    }
    pthread_mutex_unlock(&files->lock);
}

bool log_files_indexed(struct log_files *files, int64_t key)
{
    pthread_mutex_lock(&files->lock);
    const struct entry *entry = find(files, key);
    bool indexed = !entry || entry->indexed;
    pthread_mutex_unlock(&files->lock);
    return indexed;
}

void log_files_note_indexed(struct log_files *files, int64_t key, bool indexed)
{
    pthread_mutex_lock(&files->lock);
    struct entry *entry = find(files, key);
    if (entry)
        entry->indexed = indexed;
    pthread_mutex_unlock(&files->lock);
}

// ── deletions under way ──────────────────────────────────────────────────────────────────────

static int write_file(const char *path, struct str text, struct err *err)
{
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text.at, text.len) != (ssize_t)text.len || fsync(fd) < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "logs: writing %s", path);
    return 0;
}

int log_files_save_deletions(struct log_files *files, const struct logs_part *parts, size_t count,
                             struct err *err)
{
    char path[LOG_PATH_SIZE + 16], fresh[LOG_PATH_SIZE + 32];
    _cleanup_buf_ struct buf text = BUF_INIT(DELETIONS_MAX);
    if (!files->folder)
        return 0;
    for (size_t i = 0; i < count; i++) {
        bool service = parts[i].service_id.at != NULL;
        buf_printf(&text, "%s " STR_FMT "\n", service ? "service" : "project",
                   STR_ARG(service ? parts[i].service_id : parts[i].project_id));
    }
    if (text.over)
        return err_set(err, ERR_BUSY, "logs: too many deletions are under way");
    snprintf(path, sizeof(path), "%s/" DELETIONS, files->folder);
    snprintf(fresh, sizeof(fresh), "%s.new", path);
    if (write_file(fresh, buf_str(&text), err))
        return -1;
    if (rename(fresh, path) < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "logs: renaming %s", fresh);
    return store_folder_sync(files->folder, err);
}

static void load_line(struct str line, struct arena *arena, struct logs_part *out, size_t *count)
{
    struct str service = STR("service "), project = STR("project ");
    struct str prefix = str_starts(line, service) ? service : project;
    if (!str_starts(line, prefix))
        return;
    struct str id = arena_copy(arena, (struct str){line.at + prefix.len, line.len - prefix.len});
    struct logs_part *part = &out[(*count)++];
    *part = (struct logs_part){0};
    *(prefix.at == service.at ? &part->service_id : &part->project_id) = id;
}

int log_files_load_deletions(struct log_files *files, struct arena *arena, struct logs_part **parts,
                             size_t *count, struct err *err)
{
    char path[LOG_PATH_SIZE + 16];
    *count = 0;
    if (!files->folder)
        return 0;
    snprintf(path, sizeof(path), "%s/" DELETIONS, files->folder);
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0;
    char *text = arena_alloc(arena, DELETIONS_MAX + 1);
    ssize_t len = fd < 0 ? -1 : read(fd, text, DELETIONS_MAX);
    if (len < 0)
        return err_errno(err, ERR_INTERNAL, errno, "logs: reading %s", path);
    size_t lines = 0;
    for (ssize_t i = 0; i < len; i++)
        lines += text[i] == '\n';
    *parts = arena_array_of(arena, struct logs_part, lines + 1);
    for (char *at = text, *end; (end = memchr(at, '\n', (size_t)(text + len - at))); at = end + 1)
        load_line((struct str){at, (size_t)(end - at)}, arena, *parts, count);
    return 0;
}
