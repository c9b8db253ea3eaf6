// SPDX-License-Identifier: Apache-2.0
// driver/program_limit: the memory and CPU limits of an instance type for one program that is no
// replica, by the same cgroups as the process driver's.
#ifndef DROVER_DRIVER_PROGRAM_LIMIT_H
#define DROVER_DRIVER_PROGRAM_LIMIT_H

#include <stdbool.h>

#include "model/runtime.h"

struct program_limit;

// `folder` is a private folder, `id` a name that no other has on this machine. *note: what cannot
// be enforced here, owned by the limit; NULL: nothing.
struct program_limit *program_limit_open(const char *folder, const char *id,
                                         const struct instance_type *instance, const char **note);
void program_limit_enter(
    const struct program_limit *limit);  // the calling process, and all that it starts
bool program_limit_exceeded(
    const struct program_limit *limit);                 // something in it was killed for its memory
void program_limit_close(struct program_limit *limit);  // when everything in it has ended

#endif
