// SPDX-License-Identifier: Apache-2.0
// agent/runner_choice: which runner an assignment's module needs, and the program that it is.
#ifndef DROVER_AGENT_RUNNER_CHOICE_H
#define DROVER_AGENT_RUNNER_CHOICE_H

#include "agent/assignment.h"
#include "model/module.h"

struct runner_programs {
    const char *runner;  // folder of the runners
    const char *python, *node;
};

enum module_runner runner_choice(const struct assignment *assignment);

// Whether executions are to have processes of their own, which the runner makes and ends by itself.
bool runner_makes_processes(const struct assignment *assignment);

// NULL-terminated arguments, in the arena.
const char **runner_choice_program(const struct assignment *assignment,
                                   const struct runner_programs *programs, struct arena *arena);

// Says what is missing where the chosen program could not be started.
void runner_choice_explain(const struct assignment *assignment, struct err *err);

#endif
