// SPDX-License-Identifier: Apache-2.0
// store/log_file: one file of log lines (store/log_day.h), without threads. A connection belongs to
// one thread at a time.
#ifndef DROVER_STORE_LOG_FILE_H
#define DROVER_STORE_LOG_FILE_H

#include "store/log_day.h"
#include "store/logs.h"

struct log_file;

enum log_open {
    LOG_OPEN_READ,   // refuses changes; ERR_NOT_FOUND when there is no such file
    LOG_OPEN_WRITE,  // makes the file; a former writer's seqs are passed by with some distance
};
// path NULL: in memory. *damaged (may be NULL): it is no database, or a broken one.
struct log_file *log_file_open(const char *path, int64_t key, enum log_open mode, bool *damaged,
                               struct err *err);
void log_file_close(struct log_file *file);  // NULL does nothing
bool log_file_damaged(const struct log_file *file);
// What failed so that nobody knows what the disk holds; NULL: nothing did.
const struct err *log_file_broken(const struct log_file *file);

// ── writing ──────────────────────────────────────────────────────────────────────────────────
MUST_CHECK int log_file_begin(struct log_file *file, struct err *err);
MUST_CHECK int log_file_commit(struct log_file *file, struct err *err);  // or all is rolled back
void log_file_rollback(struct log_file *file);
// Gives the line the next seq.
MUST_CHECK int log_file_insert(struct log_file *file, const struct log_line *line, struct err *err);
// Which lines: those of a service, else (absent) those of a project.
struct logs_part {
    struct str service_id, project_id;
};
// Deletes at most `limit` lines; when none are left also the names that only they had.
MUST_CHECK int log_file_delete(struct log_file *file, const struct logs_part *part, int64_t limit,
                               int64_t *deleted, struct err *err);
// Makes what was committed so far durable.
MUST_CHECK int log_file_sync(struct log_file *file, struct err *err);
// All is in the one file afterwards, but for what readers still keep from it.
void log_file_settle(struct log_file *file);
int64_t log_file_bytes(const struct log_file *file);  // about
bool log_file_full(const struct log_file *file);      // no seqs are left
bool log_file_empty(struct log_file *file);           // no line is in it

// ── reading ──────────────────────────────────────────────────────────────────────────────────
struct log_bounds {
    int64_t next_seq, min_at, max_at;  // min_at > max_at: it has no lines
};
MUST_CHECK int log_file_bounds(struct log_file *file, struct log_bounds *out, struct err *err);

struct log_range {
    int64_t first, last;  // seqs; nothing when first > last
    bool descending;
};
// Up to which seq the times of lines are noted: those behind it may be of any time.
MUST_CHECK int log_file_covered(struct log_file *file, int64_t *last, struct err *err);
// Narrows a range up to there to where lines with `at` in start..end can be.
MUST_CHECK int log_file_narrow(struct log_file *file, int64_t start, int64_t end,
                               struct log_range *range, struct err *err);

// The numbers, growing, by which this file knows a service (of this project, when one is named), or
// (absent) the services of a project; in the arena.
MUST_CHECK int log_file_services(struct log_file *file, struct str service_id,
                                 struct str project_id, struct arena *arena, int64_t **out,
                                 size_t *count, struct err *err);

enum log_by { LOG_BY_NOTHING, LOG_BY_SERVICE, LOG_BY_EXECUTION, LOG_BYS };
struct log_row {  // texts are good until the next step
    int64_t seq, at, service, source;
    int level;
    bool system;
    struct str execution_id, message;
};
// Steps through the lines of the range; one walk of each kind at a time. 1: a row, 0: the end.
MUST_CHECK int log_file_seek(struct log_file *file, enum log_by by, int64_t service,
                             struct str execution_id, const struct log_range *range,
                             struct err *err);
MUST_CHECK int log_file_next(struct log_file *file, enum log_by by, struct log_row *row,
                             struct err *err);
void log_file_rest(struct log_file *file);  // ends all walks, so that no snapshot stays open

// What a row's numbers stand for; in the arena.
MUST_CHECK int log_file_names(struct log_file *file, int64_t source, struct arena *arena,
                              struct log_line *line, struct err *err);

#endif
