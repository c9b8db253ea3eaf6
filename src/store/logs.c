// SPDX-License-Identifier: Apache-2.0
#include "store/logs.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>

#include "base/mem.h"
#include "store/logs_sqlite.h"
#include "store/mailbox.h"

#define QUEUE_BYTES_MAX ((size_t)64 * 1024 * 1024)  // of lines not yet stored
#define BATCH_BYTES_MAX ((size_t)4 * 1024 * 1024)   // of one commit, so that readers see it soon
#define DELETE_STEP     1000                        // lines of one commit
#define SYNC_MS         1000                        // what a power failure may cost

enum request_kind { REQUEST_APPEND, REQUEST_DELETE, REQUEST_READ };

struct request {
    struct store_job job;  // first: how it travels
    enum request_kind kind;
    struct logs *logs;
    void (*done)(void *arg, const struct err *err);
    void *arg;
    size_t bytes;  // of the lines and their texts, which follow in the same allocation
    struct log_line *lines;
    size_t count;
    struct logs_part part;  // to delete
    struct logs_read *read;
};

struct logs {
    struct log *log;
    struct mailbox *mailbox;
    void (*on_append)(void *arg, struct str service_id);  // the loop's
    void *on_append_arg;

    pthread_mutex_t lock;
    pthread_cond_t write_ready, read_ready;
    struct jobs writes, reads;  // guarded by lock, as the three below
    size_t bytes;
    bool stopping, ended;

    pthread_mutex_t shared;  // held around the one connection of a database in memory
    struct logs_db *writer, *reader;
    bool in_memory;
    bool dirty;   // the writer's: committed but not synced
    bool broken;  // the writer's: an fsync failed
    void (*on_fatal)(void *arg, const struct err *err);
    void *arg;
    int64_t sync_at;  // ms, monotonic
    pthread_t writer_thread, reader_thread;
    bool writer_started, reader_started;
};

static int64_t mono_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct request *request_of(struct store_job *job) { return (struct request *)(void *)job; }

// ── levels ───────────────────────────────────────────────────────────────────────────────────

static const struct {
    int level;
    const char *word;
} levels[] = {
    {LINE_DEBUG, "debug"},    {LINE_INFO, "info"},         {LINE_WARNING, "warning"},
    {LINE_ERROR, "error"},    {LINE_CRITICAL, "critical"}, {LINE_WARNING, "warn"},
    {LINE_CRITICAL, "fatal"},
};

int line_level_parse(struct str word)
{
    for (size_t i = 0; i < sizeof(levels) / sizeof(*levels); i++)
        if (str_case_eq(word, str_of(levels[i].word)))
            return levels[i].level;
    return 0;
}

const char *line_level_word(int level)
{
    const char *word = "debug";
    for (size_t i = 0; i < 5; i++)
        if (level >= levels[i].level)
            word = levels[i].word;
    return word;
}

// ── on the loop ──────────────────────────────────────────────────────────────────────────────

static void tell_follower(const struct request *request)
{
    struct logs *logs = request->logs;
    for (size_t i = 0; logs->on_append && i < request->count; i++)
        if (i == 0 || !str_eq(request->lines[i].service_id, request->lines[i - 1].service_id))
            logs->on_append(logs->on_append_arg, request->lines[i].service_id);
}

static void request_done(void *arg, struct err *err)
{
    struct request *request = arg;
    if (request->kind == REQUEST_READ) {
        request->read->err = *err;
        request->read->done(request->read->arg, request->read);
    } else {
        if (request->kind == REQUEST_APPEND && err->kind == ERR_NONE)
            tell_follower(request);
        if (request->done)
            request->done(request->arg, err);
    }
    mem_free(request);
}

static void hand_out(struct logs *logs, struct store_job *job)
{
    struct jobs jobs;
    jobs_init(&jobs);
    jobs_push(&jobs, job);
    mailbox_add(logs->mailbox, &jobs);
}

static struct request *request_new(struct logs *logs, enum request_kind kind, size_t extra)
{
    struct request *request = mem_alloc(sizeof(*request) + extra);
    request->kind = kind;
    request->logs = logs;
    request->job.done = request_done;
    request->job.arg = request;
    return request;
}

static void enqueue(struct logs *logs, struct request *request)
{
    pthread_mutex_lock(&logs->lock);
    bool full = request->bytes > 0 && logs->bytes + request->bytes > QUEUE_BYTES_MAX;
    bool ended = logs->ended;
    if (!full && !ended) {
        logs->bytes += request->bytes;
        jobs_push(request->kind == REQUEST_READ ? &logs->reads : &logs->writes, &request->job);
        pthread_cond_signal(request->kind == REQUEST_READ ? &logs->read_ready : &logs->write_ready);
    }
    pthread_mutex_unlock(&logs->lock);
    if (!full && !ended)
        return;
    if (full)
        err_set(&request->job.err, ERR_BUSY, "logs: more than %zu MiB of lines wait to be stored",
                QUEUE_BYTES_MAX / (1024 * 1024));
    else
        err_set(&request->job.err, ERR_UNAVAILABLE, "logs: the store is closing");
    request->job.err.retry_after = 1;
    hand_out(logs, &request->job);
}

static struct str copy_text(char **at, struct str text)
{
    if (!text.at)
        return STR_NONE;
    struct str copy = {*at, text.len};
    if (text.len > 0)
        memcpy(*at, text.at, text.len);
    *at += text.len;
    return copy;
}

static size_t line_bytes(const struct log_line *line)
{
    return sizeof(*line) + line->service_id.len + line->project_id.len + line->execution_id.len +
           line->function_name.len + line->replica_id.len + line->message.len;
}

void logs_append(struct logs *logs, const struct log_line *lines, size_t count,
                 void (*done)(void *arg, const struct err *err), void *arg)
{
    size_t bytes = 1;  // an empty text needs an address too
    for (size_t i = 0; i < count; i++)
        bytes += line_bytes(&lines[i]);
    struct request *request = request_new(logs, REQUEST_APPEND, bytes);
    request->done = done;
    request->arg = arg;
    request->bytes = bytes;
    request->count = count;
    request->lines = (struct log_line *)(void *)(request + 1);
    char *at = (char *)(request->lines + count);
    for (size_t i = 0; i < count; i++) {
        struct log_line *line = &request->lines[i];
        *line = lines[i];
        line->service_id = copy_text(&at, line->service_id);
        line->project_id = copy_text(&at, line->project_id);
        line->execution_id = copy_text(&at, line->execution_id);
        line->function_name = copy_text(&at, line->function_name);
        line->replica_id = copy_text(&at, line->replica_id);
        line->message = copy_text(&at, line->message);
    }
    enqueue(logs, request);
}

static void enqueue_delete(struct logs *logs, struct logs_part part,
                           void (*done)(void *arg, const struct err *err), void *arg)
{
    struct request *request = request_new(logs, REQUEST_DELETE,
                                          part.service_id.len + part.project_id.len + 1);
    char *text = (char *)(request + 1);
    request->done = done;
    request->arg = arg;
    request->part.service_id = copy_text(&text, part.service_id);
    request->part.project_id = copy_text(&text, part.project_id);
    request->part.at = part.at;
    enqueue(logs, request);
}

void logs_delete_service(struct logs *logs, struct str service_id,
                         void (*done)(void *arg, const struct err *err), void *arg)
{
    struct logs_part part = {.service_id = service_id.at ? service_id : STR("")};
    enqueue_delete(logs, part, done, arg);
}

void logs_delete_project(struct logs *logs, struct str project_id,
                         void (*done)(void *arg, const struct err *err), void *arg)
{
    struct logs_part part = {.project_id = project_id.at ? project_id : STR("")};
    enqueue_delete(logs, part, done, arg);
}

void logs_delete_before(struct logs *logs, int64_t at,
                        void (*done)(void *arg, const struct err *err), void *arg)
{
    enqueue_delete(logs, (struct logs_part){.at = at}, done, arg);
}

void logs_read(struct logs *logs, struct logs_read *read)
{
    struct request *request = request_new(logs, REQUEST_READ, 0);
    request->read = read;
    read->lines = NULL;
    read->count = 0;
    enqueue(logs, request);
}

void logs_on_append(struct logs *logs, void (*fn)(void *arg, struct str service_id), void *arg)
{
    logs->on_append = fn;
    logs->on_append_arg = arg;
}

// ── the writer ───────────────────────────────────────────────────────────────────────────────

static void sync_now(struct logs *logs)
{
    struct err err = ERR_INIT;
    if (logs->dirty && !logs->broken && logs_db_sync(logs->writer, &err) < 0)
        log_error(logs->log, "logs", "%s", err.message);
    logs->dirty = false;
}

// A failed fsync is never tried again: what the disk holds is seen at the next start.
static void check_broken(struct logs *logs)
{
    const struct err *why = logs_db_broken(logs->writer);
    if (!why || logs->broken)
        return;
    logs->broken = true;
    log_error(logs->log, "logs", "the writer stopped: %s", why->message);
    if (logs->on_fatal)
        logs->on_fatal(logs->arg, why);
}

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

static int store_lines(struct logs *logs, struct store_job *batch, struct err *err)
{
    for (struct store_job *job = batch; job; job = job->next) {
        const struct request *request = request_of(job);
        for (size_t i = 0; i < request->count; i++)
            if (logs_db_insert(logs->writer, &request->lines[i], err) < 0)
                return -1;
    }
    return 0;
}

// One transaction. *more: the deletion has more to do.
static int run_batch(struct logs *logs, struct store_job *batch, bool *more, struct err *err)
{
    struct request *first = request_of(batch);
    int64_t deleted = 0;
    if (logs->broken)
        return err_set(err, ERR_UNAVAILABLE,
                       "logs: nothing is stored any more after a disk error; see the server's log");
    int failed = logs_db_begin(logs->writer, err);
    if (failed)
        return -1;
    if (first->kind == REQUEST_DELETE)
        failed = logs_db_delete(logs->writer, &first->part, DELETE_STEP, &deleted, err);
    else
        failed = store_lines(logs, batch, err);
    if (failed)
        logs_db_rollback(logs->writer);
    else
        failed = logs_db_commit(logs->writer, err);
    *more = !failed && deleted == DELETE_STEP;
    return failed;
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

static void write_batch(struct logs *logs, struct store_job *batch)
{
    struct err err = ERR_INIT;
    bool more = false;
    pthread_mutex_lock(&logs->shared);
    int failed = run_batch(logs, batch, &more, &err);
    pthread_mutex_unlock(&logs->shared);
    if (failed)
        log_error(logs->log, "logs", "%s", err.message);
    else if (!logs->dirty) {
        logs->dirty = true;
        logs->sync_at = mono_ms() + SYNC_MS;
    }
    if (!more) {
        end_batch(logs, batch, &err);
        return;
    }
    // The rest of the deletion goes behind what came in meanwhile.
    pthread_mutex_lock(&logs->lock);
    jobs_push(&logs->writes, batch);
    pthread_mutex_unlock(&logs->lock);
}

static void *writer_main(void *arg)
{
    struct logs *logs = arg;
    for (;;) {
        struct store_job *batch = take_batch(logs);
        if (batch)
            write_batch(logs, batch);
        if (logs->dirty && (!batch || mono_ms() >= logs->sync_at))
            sync_now(logs);
        check_broken(logs);
        if (batch)
            continue;
        pthread_mutex_lock(&logs->lock);
        bool end = logs->stopping && !logs->writes.first;
        pthread_mutex_unlock(&logs->lock);
        if (end)
            return NULL;
    }
}

// ── the reader ───────────────────────────────────────────────────────────────────────────────

static void *reader_main(void *arg)
{
    struct logs *logs = arg;
    pthread_mutex_lock(&logs->lock);
    for (;;) {
        struct store_job *job = jobs_pop(&logs->reads);
        if (!job && logs->stopping)
            break;
        if (!job) {
            pthread_cond_wait(&logs->read_ready, &logs->lock);
            continue;
        }
        pthread_mutex_unlock(&logs->lock);
        if (logs->in_memory)
            pthread_mutex_lock(&logs->shared);
        struct logs_db *db = logs->in_memory ? logs->writer : logs->reader;
        if (logs_db_read(db, request_of(job)->read, &job->err) < 0)
            log_error(logs->log, "logs", "%s", job->err.message);
        if (logs->in_memory)
            pthread_mutex_unlock(&logs->shared);
        hand_out(logs, job);
        pthread_mutex_lock(&logs->lock);
    }
    pthread_mutex_unlock(&logs->lock);
    return NULL;
}

// ── life ─────────────────────────────────────────────────────────────────────────────────────

static int open_files(struct logs *logs, const char *folder, struct err *err)
{
    char path[4096];
    if (folder) {
        if (store_folder_make(folder, err) < 0)
            return -1;
        if ((size_t)snprintf(path, sizeof(path), "%s/logs.db", folder) > sizeof(path) - 8)
            return err_set(err, ERR_BAD_INPUT, "the data folder's path is too long");
    }
    logs->in_memory = !folder;
    logs->writer = logs_db_open(folder ? path : NULL, true, err);
    if (!logs->writer)
        return -1;
    if (folder)
        logs->reader = logs_db_open(path, false, err);
    return folder && !logs->reader ? -1 : 0;
}

static int start_threads(struct logs *logs, struct err *err)
{
    int rc = pthread_create(&logs->writer_thread, NULL, writer_main, logs);
    if (rc != 0)
        return err_errno(err, ERR_INTERNAL, rc, "logs: starting the writer thread");
    logs->writer_started = true;
    rc = pthread_create(&logs->reader_thread, NULL, reader_main, logs);
    if (rc != 0)
        return err_errno(err, ERR_INTERNAL, rc, "logs: starting the reader thread");
    logs->reader_started = true;
    return 0;
}

struct logs *logs_open(const struct logs_config *config, struct err *err)
{
    struct logs *logs = mem_alloc(sizeof(*logs));
    logs->log = config->log;
    logs->on_fatal = config->on_fatal;
    logs->arg = config->arg;
    logs->mailbox = mailbox_new(config->loop);
    jobs_init(&logs->writes);
    jobs_init(&logs->reads);
    pthread_mutex_init(&logs->lock, NULL);
    pthread_mutex_init(&logs->shared, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&logs->write_ready, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&logs->read_ready, NULL);
    if (open_files(logs, config->path, err) < 0 || start_threads(logs, err) < 0) {
        logs_close(logs);
        return NULL;
    }
    return logs;
}

void logs_close(struct logs *logs)
{
    if (!logs)
        return;
    pthread_mutex_lock(&logs->lock);
    logs->stopping = true;
    pthread_cond_signal(&logs->write_ready);
    pthread_cond_signal(&logs->read_ready);
    pthread_mutex_unlock(&logs->lock);
    if (logs->writer_started)
        pthread_join(logs->writer_thread, NULL);
    if (logs->reader_started)
        pthread_join(logs->reader_thread, NULL);
    logs->ended = true;
    mailbox_close(logs->mailbox);
    logs_db_close(logs->reader);
    logs_db_close(logs->writer);
    pthread_mutex_destroy(&logs->lock);
    pthread_mutex_destroy(&logs->shared);
    pthread_cond_destroy(&logs->write_ready);
    pthread_cond_destroy(&logs->read_ready);
    mem_free(logs);
}
