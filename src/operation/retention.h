// SPDX-License-Identifier: Apache-2.0
// operation/retention: finds and deletes executions that are not to be kept any longer, in small
// steps. Only final ones go, with their statuses. Finding runs on a snapshot, a bounded number of
// rows at a time and without their inputs and outputs; deleting looks at each again.
#ifndef DROVER_OPERATION_RETENTION_H
#define DROVER_OPERATION_RETENTION_H

#include "operation/op.h"

struct retention_search {
    struct str service_id;  // absent: of all services
    int64_t before;         // wall ms: created and last changed before it (of one service: created)
    struct str after;       // id (of one service: absent); go on behind it; absent: from the oldest
    int64_t created_after;  // of one service: go on with those that were created then, or later
};
struct retention_found {
    struct str *ids;  // in the arena
    size_t count;
    bool more;  // there are further rows to look at, from here:
    struct str after;
    int64_t created_after;
};
// In a read. What is found lives in `arena`.
MUST_CHECK int retention_find(struct op *op, const struct retention_search *search,
                              struct arena *arena, struct retention_found *found, struct err *err);

// When the newest but `keep` - 1 of a service's final executions was created; INT64_MIN: it has not
// so many. In a read.
MUST_CHECK int retention_boundary(struct op *op, struct str service_id, int64_t keep,
                                  int64_t *created_at, struct err *err);

// In a write: those of the ids that are still final, and were not changed since `before`.
MUST_CHECK int retention_delete(struct op *op, const struct str *ids, size_t count, int64_t before,
                                int64_t *deleted, struct err *err);

// In a write: at most `limit` of each.
MUST_CHECK int retention_delete_audit(struct op *op, int64_t before, int64_t limit,
                                      int64_t *deleted, struct err *err);
MUST_CHECK int retention_delete_commands(struct op *op, int64_t before, int64_t limit,
                                         int64_t *deleted, struct err *err);

#endif
