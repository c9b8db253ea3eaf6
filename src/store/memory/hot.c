// SPDX-License-Identifier: Apache-2.0
#include "model/status.h"
#include "store/memory/memory_internal.h"

// A copy to change of an execution that is not final; false when there is none.
static bool open_execution(struct memory_tx *tx, struct str id, struct execution *out)
{
    struct memory_row *row = store_memory_find(store_memory_table(tx, &execution_entity), id);
    if (!row)
        return false;
    *out = *(struct execution *)row->data;
    enum status status = status_parse(out->status);
    return status != STATUS_NONE && !status_final(status);
}

static void put(struct memory_tx *tx, const struct execution *execution, bool *applied)
{
    store_memory_put(tx, store_memory_table(tx, &execution_entity), execution);
    *applied = true;
}

static void set_text(struct str *to, struct str value)
{
    if (value.at)
        *to = value;
}

static void set_int(int64_t *to, int64_t value)
{
    if (value != INT_NONE)
        *to = value;
}

// Why the attempt before ended is not what this one says.
static void forget_before(struct execution *execution)
{
    if (str_is(execution->status, "rerun"))
        execution->status_message = STR_NONE;
}

int store_memory_execution_start(struct tx *base, struct str id, int64_t fence,
                                 struct str replica_id, int64_t now, bool *applied, struct err *err)
{
    (void)err;
    struct execution execution;
    if (!open_execution(memory_of(base), id, &execution) || execution.fence >= fence)
        return 0;
    forget_before(&execution);
    execution.status = STR("in-progress");
    execution.fence = fence;
    execution.replica_id = replica_id;
    execution.started_at = execution.updated_at = now;
    put(memory_of(base), &execution, applied);
    return 0;
}

int store_memory_execution_finish(struct tx *base, const struct execution_result *result,
                                  bool *applied, struct err *err)
{
    (void)err;
    struct execution execution;
    if (!open_execution(memory_of(base), result->id, &execution) || execution.fence > result->fence)
        return 0;
    forget_before(&execution);
    execution.status = result->status;
    set_text(&execution.status_message, result->message);
    set_text(&execution.output, result->output);
    set_text(&execution.error, result->error);
    execution.usage = result->usage;
    set_text(&execution.replica_id, result->replica_id);
    set_int(&execution.fence, result->fence);
    set_int(&execution.started_at, result->started_at);
    set_int(&execution.ended_at, result->ended_at);
    set_int(&execution.updated_at, result->ended_at);
    if (result->attempts > execution.attempts)
        execution.attempts = result->attempts;
    if (str_is(result->status, "success"))
        execution.percent = 100;
    put(memory_of(base), &execution, applied);
    return 0;
}

int store_memory_execution_requeue(struct tx *base, struct str id, int64_t fence, int64_t attempts,
                                   struct str message, bool *applied, struct err *err)
{
    (void)err;
    struct execution execution;
    if (!open_execution(memory_of(base), id, &execution) || execution.fence > fence)
        return 0;
    execution.status = STR("rerun");
    set_text(&execution.status_message, message);
    set_int(&execution.fence, fence);
    set_int(&execution.attempts, attempts);
    put(memory_of(base), &execution, applied);
    return 0;
}

int store_memory_execution_each_open(struct tx *base,
                                     void (*each)(void *arg, struct str id, struct str service_id,
                                                  struct str status, int64_t fence),
                                     void *arg, struct err *err)
{
    (void)err;
    struct memory_table *table = store_memory_table(memory_of(base), &execution_entity);
    for (size_t i = 0; i < table->count; i++) {
        const struct execution *execution = table->rows[i]->data;
        enum status status = status_parse(execution->status);
        if (status != STATUS_NONE && !status_final(status))
            each(arg, execution->id, execution->service_id, execution->status, execution->fence);
    }
    return 0;
}
