// SPDX-License-Identifier: Apache-2.0
// agent/memory_limit: whether the replica's memory limit has ended a process of it.
#ifndef DROVER_AGENT_MEMORY_LIMIT_H
#define DROVER_AGENT_MEMORY_LIMIT_H

#include <stdint.h>

// How many processes of the replica the kernel has killed for their memory so far, by the cgroups
// that FOLDER/cgroups names (agent/supervise.h). 0 where none limits memory. Reads small files.
int64_t memory_limit_kills(const char *folder);
// From now on the process that is the largest goes alone (cgroup v2 takes all of a replica's).
void memory_limit_one(const char *folder);

#endif
