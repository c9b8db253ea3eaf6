// SPDX-License-Identifier: Apache-2.0
// model/execution: the answer's form of an execution with its status log.
#ifndef DROVER_MODEL_EXECUTION_H
#define DROVER_MODEL_EXECUTION_H

#include "model/entities.h"

// The last line of every execution's log, by which clients know its end.
#define EXECUTION_LAST_LINE "[Done] Executing function."

// How long one that was asked to end may go on when its service's drainTime is 0.
#define EXECUTION_CANCEL_GRACE_S 30

// Writes the execution as a JSON object. "status" and "statusLog" hold a "created" entry made from
// createdAt, the rows of `log` (oldest first, borrowed), and an entry made from the present status
// unless the last row says the same. entity_encode writes the same with no rows.
void execution_encode(const struct execution *execution, const struct execution_status *log,
                      size_t count, struct json_writer *out);

#endif
