// SPDX-License-Identifier: Apache-2.0
// runner/native/child: the forked side of an execution in a process of its own. It tells its
// parent, in frames on a socket of their own:
//   log      level, message
//   progress percent, message
//   outcome  status (0 success, 1 failed, 2 terminated), output, or message and type
// and then waits to be killed, so that all that it started can be found.
#ifndef DROVER_RUNNER_NATIVE_CHILD_H
#define DROVER_RUNNER_NATIVE_CHILD_H

#include "runner/native/channel.h"
#include "runner/native/library.h"

struct child {
    struct library *library;
    const struct run *run;
    const atomic_bool *cancelled;  // in memory that parent and child share
    int socket, outputs[2];        // the child's ends
    bool cold;                     // the library is to be opened in the child
    pid_t parent;
};

_Noreturn void child_run(const struct child *child);

#endif
