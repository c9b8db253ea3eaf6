// SPDX-License-Identifier: Apache-2.0
// store/store: makes state durable. One interface; sqlite (default) and memory (tests) pass the
// same contract suite, a PostgreSQL store will too.
//
// Work reaches the store as jobs. One writer thread takes the write jobs waiting at that moment,
// runs each in a savepoint of one transaction (a failing job undoes itself, never its group),
// commits once, and posts all results to the loop in commit order: there is no fixed window, the
// next group is what queued up while the last one was synced. Jobs in a hurry (STORE_AHEAD) are
// taken before the others; the others fill a group only for a while, so that a flood of new work
// never keeps the ends of old work waiting. Jobs of one kind keep their order. Reader threads run
// read jobs on snapshots; no read waits for a write. An error of the commit itself fails the whole
// group with ERR_UNAVAILABLE; an fsync error stops the writer for good (store_failed), it is never
// retried.
#ifndef DROVER_STORE_STORE_H
#define DROVER_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "model/entities.h"
#include "model/filter.h"

struct loop;
struct store;
struct tx;  // an open transaction; only inside a job's work, on the thread that runs it

struct store_config {
    const char *driver;  // "sqlite" | "memory"
    const char *path;    // data folder (sqlite: path/drover.db); made when absent, 0700
    int64_t readers;     // threads for reads, default 2
    int64_t lazy_ms;     // a lazy job waits at most this long for company; default 100
    int64_t group_max;   // jobs of one commit, default 512
    int64_t group_us;    // after so long (or twice the last sync) a group takes no more jobs that
                         // are not ahead; default 5000
    struct loop *loop;   // where done callbacks run
    struct log *log;
    void (*on_fatal)(
        void *arg,
        const struct err *err);  // the writer stopped (fsync error, disk gone); on the loop
    void *arg;
};

// Opens, migrates the schema, and starts the threads. A schema newer than this program knows is
// refused. One process at a time: a second one gets ERR_CONFLICT (lock file with its pid).
struct store *store_open(const struct store_config *config, struct err *err);
void store_close(
    struct store *store);  // runs what is queued, commits, joins the threads; loop still exists

enum store_job_flags {
    STORE_LAZY = 1 << 0,    // needs no commit of its own: rides with the next group
    STORE_SINGLE = 1 << 1,  // work is one statement: needs no savepoint
    STORE_AHEAD = 1 << 2,   // goes before those that are not: it ends or makes room
};

struct store_job {           // belongs to the caller until done ran
    struct store_job *next;  // the store's
    unsigned flags;
    // On a store thread. 0: keep the changes; -1 with err: undo this job's changes.
    int (*work)(struct tx *tx, void *arg, struct err *err);
    // On the loop, after the commit. err->kind is ERR_NONE when work succeeded and is durable.
    void (*done)(void *arg, struct err *err);
    void *arg;
    struct err err;
};
void store_write(struct store *store, struct store_job *job);  // loop thread
void store_read(struct store *store, struct store_job *job);   // loop thread
bool store_failed(const struct store *store);
int64_t store_backlog(
    const struct store *store);  // write jobs waiting, for back-pressure and metrics

// For start-up and tools, before the loop runs: the job's work at once, committed on return.
MUST_CHECK int store_write_now(struct store *store, int (*work)(struct tx *, void *, struct err *),
                               void *arg, struct err *err);
MUST_CHECK int store_read_now(struct store *store, int (*work)(struct tx *, void *, struct err *),
                              void *arg, struct err *err);

// ── inside a job ─────────────────────────────────────────────────────────────────────────────
// Rows are entity structs; texts of rows read live in `arena`. All fail with ERR_INTERNAL on
// trouble below, and as said.
MUST_CHECK int tx_get(struct tx *tx, const struct entity *entity, struct str id, void *row,
                      struct arena *arena, struct err *err);  // ERR_NOT_FOUND
MUST_CHECK int tx_insert(struct tx *tx, const struct entity *entity, const void *row,
                         struct err *err);  // ERR_CONFLICT: id or unique columns taken
MUST_CHECK int tx_update(struct tx *tx, const struct entity *entity, const void *row,
                         struct err *err);  // whole row by id; ERR_NOT_FOUND, ERR_CONFLICT
MUST_CHECK int tx_delete(struct tx *tx, const struct entity *entity, struct str id,
                         struct err *err);  // ERR_NOT_FOUND

// One page. *rows is an array in the arena of *count structs of entity->size.
MUST_CHECK int tx_select(struct tx *tx, const struct entity *entity, const struct query *query,
                         struct arena *arena, void **rows, size_t *count, struct err *err);
// First match in id order; ERR_NOT_FOUND when none.
MUST_CHECK int tx_find(struct tx *tx, const struct entity *entity, const struct filter *filter,
                       void *row, struct arena *arena, struct err *err);
MUST_CHECK int tx_count(struct tx *tx, const struct entity *entity, const struct filter *filter,
                        int64_t *count, struct err *err);
// Deletes at most `limit` matches (0: all), so that big deletions go in small transactions.
MUST_CHECK int tx_delete_where(struct tx *tx, const struct entity *entity,
                               const struct filter *filter, int64_t limit, int64_t *deleted,
                               struct err *err);
// Groups by one text column: for counters. Calls each(arg, value, count).
MUST_CHECK int tx_count_by(struct tx *tx, const struct entity *entity, const struct filter *filter,
                           const char *field,
                           void (*each)(void *arg, struct str value, int64_t count), void *arg,
                           struct err *err);

// Small persistent values: epoch, master ids. Absent: STR_NONE.
MUST_CHECK int tx_meta_get(struct tx *tx, const char *key, struct arena *arena, struct str *value,
                           struct err *err);
MUST_CHECK int tx_meta_set(struct tx *tx, const char *key, struct str value, struct err *err);

// ── hot paths: one statement each ────────────────────────────────────────────────────────────
// Records that a delivery started: status in-progress, fence, replica, started_at — only when the
// execution is not final and its recorded fence is lower; the message of a requeue is cleared.
// *applied says whether.
MUST_CHECK int tx_execution_start(struct tx *tx, struct str id, int64_t fence,
                                  struct str replica_id, int64_t now, bool *applied,
                                  struct err *err);

// Records the one final result — only when the execution is not final and its recorded fence is not
// higher. Sets status, output, error, message, percent (100 on success), ended_at, fence,
// replica_id, started_at, and attempts when they grow; clears nothing but the message of a requeue.
struct execution_result {
    struct str id, status, message, output, error, usage, replica_id;
    int64_t fence, started_at, ended_at, attempts;
};
MUST_CHECK int tx_execution_finish(struct tx *tx, const struct execution_result *result,
                                   bool *applied, struct err *err);

// Puts a not-final execution back: status `rerun`, fence and attempts recorded.
MUST_CHECK int tx_execution_requeue(struct tx *tx, struct str id, int64_t fence, int64_t attempts,
                                    struct str message, bool *applied, struct err *err);

// Queued or running executions, those of one service in order of creation, for rebuilding the
// queue: calls each() for every row that is not final, reading only these columns, by index.
MUST_CHECK int tx_execution_each_open(struct tx *tx,
                                      void (*each)(void *arg, struct str id, struct str service_id,
                                                   struct str status, int64_t fence),
                                      void *arg, struct err *err);

// Blobs that no item refers to any more and that may be removed (see store/blob.h).
MUST_CHECK int tx_blob_used(struct tx *tx, struct str sha256, bool *used, struct err *err);

#endif
