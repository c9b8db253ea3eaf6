// SPDX-License-Identifier: Apache-2.0
// The replicas of preemptible services are looked at every minute, more often when they live
// shorter.
#include "control/preempt.h"

#include "base/mem.h"
#include "control/control_internal.h"

#define LOOK_MS 60000
#define HOUR_MS 3600000.0

bool preempt_due(const struct preempt_rules *rules, int64_t age_ms, uint64_t draw,
                 enum preemption_cause *cause)
{
    if (age_ms >= rules->after_ms) {
        *cause = PREEMPTION_AGE;
        return true;
    }
    *cause = PREEMPTION_PROBABILITY;
    double chance = (double)rules->per_mille / 1000 * (double)rules->every_ms / HOUR_MS;
    return (double)(draw >> 11) / 9007199254740992.0 < chance;
}

// ── one replica ──────────────────────────────────────────────────────────────────────────────

struct preempting {
    struct control *control;
    struct str replica_id;  // owned
    enum preemption_cause cause;
};

static int preempting_work(struct op *op, void *arg, struct err *err)
{
    const struct preempting *preempting = arg;
    return replica_preempt(op, preempting->replica_id, preempting->cause, err);
}

static void preempting_done(void *arg, struct err *err)
{
    struct preempting *preempting = arg;
    if (err->kind != ERR_NONE && err->kind != ERR_NOT_FOUND)
        log_warn(preempting->control->platform->log, "control",
                 "replica " STR_FMT " is not preempted yet: %s", STR_ARG(preempting->replica_id),
                 err->message);
    mem_free((char *)preempting->replica_id.at);
    mem_free(preempting);
}

static void look_at(void *arg, struct str replica_id, struct str service_id, int64_t age_ms)
{
    struct control *control = arg;
    enum preemption_cause cause;
    uint64_t draw;
    if (!watch_preemptible(control->watches, service_id))
        return;
    random_fill(&draw, sizeof(draw));
    if (!preempt_due(&control->preempt, age_ms, draw, &cause))
        return;
    struct preempting *preempting = mem_alloc(sizeof(*preempting));
    *preempting = (struct preempting){
        .control = control,
        .replica_id = {mem_copy(replica_id.at, replica_id.len), replica_id.len},
        .cause = cause};
    op_run(control->platform, OP_WRITE, preempting_work, preempting_done, preempting);
}

static void on_look(void *arg) { replicas_each_kept(arg, look_at, arg); }

// ── the notice ───────────────────────────────────────────────────────────────────────────────

static void on_preempted(void *arg, const struct event *event)
{
    struct control *control = arg;
    struct err err = ERR_INIT;
    if (!control->stopped && driver_signal(control->driver, event->id, REPLICA_PREEMPT, &err))
        log_info(control->platform->log, "control",
                 "replica " STR_FMT " ended before it was preempted", STR_ARG(event->id));
}

void preempt_subscribe(struct control *control)
{
    events_subscribe(control->platform->events, EVENT_REPLICA_PREEMPTED, on_preempted, control);
}

void preempt_start(struct control *control)
{
    const struct settings *settings = control->platform->settings;
    int64_t every = settings->preempt_after_ms / 4;
    control->preempt = (struct preempt_rules){.after_ms = settings->preempt_after_ms,
                                              .per_mille = settings->preempt_per_mille,
                                              .every_ms = every < LOOK_MS ? every : LOOK_MS};
    if (control->preempt.every_ms > 0)
        control->preempt_timer = loop_timer_start(control->platform->loop,
                                                  control->preempt.every_ms,
                                                  control->preempt.every_ms, on_look, control);
}
