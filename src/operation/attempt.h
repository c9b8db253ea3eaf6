// SPDX-License-Identifier: Apache-2.0
// operation/attempt: what becomes of an execution when a delivery of it starts, reports or ends.
// Operations for dispatch, over the rows; the fence decides whose word counts.
#ifndef DROVER_OPERATION_ATTEMPT_H
#define DROVER_OPERATION_ATTEMPT_H

#include "operation/dispatch.h"

// The JSON object that an agent is given (docs/agent-link.md, `executions`), without its fence.
// Small enough ones travel with the queue message (QUEUE_BODY_MAX); others are made again from the
// row.
#define QUEUE_BODY_MAX (64 << 10)
struct str execution_delivery(const struct execution *execution, struct arena *arena);

// Reads one for delivery. *deliver is false when it is final by now; with *to_terminate it must be
// ended it is ended here, as terminated, in a write).
MUST_CHECK int execution_fetch(struct op *op, struct str id, struct str *body, int64_t *attempts,
                               bool *to_terminate, bool *deliver, struct err *err);

// Keeps those of held (moved to the front) that are still open, of this service, not delivered
// again since, and whose attempt has not ended without a result.
MUST_CHECK int execution_confirm_held(struct op *op, struct str service_id,
                                      struct dispatch_ref *held, size_t count, size_t *kept,
                                      struct err *err);

// Records one final result and notes EVENT_EXECUTION_ENDED, with the row when it is watched.
// *applied false: the fence is old or it is final.
MUST_CHECK int execution_record(struct op *op, const struct execution_result *result,
                                struct str service_id, bool watched, bool *applied,
                                struct err *err);

MUST_CHECK int execution_progress(struct op *op, const struct dispatch_progress *progress,
                                  struct str replica_id, struct err *err);

// A delivery ended without a result. counted: by the agent's or runner's death, follows onReset and
// maxAttempts; not counted (handed back, lost on the way): always queued again. Notes
// EVENT_EXECUTION_READY or EVENT_EXECUTION_ENDED.
struct attempt_end {
    struct dispatch_ref ref;
    struct str replica_id, reason;
    bool counted;
};
MUST_CHECK int execution_attempt_ended(struct op *op, const struct attempt_end *end,
                                       struct err *err);

// Ends a queued execution as terminated; one that is final already stays as it is.
MUST_CHECK int execution_end_queued(struct op *op, struct str id, int64_t fence, struct err *err);

#endif
