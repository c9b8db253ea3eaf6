// SPDX-License-Identifier: Apache-2.0
// Why an execution or a service is as it is. Rows are read on a store thread, the rest is looked up
// on the loop (operation/inspect.h); operation/explain.h makes the sentences.
#include "api/api_internal.h"
#include "api/route_table.h"
#include "model/runtime.h"
#include "operation/explain.h"

#define RERUNS_MOST 20

struct why {
    struct service service;
    bool has_service;
    struct runtime runtime;
    struct replica *rows;
    size_t row_count;
    struct execution_status *reruns;
    size_t rerun_count;
    int64_t ahead;
    struct explain_service in;
    struct arena *arena;
};

// ── on a store thread ────────────────────────────────────────────────────────────────────────

static int read_service(struct op *op, struct why *why, struct str id, struct err *err)
{
    void *rows;
    if (tx_get(op->tx, &service_entity, id, &why->service, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        *err = ERR_INIT;
        return 0;
    }
    why->has_service = true;
    struct query query = {.filter = filter_eq_text(&replica_entity, "serviceId", id, op->arena)};
    if (runtime_parse(json_of(why->service.runtime), NULL, &why->runtime, op->arena, err) ||
        tx_select(op->tx, &replica_entity, &query, op->arena, &rows, &why->row_count, err))
        return -1;
    why->rows = rows;
    return 0;
}

static int service_rows(struct call *call, struct err *err)
{
    return read_service(&call->op, call->data, call->subject.service.id, err);
}

static int read_reruns(struct op *op, struct why *why, const struct execution *execution,
                       struct err *err)
{
    struct filter *these = filter_and(
        filter_eq_text(&execution_status_entity, "execution_id", execution->id, op->arena),
        filter_eq_text(&execution_status_entity, "status", STR("rerun"), op->arena), op->arena);
    struct query query = {.filter = these, .limit = RERUNS_MOST};
    void *rows;
    if (tx_select(op->tx, &execution_status_entity, &query, op->arena, &rows, &why->rerun_count,
                  err))
        return -1;
    why->reruns = rows;
    return 0;
}

static int execution_rows(struct call *call, struct err *err)
{
    static const struct str waiting[] = {STR("created"), STR("rerun")};
    struct op *op = &call->op;
    struct why *why = call->data;
    const struct execution *execution = &call->subject.execution;
    if (read_service(op, why, execution->service_id, err) || read_reruns(op, why, execution, err))
        return -1;
    if (execution->ended_at != INT_NONE)
        return 0;
    struct filter *ahead = filter_and(
        filter_and(filter_eq_text(&execution_entity, "serviceId", execution->service_id, op->arena),
                   filter_in_text(&execution_entity, "status", waiting, 2, op->arena), op->arena),
        filter_compare(&execution_entity, "createdAt", FILTER_LT, execution->created_at, op->arena),
        op->arena);
    return tx_count(op->tx, &execution_entity, ahead, &why->ahead, err);
}

// ── on the loop ──────────────────────────────────────────────────────────────────────────────

static void add_agent(void *arg, const struct replica_status *status)
{
    struct why *why = arg;
    if (status->phase == REPLICA_EXITED || why->in.agent_count == EXPLAIN_MAX)
        return;
    struct explain_agent *agent = &why->in.agents[why->in.agent_count++];
    agent->status = *status;
    agent->id = agent->status.id = arena_copy(why->arena, status->id);
    agent->status.message = arena_copy(why->arena, status->message);
    agent->status.reason = arena_copy(why->arena, status->reason);
    agent->status.revision = arena_copy(why->arena, status->revision);
    for (size_t i = 0; i < why->row_count; i++) {
        const struct replica *row = &why->rows[i];
        if (!str_eq(row->id, status->id))
            continue;
        agent->ready = str_is(row->state, "ready");
        agent->doing = row->message.len ? row->message : row->phase;
    }
}

static void look(struct call *call, struct why *why, struct str service_id)
{
    struct api *api = call->api;
    why->arena = call->op.arena;
    why->in.now = clock_wall(call->op.platform->clock);
    if (!why->has_service)
        return;
    why->in.service = &why->service;
    why->in.wanted = why->service.active ? why->runtime.replicas : 0;
    why->in.agents = arena_array_of(why->arena, struct explain_agent, EXPLAIN_MAX);
    inspect_service(api->config.dispatch, service_id, why->arena, &why->in.look);
    driver_observe(api->config.driver, service_id, add_agent, why);
}

static void answer(struct call *call, struct str status, const struct explain *explain)
{
    struct json_writer *out = &call->out;
    json_w_object(out);
    json_w_pair_str(out, "status", status);
    json_w_key(out, "sentences");
    json_w_array(out);
    for (size_t i = 0; i < explain->count; i++)
        json_w_str(out, explain->lines[i]);
    json_w_array_end(out);
    json_w_object_end(out);
    call_finish(call, NULL);
}

static void service_done(struct call *call, struct err *err)
{
    struct why *why = call->data;
    if (err->kind != ERR_NONE) {
        call_finish(call, err);
        return;
    }
    struct explain explain = {.arena = call->op.arena};
    look(call, why, call->subject.service.id);
    explain_service(&why->in, &explain);
    answer(call, why->service.active ? STR("active") : STR("paused"), &explain);
}

static void execution_done(struct call *call, struct err *err)
{
    struct why *why = call->data;
    const struct execution *execution = &call->subject.execution;
    if (err->kind != ERR_NONE) {
        call_finish(call, err);
        return;
    }
    struct explain explain = {.arena = call->op.arena};
    struct explain_execution in = {.execution = execution,
                                   .of = &why->in,
                                   .ahead = why->ahead,
                                   .reruns = why->reruns,
                                   .rerun_count = why->rerun_count};
    look(call, why, execution->service_id);
    inspect_execution(call->api->config.dispatch, execution->id, call->op.arena, &in.look);
    explain_execution(&in, &explain);
    answer(call, execution->status, &explain);
}

static int why_service(struct call *call, struct err *err)
{
    (void)err;
    call->data = arena_new_of(call->op.arena, struct why);
    call_run(call, OP_READ, service_rows, service_done);
    return 0;
}

static int why_execution(struct call *call, struct err *err)
{
    (void)err;
    call->data = arena_new_of(call->op.arena, struct why);
    call_run(call, OP_READ, execution_rows, execution_done);
    return 0;
}

static const struct route routes[] = {
    {"GET", "/services/{id}/why", ROUTE_LOOP, SCOPE_SERVICE, ROLE_VIEWER, BODY_NONE, why_service,
     .operation_id = "explainService",
     .summary = "Say in sentences what a service's agents and queue are doing", .tag = "Services",
     .response = "Why"},
    {"GET", "/executions/{id}/why", ROUTE_LOOP, SCOPE_EXECUTION, ROLE_VIEWER, BODY_NONE,
     why_execution, .operation_id = "explainExecution",
     .summary = "Say in sentences why an execution waits, where it runs, or how it ended",
     .tag = "Executions", .response = "Why"},
};

const struct route_list why_routes = ROUTE_LIST(routes);
