// SPDX-License-Identifier: Apache-2.0
#include "control/retention_plan.h"

#define DAY_MS       86400000LL
#define PAUSE_MS     20   // between steps that remove something: others come in between
#define BUSY_MS      500  // while many wait for the writer
#define BUSY_BACKLOG 64

static bool wanted(const struct retention_rules *rules, enum retention_phase phase)
{
    switch (phase) {
    case RETENTION_AUDIT: return rules->audit_days > 0;
    case RETENTION_COMMANDS: return rules->commands_days > 0;
    case RETENTION_OLD: return rules->executions_days > 0;
    case RETENTION_MANY: return rules->executions > 0;
    case RETENTION_LOGS: return rules->logs_days > 0 || rules->logs_bytes > 0;
    case RETENTION_OVER: break;
    }
    return true;
}

static void enter(struct retention_plan *plan, enum retention_phase phase)
{
    while (!wanted(&plan->rules, phase))
        phase++;
    plan->phase = phase;
    plan->pause_ms = 0;
}

void retention_plan_begin(struct retention_plan *plan, const struct retention_rules *rules,
                          int64_t now)
{
    plan->rules = *rules;
    plan->now = now;
    enter(plan, RETENTION_AUDIT);
}

int64_t retention_plan_before(const struct retention_plan *plan)
{
    int64_t days = plan->phase == RETENTION_AUDIT      ? plan->rules.audit_days
                   : plan->phase == RETENTION_COMMANDS ? plan->rules.commands_days
                                                       : plan->rules.executions_days;
    return plan->now / DAY_MS < days ? 0 : plan->now - days * DAY_MS;
}

void retention_plan_next(struct retention_plan *plan, bool more, int64_t removed, int64_t backlog)
{
    if (plan->phase == RETENTION_OVER)
        return;
    if (!more) {
        enter(plan, plan->phase + 1);
        return;
    }
    plan->pause_ms = removed > 0 ? PAUSE_MS : 0;
    if (backlog > BUSY_BACKLOG)
        plan->pause_ms = BUSY_MS;
}
