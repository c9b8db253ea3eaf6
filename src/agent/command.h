// SPDX-License-Identifier: Apache-2.0
// agent/command: one step of preparing (git, python -m venv, pip): runs a program, hands its
// output on line by line, and keeps the end of it as the text of an error. Loop thread only.
#ifndef DROVER_AGENT_COMMAND_H
#define DROVER_AGENT_COMMAND_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct loop;
struct command;

struct command_config {
    struct loop *loop;
    const char *const *argv;
    const char *const *env;                                         // NULL: the agent's own
    const char *folder;                                             // NULL: the agent's
    void (*on_line)(void *arg, struct str line, bool from_stderr);  // NULL: not wanted
    // ok: it ended with 0; out: what it wrote on stdout (its first 64 KiB). Otherwise err's message
    // is the end of its stderr, or else of its stdout.
    void (*on_done)(void *arg, bool ok, struct str out, const struct err *err);
    void *arg;
};

// NULL when it cannot be started; on_done then does not run.
struct command *command_start(const struct command_config *config, struct err *err);
// Kills it; on_done does not run, on_line neither. NULL does nothing.
void command_cancel(struct command *command);

#endif
