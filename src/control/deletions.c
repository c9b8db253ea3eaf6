// SPDX-License-Identifier: Apache-2.0
// Removes what was in deleted projects and datasets (operation/deletion.h), one step after the
// other, at the start also what a former server process left. After an error the next housekeeping
// goes on.
#include <stdio.h>

#include "base/mem.h"
#include "control/control_internal.h"

#define WAIT_MS   200  // before it is looked again whether the agents have ended
#define WAITS_MAX 50   // who lives longer is of a service that drains, whose command cleans up

static void next_step(struct control *control);

// After an error nothing counts as cleaned: what was to come after it is done again.
static bool stopped_by(struct control *control, const struct err *err)
{
    if (err && err->kind != ERR_NONE)
        log_warn(control->platform->log, "deletions", "%s", err->message);
    control->deleting = !control->stopped && (!err || err->kind == ERR_NONE);
    if (!control->deleting)
        control->cleaned[0] = 0;
    return !control->deleting;
}

// ── log lines ────────────────────────────────────────────────────────────────────────────────

static void logs_deleted(void *arg, const struct err *err)
{
    struct control *control = arg;
    if (!stopped_by(control, err))
        next_step(control);
}

// Agents that outlive their service for a moment write lines behind those that were deleted.
struct outlived {
    struct control *control;
    struct arena *arena;
    struct map *services;  // of agents that are alive; keys in the arena
    bool any;              // of them is gone
};

static void outlived_agent(void *arg, const struct replica_status *status)
{
    struct outlived *outlived = arg;
    if (status->phase != REPLICA_EXITED && status->phase != REPLICA_WAITING)
        map_put(outlived->services, arena_copy(outlived->arena, status->service_id), outlived);
}

static int outlived_read(struct op *op, void *arg, struct err *err)
{
    struct outlived *outlived = arg;
    size_t cursor = 0;
    struct str id;
    while (!outlived->any && map_next(outlived->services, &cursor, &id)) {
        struct service service;
        if (tx_get(op->tx, &service_entity, id, &service, op->arena, err) == 0)
            continue;
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        *err = ERR_INIT;
        outlived->any = true;
    }
    return 0;
}

static void look_for_agents(void *arg);

static void outlived_done(void *arg, struct err *err)
{
    struct outlived *outlived = arg;
    struct control *control = outlived->control;
    bool wait = outlived->any && control->deletion_waits < WAITS_MAX;
    map_free(outlived->services);
    arena_free(outlived->arena);
    mem_free(outlived);
    if (stopped_by(control, err))
        return;
    if (wait) {
        control->deletion_waits++;
        control->deletion_wait = loop_timer_start(control->platform->loop, WAIT_MS, 0,
                                                  look_for_agents, control);
    } else if (control->platform->logs) {
        logs_delete_project(control->platform->logs, str_of(control->cleaned), logs_deleted,
                            control);
    } else {
        logs_deleted(control, NULL);
    }
}

static void look_for_agents(void *arg)
{
    struct control *control = arg;
    control->deletion_wait = NULL;
    struct outlived *outlived = mem_alloc(sizeof(*outlived));
    outlived->control = control;
    outlived->arena = arena_new();
    outlived->services = map_new();
    driver_observe(control->driver, STR_NONE, outlived_agent, outlived);
    op_run(control->platform, OP_READ, outlived_read, outlived_done, outlived);
}

// ── steps ────────────────────────────────────────────────────────────────────────────────────

static int step_work(struct op *op, void *arg, struct err *err)
{
    struct control *control = arg;
    struct deletion_step *step = &control->deletion;
    step->cleaned = control->cleaned[0] ? str_of(control->cleaned) : STR_NONE;
    if (deletion_step(op, step, err))
        return -1;
    if (step->state == DELETION_CLEAN)
        snprintf(control->cleaned, sizeof(control->cleaned), STR_FMT, STR_ARG(step->project_id));
    return 0;
}

static void step_done(void *arg, struct err *err)
{
    struct control *control = arg;
    if (stopped_by(control, err))
        return;
    if (control->deletion.state == DELETION_MORE) {
        next_step(control);
    } else if (control->deletion.state == DELETION_CLEAN) {
        control->deletion_waits = 0;
        look_for_agents(control);
    } else {
        control->deleting = false;
    }
}

static void next_step(struct control *control)
{
    control->deleting = true;
    op_run(control->platform, OP_WRITE, step_work, step_done, control);
}

void deletions_go_on(struct control *control)
{
    if (!control->deleting && !control->stopped)
        next_step(control);
}

static void on_begun(void *arg, const struct event *event)
{
    struct control *control = arg;
    (void)event;
    if (control->started)
        deletions_go_on(control);
}

void deletions_subscribe(struct control *control)
{
    events_subscribe(control->platform->events, EVENT_DELETION_BEGUN, on_begun, control);
}
