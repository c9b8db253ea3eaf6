// SPDX-License-Identifier: Apache-2.0
// operation/command: work that outlives its request, done in steps of one transaction each
// (control/commands.h runs them) and carried on after a restart. A command's spec holds what it was
// asked and how far it is.
#ifndef DROVER_OPERATION_COMMAND_H
#define DROVER_OPERATION_COMMAND_H

#include "operation/execution.h"

#define COMMAND_STEP 200  // rows of one step

// Makes it and notes EVENT_COMMAND_CREATED. `spec` is a JSON object.
MUST_CHECK int command_create(struct op *op, const char *type, struct str project_id,
                              struct str spec, struct command *out, struct err *err);

// An execution for each item that a query matches: {"functionName"?,"batch":{"query","args"}}.
// ERR_BAD_INPUT also for what each of the executions would be refused for.
MUST_CHECK int command_create_batch(struct op *op, const struct service *service, struct json body,
                                    struct command *out, struct err *err);

// Reruns (or, with terminate, ends) every execution that a filter matches; the caller needs the
// developer's role in each one's project, others are passed over. ERR_DENIED when all of them are.
MUST_CHECK int command_create_rerun(struct op *op, struct json filter, bool terminate,
                                    struct command *out, struct err *err);

// ERR_CONFLICT when it has ended.
MUST_CHECK int command_abort(struct op *op, const struct command *before, struct command *out,
                             struct err *err);

// One step. *state says what comes next.
enum command_state {
    COMMAND_MORE,   // another step at once
    COMMAND_WAIT,   // another step after a while: a queue is full
    COMMAND_CLEAN,  // the rows are done; logs are left
    COMMAND_OVER,   // command_end
};
struct command_step {
    struct str id;
    struct execution_functions *functions;
    enum command_state state;
    struct str service_id;  // COMMAND_CLEAN: whose logs are to be deleted; in the op's arena
};
MUST_CHECK int command_step(struct op *op, struct command_step *step, struct err *err);

// Ends it: as success, or with what went wrong as failed.
MUST_CHECK int command_end(struct op *op, struct str id, const struct err *failure,
                           struct err *err);

// Ids of the commands that are not over, oldest first.
MUST_CHECK int command_open(struct op *op, struct arena *arena, struct str **ids, size_t *count,
                            struct err *err);

#endif
