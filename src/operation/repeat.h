// SPDX-License-Identifier: Apache-2.0
// operation/repeat: clients repeat a create whose answer was lost. The same name, from the same
// caller, within a minute is the same create: it gets what the first one made.
#ifndef DROVER_OPERATION_REPEAT_H
#define DROVER_OPERATION_REPEAT_H

#include "operation/op.h"

#define REPEAT_MS 60000

static inline bool repeat_within_minute(const struct op *op, struct str creator, int64_t created_at)
{
    return created_at != INT_NONE && op->now - created_at < REPEAT_MS &&
           op->now >= created_at - 1000 && str_eq(creator, op->caller.user_id);
}

#endif
