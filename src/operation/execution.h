// SPDX-License-Identifier: Apache-2.0
// operation/execution: making executions and what callers may do to them. What agents do to them is
// operation/attempt.
#ifndef DROVER_OPERATION_EXECUTION_H
#define DROVER_OPERATION_EXECUTION_H

#include "model/module.h"
#include "operation/op.h"

// What services' functions look like, so that a create need not parse the package. Filled from
// committed or about-to-be-committed rows; an entry counts only for the service's state that it was
// made for. Only for write jobs: the writer's thread.
struct execution_functions;
struct execution_functions *execution_functions_new(void);
void execution_functions_free(struct execution_functions *functions);

// Makes one execution of the service from {"functionName"?,"input"?,…} and notes
// EVENT_EXECUTION_READY. ERR_BAD_INPUT: unknown function or input; ERR_TOO_LARGE; ERR_BUSY: the
// queue is at queueLengthLimit.
struct execution_request {
    const struct service *service;
    struct json body;
    struct str command_id;                  // of a batch; absent
    struct execution_functions *functions;  // NULL: parse the package each time
};
MUST_CHECK int execution_create(struct op *op, const struct execution_request *request,
                                struct execution *out, struct err *err);

// Whether a create would be refused for its function or its input; makes nothing.
MUST_CHECK int execution_check(struct op *op, const struct execution_request *request,
                               struct err *err);

// Marks it to be terminated and notes EVENT_EXECUTION_TERMINATE; one that is final stays as it is.
MUST_CHECK int execution_terminate(struct op *op, const struct execution *before,
                                   struct execution *out, struct err *err);

// Queues a final execution again under the same id; its former end stays in the status log.
// ERR_CONFLICT: it is not final, or its service is gone.
MUST_CHECK int execution_rerun(struct op *op, const struct execution *before, struct execution *out,
                               struct err *err);

// Counts one attempt more.
MUST_CHECK int execution_increment(struct op *op, const struct execution *before, int64_t *attempts,
                                   struct err *err);

// A report from outside the agent link: {"status","percentComplete","message","output","error"}.
// ERR_CONFLICT: it is final.
MUST_CHECK int execution_report(struct op *op, const struct execution *before, struct json body,
                                struct execution *out, struct err *err);

// Changes what may be changed while it is not final: maxAttempts, feedbackQueue, syncReplyTo,
// pipeline, model.
MUST_CHECK int execution_update(struct op *op, const struct execution *before, struct json body,
                                struct execution *out, struct err *err);

// Ends it because its service is going: canceled when it was queued, aborted when it ran.
MUST_CHECK int execution_cancel(struct op *op, const struct execution *execution,
                                struct str message, struct err *err);

// Its status log, oldest first; at most the newest 1000 entries.
MUST_CHECK int execution_log(struct op *op, struct str id, struct execution_status **out,
                             size_t *count, struct err *err);

#endif
