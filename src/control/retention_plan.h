// SPDX-License-Identifier: Apache-2.0
// control/retention_plan: what retention does next, and how soon: decided from the rules, the time
// and what the step before has found, without a store or a clock.
#ifndef DROVER_CONTROL_RETENTION_PLAN_H
#define DROVER_CONTROL_RETENTION_PLAN_H

#include <stdbool.h>
#include <stdint.h>

struct retention_rules {  // 0: for ever, any number
    int64_t audit_days, commands_days, executions_days;
    int64_t executions;  // of one service
    int64_t logs_days, logs_bytes;
};

enum retention_phase {  // in this order
    RETENTION_AUDIT,
    RETENTION_COMMANDS,
    RETENTION_OLD,   // executions past their age
    RETENTION_MANY,  // executions past their service's number
    RETENTION_LOGS,
    RETENTION_OVER
};

struct retention_plan {
    struct retention_rules rules;
    int64_t now;  // wall ms, of its beginning
    enum retention_phase phase;
    int64_t pause_ms;  // before its next step
};

void retention_plan_begin(struct retention_plan *plan, const struct retention_rules *rules,
                          int64_t now);
// What is older goes (wall ms); of the phases that have an age.
int64_t retention_plan_before(const struct retention_plan *plan);

// After a step of the phase. more: there may be further ones. A step that removed nothing costs
// the writer nothing; while others wait for the writer it is left to them.
void retention_plan_next(struct retention_plan *plan, bool more, int64_t removed, int64_t backlog);

#endif
