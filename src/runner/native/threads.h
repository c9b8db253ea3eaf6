// SPDX-License-Identifier: Apache-2.0
// runner/native/threads: executions on threads of this process, `concurrency` at once.
#ifndef DROVER_RUNNER_NATIVE_THREADS_H
#define DROVER_RUNNER_NATIVE_THREADS_H

#include "runner/native/channel.h"
#include "runner/native/library.h"

// Serves the agent from `ready` on, until it says stop and the last execution has reported.
void threads_serve(struct channel *channel, const struct library *library);

#endif
