// SPDX-License-Identifier: Apache-2.0
// The indexer's thread, of low priority: behind the writer, it indexes every block of lines that is
// whole, and of a day that is over the rest too. What is not indexed yet is searched line by line.
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "store/log_index.h"
#include "store/logs_internal.h"

#define BLOCKS_AT_ONCE 256
#define BYTES_AT_ONCE  (4 << 20)    // of one transaction's lines
#define BLOCK_BYTES    (256 << 20)  // more than the longest lines of a block
#define NICE           10
#define PAUSE_MS       1000

struct indexing {
    struct logs *logs;
    struct log_file *file;
    struct log_index *index;
    int64_t key, indexed, end;  // end: the first seq that is not to be indexed yet
    bool damaged;               // the lines' file
    struct buf text;            // of the block under way
};

static bool stopping(struct logs *logs)
{
    pthread_mutex_lock(&logs->lock);
    bool stop = logs->stopping;
    pthread_mutex_unlock(&logs->lock);
    return stop;
}

static int add_block(struct indexing *job, int64_t block, struct err *err)
{
    int failed = job->text.len > 0 ? log_index_add(job->index, block, buf_str(&job->text), err) : 0;
    buf_clear(&job->text);
    return failed;
}

// One transaction's lines. *more: there are further ones.
static int index_some(struct indexing *job, bool *more, struct err *err)
{
    struct log_range range = {job->indexed, job->end - 1, false};
    struct log_row row;
    int64_t block = -1, blocks = 0, bytes = 0, indexed = job->end;
    int rc = log_file_seek(job->file, LOG_BY_NOTHING, 0, STR_NONE, &range, err);
    *more = false;
    while (rc == 0 && (rc = log_file_next(job->file, LOG_BY_NOTHING, &row, err)) == 1) {
        rc = 0;
        if (row.seq / LOG_BLOCK_LINES != block) {
            if (add_block(job, block, err))
                return -1;
            block = row.seq / LOG_BLOCK_LINES;
            if (blocks++ >= BLOCKS_AT_ONCE || bytes > BYTES_AT_ONCE) {
                *more = true;
                indexed = block * LOG_BLOCK_LINES;
                break;
            }
        }
        buf_add_str(&job->text, row.message);
        buf_add_char(&job->text, '\n');
        bytes += (int64_t)row.message.len;
    }
    log_file_rest(job->file);
    if (rc < 0 || (!*more && add_block(job, block, err)))
        return -1;
    buf_clear(&job->text);
    job->indexed = indexed;
    return 0;
}

static int index_rest(struct indexing *job, struct err *err)
{
    bool more = true;
    while (more && !stopping(job->logs)) {
        if (log_index_begin(job->index, err))
            return -1;
        if (index_some(job, &more, err)) {
            log_index_rollback(job->index);
            return -1;
        }
        if (log_index_commit(job->index, job->indexed, err))
            return -1;
        if (!log_files_has(job->logs->files, job->key))
            return 0;
    }
    return 0;
}

static int index_file(struct indexing *job, bool newest, struct err *err)
{
    struct log_bounds bounds;
    char path[LOG_PATH_SIZE];
    int64_t first = log_key_first(job->key);
    log_files_path(job->logs->files, job->key, ".db", path);
    job->file = log_file_open(path, job->key, LOG_OPEN_READ, &job->damaged, err);
    if (!job->file || log_file_bounds(job->file, &bounds, err))
        return -1;
    job->end = newest ? bounds.next_seq / LOG_BLOCK_LINES * LOG_BLOCK_LINES : bounds.next_seq;
    if (!newest)
        log_files_note_times(job->logs->files, job->key, bounds.min_at, bounds.max_at);
    if (job->end <= first)
        return 0;
    log_files_path(job->logs->files, job->key, ".index", path);
    job->index = log_index_open(path, true, err);
    if (!job->index || log_index_end(job->index, first, &job->indexed, err))
        return -1;
    return job->indexed < job->end ? index_rest(job, err) : 0;
}

static void drop_index(struct logs *logs, int64_t key)
{
    static const char *const endings[] = {".index", ".index-wal", ".index-shm"};
    for (size_t i = 0; i < sizeof(endings) / sizeof(*endings); i++) {
        char path[LOG_PATH_SIZE];
        log_files_path(logs->files, key, endings[i], path);
        unlink(path);
    }
}

static void index_key(struct logs *logs, int64_t key, bool newest)
{
    struct indexing job = {.logs = logs, .key = key, .text = BUF_INIT(BLOCK_BYTES)};
    struct err err = ERR_INIT;
    int failed = index_file(&job, newest, &err);
    log_index_close(job.index);
    job.damaged |= job.file && log_file_damaged(job.file);
    bool index_failed = failed && job.file && !job.damaged;
    log_file_close(job.file);
    buf_deinit(&job.text);
    if (!log_files_has(logs->files, key)) {
        drop_index(logs, key);  // made while the day was removed
        return;
    }
    if (failed)
        log_warn(logs->log, "logs", "indexing a day's log lines: %s", err.message);
    if (job.damaged)
        log_files_set_aside(logs->files, key);
    if (index_failed)
        drop_index(logs, key);
    if (!failed && !newest && !stopping(logs))
        log_files_note_indexed(logs->files, key, true);
}

// The newest days first: they are looked at most.
static void index_all(struct logs *logs)
{
    struct arena *arena = arena_new();
    size_t count;
    int64_t *keys = log_files_keys(logs->files, arena, &count);
    for (size_t i = count; i-- > 0 && !stopping(logs);)
        if (!log_files_indexed(logs->files, keys[i]))
            index_key(logs, keys[i], i == count - 1);
    arena_free(arena);
}

void *logs_indexer_main(void *arg)
{
    struct logs *logs = arg;
    pthread_setname_np(pthread_self(), "log-indexer");
    setpriority(PRIO_PROCESS, (id_t)gettid(), NICE);  // of this thread alone
    for (;;) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += PAUSE_MS / 1000;
        pthread_mutex_lock(&logs->lock);
        while (!logs->index_wanted && !logs->stopping)
            pthread_cond_wait(&logs->index_ready, &logs->lock);
        while (!logs->stopping &&
               pthread_cond_timedwait(&logs->index_ready, &logs->lock, &until) == 0)
            ;  // what is written in a second is indexed together
        logs->index_wanted = false;
        bool end = logs->stopping;
        pthread_mutex_unlock(&logs->lock);
        if (end)
            return NULL;
        index_all(logs);
    }
}
