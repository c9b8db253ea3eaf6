// SPDX-License-Identifier: Apache-2.0
// Removes what is past its age or number (control/retention_plan.h says when and what next):
// executions are looked for on a reader and deleted in small writes. Runs with the housekeeping.
#include <stdio.h>

#include "base/mem.h"
#include "control/control_internal.h"
#include "control/retention_plan.h"
#include "operation/retention.h"

#define DELETE_ROWS 100  // executions of one write, with their statuses
#define OTHER_ROWS  500

struct retention {
    struct control *control;
    struct retention_plan plan;
    struct arena *arena;  // of one search
    struct retention_found found;
    size_t deleted_ids;      // of found.ids, those that were dealt with
    char after[ID_LEN + 1];  // OLD: the search goes on behind it; MANY: the service under way
    bool in_service;         // MANY: `after` names one that is not done
    int64_t created_after, boundary;
    int64_t removed;  // by the step under way
    bool more;        // after it, in this phase
    int64_t total, audits, commands;
};

static void step(struct retention *r);

static void finish(struct retention *r)
{
    if (r->total + r->audits + r->commands > 0)
        log_info(r->control->platform->log, "retention",
                 "removed %lld executions, %lld audit entries and %lld commands past their time",
                 (long long)r->total, (long long)r->audits, (long long)r->commands);
    r->control->retaining = NULL;
    arena_free(r->arena);
    mem_free(r);
}

static void on_pause_over(void *arg)
{
    struct retention *r = arg;
    r->control->retention_pause = NULL;
    step(r);
}

// What was not done is done at the next housekeeping.
static void go_on(struct retention *r, const struct err *err)
{
    struct control *control = r->control;
    if (err && err->kind != ERR_NONE) {
        log_warn(control->platform->log, "retention", "%s", err->message);
        finish(r);
        return;
    }
    if (!control->stopped)
        retention_plan_next(&r->plan, r->more, r->removed, store_backlog(control->platform->store));
    if (control->stopped || r->plan.phase == RETENTION_OVER) {
        finish(r);
        return;
    }
    if (!r->more) {
        r->after[0] = 0;
        r->in_service = false;
    }
    control->retention_pause = loop_timer_start(control->platform->loop, r->plan.pause_ms, 0,
                                                on_pause_over, r);
}

// ── audit entries and commands ───────────────────────────────────────────────────────────────

static int other_work(struct op *op, void *arg, struct err *err)
{
    struct retention *r = arg;
    int64_t before = retention_plan_before(&r->plan);
    return r->plan.phase == RETENTION_AUDIT
               ? retention_delete_audit(op, before, OTHER_ROWS, &r->removed, err)
               : retention_delete_commands(op, before, OTHER_ROWS, &r->removed, err);
}

static void other_done(void *arg, struct err *err)
{
    struct retention *r = arg;
    *(r->plan.phase == RETENTION_AUDIT ? &r->audits : &r->commands) += r->removed;
    r->more = r->removed == OTHER_ROWS;
    go_on(r, err);
}

// ── executions ───────────────────────────────────────────────────────────────────────────────

static int64_t changed_before(const struct retention *r)
{
    return r->plan.phase == RETENTION_OLD ? retention_plan_before(&r->plan) : INT64_MAX;
}

static int delete_work(struct op *op, void *arg, struct err *err)
{
    struct retention *r = arg;
    size_t left = r->found.count - r->deleted_ids;
    return retention_delete(op, r->found.ids + r->deleted_ids,
                            left < DELETE_ROWS ? left : DELETE_ROWS, changed_before(r), &r->removed,
                            err);
}

static void delete_done(void *arg, struct err *err)
{
    struct retention *r = arg;
    r->deleted_ids += DELETE_ROWS;
    r->total += r->removed;
    if (r->deleted_ids < r->found.count)
        r->more = true;
    else
        r->more = r->found.more || r->plan.phase == RETENTION_MANY;
    go_on(r, err);
}

static int find_old(struct op *op, struct retention *r, struct err *err)
{
    struct retention_search search = {.before = retention_plan_before(&r->plan),
                                      .after = r->after[0] ? str_of(r->after) : STR_NONE};
    if (retention_find(op, &search, r->arena, &r->found, err))
        return -1;
    if (r->found.more)
        snprintf(r->after, sizeof(r->after), STR_FMT, STR_ARG(r->found.after));
    r->more = r->found.more;
    return 0;
}

// The next service, in order of ids, that has more than it may.
static int next_service(struct op *op, struct retention *r, struct err *err)
{
    struct json json;
    struct query query = {.limit = 1};
    void *rows;
    size_t count;
    struct str text = arena_printf(op->arena, "{\"id\":{\"$gt\":\"%s\"}}", r->after);
    if (json_parse(text, 0, &json, err) ||
        filter_parse(json, &service_entity, &limits_default, op->arena, &query.filter, err) ||
        tx_select(op->tx, &service_entity, &query, op->arena, &rows, &count, err))
        return -1;
    r->more = count > 0;
    if (count == 0)
        return 0;
    snprintf(r->after, sizeof(r->after), STR_FMT, STR_ARG(((const struct service *)rows)->id));
    r->created_after = INT64_MIN;
    if (retention_boundary(op, str_of(r->after), r->plan.rules.executions, &r->boundary, err))
        return -1;
    r->in_service = r->boundary != INT64_MIN;
    return 0;
}

static int find_many(struct op *op, struct retention *r, struct err *err)
{
    if (!r->in_service && next_service(op, r, err))
        return -1;
    if (!r->in_service)
        return 0;
    struct retention_search search = {
        .service_id = str_of(r->after), .before = r->boundary, .created_after = r->created_after};
    if (retention_find(op, &search, r->arena, &r->found, err))
        return -1;
    r->created_after = r->found.created_after;
    r->in_service = r->found.more;
    r->more = true;
    return 0;
}

static int find_work(struct op *op, void *arg, struct err *err)
{
    struct retention *r = arg;
    return r->plan.phase == RETENTION_OLD ? find_old(op, r, err) : find_many(op, r, err);
}

static void find_done(void *arg, struct err *err)
{
    struct retention *r = arg;
    r->removed = 0;
    if (err->kind == ERR_NONE && !r->control->stopped && r->found.count > 0)
        op_run(r->control->platform, OP_WRITE_LAZY, delete_work, delete_done, r);
    else
        go_on(r, err);
}

// ── steps ────────────────────────────────────────────────────────────────────────────────────

static void logs_kept(void *arg, const struct err *err)
{
    struct retention *r = arg;
    r->removed = 0;
    r->more = false;
    go_on(r, err);
}

static void step_executions(struct retention *r)
{
    if (r->deleted_ids < r->found.count) {
        op_run(r->control->platform, OP_WRITE_LAZY, delete_work, delete_done, r);
        return;
    }
    arena_reset(r->arena);
    r->found = (struct retention_found){0};
    r->deleted_ids = 0;
    op_run(r->control->platform, OP_READ, find_work, find_done, r);
}

static void step(struct retention *r)
{
    const struct platform *platform = r->control->platform;
    r->removed = 0;
    r->more = false;
    switch (r->plan.phase) {
    case RETENTION_AUDIT:
    case RETENTION_COMMANDS: op_run(platform, OP_WRITE_LAZY, other_work, other_done, r); return;
    case RETENTION_OLD:
    case RETENTION_MANY: step_executions(r); return;
    case RETENTION_LOGS:
        if (platform->logs)
            logs_keep(platform->logs, r->plan.rules.logs_days, r->plan.rules.logs_bytes, logs_kept,
                      r);
        else
            logs_kept(r, NULL);
        return;
    case RETENTION_OVER: break;
    }
    finish(r);
}

void retention_go(struct control *control)
{
    const struct settings *settings = control->platform->settings;
    struct retention_rules rules = {
        .audit_days = settings->audit_days,
        .commands_days = settings->keep_commands_days,
        .executions_days = settings->keep_executions_days,
        .executions = settings->keep_executions,
        .logs_days = settings->keep_logs_days,
        .logs_bytes = settings->keep_logs_mib << 20,
    };
    if (control->retaining || control->stopped)
        return;
    struct retention *r = mem_alloc(sizeof(*r));
    r->control = control;
    r->arena = arena_new();
    control->retaining = r;
    retention_plan_begin(&r->plan, &rules, clock_wall(control->platform->clock));
    step(r);
}

void retention_stop(struct control *control)
{
    if (!control->retention_pause)
        return;  // nothing, or a step is under way, which ends it
    loop_timer_cancel(control->retention_pause);
    control->retention_pause = NULL;
    finish(control->retaining);
}
