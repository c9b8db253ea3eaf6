// SPDX-License-Identifier: Apache-2.0
// Shared by the files of store/logs: logs.c is what the loop calls, and their life; logs_writer.c,
// logs_reader.c and logs_indexer.c are the threads.
#ifndef DROVER_STORE_LOGS_INTERNAL_H
#define DROVER_STORE_LOGS_INTERNAL_H

#include <pthread.h>

#include "base/clock.h"
#include "store/log_file.h"
#include "store/log_files.h"
#include "store/mailbox.h"

enum request_kind { REQUEST_APPEND, REQUEST_DELETE, REQUEST_KEEP, REQUEST_READ };

struct request {
    struct store_job job;  // first: how it travels
    enum request_kind kind;
    struct logs *logs;
    void (*done)(void *arg, const struct err *err);
    void *arg;
    int64_t day;   // when it was asked for
    size_t bytes;  // of the lines and their texts, which follow in the same allocation
    struct log_line *lines;
    size_t count;
    struct logs_part part;  // to delete
    int64_t from_key;       // of files that are not done yet
    bool noted;             // the next process will end it
    int64_t keep_days, keep_bytes;
    struct logs_read *read;
};

struct logs {
    struct log *log;
    const struct clock *clock;
    struct mailbox *mailbox;
    struct log_files *files;
    int64_t part_bytes, scan_max;
    bool indexes;                                         // texts are indexed
    void (*on_append)(void *arg, struct str service_id);  // the loop's
    void *on_append_arg;

    pthread_mutex_t lock;
    pthread_cond_t write_ready, read_ready, index_ready;
    struct jobs writes, reads;  // guarded by lock, as those below
    size_t bytes;
    bool stopping, ended, index_wanted;

    pthread_mutex_t shared;  // held around connections in memory, which all threads use

    // the writer's
    struct log_file *writer;
    struct log_file *old;  // from which a deletion is under way
    int64_t writer_key, old_key;
    bool broken;  // an fsync failed
    void (*on_fatal)(void *arg, const struct err *err);
    void *arg;
    bool dirty;                   // committed but not synced
    int64_t sync_at;              // ms, monotonic
    struct logs_part *deletions;  // noted ones; texts are their own
    size_t deletion_count;

    pthread_t writer_thread, reader_thread, indexer_thread;
    bool writer_started, reader_started, indexer_started;
};

static inline struct request *request_of(struct store_job *job)
{
    return (struct request *)(void *)job;
}

void *logs_writer_main(void *logs);
int logs_writer_open(struct logs *logs, struct err *err);  // before the thread starts
void logs_writer_close(struct logs *logs);                 // after it has ended
void *logs_reader_main(void *logs);
void *logs_indexer_main(void *logs);

// Queues a deletion; on the loop, or before the threads start. note: for the next process.
void logs_delete(struct logs *logs, struct logs_part part, bool noted,
                 void (*done)(void *arg, const struct err *err), void *arg);
void logs_hand_out(struct logs *logs, struct store_job *job);  // its done is run on the loop

#endif
