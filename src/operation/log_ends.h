// SPDX-License-Identifier: Apache-2.0
// operation/log_ends: when the last log line of an execution has been stored. Lines travel apart
// from results: an agent numbers its lines, a result says the number of its execution's last one,
// and each batch of lines that is stored says how far its agent has come. What an agent took with
// it is told in the execution's log. Nothing of this is kept over a restart: for some seconds then
// every end counts as open, until the agents have handed over what they had. Loop thread only; a
// NULL log_ends knows of nothing.
#ifndef DROVER_OPERATION_LOG_ENDS_H
#define DROVER_OPERATION_LOG_ENDS_H

#include "operation/op.h"
#include "store/logs.h"

struct log_ends;

struct log_ends *log_ends_new(const struct platform *platform);
void log_ends_free(struct log_ends *ends);

// A result is about to be recorded; `end` is the number of its last line, below 1: all are stored.
void log_ends_result(struct log_ends *ends, struct str replica_id, struct str execution_id,
                     int64_t end);

// Lines `first` to `first + count - 1` of a replica are stored.
void log_ends_stored(struct log_ends *ends, struct str replica_id, int64_t first, int64_t count);
// How many of these, at the front, it has stored already: their answer was lost.
int64_t log_ends_repeated(const struct log_ends *ends, struct str replica_id, int64_t first,
                          int64_t count);
// Nothing more comes from it.
void log_ends_gone(struct log_ends *ends, struct str replica_id);

// Somebody else than the runner is about to write its last lines: its end is open until released.
void log_ends_hold(struct log_ends *ends, struct str execution_id);
void log_ends_release(struct log_ends *ends, struct str execution_id);
// Stores lines of one execution, and holds it meanwhile.
void log_ends_write(const struct platform *platform, const struct log_line *lines, size_t count);

enum log_end {
    LOG_END_OPEN,      // lines are on their way
    LOG_END_COMPLETE,  // all are stored
    LOG_END_LOST,      // some were lost, which its log says
};
// Of an execution that is final since ended_at (wall ms).
enum log_end log_ends_of(const struct log_ends *ends, struct str execution_id, int64_t ended_at);

#endif
