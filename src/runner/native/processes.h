// SPDX-License-Identifier: Apache-2.0
// runner/native/processes: executions in processes of their own, forked from this one when the
// library is loaded and its init has run. This process has one thread, which passes on what they
// say.
#ifndef DROVER_RUNNER_NATIVE_PROCESSES_H
#define DROVER_RUNNER_NATIVE_PROCESSES_H

#include "runner/native/channel.h"
#include "runner/native/library.h"

// Serves the agent from `ready` on, until it says stop and the last execution has reported. cold:
// the library is not open here; each execution opens it anew.
void processes_serve(struct channel *channel, struct library *library, bool cold);

#endif
