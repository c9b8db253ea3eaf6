// SPDX-License-Identifier: Apache-2.0
// agent/runner_setup: what a runner is given at its start: folders, environment variables, and its
// first frame. The same for the runner of an agent and for one that is run by hand.
#ifndef DROVER_AGENT_RUNNER_SETUP_H
#define DROVER_AGENT_RUNNER_SETUP_H

#include "agent/assignment.h"
#include "agent/sdk_proxy.h"
#include "base/buf.h"

struct runner_setup {
    const struct assignment *assignment;
    const char *folder;  // the replica's own: home, tmp and dataloop lie in it
    const char *code;    // folder of the package's code
    const char *python;  // interpreter; when it is not base_python, that of a virtual environment
    const char *base_python;
    const char *replica_id;
    struct sdk_proxy *proxy;  // NULL: no SDK
};

MUST_CHECK int runner_setup_folders(const char *folder, struct err *err);

// NULL-terminated "NAME=value", in the arena.
const char **runner_setup_env(const struct runner_setup *setup, struct arena *arena);

// Appends the `load` frame.
void runner_setup_load(const struct runner_setup *setup, const char *mode, struct buf *out);

#endif
