// SPDX-License-Identifier: Apache-2.0
// base/near: which known name somebody may have meant by an unknown one.
#ifndef DROVER_BASE_NEAR_H
#define DROVER_BASE_NEAR_H

#include "base/str.h"

// Edits from a to b: insert, delete, change, swap two neighbours. SIZE_MAX for very long names.
size_t near_edits(struct str a, struct str b);

// Looks at candidates one after the other and keeps the nearest that looks like a slip:
//   struct near near = near_start(name);
//   for (…) near_try(&near, candidate);
//   if (near.found.at) …
struct near {
    struct str name, found;  // found: borrowed from the candidate, absent when none is near
    size_t best;
};
struct near near_start(struct str name);
void near_try(struct near *near, struct str candidate);

#endif
