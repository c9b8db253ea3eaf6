// SPDX-License-Identifier: Apache-2.0
// runner/native/report: an execution as its invoke frame tells it, and the frames that tell of it:
// log entries, progress, its result. Appends whole frames to a buf; sends nothing.
#ifndef DROVER_RUNNER_NATIVE_REPORT_H
#define DROVER_RUNNER_NATIVE_REPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"

struct report_limits {  // of the load frame; 0: none
    int64_t output_bytes, json_depth, line_bytes, lines;
};

struct run {  // one execution; NULL where a log entry belongs to none
    struct arena *arena;
    struct str id, function;  // as they came, with quotes
    struct json fence, input, execution;
    int64_t started;         // ms
    int64_t lines, dropped;  // entries that went out, and that the limit kept back
};

#define OUTCOME_CANCELLED "Execution received termination signal"

enum outcome_status { OUTCOME_SUCCESS, OUTCOME_FAILED, OUTCOME_TERMINATED };

struct outcome {
    enum outcome_status status;
    struct str output;         // JSON, when it succeeded
    struct str message, type;  // else
    bool measured;             // the two below are known
    int64_t peak_kib, cpu_ms;
};

// Copies what it needs out of an invoke frame. NULL: it is not one.
struct run *run_new(struct json invoke);
void run_free(struct run *run);

// An entry, unless the execution has had as many as it may. Long ones are cut and say so; bytes
// that are no UTF-8, and NUL, become U+FFFD. Gives its cost in credit, 0 for none.
int64_t report_log(struct buf *out, const struct report_limits *limits, struct run *run,
                   const char *level, struct str text);

// level: one of the protocol's names, else INFO.
const char *report_level(struct str level);

// percent below 0 or above 100, or NaN: null. message: absent is null.
void report_progress(struct buf *out, const struct run *run, double percent, struct str message);

// Its last entries and its result. Gives the entries' cost.
int64_t report_result(struct buf *out, const struct report_limits *limits, struct run *run,
                      const struct outcome *outcome);

void report_ready(struct buf *out);
// type: codebase, init or internal.
void report_failed(struct buf *out, const char *type, struct str message);

int64_t report_now(void);  // ms

#endif
