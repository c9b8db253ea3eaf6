// SPDX-License-Identifier: Apache-2.0
// operation/service_event: what happens to a service, kept for people: deployments, agents that
// start, fail and drain, executions that lost theirs. Not to be mixed up with operation/event.h,
// which tells the server's own parts.
#ifndef DROVER_OPERATION_SERVICE_EVENT_H
#define DROVER_OPERATION_SERVICE_EVENT_H

#include "operation/op.h"

struct service_note {
    struct str service_id, project_id;
    const char *kind;    // "service" | "replica" | "execution"
    bool warning;        // somebody should look
    const char *reason;  // one word of the list in docs/api.md
    struct str subject;  // replica, execution, revision; absent: the service itself
    struct str message;  // a sentence without a full stop
    struct str inputs;   // JSON object; absent: none
    int64_t times;       // 0: once
    bool apart;          // never counted together with one before
};

// Writes it in the operation's transaction. The same reason and subject within an hour count up one
// row, which takes the newest message and inputs.
MUST_CHECK int service_event_add(struct op *op, const struct service_note *note, struct err *err);

#endif
