// SPDX-License-Identifier: Apache-2.0
#include "control/commands.h"

#include "base/id.h"
#include "base/list.h"
#include "base/mem.h"
#include "net/loop.h"
#include "operation/command.h"

#define WAIT_MS 1000  // before a step that could not be taken is tried again

struct commands {
    const struct platform *platform;
    struct execution_functions *functions;  // writer's thread only
    struct list running;
    bool started, stopped;
};

struct running {
    struct list node;
    struct commands *commands;
    char id[ID_LEN + 1];
    char service_id[ID_LEN + 1];
    enum command_state state;
    struct err failure;
    struct loop_timer *timer;
};

static void next_step(struct running *running);

static void running_free(struct running *running)
{
    list_remove(&running->node);
    mem_free(running);
}

static bool known(const struct commands *commands, struct str id)
{
    list_each (&commands->running, node, next) {
        if (str_is(id, list_entry(node, struct running, node)->id))
            return true;
    }
    return false;
}

static void on_timer(void *arg)
{
    struct running *running = arg;
    running->timer = NULL;
    next_step(running);
}

static void later(struct running *running)
{
    running->timer = loop_timer_start(running->commands->platform->loop, WAIT_MS, 0, on_timer,
                                      running);
}

// ── its end ──────────────────────────────────────────────────────────────────────────────────

static int end_work(struct op *op, void *arg, struct err *err)
{
    struct running *running = arg;
    const struct err *failure = running->failure.kind == ERR_NONE ? NULL : &running->failure;
    return command_end(op, str_of(running->id), failure, err);
}

static void end_done(void *arg, struct err *err)
{
    struct running *running = arg;
    if (err->kind != ERR_NONE && err->kind != ERR_NOT_FOUND)
        log_error(running->commands->platform->log, "commands", "command %s: %s", running->id,
                  err->message);
    running_free(running);
}

static void end(struct running *running)
{
    op_run(running->commands->platform, OP_WRITE, end_work, end_done, running);
}

static void logs_deleted(void *arg, const struct err *err)
{
    struct running *running = arg;
    if (running->commands->stopped) {
        running_free(running);  // taken up again by the next server
        return;
    }
    if (err && err->kind != ERR_NONE)
        running->failure = *err;
    end(running);
}

// ── a step ───────────────────────────────────────────────────────────────────────────────────

static int step_work(struct op *op, void *arg, struct err *err)
{
    struct running *running = arg;
    struct command_step step = {.id = str_of(running->id),
                                .functions = running->commands->functions};
    int rc = command_step(op, &step, err);
    running->state = step.state;
    if (step.state == COMMAND_CLEAN && step.service_id.len <= ID_LEN)
        memcpy(running->service_id, step.service_id.at, step.service_id.len);
    return rc;
}

static void step_done(void *arg, struct err *err)
{
    struct running *running = arg;
    struct commands *commands = running->commands;
    if (commands->stopped) {
        running_free(running);
    } else if (err->kind == ERR_UNAVAILABLE || err->kind == ERR_BUSY) {
        later(running);
    } else if (err->kind != ERR_NONE) {
        log_warn(commands->platform->log, "commands", "command %s failed: %s", running->id,
                 err->message);
        running->failure = *err;
        end(running);
    } else if (running->state == COMMAND_MORE) {
        next_step(running);
    } else if (running->state == COMMAND_WAIT) {
        later(running);
    } else if (running->state == COMMAND_CLEAN && commands->platform->logs) {
        logs_delete_service(commands->platform->logs, str_of(running->service_id), logs_deleted,
                            running);
    } else {
        end(running);
    }
}

static void next_step(struct running *running)
{
    op_run(running->commands->platform, OP_WRITE, step_work, step_done, running);
}

static void take_up(struct commands *commands, struct str id)
{
    if (commands->stopped || id.len > ID_LEN || known(commands, id))
        return;
    struct running *running = mem_alloc(sizeof(*running));
    running->commands = commands;
    memcpy(running->id, id.at, id.len);
    list_push_back(&commands->running, &running->node);
    next_step(running);
}

static void on_created(void *arg, const struct event *event)
{
    struct commands *commands = arg;
    if (commands->started)
        take_up(commands, event->id);
}

// ── life ─────────────────────────────────────────────────────────────────────────────────────

struct unfinished {
    struct commands *commands;
    struct arena *arena;
    struct str *ids;
    size_t count;
};

static int unfinished_read(struct op *op, void *arg, struct err *err)
{
    struct unfinished *unfinished = arg;
    return command_open(op, unfinished->arena, &unfinished->ids, &unfinished->count, err);
}

static void unfinished_done(void *arg, struct err *err)
{
    struct unfinished *unfinished = arg;
    if (err->kind != ERR_NONE)
        log_error(unfinished->commands->platform->log, "commands",
                  "cannot read unfinished commands: %s", err->message);
    for (size_t i = 0; err->kind == ERR_NONE && i < unfinished->count; i++)
        take_up(unfinished->commands, unfinished->ids[i]);
    arena_free(unfinished->arena);
    mem_free(unfinished);
}

struct commands *commands_new(const struct platform *platform)
{
    struct commands *commands = mem_alloc(sizeof(*commands));
    commands->platform = platform;
    commands->functions = execution_functions_new();
    list_init(&commands->running);
    events_subscribe(platform->events, EVENT_COMMAND_CREATED, on_created, commands);
    return commands;
}

void commands_free(struct commands *commands)
{
    if (!commands)
        return;
    events_unsubscribe(commands->platform->events, EVENT_COMMAND_CREATED, on_created, commands);
    list_each (&commands->running, node, next)
        running_free(list_entry(node, struct running, node));
    execution_functions_free(commands->functions);
    mem_free(commands);
}

void commands_start(struct commands *commands)
{
    commands->started = true;
    struct unfinished *unfinished = mem_alloc(sizeof(*unfinished));
    unfinished->commands = commands;
    unfinished->arena = arena_new();
    op_run(commands->platform, OP_READ, unfinished_read, unfinished_done, unfinished);
}

void commands_stop(struct commands *commands)
{
    commands->stopped = true;
    list_each (&commands->running, node, next) {
        struct running *running = list_entry(node, struct running, node);
        if (!running->timer)
            continue;  // its step is under way
        loop_timer_cancel(running->timer);
        running_free(running);
    }
}
