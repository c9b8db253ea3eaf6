// SPDX-License-Identifier: Apache-2.0
// agent/orphans: what executions' processes leave behind when they end comes to this process, which
// ends it.
#ifndef DROVER_AGENT_ORPHANS_H
#define DROVER_AGENT_ORPHANS_H

#include <stdbool.h>
#include <stddef.h>

struct orphans;

struct orphans *orphans_new(void);  // this process adopts from now on
void orphans_free(struct orphans *orphans);
// Children that are there now stay: they are of the module, not of an execution.
void orphans_spare_present(struct orphans *orphans);
// Kills and reaps all children but the spared ones and those that `keep` names. Their own children
// come up in turn: to be called again with each SIGCHLD.
void orphans_sweep(struct orphans *orphans, bool (*keep)(void *arg, int pid), void *arg);

#endif
