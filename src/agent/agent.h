// SPDX-License-Identifier: Apache-2.0
// agent/agent: the life of one replica of a service: greets the server, brings code and
// environment, keeps a runner, takes executions and reports them, until it is told to end or
// cannot go on. docs/agent-link.md is what it speaks.
#ifndef DROVER_AGENT_AGENT_H
#define DROVER_AGENT_AGENT_H

#include "agent/spec.h"
#include "base/log.h"

enum agent_exit {  // exit codes of the program
    AGENT_EXIT_TOLD = 0,
    AGENT_EXIT_ERROR = 1,      // the agent's own; stderr says it
    AGENT_EXIT_FAILED = 70,    // the assignment could not be started; it was reported
    AGENT_EXIT_RUNNER = 71,    // the runner keeps ending before it is ready
    AGENT_EXIT_UNWANTED = 72,  // service or replica is gone: not to be started again
};

// Runs on the calling thread until the agent's end, and gives the exit code. SIGTERM and SIGINT
// drain it, SIGQUIT stops it.
int agent_run(const struct agent_spec *spec, struct log *log);

#endif
