// SPDX-License-Identifier: Apache-2.0
// runner/native/family: ends an execution's process with all that descends from it. Each such
// process is the subreaper of its own family, so that nobody in it gets away by a second fork.
#ifndef DROVER_RUNNER_NATIVE_FAMILY_H
#define DROVER_RUNNER_NATIVE_FAMILY_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/buf.h"

// The children that this process has now; buf_deinit. family_has: whether pid is one of them.
struct buf family_children(void);
bool family_has(const struct buf *children, pid_t pid);

// Kills all descendants of pid, then pid itself, which stays to be reaped.
void family_kill(pid_t pid);

// Kills and reaps children of this process, and theirs, that `known` does not know: orphans of an
// execution whose process died before them.
void family_sweep(bool (*known)(void *arg, pid_t pid), void *arg);

#endif
