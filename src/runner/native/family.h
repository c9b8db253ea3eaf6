// SPDX-License-Identifier: Apache-2.0
// runner/native/family: ends all that an execution's process has started. This process is a
// subreaper, and so is each execution's of its own family: whoever is left when that has died comes
// here, and nobody else does.
#ifndef DROVER_RUNNER_NATIVE_FAMILY_H
#define DROVER_RUNNER_NATIVE_FAMILY_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"

// The children that this process has now; buf_deinit. family_has: whether pid is one of them.
struct buf family_children(void);
bool family_has(const struct buf *children, pid_t pid);

// Kills and reaps the children of this process that `known` does not know, and what they leave.
void family_sweep(bool (*known)(void *arg, pid_t pid), void *arg);

#endif
