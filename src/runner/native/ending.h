// SPDX-License-Identifier: Apache-2.0
// runner/native/ending: how the process of an execution ended, in words.
#ifndef DROVER_RUNNER_NATIVE_ENDING_H
#define DROVER_RUNNER_NATIVE_ENDING_H

#include "base/arena.h"

// How often the kernel has ended a process of this one's cgroup for want of memory; 0 where that
// cannot be read.
int64_t ending_memory_kills(void);

// status: of waitpid. out_of_memory: the number above has grown meanwhile.
struct str ending_describe(int status, bool out_of_memory, struct arena *arena);

#endif
