// SPDX-License-Identifier: Apache-2.0
// agent/local: one execution of one function on this machine, without a server: the environment,
// the runner, its limits and its log as an agent has them. Nothing is kept but the environment.
#ifndef DROVER_AGENT_LOCAL_H
#define DROVER_AGENT_LOCAL_H

#include "agent/assignment.h"
#include "base/log.h"

struct local_config {
    const char *code;    // folder of the package's code
    const char *work;    // a private, empty folder: home and tmp lie in it
    const char *cache;   // environments are CACHE/venvs/HASH, shared with agents
    const char *python;  // interpreter to start from
    const char *node;    // Node.js, for JavaScript
    const char *runner;  // folder of the runners
    bool install;        // false: `python` as it is, without dtlpy and the requirements
    const struct assignment *assignment;  // its code is not looked at
    const char *function;
    struct str input;  // JSON object
    struct log *log;
    void (*on_phase)(void *arg, const char *phase);
    // A line of the function's log (also of pip: system). Its texts are valid during the call.
    void (*on_line)(void *arg, struct str level, struct str message, bool system);
    void (*on_progress)(void *arg, struct json percent, struct str status, struct str message);
    void *arg;
};

struct local_result {
    struct str status;                // "success", "failed", "terminated"; as an execution's
    struct str output;                // JSON; absent unless there is one
    struct str message, type, stack;  // of the error
    int64_t prepared_ms, started_ms, ran_ms;  // how long each took
    bool interrupted;                         // by SIGINT or SIGTERM
};

// Blocks until the end. -1: it could not be run at all: ERR_DEPENDENCY (environment, interpreter,
// runner) or ERR_BAD_INPUT (the code cannot be loaded). SIGINT and SIGTERM ask the function to end,
// a second one kills it. Texts of the result live in the arena.
MUST_CHECK int local_run(const struct local_config *config, struct local_result *result,
                         struct arena *arena, struct err *err);

#endif
