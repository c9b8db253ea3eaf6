// SPDX-License-Identifier: Apache-2.0
// api/wait: calls that wait for news: of an execution (its end) or of a service (log lines, the end
// of one of its executions). Loop thread.
#ifndef DROVER_API_WAIT_H
#define DROVER_API_WAIT_H

#include "operation/op.h"

struct waits;
struct wait;

struct waits *waits_new(const struct platform *platform);
void waits_free(struct waits *waits);  // nobody waits any more

// Runs fn once: at the next news of the execution or service, or after timeout_ms. `ended` is the
// execution's end when that is the news, else NULL.
struct wait *wait_start(struct waits *waits, struct str id, int64_t timeout_ms,
                        void (*fn)(void *arg, const struct event *ended), void *arg);
void wait_cancel(struct wait *wait);  // before fn ran

#endif
