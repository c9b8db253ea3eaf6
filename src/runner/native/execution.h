// SPDX-License-Identifier: Apache-2.0
// runner/native/execution: one execution in a process of its own, as its parent sees it: started,
// heard, ended with all that it started, told of to the agent. Internal to the process mode.
#ifndef DROVER_RUNNER_NATIVE_EXECUTION_H
#define DROVER_RUNNER_NATIVE_EXECUTION_H

#include <poll.h>
#include <sys/types.h>

#include "base/list.h"
#include "runner/native/channel.h"
#include "runner/native/ending.h"
#include "runner/native/library.h"

struct relay {
    struct channel *channel;
    struct library *library;
    bool cold, stopping;
    struct list executions;
    size_t count;
    struct buf before;  // children from before the first execution: not an execution's
    int64_t memory_kills;
};

struct execution {
    struct list node;
    struct relay *relay;
    struct run *run;
    pid_t pid;
    int process, socket;     // pidfd; frames. -1: closed
    int outputs[2];          // stdout, stderr
    atomic_bool *cancelled;  // in memory shared with the process
    struct buf in, lines[2];
    struct buf pending;  // frames that wait for credit: then nothing more is read
    int64_t cost;        // of them
    struct outcome outcome;
    bool has_outcome, ending, reaped, last;
};

#define EXECUTION_FDS 4

// Forks; where that fails the execution fails. Takes over `run`.
void execution_start(struct relay *relay, struct run *run);
void execution_poll(const struct execution *execution, struct pollfd polled[EXECUTION_FDS]);
// Takes up what it says. It may be freed when this returns; so it may by the next.
void execution_hear(struct execution *execution, const struct pollfd polled[EXECUTION_FDS]);
// Ends its process and all that descends from it; its result says so. It may be freed.
void execution_kill(struct execution *execution);
// Goes on where credit was lacking.
void execution_advance(struct execution *execution);

#endif
