// SPDX-License-Identifier: Apache-2.0
// base/cgroup: what the kernel tells of control groups (cgroups(7), v1 and v2), in small files.
#ifndef DROVER_BASE_CGROUP_H
#define DROVER_BASE_CGROUP_H

#include <stdint.h>

#include "base/str.h"

#define CGROUP_FILE_MAX 8192  // bytes; more than any of these files has here

// The first `size` bytes of a file of the kernel's, in out; absent when it cannot be read.
struct str cgroup_read(const char *path, char *out, size_t size);

// How many processes of the cgroup the kernel has killed for want of memory: the line "oom_kill N"
// of memory.events (v2) or memory.oom_control (v1). 0 where that cannot be read.
int64_t cgroup_memory_kills(struct str folder);

#endif
