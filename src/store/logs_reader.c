// SPDX-License-Identifier: Apache-2.0
// The reader's thread: it keeps the files that were read last open, with their indexes.
#include <errno.h>
#include <time.h>

#include "base/id.h"
#include "base/mem.h"
#include "store/log_scan.h"
#include "store/logs_internal.h"

#define OPEN_FILES 40  // a search without times goes through all that are kept, 30 by default
#define REST_S     30  // without work for so long it closes them
#define LATE_DAYS  1   // a clock that is behind may give an execution an id of the day after

struct reader_slot {
    struct log_file *file;  // NULL: free
    struct log_index *index;
    int64_t key, used;
};

struct reader {
    struct logs *logs;
    struct reader_slot slots[OPEN_FILES];
    int64_t uses;
};

static void slot_close(struct reader_slot *slot)
{
    log_index_close(slot->index);
    log_file_close(slot->file);
    *slot = (struct reader_slot){0};
}

// The one of the key; else a free one, or the one that was not used for longest.
static struct reader_slot *slot_of(struct reader *reader, int64_t key)
{
    struct reader_slot *best = &reader->slots[0];
    for (size_t i = 0; i < OPEN_FILES; i++) {
        struct reader_slot *slot = &reader->slots[i];
        if (slot->file && slot->key == key)
            return slot;
        if (slot->used < best->used)
            best = slot;
    }
    slot_close(best);
    return best;
}

static void close_removed(struct reader *reader)
{
    for (size_t i = 0; i < OPEN_FILES; i++)
        if (reader->slots[i].file && !log_files_has(reader->logs->files, reader->slots[i].key))
            slot_close(&reader->slots[i]);
}

static int open_slot(struct reader *reader, int64_t key, struct reader_slot **out, bool *damaged,
                     struct err *err)
{
    struct log_files *files = reader->logs->files;
    struct reader_slot *slot = *out = slot_of(reader, key);
    char path[LOG_PATH_SIZE];
    *damaged = false;
    if (!slot->file) {
        log_files_path(files, key, ".db", path);
        slot->file = log_file_open(path, key, LOG_OPEN_READ, damaged, err);
        slot->key = key;
    }
    if (!slot->file)
        return -1;
    slot->used = ++reader->uses;
    return 0;
}

static struct log_index *index_of(struct reader *reader, struct reader_slot *slot)
{
    struct err ignored = ERR_INIT;
    char path[LOG_PATH_SIZE];
    if (!slot->index && reader->logs->indexes) {
        log_files_path(reader->logs->files, slot->key, ".index", path);
        slot->index = log_index_open(path, false, &ignored);
    }
    return slot->index;
}

// Whether lines of the file can be of the wanted times. The newest file's grow on.
static int may_match(struct logs *logs, struct log_file *file, int64_t key, bool newest,
                     const struct logs_query *query, bool *may, struct err *err)
{
    struct log_bounds bounds;
    int64_t min_at, max_at;
    if (!log_files_times(logs->files, key, &min_at, &max_at)) {
        if (log_file_bounds(file, &bounds, err))
            return -1;
        min_at = bounds.min_at;
        max_at = bounds.max_at;
        if (!newest)
            log_files_note_times(logs->files, key, min_at, max_at);
    }
    *may = max_at >= query->start && min_at <= query->end;
    return 0;
}

static bool known_too_far(struct logs *logs, int64_t key, const struct logs_query *query)
{
    int64_t min_at, max_at;
    return log_files_times(logs->files, key, &min_at, &max_at) &&
           (max_at < query->start || min_at > query->end);
}

// An execution's lines are not stored before it is created, and its id says when that was.
static int64_t first_key(const struct logs_query *query)
{
    int64_t earliest = INT64_MAX;
    for (size_t i = 0; i < query->execution_count; i++) {
        int64_t at = id_time(query->executions[i]);
        earliest = at < earliest ? at : earliest;
    }
    if (query->execution_count == 0 || earliest < LATE_DAYS * LOG_DAY_MS)
        return 0;
    return log_day_key(log_day_of(earliest) - LATE_DAYS);
}

static int scan_memory(struct reader *reader, struct log_scan *scan, int64_t key, struct err *err)
{
    struct logs *logs = reader->logs;
    struct log_file *file = log_files_memory(logs->files, key);
    bool may;
    if (!file)
        return 0;
    int rc = may_match(logs, file, key, true, &scan->read->query, &may, err);
    if (rc == 0 && may)
        rc = log_scan_file(scan, file, key, NULL, err);
    log_file_rest(file);
    return rc;
}

static int scan_slot(struct reader *reader, struct log_scan *scan, struct reader_slot *slot,
                     bool newest, struct err *err)
{
    struct logs *logs = reader->logs;
    bool may;
    int rc = may_match(logs, slot->file, slot->key, newest, &scan->read->query, &may, err);
    if (rc != 0 || !may)
        return rc;
    struct log_index *index = scan->read->query.text.at ? index_of(reader, slot) : NULL;
    rc = log_scan_file(scan, slot->file, slot->key, index, err);
    log_file_rest(slot->file);
    if (index && scan->index_failed) {
        log_warn(logs->log, "logs", "the index of a day's log lines is broken and is made again");
        log_index_close(slot->index);
        slot->index = NULL;
        log_files_note_indexed(logs->files, slot->key, false);
    } else if (index) {
        log_index_rest(index);
    }
    return rc;
}

// A file that is gone meanwhile is passed by, as one that turns out to be damaged.
static int scan_key(struct reader *reader, struct log_scan *scan, int64_t key, bool newest,
                    struct err *err)
{
    struct reader_slot *slot;
    bool damaged;
    if (log_files_in_memory(reader->logs->files))
        return scan_memory(reader, scan, key, err);
    int rc = open_slot(reader, key, &slot, &damaged, err);
    if (rc == 0) {
        rc = scan_slot(reader, scan, slot, newest, err);
        damaged = log_file_damaged(slot->file);
    }
    if (rc < 0 && damaged) {
        log_error(reader->logs->log, "logs", "%s", err->message);
        slot_close(slot);
        log_files_set_aside(reader->logs->files, key);
    } else if (rc < 0 && !log_files_has(reader->logs->files, key)) {
        slot_close(slot);
    } else {
        return rc;
    }
    *err = ERR_INIT;
    return 0;
}

static int read_lines(struct reader *reader, struct logs_read *read, struct err *err)
{
    struct logs *logs = reader->logs;
    struct log_scan scan;
    size_t count;
    int64_t *keys = log_files_keys(logs->files, read->arena, &count);
    int64_t from = first_key(&read->query);
    int rc = 0;
    log_scan_begin(&scan, read, logs->scan_max);
    for (size_t i = 0; i < count && rc == 0; i++) {
        int64_t key = keys[read->query.descending ? count - 1 - i : i];
        if (key < from || log_key_last(key) < scan.first || log_key_first(key) > scan.last ||
            known_too_far(logs, key, &read->query))
            continue;
        if (log_scan_over(&scan, key))
            break;
        rc = scan_key(reader, &scan, key, key == keys[count - 1], err);
    }
    return rc < 0 ? -1 : 0;
}

// Sleeps until there is work; the first time for so long that the files are better closed. The lock
// is held, but not while that is done.
static void sleep_or_rest(struct reader *reader)
{
    struct logs *logs = reader->logs;
    struct timespec until;
    if (reader->uses == 0) {
        pthread_cond_wait(&logs->read_ready, &logs->lock);
        return;
    }
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += REST_S;
    if (pthread_cond_timedwait(&logs->read_ready, &logs->lock, &until) != ETIMEDOUT)
        return;
    pthread_mutex_unlock(&logs->lock);
    for (size_t i = 0; i < OPEN_FILES; i++)
        slot_close(&reader->slots[i]);
    reader->uses = 0;
    mem_trim();
    pthread_mutex_lock(&logs->lock);
}

void *logs_reader_main(void *arg)
{
    struct logs *logs = arg;
    struct reader reader = {.logs = logs};
    pthread_setname_np(pthread_self(), "log-reader");
    pthread_mutex_lock(&logs->lock);
    for (;;) {
        struct store_job *job = jobs_pop(&logs->reads);
        if (!job && logs->stopping)
            break;
        if (!job) {
            sleep_or_rest(&reader);
            continue;
        }
        pthread_mutex_unlock(&logs->lock);
        bool in_memory = log_files_in_memory(logs->files);
        if (in_memory)
            pthread_mutex_lock(&logs->shared);
        close_removed(&reader);
        if (read_lines(&reader, request_of(job)->read, &job->err) < 0)
            log_error(logs->log, "logs", "%s", job->err.message);
        if (in_memory)
            pthread_mutex_unlock(&logs->shared);
        logs_hand_out(logs, job);
        pthread_mutex_lock(&logs->lock);
    }
    pthread_mutex_unlock(&logs->lock);
    for (size_t i = 0; i < OPEN_FILES; i++)
        slot_close(&reader.slots[i]);
    return NULL;
}
