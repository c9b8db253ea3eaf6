// SPDX-License-Identifier: Apache-2.0
// agent/spec: the file that a driver starts an agent with (docs/agent-link.md, "Starting").
#ifndef DROVER_AGENT_SPEC_H
#define DROVER_AGENT_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"

struct agent_spec {  // texts live in the arena
    const char *replica_id, *service_id, *project_id, *revision;
    const char *agent_url;
    const char *agent_ca;  // NULL: the system's
    const char *token;
    const char *public_url;
    const char *cache, *python, *runner, *folder;
    const char *node;               // "node" when the file does not say
    int64_t cpu_milli, memory_mib;  // 0: not said
    bool git_file;
};

// Reads and checks the file. ERR_BAD_INPUT names the member at fault.
MUST_CHECK int agent_spec_read(const char *path, struct agent_spec *out, struct arena *arena,
                               struct err *err);

#endif
