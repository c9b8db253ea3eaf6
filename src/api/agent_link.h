// SPDX-License-Identifier: Apache-2.0
// api/agent_link: the agents' listener (docs/agent-link.md), apart from the public port. Loop
// thread.
#ifndef DROVER_API_AGENT_LINK_H
#define DROVER_API_AGENT_LINK_H

#include "operation/dispatch.h"

struct agent_link;

struct agent_link *agent_link_start(const struct platform *platform, struct dispatch *dispatch,
                                    struct err *err);
// The public API's certificate (PEM, copied): the dtlpy inside functions trusts it, whoever signed
// it.
void agent_link_trust(struct agent_link *link, const char *certificate);
// Stops accepting, answers what is held, then calls done; the link is freed.
void agent_link_stop(struct agent_link *link, int64_t grace_ms, void (*done)(void *arg), void *arg);

#endif
