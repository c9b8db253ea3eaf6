// SPDX-License-Identifier: Apache-2.0
// control/preempt: when a preemptible replica has to go by itself. Pure.
#ifndef DROVER_CONTROL_PREEMPT_H
#define DROVER_CONTROL_PREEMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "operation/preemption.h"

struct preempt_rules {
    int64_t after_ms;   // it runs no longer
    int64_t per_mille;  // of those that live, in an hour
    int64_t every_ms;   // how often it is asked
};

// draw: any number, drawn evenly. False: it stays.
bool preempt_due(const struct preempt_rules *rules, int64_t age_ms, uint64_t draw,
                 enum preemption_cause *cause);

#endif
