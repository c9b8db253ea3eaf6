// SPDX-License-Identifier: Apache-2.0
#include "store/logs.h"

#include <sqlite3.h>

#include "base/mem.h"
#include "store/log_index.h"
#include "store/logs_internal.h"
#include "store/store_internal.h"

#define QUEUE_BYTES_MAX ((size_t)64 * 1024 * 1024)  // of lines not yet stored
#define PART_BYTES      ((int64_t)1 << 30)
#define SCAN_MAX        5000

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

void logs_hand_out(struct logs *logs, struct store_job *job)
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
    request->day = log_day_of(clock_wall(logs->clock));
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
    logs_hand_out(logs, &request->job);
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

void logs_delete(struct logs *logs, struct logs_part part, bool noted,
                 void (*done)(void *arg, const struct err *err), void *arg)
{
    struct request *request = request_new(logs, REQUEST_DELETE,
                                          part.service_id.len + part.project_id.len + 1);
    char *text = (char *)(request + 1);
    request->done = done;
    request->arg = arg;
    request->noted = noted;
    request->part.service_id = copy_text(&text, part.service_id);
    request->part.project_id = copy_text(&text, part.project_id);
    enqueue(logs, request);
}

void logs_delete_service(struct logs *logs, struct str service_id,
                         void (*done)(void *arg, const struct err *err), void *arg)
{
    struct logs_part part = {.service_id = service_id.at ? service_id : STR("")};
    logs_delete(logs, part, false, done, arg);
}

void logs_delete_project(struct logs *logs, struct str project_id,
                         void (*done)(void *arg, const struct err *err), void *arg)
{
    struct logs_part part = {.project_id = project_id.at ? project_id : STR("")};
    logs_delete(logs, part, false, done, arg);
}

void logs_keep(struct logs *logs, int64_t days, int64_t bytes,
               void (*done)(void *arg, const struct err *err), void *arg)
{
    struct request *request = request_new(logs, REQUEST_KEEP, 0);
    request->done = done;
    request->arg = arg;
    request->keep_days = days;
    request->keep_bytes = bytes;
    enqueue(logs, request);
}

void logs_read(struct logs *logs, struct logs_read *read)
{
    struct request *request = request_new(logs, REQUEST_READ, 0);
    request->read = read;
    read->lines = NULL;
    read->count = 0;
    read->more = false;
    read->reached = 0;
    enqueue(logs, request);
}

void logs_on_append(struct logs *logs, void (*fn)(void *arg, struct str service_id), void *arg)
{
    logs->on_append = fn;
    logs->on_append_arg = arg;
}

// ── life ─────────────────────────────────────────────────────────────────────────────────────

// What a former process had begun to delete.
static int go_on_deleting(struct logs *logs, struct err *err)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct logs_part *parts = NULL;
    size_t count;
    if (log_files_load_deletions(logs->files, arena, &parts, &count, err))
        return -1;
    logs->deletions = mem_alloc((count + 1) * sizeof(*logs->deletions));
    for (size_t i = 0; i < count; i++) {
        struct str id = parts[i].service_id.at ? parts[i].service_id : parts[i].project_id;
        struct str copy = {mem_copy(id.at, id.len), id.len};
        struct logs_part *part = &logs->deletions[logs->deletion_count++];
        *(parts[i].service_id.at ? &part->service_id : &part->project_id) = copy;
        logs_delete(logs, parts[i], true, NULL, NULL);
    }
    return 0;
}

static int start_thread(pthread_t *thread, bool *started, void *(*run)(void *), struct logs *logs,
                        struct err *err)
{
    int rc = pthread_create(thread, NULL, run, logs);
    if (rc != 0)
        return err_errno(err, ERR_INTERNAL, rc, "logs: starting a thread");
    *started = true;
    return 0;
}

static int start_threads(struct logs *logs, struct err *err)
{
    if (start_thread(&logs->writer_thread, &logs->writer_started, logs_writer_main, logs, err) ||
        start_thread(&logs->reader_thread, &logs->reader_started, logs_reader_main, logs, err))
        return -1;
    return logs->indexes ? start_thread(&logs->indexer_thread, &logs->indexer_started,
                                        logs_indexer_main, logs, err)
                         : 0;
}

static void init_locks(struct logs *logs)
{
    pthread_condattr_t monotonic;
    pthread_mutex_init(&logs->lock, NULL);
    pthread_mutex_init(&logs->shared, NULL);
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&logs->write_ready, &monotonic);
    pthread_cond_init(&logs->index_ready, &monotonic);
    pthread_cond_init(&logs->read_ready, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

struct logs *logs_open(const struct logs_config *config, struct err *err)
{
    struct logs *logs = mem_alloc(sizeof(*logs));
    logs->log = config->log;
    logs->on_fatal = config->on_fatal;
    logs->arg = config->arg;
    logs->clock = config->clock ? config->clock : clock_system();
    logs->part_bytes = config->part_bytes > 0 ? config->part_bytes : PART_BYTES;
    logs->scan_max = config->scan_max > 0 ? config->scan_max : SCAN_MAX;
    logs->indexes = config->path && log_index_supported();
    logs->index_wanted = true;  // what a former process left
    if (config->path && !logs->indexes)
        log_warn(logs->log, "logs",
                 "this SQLite (%s) has no FTS5 with the trigram tokenizer: texts in logs are found "
                 "by looking at all lines",
                 sqlite3_libversion());
    logs->mailbox = mailbox_new(config->loop);
    jobs_init(&logs->writes);
    jobs_init(&logs->reads);
    init_locks(logs);
    if (config->path && store_folder_make(config->path, err) < 0) {
        logs_close(logs);
        return NULL;
    }
    logs->files = log_files_open(config->path, logs->log, err);
    if (!logs->files || logs_writer_open(logs, err) || go_on_deleting(logs, err) ||
        start_threads(logs, err)) {
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
    pthread_cond_signal(&logs->index_ready);
    pthread_mutex_unlock(&logs->lock);
    if (logs->writer_started)
        pthread_join(logs->writer_thread, NULL);
    if (logs->reader_started)
        pthread_join(logs->reader_thread, NULL);
    if (logs->indexer_started)
        pthread_join(logs->indexer_thread, NULL);
    logs->ended = true;
    mailbox_close(logs->mailbox);
    logs_writer_close(logs);
    log_files_close(logs->files);
    pthread_mutex_destroy(&logs->lock);
    pthread_mutex_destroy(&logs->shared);
    pthread_cond_destroy(&logs->write_ready);
    pthread_cond_destroy(&logs->read_ready);
    pthread_cond_destroy(&logs->index_ready);
    mem_free(logs);
}
