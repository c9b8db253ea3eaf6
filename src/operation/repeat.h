// SPDX-License-Identifier: Apache-2.0
// operation/repeat: clients repeat a create whose answer was lost. The same create, from the same
// caller, within a minute gets what the first one made; another one with the name of the first is
// a conflict.
#ifndef DROVER_OPERATION_REPEAT_H
#define DROVER_OPERATION_REPEAT_H

#include "operation/op.h"

// Whether the caller made something then that may be asked for again now.
bool repeat_within_minute(const struct op *op, struct str creator, int64_t created_at);

// Whether `again`, decoded and completed but not stored, asks for what made `first`: every field
// that a create takes is equal.
bool repeat_of(const struct op *op, const struct entity *entity, const void *first,
               const void *again);

#endif
