// SPDX-License-Identifier: Apache-2.0
// store/logs: lines written by functions, in files of their own, one for each day on which lines
// were stored (path/logs/2026-11-26.db, synchronous=NORMAL: at most the last second is lost on a
// power failure), with a writer thread of their own, so that a flood of logs never delays an
// execution's commit. Readers see one row of lines, whatever file they lie in. A file that turns
// out to be damaged is set aside (.damaged), and the rest is served.
#ifndef DROVER_STORE_LOGS_H
#define DROVER_STORE_LOGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"

struct clock;
struct loop;
struct logs;

enum line_level {
    LINE_DEBUG = 10,
    LINE_INFO = 20,
    LINE_WARNING = 30,
    LINE_ERROR = 40,
    LINE_CRITICAL = 50
};
int line_level_parse(struct str word);  // 0: unknown
const char *line_level_word(int level);

struct log_line {
    int64_t seq;  // the store's: grows with each line, over days and restarts
    int64_t at;   // ms, when the function wrote it
    int level;
    bool system;  // written by Drover (environment building), not by user code
    struct str service_id, project_id, execution_id, function_name, replica_id, message;
};

struct logs_config {
    const char *path;  // data folder; NULL: in memory (tests)
    struct loop *loop;
    struct log *log;
    // An fsync failed: nothing is written any more, and the server should end. May be NULL; runs
    // once, on the writer's thread.
    void (*on_fatal)(void *arg, const struct err *err);
    void *arg;
    const struct clock *clock;  // whose day it is; NULL: the system's
    int64_t part_bytes;         // a day's file over this is followed by another; 0: 1 GiB
    int64_t scan_max;           // lines that one read looks at; 0: 5,000
};
// ERR_CONFLICT: the folder has a logs.db of before there was a file a day.
struct logs *logs_open(const struct logs_config *config, struct err *err);
void logs_close(struct logs *logs);

// Copies the lines and queues them. `done` (may be NULL) runs on the loop when they are stored:
// agents are told only then, which is the back-pressure that slows a flooding function.
void logs_append(struct logs *logs, const struct log_line *lines, size_t count,
                 void (*done)(void *arg, const struct err *err), void *arg);

struct logs_query {
    struct str project_id, service_id, function_name, replica_id,
        text;                      // absent: any; text: substring, case-insensitive
    const struct str *executions;  // any of these
    size_t execution_count;
    int level_min;
    bool system;         // include system lines
    int64_t start, end;  // ms; INT64_MIN, INT64_MAX: open
    int64_t after_seq;   // ascending: lines with a higher seq; -1: from the start
    int64_t before_seq;  // descending; INT64_MAX: from the end
    bool descending;
    int64_t limit;
};
// Lines in seq order, in the arena, read on a reader thread; done on the loop. A read looks at a
// bounded number of lines: one that has to look at more says so, with the lines found so far, and
// is gone on with from `reached` (as after_seq or before_seq).
struct logs_read {
    struct logs_query query;  // its texts must live until done
    struct arena *arena;
    struct log_line *lines;
    size_t count;
    bool more;
    int64_t reached;
    struct err err;
    void (*done)(void *arg, struct logs_read *read);
    void *arg;
};
void logs_read(struct logs *logs, struct logs_read *read);

// Calls fn on the loop after lines of any service were stored (for followers); one subscriber.
void logs_on_append(struct logs *logs, void (*fn)(void *arg, struct str service_id), void *arg);

// Deletes in small steps, off the loop; done may be NULL. A deletion that was begun is ended by the
// next process.
void logs_delete_service(struct logs *logs, struct str service_id,
                         void (*done)(void *arg, const struct err *err), void *arg);
void logs_delete_project(struct logs *logs, struct str project_id,
                         void (*done)(void *arg, const struct err *err), void *arg);

// Removes whole files, the oldest first: of days that ended `days` ago or longer (0: none), and
// until all are at most `bytes` (0: any). The newest file stays.
void logs_keep(struct logs *logs, int64_t days, int64_t bytes,
               void (*done)(void *arg, const struct err *err), void *arg);

#endif
