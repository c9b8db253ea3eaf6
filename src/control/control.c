// SPDX-License-Identifier: Apache-2.0
#include "control/control.h"

#include "base/mem.h"
#include "control/commands.h"
#include "control/control_internal.h"
#include "control/reconcile.h"
#include "control/replica_events.h"
#include "model/execution.h"
#include "operation/log_ends.h"
#include "operation/token.h"

#define AGENT_TOKEN_MS (365LL * 24 * 3600 * 1000)
#define AGAIN_MS       1000  // before what failed is tried again

// One service being brought in step: read on a store thread, applied on the loop.
struct reconcile {
    struct control *control;
    char *service_id;
    bool force;
    bool gone;  // the service is deleted
    struct arena *arena;
    struct service service;
    struct runtime runtime;
    struct list again;
};

static int reconcile_read(struct op *op, void *arg, struct err *err)
{
    struct reconcile *r = arg;
    struct service row;
    if (tx_get(op->tx, &service_entity, str_of(r->service_id), &row, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        *err = ERR_INIT;
        r->gone = true;
        return 0;
    }
    entity_copy(&service_entity, &row, &r->service, r->arena);
    return runtime_parse(json_of(r->service.runtime), NULL, &r->runtime, r->arena, err);
}

static struct str agent_token(struct reconcile *r)
{
    const struct platform *platform = r->control->platform;
    struct token_claims claims = {
        .kind = TOKEN_AGENT,
        .user_id = r->service.id,
        .service_id = r->service.id,
        .project_id = r->service.project_id,
        .expires_at = clock_wall(platform->clock) + AGENT_TOKEN_MS,
    };
    return token_make(platform->tokens, &claims, r->arena);
}

static int reconcile_apply(struct reconcile *r, struct err *err)
{
    struct driver *driver = r->control->driver;
    if (r->gone) {
        watch_forget(r->control->watches, str_of(r->service_id));
        return driver_remove(driver, str_of(r->service_id), r->force, err);
    }
    struct deployment deployment;
    reconcile_deployment(&r->service, &r->runtime, r->arena, &deployment);
    watch_service(r->control->watches, &r->service, &r->runtime);
    if (deployment.replicas == 0)
        return driver_remove(driver, str_of(r->service_id), r->force, err);
    deployment.force = r->force;
    deployment.agent_token = agent_token(r);
    return driver_apply(driver, &deployment, err);
}

static void reconcile_free(struct reconcile *r)
{
    arena_free(r->arena);
    mem_free(r->service_id);
    mem_free(r);
}

static void reconcile(struct control *control, struct str service_id, bool force);

static void on_again(void *arg)
{
    struct control *control = arg;
    struct list *node;
    control->again_timer = NULL;
    while ((node = list_pop_front(&control->again))) {
        struct reconcile *r = list_entry(node, struct reconcile, again);
        reconcile(control, str_of(r->service_id), r->force);
        reconcile_free(r);
    }
}

// When the store could not be read nobody else would look at the service before its next change.
static void reconcile_done(void *arg, struct err *err)
{
    struct reconcile *r = arg;
    struct control *control = r->control;
    bool read = err->kind == ERR_NONE;
    if (!control->stopped && (!read || (reconcile_apply(r, err) && err->kind != ERR_NOT_FOUND)))
        log_error(control->platform->log, "control", "service %s: %s", r->service_id, err->message);
    if (control->stopped || read) {
        reconcile_free(r);
        return;
    }
    list_push_back(&control->again, &r->again);
    if (!control->again_timer)
        control->again_timer = loop_timer_start(control->platform->loop, AGAIN_MS, 0, on_again,
                                                control);
}

static void reconcile(struct control *control, struct str service_id, bool force)
{
    struct reconcile *r = mem_alloc(sizeof(*r));
    r->control = control;
    r->service_id = mem_copy(service_id.at, service_id.len);
    r->force = force;
    r->arena = arena_new();
    op_run(control->platform, OP_READ, reconcile_read, reconcile_done, r);
}

static void on_service_changed(void *arg, const struct event *event)
{
    struct control *control = arg;
    if (control->started && !control->stopped)
        reconcile(control, event->service_id, event->force);
}

// The log of an execution says how it ended also when its runner could not.
static void on_execution_cut(void *arg, const struct event *event)
{
    struct control *control = arg;
    if (!str_starts(event->body, STR("terminated")))  // what somebody wanted is no event
        cuts_add(control, event);
    if (!control->platform->logs)
        return;
    struct log_line line = {.at = clock_wall(control->platform->clock),
                            .level = LINE_ERROR,
                            .service_id = event->service_id,
                            .project_id = event->project_id,
                            .execution_id = event->id,
                            .function_name = event->function_name,
                            .message = event->body};
    struct log_line lines[2] = {line, line};
    lines[1].level = LINE_INFO;
    lines[1].message = STR(EXECUTION_LAST_LINE);
    log_ends_write(control->platform, lines, event->force ? 2 : 1);
}

// ── what the driver and the agents say ───────────────────────────────────────────────────────

void control_on_silent(void *arg, struct str replica_id)
{
    struct control *control = arg;
    struct err err = ERR_INIT;
    if (control->stopped)
        return;
    replica_silent(control, replica_id);
    silence_add(control, replica_id);
    if (driver_signal(control->driver, replica_id, REPLICA_KILL, &err))
        log_warn(control->platform->log, "control", "replica " STR_FMT " cannot be killed: %s",
                 STR_ARG(replica_id), err.message);
}

void control_on_replica(void *arg, struct str replica_id, struct str service_id, const char *state,
                        struct str phase, struct json failure)
{
    struct control *control = arg;
    if (!replica_spoke(control, replica_id, service_id, state, phase, failure))
        return;
    if (control->driver && !control->stopped)
        driver_ready(control->driver, replica_id, str_is(str_of(state), "ready"));
    watch_look(control->watches, service_id);
}

// Why its executions were cut off, for their owners: a sentence, then the last words of an agent
// that ended by itself. Those of one that was killed say nothing about it.
static struct str end_reason(const struct replica_status *status, enum replica_silence silent,
                             struct arena *arena)
{
    struct str words = status->message;
    bool own_end = !silent && status->exit_code != INT_NONE && status->exit_code <= 128;
    if (!silent && str_is(status->reason, "Completed"))
        return arena_printf(arena, "its agent was stopped%s" STR_FMT, words.len ? ": " : "",
                            STR_ARG(words));
    struct str how = replica_how_ended(status, silent, arena);
    return own_end && words.len > 0 ? arena_printf(arena, "its agent " STR_FMT "\n" STR_FMT,
                                                   STR_ARG(how), STR_ARG(words))
                                    : arena_printf(arena, "its agent " STR_FMT, STR_ARG(how));
}

void control_on_change(void *arg, const struct replica_status *status)
{
    struct control *control = arg;
    enum replica_silence silent = replica_silence_of(control, status->id);
    replica_observed(control, status);
    watch_look(control->watches, status->service_id);
    if (!control->dispatch)
        return;
    if (status->phase == REPLICA_EXITED || status->phase == REPLICA_WAITING) {
        _cleanup_arena_ struct arena *arena = arena_new();
        dispatch_replica_gone(control->dispatch, status->id, end_reason(status, silent, arena),
                              silent || !status->stopped);
        log_ends_gone(control->platform->log_ends, status->id);
    } else if (!control->started) {
        dispatch_expect(control->dispatch, status->id, status->service_id);
    }
}

// ── life ─────────────────────────────────────────────────────────────────────────────────────

struct control *control_new(const struct platform *platform)
{
    struct control *control = mem_alloc(sizeof(*control));
    control->platform = platform;
    control->replicas = map_new();
    list_init(&control->again);
    control->commands = commands_new(platform);
    control->watches = watches_new(platform, replicas_look, control);
    control->replicas_running = metric_gauge(platform->metrics, "drover_replicas_running", NULL,
                                             "Agents that are alive.");
    control->restarts = metric_counter(platform->metrics, "drover_replica_restarts_total", NULL,
                                       "Agents started again after they ended.");
    events_subscribe(platform->events, EVENT_SERVICE_CHANGED, on_service_changed, control);
    events_subscribe(platform->events, EVENT_SERVICE_DELETED, on_service_changed, control);
    events_subscribe(platform->events, EVENT_EXECUTION_CUT, on_execution_cut, control);
    deletions_subscribe(control);
    preempt_subscribe(control);
    return control;
}

void control_free(struct control *control)
{
    if (!control)
        return;
    loop_timer_cancel(control->collect);
    loop_timer_cancel(control->deletion_wait);
    commands_free(control->commands);
    watches_free(control->watches);
    replica_views_free(control);
    map_free(control->replicas);
    struct list *node;
    while ((node = list_pop_front(&control->again)))
        reconcile_free(list_entry(node, struct reconcile, again));
    mem_free(control);
}

static void expect_known(void *arg, const struct replica_status *status)
{
    struct control *control = arg;
    if (status->phase != REPLICA_EXITED && status->phase != REPLICA_WAITING)
        dispatch_expect(control->dispatch, status->id, status->service_id);
}

void control_attach(struct control *control, struct dispatch *dispatch, struct driver *driver)
{
    control->dispatch = dispatch;
    control->driver = driver;
    driver_observe(driver, STR_NONE, expect_known, control);
}

// Every service there is, and every replica of a service that is not.
struct first_look {
    struct control *control;
    struct arena *arena;
    struct str *ids;
    size_t count;
};

static int first_look_read(struct op *op, void *arg, struct err *err)
{
    struct first_look *look = arg;
    struct query query = {.limit = QUERY_LIMIT_MAX};
    for (;;) {
        void *rows;
        size_t count;
        if (tx_select(op->tx, &service_entity, &query, op->arena, &rows, &count, err))
            return -1;
        struct str *ids = arena_array_of(look->arena, struct str, look->count + count + 1);
        if (look->count > 0)
            memcpy(ids, look->ids, look->count * sizeof(*ids));
        for (size_t i = 0; i < count; i++)
            ids[look->count + i] = arena_copy(look->arena, ((struct service *)rows)[i].id);
        look->ids = ids;
        look->count += count;
        query.offset += (int64_t)count;
        if ((int64_t)count < query.limit)
            return 0;
    }
}

static void first_look_replica(void *arg, const struct replica_status *status)
{
    struct first_look *look = arg;
    struct str *ids = arena_array_of(look->arena, struct str, look->count + 1);
    if (look->count > 0)
        memcpy(ids, look->ids, look->count * sizeof(*ids));
    ids[look->count++] = arena_copy(look->arena, status->service_id);
    look->ids = ids;
}

static void first_look_reconcile(struct first_look *look)
{
    driver_observe(look->control->driver, STR_NONE, first_look_replica, look);
    struct map *seen = map_new();
    for (size_t i = 0; i < look->count; i++)
        if (!map_put(seen, look->ids[i], look))
            reconcile(look->control, look->ids[i], false);
    map_free(seen);
}

static void first_look_done(void *arg, struct err *err)
{
    struct first_look *look = arg;
    if (err->kind != ERR_NONE)
        log_error(look->control->platform->log, "control", "cannot read the services: %s",
                  err->message);
    if (!look->control->stopped)  // the driver is closed by now
        first_look_reconcile(look);
    arena_free(look->arena);
    mem_free(look);
}

void control_start(struct control *control)
{
    control->started = true;
    replicas_settle(control);
    struct first_look *look = mem_alloc(sizeof(*look));
    look->control = control;
    look->arena = arena_new();
    op_run(control->platform, OP_READ, first_look_read, first_look_done, look);
    collect_start(control);
    preempt_start(control);
    deletions_go_on(control);
    commands_start(control->commands);
}

void control_stop(struct control *control)
{
    control->stopped = true;
    watches_stop(control->watches);
    cuts_stop(control);
    commands_stop(control->commands);
    retention_stop(control);
    loop_timer_cancel(control->collect);
    loop_timer_cancel(control->deletion_wait);
    loop_timer_cancel(control->again_timer);
    loop_timer_cancel(control->preempt_timer);
    control->collect = control->deletion_wait = control->again_timer = NULL;
    control->preempt_timer = NULL;
}
