// SPDX-License-Identifier: Apache-2.0
#include "operation/execution.h"

#include "base/id.h"
#include "model/describe.h"
#include "model/status.h"
#include "model/take.h"
#include "operation/attempt.h"
#include "operation/execution_functions.h"
#include "operation/service_env.h"

#define BUSY_RETRY_S 5
#define LOG_MAX      1000

// ── create ───────────────────────────────────────────────────────────────────────────────────

static struct str function_names(const struct module *module, struct arena *arena)
{
    struct str names = STR("");
    for (size_t i = 0; i < module->function_count && names.len < 400; i++)
        names = arena_printf(arena, STR_FMT "%s" STR_FMT, STR_ARG(names), i > 0 ? ", " : "",
                             STR_ARG(module->functions[i].name));
    return describe_clip(names, 400);
}

static int find_function(struct op *op, const struct module *module,
                         const struct execution *execution, const struct function **out,
                         struct err *err)
{
    *out = function_find(module, execution->function_name);
    if (*out)
        return 0;
    struct str names = function_names(module, op->arena);
    struct str shown = describe_clip(execution->function_name, 64);
    return err_field(err, "functionName",
                     "functionName: module " STR_FMT " has no function " STR_FMT
                     "; it has " STR_FMT,
                     STR_ARG(module->name), STR_ARG(shown), STR_ARG(names));
}

static bool input_known(const struct function *function, struct str raw_name)
{
    for (size_t i = 0; i < function->input_count; i++) {
        if (json_raw_eq(raw_name, function->inputs[i].name))
            return true;
    }
    return false;
}

static int check_input(struct op *op, const struct function *function,
                       const struct execution *execution, struct err *err)
{
    int64_t max = op->platform->settings->input_max;
    struct json_iter it = json_each(json_of(execution->input));
    struct str key;
    if ((int64_t)execution->input.len > max)
        return err_set(err, ERR_TOO_LARGE,
                       "The input is %zu bytes, more than --max-input allows (%lld): upload big "
                       "inputs as an item and pass its id",
                       execution->input.len, (long long)max);
    for (struct json value; json_next(&it, &key, &value);) {
        if (input_known(function, key))
            continue;
        struct str shown = describe_clip(json_unescape(key, op->arena), 64);
        return err_field(err, "input", "input: function " STR_FMT " has no input named " STR_FMT,
                         STR_ARG(function->name), STR_ARG(shown));
    }
    return 0;
}

static int check_queue(struct op *op, const struct service *service, struct err *err)
{
    static const struct str queued[] = {STR("created"), STR("rerun")};
    int64_t limit = service->queue_length_limit, count;
    if (limit == INT_NONE || limit == 0)
        return 0;
    struct filter *filter = filter_and(
        filter_eq_text(&execution_entity, "serviceId", service->id, op->arena),
        filter_in_text(&execution_entity, "status", queued, 2, op->arena), op->arena);
    if (tx_count(op->tx, &execution_entity, filter, &count, err))
        return -1;
    if (count < limit)
        return 0;
    err_set(err, ERR_BUSY,
            "The queue of service " STR_FMT " is full (queueLengthLimit %lld); try again later",
            STR_ARG(service->name), (long long)limit);
    err->retry_after = BUSY_RETRY_S;
    return -1;
}

static void fill(struct op *op, const struct service *service, const struct str package_name,
                 struct execution *out)
{
    out->id = op_id(op);
    out->project_id = service->project_id;
    out->org_id = service->org_id;
    out->service_id = service->id;
    out->service_name = service->name;
    out->service_version = service->version;
    out->package_id = service->package_id;
    out->package_name = package_name;
    out->package_revision = service->package_revision;
    out->module_name = service->module_name;
    out->status = STR("created");
    if (out->max_attempts == INT_NONE)
        out->max_attempts = service->max_attempts;
    out->app = service->app;
    out->driver_id = service->driver_id;
    out->creator = op->caller.user_id;
    out->created_at = out->updated_at = op->now;
}

static void note_ready(struct op *op, const struct execution *execution)
{
    struct event event = {
        .kind = EVENT_EXECUTION_READY, .id = execution->id, .service_id = execution->service_id};
    if (execution->input.len < QUEUE_BODY_MAX && str_is(execution->status, "created")) {
        struct str body = execution_delivery(execution, op->arena);
        if (body.len <= QUEUE_BODY_MAX)
            event.body = body;
    }
    op_event(op, &event);
}

static int read_request(struct op *op, const struct execution_request *request,
                        struct execution *out, const struct service_functions **functions,
                        struct err *err)
{
    const struct function *function;
    // What a command makes was held to the limits when the command was accepted.
    const struct limits *limits = request->command_id.at ? NULL : op_limits(op);
    return entity_decode(&execution_entity, request->body, DECODE_CREATE, limits, out, op->arena,
                         err) ||
                   execution_functions_of(op, request->functions, request->service, functions,
                                          err) ||
                   find_function(op, &(*functions)->module, out, &function, err) ||
                   check_input(op, function, out, err)
               ? -1
               : 0;
}

int execution_check(struct op *op, const struct execution_request *request, struct err *err)
{
    const struct service_functions *functions;
    struct execution unused;
    return read_request(op, request, &unused, &functions, err);
}

int execution_create(struct op *op, const struct execution_request *request, struct execution *out,
                     struct err *err)
{
    const struct service_functions *functions;
    if (read_request(op, request, out, &functions, err) || check_queue(op, request->service, err))
        return -1;
    fill(op, request->service, arena_copy(op->arena, functions->package_name), out);
    out->command_id = request->command_id;
    if (tx_insert(op->tx, &execution_entity, out, err))
        return -1;
    note_ready(op, out);
    return 0;
}

// ── change ───────────────────────────────────────────────────────────────────────────────────

static bool is_final(const struct execution *execution)
{
    return status_final(status_parse(execution->status));
}

// Without its data: the log tells what was done, not with what.
static int audit(struct op *op, const char *action, const struct execution *before,
                 const struct execution *after, struct err *err)
{
    struct execution old = *before, new = *after;
    old.input = old.output = new.input = new.output = STR_NONE;
    return op_audit(op, action, &execution_entity, &old, &new, err);
}

static void note_terminate(struct op *op, const struct execution *execution)
{
    op_event(op, &(struct event){.kind = EVENT_EXECUTION_TERMINATE,
                                 .id = execution->id,
                                 .service_id = execution->service_id});
}

int execution_terminate(struct op *op, const struct execution *before, struct execution *out,
                        struct err *err)
{
    *out = *before;
    if (is_final(before))
        return 0;
    out->to_terminate = true;
    out->updated_at = op->now;
    if (!before->to_terminate && (tx_update(op->tx, &execution_entity, out, err) ||
                                  audit(op, "terminate", before, out, err)))
        return -1;
    note_terminate(op, out);  // also when it was marked before: a lost word is said again
    return 0;
}

static int keep_end(struct op *op, const struct execution *execution, struct err *err)
{
    struct execution_status entry;
    entity_clear(&execution_status_entity, &entry);
    entry.id = op_id(op);
    entry.execution_id = execution->id;
    entry.status = execution->status;
    entry.message = execution->status_message;
    entry.percent = execution->percent;
    entry.error = execution->error;
    entry.output = execution->output;
    entry.replica_id = execution->replica_id;
    entry.timestamp = execution->ended_at == INT_NONE ? execution->updated_at : execution->ended_at;
    return tx_insert(op->tx, &execution_status_entity, &entry, err);
}

static int rerun_service(struct op *op, const struct execution *execution, struct service *out,
                         struct err *err)
{
    if (tx_get(op->tx, &service_entity, execution->service_id, out, op->arena, err) == 0)
        return 0;
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    return err_set(err, ERR_CONFLICT,
                   "Execution " STR_FMT " cannot run again: its service was deleted",
                   STR_ARG(execution->id));
}

int execution_rerun(struct op *op, const struct execution *before, struct execution *out,
                    struct err *err)
{
    struct service service;
    if (!is_final(before))
        return err_set(err, ERR_CONFLICT,
                       "Execution " STR_FMT " is " STR_FMT
                       ": it can be run again once it has ended",
                       STR_ARG(before->id), STR_ARG(before->status));
    if (rerun_service(op, before, &service, err) || check_queue(op, &service, err) ||
        keep_end(op, before, err))
        return -1;
    *out = *before;
    out->status = STR("rerun");
    out->status_message = out->error = out->output = out->replica_id = STR_NONE;
    out->percent = 0;
    out->attempts = 0;
    out->to_terminate = false;
    out->started_at = out->ended_at = INT_NONE;
    // Whatever an agent still does or says of it belongs to the past.
    out->fence = out->rerun_fence = fence_next(op->platform);
    out->service_version = service.version;
    out->package_revision = service.package_revision;
    out->updated_at = op->now;
    if (tx_update(op->tx, &execution_entity, out, err) || audit(op, "rerun", before, out, err))
        return -1;
    note_ready(op, out);
    return 0;
}

int execution_increment(struct op *op, const struct execution *before, int64_t *attempts,
                        struct err *err)
{
    struct execution after = *before;
    *attempts = (before->attempts == INT_NONE ? 0 : before->attempts) + 1;
    after.attempts = *attempts;
    after.updated_at = op->now;
    return tx_update(op->tx, &execution_entity, &after, err);
}

int execution_update(struct op *op, const struct execution *before, struct json body,
                     struct execution *out, struct err *err)
{
    struct json value;
    struct execution given;
    *out = *before;
    if (is_final(before))
        return 0;  // clients send back what they have; nothing of it can change any more
    if (entity_decode(&execution_entity, body, DECODE_CREATE, op_limits(op), &given, op->arena,
                      err))
        return -1;
    if (json_get(body, "maxAttempts", &value) && given.max_attempts != INT_NONE)
        out->max_attempts = given.max_attempts;
    if (json_get(body, "feedbackQueue", &value))
        out->feedback_queue = given.feedback_queue;
    if (json_get(body, "syncReplyTo", &value))
        out->sync_reply_to = given.sync_reply_to;
    if (json_get(body, "pipeline", &value))
        out->pipeline = given.pipeline;
    if (json_get(body, "model", &value))
        out->model = given.model;
    out->updated_at = op->now;
    if (tx_update(op->tx, &execution_entity, out, err))
        return -1;
    return audit(op, "update", before, out, err);
}

// ── ends from outside the agent link ─────────────────────────────────────────────────────────

static int end(struct op *op, const struct execution *execution, struct execution_result *result,
               struct err *err)
{
    bool applied;
    result->id = execution->id;
    result->fence = execution->fence == INT_NONE ? 0 : execution->fence;
    result->replica_id = execution->replica_id;
    result->started_at = execution->started_at;
    result->ended_at = op->now;
    result->attempts = execution->attempts;
    if (execution_record(op, result, execution->service_id, false, &applied, err))
        return -1;
    note_terminate(op, execution);  // off the queue, and off the agent that may have it
    return 0;
}

int execution_cancel(struct op *op, const struct execution *execution, struct str message,
                     struct err *err)
{
    bool running = status_parse(execution->status) == STATUS_IN_PROGRESS;
    struct execution_result result = {
        .status = running ? STR("aborted") : STR("canceled"),
        .message = message,
    };
    return end(op, execution, &result, err);
}

// What a report says, checked.
struct report {
    enum status status;
    struct str message, output, error;
    double percent;  // NAN: not said
};

static int read_report(struct op *op, struct json body, struct report *out, struct err *err)
{
    struct json value;
    char what[DESCRIBE_SIZE];
    *out = (struct report){.status = STATUS_IN_PROGRESS, .percent = NAN};
    if (json_get(body, "status", &value) && value.type != JSON_NULL) {
        out->status = status_parse(json_str(value, op->arena));
        if (out->status != STATUS_IN_PROGRESS && !status_final(out->status))
            return err_field(err, "status",
                             "status must be in-progress, success, failed, terminated, aborted, "
                             "canceled or system-failure, not %s",
                             describe_value(value, what));
    }
    if (json_get(body, "percentComplete", &value) && value.type != JSON_NULL &&
        (!json_double(value, &out->percent) || out->percent < 0 || out->percent > 100))
        return err_field(err, "percentComplete",
                         "percentComplete must be a number from 0 to 100, not %s",
                         describe_value(value, what));
    if (take_text(body, "message", &out->message, op->arena, err))
        return -1;
    if (json_get(body, "output", &value) && value.type != JSON_NULL)
        out->output = value.text;
    if (json_get(body, "error", &value) && value.type != JSON_NULL) {
        if (value.type != JSON_OBJECT && value.type != JSON_STRING)
            return err_field(err, "error", "error must be an object or a string, not %s",
                             describe_value(value, what));
        out->error = value.text;
    }
    if ((int64_t)out->output.len > op->platform->settings->output_max)
        return err_set(err, ERR_TOO_LARGE, "The output is over --max-output (%lld bytes)",
                       (long long)op->platform->settings->output_max);
    return 0;
}

static bool by_function(const struct op *op, const struct execution *execution)
{
    return op->caller.kind == CALLER_SERVICE &&
           str_eq(op->caller.service_id, execution->service_id);
}

// dtlpy inside a function reports here, past its agent.
static int hide_secrets(struct op *op, const struct execution *execution, struct report *report,
                        struct err *err)
{
    struct redactor *redactor;
    _cleanup_buf_ struct buf clean = BUF_INIT(SIZE_MAX);
    if (!by_function(op, execution))
        return 0;
    if (service_env_redactor(op, execution->service_id, &redactor, err))
        return -1;
    if (redact_text(redactor, report->message, &clean))
        report->message = arena_copy(op->arena, buf_str(&clean));
    if (redact_json(redactor, report->error, &clean))
        report->error = arena_copy(op->arena, buf_str(&clean));
    redactor_free(redactor);
    return 0;
}

static int record_progress(struct op *op, const struct report *report, struct execution *execution,
                           struct err *err)
{
    struct execution_status entry;
    entity_clear(&execution_status_entity, &entry);
    entry.id = op_id(op);
    entry.execution_id = execution->id;
    entry.status = STR("in-progress");
    entry.message = report->message;
    entry.percent = report->percent;
    entry.output = report->output;
    entry.error = report->error;
    entry.replica_id = execution->replica_id;
    entry.timestamp = op->now;
    if (by_function(op, execution)) {  // it speaks, so it runs
        execution->status = STR("in-progress");
        if (execution->started_at == INT_NONE)
            execution->started_at = op->now;
    }
    if (!isnan(report->percent))
        execution->percent = report->percent;
    if (report->message.at)
        execution->status_message = report->message;
    if (report->output.at)
        execution->output = report->output;
    execution->updated_at = op->now;
    return tx_insert(op->tx, &execution_status_entity, &entry, err) ||
                   tx_update(op->tx, &execution_entity, execution, err)
               ? -1
               : 0;
}

int execution_report(struct op *op, const struct execution *before, struct json body,
                     struct execution *out, struct err *err)
{
    struct report report;
    *out = *before;
    if (read_report(op, body, &report, err) || hide_secrets(op, before, &report, err))
        return -1;
    if (is_final(before))
        return err_set(err, ERR_CONFLICT, "Execution " STR_FMT " has ended already (" STR_FMT ")",
                       STR_ARG(before->id), STR_ARG(before->status));
    // A function that says it is done is still running: its return value ends it.
    bool done_soon = report.status == STATUS_SUCCESS && by_function(op, before);
    if (!status_final(report.status) || done_soon)
        return record_progress(op, &report, out, err);
    struct execution_result result = {
        .status = str_of(status_word(report.status)),
        .message = report.message,
        .output = report.output,
        .error = report.error,
    };
    if (end(op, before, &result, err) ||
        tx_get(op->tx, &execution_entity, before->id, out, op->arena, err))
        return -1;
    return audit(op, "end", before, out, err);
}

// ── read ─────────────────────────────────────────────────────────────────────────────────────

int execution_log(struct op *op, struct str id, struct execution_status **out, size_t *count,
                  struct err *err)
{
    struct query query = {
        .filter = filter_eq_text(&execution_status_entity, "executionId", id, op->arena),
        .sort = {{.field = &execution_status_entity.fields[0],
                  .path = STR(""),
                  .descending = true}},
        .sort_count = 1,
        .limit = LOG_MAX,
    };
    void *rows;
    if (tx_select(op->tx, &execution_status_entity, &query, op->arena, &rows, count, err))
        return -1;
    *out = rows;
    for (size_t i = 0; i < *count / 2; i++) {
        struct execution_status swap = (*out)[i];
        (*out)[i] = (*out)[*count - 1 - i];
        (*out)[*count - 1 - i] = swap;
    }
    return 0;
}
