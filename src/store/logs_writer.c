// SPDX-License-Identifier: Apache-2.0
// The writer's thread: lines into the newest file, deletions from all of them.
#include <errno.h>
#include <time.h>

#include "base/mem.h"
#include "store/logs_internal.h"

#define BATCH_BYTES_MAX ((size_t)4 * 1024 * 1024)  // of one commit, so that readers see it soon
#define DELETE_STEP     1000                       // lines of one commit
#define SYNC_MS         1000                       // what a power failure may cost
#define NO_FILE         (-1)

static int64_t mono_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// ── files ────────────────────────────────────────────────────────────────────────────────────

// A failed fsync is never tried again: what the disk holds is seen at the next start.
static void check_broken(struct logs *logs, const struct log_file *file)
{
    const struct err *why = file ? log_file_broken(file) : NULL;
    if (!why || logs->broken)
        return;
    logs->broken = true;
    log_error(logs->log, "logs", "the writer stopped: %s", why->message);
    if (logs->on_fatal)
        logs->on_fatal(logs->arg, why);
}

static void sync_now(struct logs *logs)
{
    struct err err = ERR_INIT;
    if (logs->dirty && !logs->broken && logs->writer && log_file_sync(logs->writer, &err) < 0)
        log_error(logs->log, "logs", "%s", err.message);
    logs->dirty = false;
    check_broken(logs, logs->writer);
}

static struct log_file *open_file(struct logs *logs, int64_t key, bool *damaged, struct err *err)
{
    char path[LOG_PATH_SIZE];
    *damaged = false;
    if (log_files_in_memory(logs->files))
        return log_file_open(NULL, key, LOG_OPEN_WRITE, damaged, err);
    log_files_path(logs->files, key, ".db", path);
    return log_file_open(path, key, LOG_OPEN_WRITE, damaged, err);
}

// In memory the list has them, and keeps them open.
static void close_file(struct logs *logs, struct log_file **file)
{
    check_broken(logs, *file);
    if (!log_files_in_memory(logs->files))
        log_file_close(*file);
    *file = NULL;
}

static void close_writer(struct logs *logs)
{
    if (!logs->writer)
        return;
    sync_now(logs);
    if (!log_file_damaged(logs->writer))
        log_file_settle(logs->writer);
    close_file(logs, &logs->writer);
    logs->writer_key = NO_FILE;
}

static void set_writer_aside(struct logs *logs, int64_t key)
{
    close_writer(logs);
    log_files_set_aside(logs->files, key);
}

static int open_writer(struct logs *logs, int64_t key, bool fresh, struct err *err)
{
    bool damaged;
    struct log_file *file = open_file(logs, key, &damaged, err);
    if (!file && damaged) {
        log_error(logs->log, "logs", "%s", err->message);
        log_files_add(logs->files, key, NULL);
        log_files_set_aside(logs->files, key);
        *err = ERR_INIT;
        return open_writer(logs, key + 1, true, err);
    }
    if (!file)
        return -1;
    close_writer(logs);
    logs->writer = file;
    logs->writer_key = key;
    if (fresh)
        log_files_add(logs->files, key, log_files_in_memory(logs->files) ? file : NULL);
    return 0;
}

// The file for lines of the day is the writer's: the present one, unless a new day has come, it is
// too large, or it was set aside by a reader. Days never go back.
static int file_for(struct logs *logs, int64_t day, struct err *err)
{
    int64_t highest = log_files_highest(logs->files), key = log_day_key(day);
    bool there = logs->writer && log_files_has(logs->files, logs->writer_key);
    if (logs->writer && !there)
        close_writer(logs);
    bool full = there &&
                (log_file_full(logs->writer) || log_file_bytes(logs->writer) > logs->part_bytes);
    if (there && !full && key <= logs->writer_key)
        return 0;
    return open_writer(logs, key > highest ? key : highest + 1, true, err);
}

int logs_writer_open(struct logs *logs, struct err *err)
{
    int64_t newest = log_files_newest(logs->files);
    logs->writer_key = logs->old_key = NO_FILE;
    return newest < 0 ? 0 : open_writer(logs, newest, false, err);
}

void logs_writer_close(struct logs *logs)
{
    if (logs->files) {
        close_file(logs, &logs->old);
        close_writer(logs);
    }
    for (size_t i = 0; i < logs->deletion_count; i++)
        mem_free((char *)(logs->deletions[i].service_id.at ? logs->deletions[i].service_id.at
                                                           : logs->deletions[i].project_id.at));
    mem_free(logs->deletions);
}

// ── lines ────────────────────────────────────────────────────────────────────────────────────

static int insert_lines(struct logs *logs, struct store_job *batch, struct err *err)
{
    if (log_file_begin(logs->writer, err))
        return -1;
    for (struct store_job *job = batch; job; job = job->next) {
        const struct request *request = request_of(job);
        for (size_t i = 0; i < request->count; i++)
            if (log_file_insert(logs->writer, &request->lines[i], err) < 0) {
                log_file_rollback(logs->writer);
                return -1;
            }
    }
    return log_file_commit(logs->writer, err);
}

static int store_lines(struct logs *logs, struct store_job *batch, struct err *err)
{
    int64_t day = 0;
    for (struct store_job *job = batch; job; job = job->next)
        day = request_of(job)->day > day ? request_of(job)->day : day;
    if (file_for(logs, day, err))
        return -1;
    int failed = insert_lines(logs, batch, err);
    if (failed && log_file_damaged(logs->writer)) {
        log_error(logs->log, "logs", "%s", err->message);
        *err = ERR_INIT;
        set_writer_aside(logs, logs->writer_key);
        failed = file_for(logs, day, err) || insert_lines(logs, batch, err) ? -1 : 0;
    }
    if (!failed && !logs->dirty) {
        logs->dirty = true;
        logs->sync_at = mono_ms() + SYNC_MS;
    }
    return failed;
}

static void want_index(struct logs *logs)
{
    pthread_mutex_lock(&logs->lock);
    if (!logs->index_wanted) {
        logs->index_wanted = true;
        pthread_cond_signal(&logs->index_ready);
    }
    pthread_mutex_unlock(&logs->lock);
}

// ── deletions ────────────────────────────────────────────────────────────────────────────────

static bool same_part(const struct logs_part *a, const struct logs_part *b)
{
    return str_eq(a->service_id, b->service_id) && str_eq(a->project_id, b->project_id) &&
           !a->service_id.at == !b->service_id.at;
}

static int note_deletion(struct logs *logs, struct request *request, struct err *err)
{
    const struct logs_part *part = &request->part;
    struct str id = part->service_id.at ? part->service_id : part->project_id;
    if (request->noted || id.len == 0 || memchr(id.at, '\n', id.len))
        return 0;
    struct str copy = {mem_copy(id.at, id.len), id.len};
    logs->deletions = mem_resize(logs->deletions,
                                 (logs->deletion_count + 1) * sizeof(*logs->deletions));
    struct logs_part *noted = &logs->deletions[logs->deletion_count++];
    *noted = (struct logs_part){0};
    *(part->service_id.at ? &noted->service_id : &noted->project_id) = copy;
    request->noted = true;
    return log_files_save_deletions(logs->files, logs->deletions, logs->deletion_count, err);
}

static void forget_deletion(struct logs *logs, const struct request *request)
{
    struct err err = ERR_INIT;
    for (size_t i = 0; request->noted && i < logs->deletion_count; i++) {
        struct logs_part *part = &logs->deletions[i];
        if (!same_part(part, &request->part))
            continue;
        mem_free((char *)(part->service_id.at ? part->service_id.at : part->project_id.at));
        *part = logs->deletions[--logs->deletion_count];
        if (log_files_save_deletions(logs->files, logs->deletions, logs->deletion_count, &err))
            log_warn(logs->log, "logs", "%s", err.message);
        return;
    }
}

static int64_t next_key(struct logs *logs, int64_t from)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    size_t count;
    int64_t *keys = log_files_keys(logs->files, arena, &count);
    for (size_t i = 0; i < count; i++)
        if (keys[i] >= from)
            return keys[i];
    return NO_FILE;
}

// The file of the key, open for changes; NULL: none is wanted (it is gone, or was set aside).
static struct log_file *file_to_delete_from(struct logs *logs, int64_t key, struct err *err)
{
    bool damaged;
    if (key == logs->writer_key)
        return logs->writer;
    if (log_files_in_memory(logs->files))
        return log_files_memory(logs->files, key);
    if (logs->old && logs->old_key == key)
        return logs->old;
    close_file(logs, &logs->old);
    logs->old = open_file(logs, key, &damaged, err);
    logs->old_key = key;
    if (!logs->old && damaged) {
        log_error(logs->log, "logs", "%s", err->message);
        log_files_set_aside(logs->files, key);
        *err = ERR_INIT;
    }
    return logs->old;
}

static void leave_file(struct logs *logs, struct log_file *file, int64_t key)
{
    bool empty = key != logs->writer_key && key != log_files_newest(logs->files) &&
                 log_file_empty(file);
    if (file == logs->old && logs->old) {
        log_file_settle(file);
        close_file(logs, &logs->old);
    }
    if (empty)
        log_files_remove(logs->files, key);
}

static int delete_step(struct logs *logs, struct log_file *file, const struct logs_part *part,
                       int64_t *deleted, struct err *err)
{
    if (log_file_begin(file, err))
        return -1;
    if (log_file_delete(file, part, DELETE_STEP, deleted, err)) {
        log_file_rollback(file);
        return -1;
    }
    if (log_file_commit(file, err))
        return -1;
    if (file == logs->writer && *deleted > 0 && !logs->dirty) {
        logs->dirty = true;
        logs->sync_at = mono_ms() + SYNC_MS;
    }
    return 0;
}

// One step in one file. *more: there are further ones.
static int delete_some(struct logs *logs, struct request *request, bool *more, struct err *err)
{
    int64_t deleted;
    if (note_deletion(logs, request, err))
        return -1;
    int64_t key = next_key(logs, request->from_key);
    if (key == NO_FILE) {
        forget_deletion(logs, request);
        return 0;
    }
    struct log_file *file = file_to_delete_from(logs, key, err);
    if (!file && err->kind != ERR_NONE)
        return -1;
    *more = true;
    if (file && delete_step(logs, file, &request->part, &deleted, err)) {
        *more = log_file_damaged(file) && file != logs->writer;
        if (!*more)
            return -1;
        log_error(logs->log, "logs", "%s", err->message);
        *err = ERR_INIT;
        close_file(logs, &logs->old);
        log_files_set_aside(logs->files, key);
        return 0;
    }
    if (!file || deleted < DELETE_STEP) {
        request->from_key = key + 1;
        if (file)
            leave_file(logs, file, key);
    }
    return 0;
}

// ── whole files ──────────────────────────────────────────────────────────────────────────────

static void keep(struct logs *logs, const struct request *request)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    size_t count, removed = 0;
    int64_t *keys = log_files_keys(logs->files, arena, &count), bytes = 0, freed = 0;
    for (size_t i = 0; i < count; i++)
        bytes += log_files_bytes(logs->files, keys[i]);
    for (size_t i = 0; i + 1 < count; i++) {
        bool old = request->keep_days > 0 &&
                   log_key_day(keys[i]) < request->day - request->keep_days;
        bool large = request->keep_bytes > 0 && bytes - freed > request->keep_bytes;
        if (!old && !large)
            break;
        if (logs->old && logs->old_key == keys[i])
            close_file(logs, &logs->old);
        freed += log_files_bytes(logs->files, keys[i]);
        log_files_remove(logs->files, keys[i]);
        removed++;
    }
    if (removed > 0)
        log_info(logs->log, "logs", "removed %zu files of old log lines (%lld MiB)", removed,
                 (long long)(freed >> 20));
}

// ── the thread ───────────────────────────────────────────────────────────────────────────────

// The next batch: the appends that wait, up to a size, or one step of a deletion. NULL: the store
// closes, or what was committed must be synced.
static struct store_job *take_batch(struct logs *logs)
{
    struct jobs batch;
    jobs_init(&batch);
    size_t bytes = 0;
    pthread_mutex_lock(&logs->lock);
    while (!logs->writes.first && !logs->stopping) {
        if (!logs->dirty) {
            pthread_cond_wait(&logs->write_ready, &logs->lock);
            continue;
        }
        struct timespec until = {.tv_sec = logs->sync_at / 1000,
                                 .tv_nsec = logs->sync_at % 1000 * 1000000};
        if (pthread_cond_timedwait(&logs->write_ready, &logs->lock, &until) == ETIMEDOUT)
            break;
    }
    while (logs->writes.first && bytes < BATCH_BYTES_MAX) {
        bool append = request_of(logs->writes.first)->kind == REQUEST_APPEND;
        if (!append && batch.first)
            break;
        struct store_job *job = jobs_pop(&logs->writes);
        jobs_push(&batch, job);
        bytes += request_of(job)->bytes;
        if (!append)
            break;
    }
    pthread_mutex_unlock(&logs->lock);
    return batch.first;
}

static void end_batch(struct logs *logs, struct store_job *batch, const struct err *err)
{
    struct jobs done;
    size_t bytes = 0;
    jobs_init(&done);
    for (struct store_job *job = batch, *next; job; job = next) {
        next = job->next;
        bytes += request_of(job)->bytes;
        job->err = *err;
        jobs_push(&done, job);
    }
    pthread_mutex_lock(&logs->lock);
    logs->bytes -= bytes;
    pthread_mutex_unlock(&logs->lock);
    mailbox_add(logs->mailbox, &done);
}

static int run_batch(struct logs *logs, struct store_job *batch, bool *more, struct err *err)
{
    struct request *first = request_of(batch);
    if (logs->broken)
        return err_set(err, ERR_UNAVAILABLE,
                       "logs: nothing is stored any more after a disk error; see the server's log");
    switch (first->kind) {
    case REQUEST_DELETE: return delete_some(logs, first, more, err);
    case REQUEST_KEEP: keep(logs, first); return 0;
    case REQUEST_APPEND:
    case REQUEST_READ: break;
    }
    return store_lines(logs, batch, err);
}

static void write_batch(struct logs *logs, struct store_job *batch)
{
    struct err err = ERR_INIT;
    bool more = false;
    pthread_mutex_lock(&logs->shared);
    int failed = run_batch(logs, batch, &more, &err);
    check_broken(logs, logs->writer);
    check_broken(logs, logs->old);
    pthread_mutex_unlock(&logs->shared);
    if (failed)
        log_error(logs->log, "logs", "%s", err.message);
    else if (logs->indexes && request_of(batch)->kind == REQUEST_APPEND)
        want_index(logs);
    if (failed || !more) {
        end_batch(logs, batch, &err);
        return;
    }
    // The rest of the deletion goes behind what came in meanwhile; the next process does what is
    // left of it at the end.
    pthread_mutex_lock(&logs->lock);
    bool stop = logs->stopping && request_of(batch)->noted;
    if (!stop)
        jobs_push(&logs->writes, batch);
    pthread_mutex_unlock(&logs->lock);
    if (stop) {
        err_set(&err, ERR_UNAVAILABLE, "logs: the store is closing");
        end_batch(logs, batch, &err);
    }
}

void *logs_writer_main(void *arg)
{
    struct logs *logs = arg;
    pthread_setname_np(pthread_self(), "log-writer");
    for (;;) {
        struct store_job *batch = take_batch(logs);
        if (batch)
            write_batch(logs, batch);
        if (logs->dirty && (!batch || mono_ms() >= logs->sync_at))
            sync_now(logs);
        if (batch)
            continue;
        pthread_mutex_lock(&logs->lock);
        bool end = logs->stopping && !logs->writes.first;
        pthread_mutex_unlock(&logs->lock);
        if (end)
            return NULL;
    }
}
