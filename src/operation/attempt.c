// SPDX-License-Identifier: Apache-2.0
#include "operation/attempt.h"

#include "base/id.h"
#include "model/status.h"
#include "operation/execution.h"

struct str execution_delivery(const struct execution *execution, struct arena *arena)
{
    struct buf buf = BUF_INIT(SIZE_MAX);
    struct json_writer w = JSON_WRITER(&buf);
    json_w_object(&w);
    json_w_pair_str(&w, "id", execution->id);
    json_w_pair_str(&w, "function", execution->function_name);
    json_w_key(&w, "input");
    json_w_raw(&w, execution->input.len > 0 ? execution->input : STR("{}"));
    json_w_pair_int(&w, "attempt", execution->attempts + 1);
    if (execution->rerun_fence != INT_NONE && execution->rerun_fence > 0)
        json_w_pair_int(&w, "since", execution->rerun_fence);
    if (execution->timeout_s != INT_NONE)
        json_w_pair_int(&w, "timeoutS", execution->timeout_s);
    json_w_pair_int(&w, "createdAt", execution->created_at);
    json_w_pair_str(&w, "creator", execution->creator);
    json_w_pair_str(&w, "triggerId", execution->trigger_id);
    json_w_pair_raw(&w, "eventContext", execution->event_context);
    json_w_object_end(&w);
    struct str text = arena_copy(arena, buf_str(&buf));
    buf_deinit(&buf);
    return text;
}

// 0: found and not final; 1: gone or final; -1: trouble.
static int open_execution(struct op *op, struct str id, struct execution *out, struct err *err)
{
    if (tx_get(op->tx, &execution_entity, id, out, op->arena, err) == 0)
        return status_final(status_parse(out->status)) ? 1 : 0;
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    return 1;
}

static int64_t fence_of(const struct execution *execution)
{
    return execution->fence == INT_NONE ? 0 : execution->fence;
}

int execution_fetch(struct op *op, struct str id, struct str *body, int64_t *attempts,
                    bool *to_terminate, bool *deliver, struct err *err)
{
    struct execution execution;
    int state = open_execution(op, id, &execution, err);
    *deliver = state == 0;
    if (state != 0)
        return state < 0 ? -1 : 0;
    *to_terminate = execution.to_terminate;
    *attempts = execution.attempts == INT_NONE ? 0 : execution.attempts;
    execution.attempts = *attempts;
    *body = execution_delivery(&execution, op->arena);
    return 0;
}

// Is `fence` the newest one known, and has its attempt not ended yet? One that ended without a
// result left its fence in a row that waits.
static bool may_hold(const struct execution *execution, int64_t fence)
{
    int64_t newest = fence_of(execution);
    bool running = status_parse(execution->status) == STATUS_IN_PROGRESS;
    return newest < fence || (newest == fence && running);
}

int execution_confirm_held(struct op *op, struct str service_id, struct dispatch_ref *held,
                           size_t count, size_t *kept, struct err *err)
{
    *kept = 0;
    for (size_t i = 0; i < count; i++) {
        struct execution execution;
        int state = open_execution(op, held[i].id, &execution, err);
        if (state < 0)
            return -1;
        if (state == 0 && str_eq(execution.service_id, service_id) &&
            may_hold(&execution, held[i].fence))
            held[(*kept)++] = (struct dispatch_ref){
                .id = held[i].id,
                .fence = held[i].fence,
                .attempts = execution.attempts == INT_NONE ? 0 : execution.attempts,
                .to_terminate = execution.to_terminate,
            };
    }
    return 0;
}

static int note_ended(struct op *op, struct str id, struct str service_id, bool watched,
                      struct err *err)
{
    struct event event = {.kind = EVENT_EXECUTION_ENDED,
                          .id = arena_copy(op->arena, id),
                          .service_id = arena_copy(op->arena, service_id)};
    if (watched) {
        struct execution *row = arena_new_of(op->arena, struct execution);
        struct execution_status *log;
        if (tx_get(op->tx, &execution_entity, id, row, op->arena, err) ||
            execution_log(op, id, &log, &event.log_count, err))
            return -1;
        event.row = row;
        event.log = log;
    }
    op_event(op, &event);
    return 0;
}

// The runner could not close this delivery's log; somebody else does (force: for good).
static void note_cut(struct op *op, const struct execution *execution, struct str why, bool final)
{
    op_event(op, &(struct event){.kind = EVENT_EXECUTION_CUT,
                                 .id = execution->id,
                                 .service_id = execution->service_id,
                                 .project_id = execution->project_id,
                                 .function_name = execution->function_name,
                                 .body = arena_copy(op->arena, why),
                                 .force = final});
}

static struct str error_json(struct op *op, const char *name, struct str message)
{
    struct buf buf = BUF_INIT(SIZE_MAX);
    struct json_writer w = JSON_WRITER(&buf);
    json_w_object(&w);
    json_w_pair_str(&w, "message", message);
    json_w_pair_str(&w, "type", str_of(name));
    json_w_object_end(&w);
    struct str text = arena_copy(op->arena, buf_str(&buf));
    buf_deinit(&buf);
    return text;
}

int execution_record(struct op *op, const struct execution_result *result, struct str service_id,
                     bool watched, bool *applied, struct err *err)
{
    struct execution_result final = *result;
    int64_t limit = op->platform->settings->output_max;
    if ((int64_t) final.output.len > limit) {
        final.status = STR("failed");
        final.message = arena_printf(op->arena,
                                     "the output is %zu bytes, more than --max-output allows "
                                     "(%lld): store big results as an item and return its id",
                                     final.output.len, (long long)limit);
        final.output = STR_NONE;
        final.error = error_json(op, "OutputTooLarge", final.message);
    }
    if (tx_execution_finish(op->tx, &final, applied, err))
        return -1;
    return *applied ? note_ended(op, final.id, service_id, watched, err) : 0;
}

int execution_progress(struct op *op, const struct dispatch_progress *progress,
                       struct str replica_id, struct err *err)
{
    struct execution execution;
    int state = open_execution(op, progress->ref.id, &execution, err);
    if (state != 0 || fence_of(&execution) > progress->ref.fence)
        return state < 0 ? -1 : 0;
    struct execution_status entry;
    entity_clear(&execution_status_entity, &entry);
    entry.id = op_id(op);
    entry.execution_id = execution.id;
    entry.status = STR("in-progress");
    entry.message = progress->message;
    entry.percent = progress->percent;
    entry.output = progress->output;
    entry.replica_id = replica_id;
    entry.timestamp = progress->at;
    if (tx_insert(op->tx, &execution_status_entity, &entry, err))
        return -1;
    bool again = str_is(execution.status, "rerun");
    if (again || execution.started_at == INT_NONE)
        execution.started_at = progress->at;
    if (again)
        execution.status_message = STR_NONE;  // that was of the attempt before
    execution.status = STR("in-progress");
    execution.fence = progress->ref.fence;
    execution.replica_id = replica_id;
    execution.updated_at = op->now;
    if (!isnan(progress->percent))
        execution.percent = progress->percent;
    if (progress->message.at)
        execution.status_message = progress->message;
    if (progress->output.at)
        execution.output = progress->output;
    return tx_update(op->tx, &execution_entity, &execution, err);
}

static int requeue(struct op *op, const struct execution *execution, const struct attempt_end *end,
                   int64_t attempts, struct err *err)
{
    bool applied;
    if (tx_execution_requeue(op->tx, execution->id, end->ref.fence, attempts, end->reason, &applied,
                             err))
        return -1;
    if (!applied)
        return 0;
    struct execution_status entry;
    entity_clear(&execution_status_entity, &entry);
    entry.id = op_id(op);
    entry.execution_id = execution->id;
    entry.status = STR("rerun");
    entry.message = end->reason;
    entry.replica_id = end->replica_id;
    entry.timestamp = op->now;
    if (tx_insert(op->tx, &execution_status_entity, &entry, err))
        return -1;
    if (end->counted)
        note_cut(op, execution, end->reason, false);
    op_event(op, &(struct event){.kind = EVENT_EXECUTION_READY,
                                 .id = execution->id,
                                 .service_id = execution->service_id,
                                 .force = true});
    return 0;
}

int execution_attempt_ended(struct op *op, const struct attempt_end *end, struct err *err)
{
    struct execution execution;
    int state = open_execution(op, end->ref.id, &execution, err);
    if (state != 0 || fence_of(&execution) > end->ref.fence)
        return state < 0 ? -1 : 0;
    int64_t attempts = (execution.attempts == INT_NONE ? 0 : execution.attempts) + end->counted;
    if (!end->counted && !execution.to_terminate)
        return requeue(op, &execution, end, attempts, err);

    struct service service;
    bool rerun = false;
    if (tx_get(op->tx, &service_entity, execution.service_id, &service, op->arena, err) == 0)
        rerun = str_is(service.on_reset, "rerun");
    else if (err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    int64_t most = execution.max_attempts == INT_NONE ? op->platform->settings->attempts_default
                                                      : execution.max_attempts;
    if (rerun && !execution.to_terminate && attempts < most)
        return requeue(op, &execution, end, attempts, err);

    // Behind the first line: an agent's last words follow it.
    struct str words = end->reason, first = str_cut(&words, '\n');
    struct str message = arena_printf(op->arena, STR_FMT "%s%s" STR_FMT, STR_ARG(first),
                                      execution.to_terminate ? " (it was to be terminated)"
                                      : rerun                ? " (no attempts are left)"
                                                             : "",
                                      words.len > 0 ? "\n" : "", STR_ARG(words));
    struct execution_result result = {
        .id = execution.id,
        .status = execution.to_terminate ? STR("terminated") : STR("failed"),
        .message = message,
        .error = error_json(op, "AttemptLost", message),
        .replica_id = end->replica_id,
        .fence = end->ref.fence,
        .started_at = execution.started_at,
        .ended_at = op->now,
        .attempts = attempts,
    };
    bool applied;
    note_cut(op, &execution, message, true);
    return execution_record(op, &result, execution.service_id, false, &applied, err);
}

int execution_end_queued(struct op *op, struct str id, int64_t fence, struct err *err)
{
    struct execution execution;
    int state = open_execution(op, id, &execution, err);
    if (state != 0 || !execution.to_terminate)  // it ended otherwise, and was run again
        return state < 0 ? -1 : 0;
    struct str message = STR("terminated before it ran");
    struct execution_result result = {
        .id = execution.id,
        .status = STR("terminated"),
        .message = message,
        .error = error_json(op, "Terminated", message),
        .fence = fence,
        .started_at = execution.started_at,
        .ended_at = op->now,
        .attempts = execution.attempts,
    };
    bool applied;
    note_cut(op, &execution, message, true);
    return execution_record(op, &result, execution.service_id, false, &applied, err);
}
