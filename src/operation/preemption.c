// SPDX-License-Identifier: Apache-2.0
#include "operation/preemption.h"

#include "operation/service_event.h"

int replica_preempt(struct op *op, struct str replica_id, enum preemption_cause cause,
                    struct err *err)
{
    static const char *const causes[] = {[PREEMPTION_OPERATOR] = "operator",
                                         [PREEMPTION_AGE] = "age",
                                         [PREEMPTION_PROBABILITY] = "probability"};
    struct replica replica;
    if (tx_get(op->tx, &replica_entity, replica_id, &replica, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        return err_set(err, ERR_NOT_FOUND,
                       "There is no replica " STR_FMT "; `drover describe SERVICE` lists them",
                       STR_ARG(replica_id));
    }
    int64_t notice_ms = op->platform->settings->preempt_notice_ms;
    int64_t age_ms = replica.started_at == INT_NONE ? 0 : op->now - replica.started_at;
    struct str who = cause == PREEMPTION_OPERATOR
                         ? arena_printf(op->arena, " by " STR_FMT, STR_ARG(op->caller.user_id))
                         : STR("");
    struct service_note note = {
        .service_id = replica.service_id,
        .project_id = replica.project_id,
        .kind = "replica",
        .reason = "Preempted",
        .subject = replica.id,
        .message = arena_printf(op->arena,
                                "preempted" STR_FMT
                                ": it takes nothing new, hands back what it has "
                                "not finished in %.0f s, and is replaced",
                                STR_ARG(who), (double)notice_ms / 1000),
        .inputs = arena_printf(op->arena, "{\"cause\":\"%s\",\"ageMs\":%lld,\"noticeMs\":%lld}",
                               causes[cause], (long long)age_ms, (long long)notice_ms)};
    if (service_event_add(op, &note, err))
        return -1;
    op_event(op, &(struct event){.kind = EVENT_REPLICA_PREEMPTED,
                                 .id = replica.id,
                                 .service_id = replica.service_id});
    return 0;
}
