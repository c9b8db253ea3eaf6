// SPDX-License-Identifier: Apache-2.0
#include "operation/execution.h"

#include "api/api_internal.h"
#include "api/listing.h"
#include "api/route_table.h"
#include "api/wait.h"
#include "model/execution.h"
#include "model/status.h"
#include "model/take.h"
#include "operation/command.h"

static int answer(struct call *call, const struct execution *execution, struct err *err)
{
    struct execution_status *log;
    size_t count;
    if (execution_log(&call->op, execution->id, &log, &count, err))
        return -1;
    execution_encode(execution, log, count, &call->out);
    return 0;
}

// ── waiting for the end ──────────────────────────────────────────────────────────────────────

struct waiting {
    bool wanted;
    struct str id;      // of the execution; absent: nothing to wait for
    struct wait *wait;  // NULL: not parked
};

static int read_again(struct call *call, struct err *err)
{
    struct waiting *waiting = call->data;
    struct execution execution;
    buf_clear(&call->reply);
    call->out = JSON_WRITER(&call->reply);
    if (tx_get(call->op.tx, &execution_entity, waiting->id, &execution, call->op.arena, err))
        return -1;
    return answer(call, &execution, err);
}

// The end brings the row; whoever waited in vain, or for one that ended otherwise, reads it.
static void answer_now(void *arg, const struct event *ended)
{
    struct call *call = arg;
    struct waiting *waiting = call->data;
    waiting->wait = NULL;
    call->on_gone = NULL;
    if (ended && ended->row) {
        struct err err = ERR_INIT;
        buf_clear(&call->reply);
        call->out = JSON_WRITER(&call->reply);
        execution_encode(ended->row, ended->log, ended->log_count, &call->out);
        if (!call->reply.over) {
            call_finish(call, &err);
            return;
        }
    }
    call_run(call, OP_READ, read_again, NULL);
}

static void wait_gone(struct call *call)
{
    struct waiting *waiting = call->data;
    wait_cancel(waiting->wait);
    answer_now(call, NULL);
}

static void created(struct call *call, struct err *err)
{
    struct waiting *waiting = call->data;
    if (err->kind != ERR_NONE || !waiting->id.at || !call->http || call->api->stopping) {
        call_finish(call, err);
        return;
    }
    call->accepted = true;  // whatever becomes of its service meanwhile
    call->on_gone = wait_gone;
    waiting->wait = wait_start(call->api->waits, waiting->id,
                               call->op.platform->settings->wait_max_ms, answer_now, call);
}

static const char wait_key[] = "waitUntilExecutionIsFinished";

static int start_waiting(struct call *call, struct err *err)
{
    struct waiting *waiting = arena_new_of(call->op.arena, struct waiting);
    call->data = waiting;
    if (take_bool(call->body, wait_key, &waiting->wanted, err))
        return -1;
    waiting->wanted |= call_query_bool(call, wait_key);
    return 0;
}

// ── create ───────────────────────────────────────────────────────────────────────────────────

static int create_one(struct call *call, struct json body, struct execution *out, struct err *err)
{
    struct execution_request request = {
        .service = &call->subject.service,
        .body = body,
        .functions = call->api->functions,
    };
    return execution_create(&call->op, &request, out, err);
}

static void write_error(struct json_writer *out, const struct err *err)
{
    json_w_object(out);
    json_w_key(out, "error");
    json_w_object(out);
    json_w_pair_int(out, "statusCode", err_status(err->kind));
    json_w_pair_str(out, "message", str_of(err->message));
    if (err->field[0])
        json_w_pair_str(out, "field", str_of(err->field));
    json_w_object_end(out);
    json_w_object_end(out);
}

static int create_of_many(struct call *call, struct json body, struct execution *out,
                          struct err *err)
{
    struct json batch;
    if (body.type != JSON_OBJECT)
        return err_set(err, ERR_BAD_INPUT, "An execution must be an object, not %s",
                       json_type_name(body.type));
    if (json_get(body, "batch", &batch) && batch.type != JSON_NULL)
        return err_field(err, "batch", "batch cannot stand in an array: send it on its own");
    return create_one(call, body, out, err);
}

// Each is made or refused on its own; what fails inside of the store fails them all.
static int create_many(struct call *call, struct err *err)
{
    int64_t max = call->op.platform->settings->bulk_max;
    struct json_iter it = json_each(call->body);
    struct str key;
    if ((int64_t)json_count(call->body) > max)
        return err_set(err, ERR_TOO_LARGE,
                       "An array may hold at most %lld executions (--max-bulk), not %zu",
                       (long long)max, json_count(call->body));
    json_w_array(&call->out);
    for (struct json body; json_next(&it, &key, &body);) {
        struct execution execution;
        struct err one = ERR_INIT;
        int rc = create_of_many(call, body, &execution, &one);
        if (rc && (one.kind == ERR_INTERNAL || one.kind == ERR_UNAVAILABLE)) {
            *err = one;
            return -1;
        }
        if (rc)
            write_error(&call->out, &one);
        else
            entity_encode(&execution_entity, &execution, &call->out);
    }
    json_w_array_end(&call->out);
    return 0;
}

static int create_batch(struct call *call, struct err *err)
{
    struct command command;
    if (command_create_batch(&call->op, &call->subject.service, call->body, &command, err))
        return -1;
    entity_encode(&command_entity, &command, &call->out);
    return 0;
}

static int create_work(struct call *call, struct err *err)
{
    struct waiting *waiting = call->data;
    struct execution execution;
    struct json batch;
    if (call->body.type == JSON_ARRAY)
        return create_many(call, err);
    if (json_get(call->body, "batch", &batch) && batch.type != JSON_NULL)
        return create_batch(call, err);
    if (create_one(call, call->body, &execution, err))
        return -1;
    if (waiting->wanted)
        waiting->id = execution.id;
    entity_encode(&execution_entity, &execution, &call->out);
    return 0;
}

static int create_execution(struct call *call, struct err *err)
{
    if (start_waiting(call, err))
        return -1;
    call_run(call, OP_WRITE, create_work, created);
    return 0;
}

// ── one execution ────────────────────────────────────────────────────────────────────────────

static int get_execution(struct call *call, struct err *err)
{
    return answer(call, &call->subject.execution, err);
}

static int update(struct call *call, struct err *err)
{
    struct execution execution;
    if (execution_update(&call->op, &call->subject.execution, call->body, &execution, err))
        return -1;
    return answer(call, &execution, err);
}

static int terminate(struct call *call, struct err *err)
{
    struct execution execution;
    if (execution_terminate(&call->op, &call->subject.execution, &execution, err))
        return -1;
    return answer(call, &execution, err);
}

static int rerun_work(struct call *call, struct err *err)
{
    struct waiting *waiting = call->data;
    struct execution execution;
    if (execution_rerun(&call->op, &call->subject.execution, &execution, err))
        return -1;
    if (waiting->wanted)
        waiting->id = execution.id;
    return answer(call, &execution, err);
}

static int rerun(struct call *call, struct err *err)
{
    if (start_waiting(call, err))
        return -1;
    call_run(call, OP_WRITE, rerun_work, created);
    return 0;
}

static int increment(struct call *call, struct err *err)
{
    int64_t attempts;
    if (execution_increment(&call->op, &call->subject.execution, &attempts, err))
        return -1;
    json_w_int(&call->out, attempts);
    return 0;
}

static int progress(struct call *call, struct err *err)
{
    struct execution execution;
    if (execution_report(&call->op, &call->subject.execution, call->body, &execution, err))
        return -1;
    return answer(call, &execution, err);
}

// ── many ─────────────────────────────────────────────────────────────────────────────────────

static int by_query(struct call *call, bool terminate_them, struct err *err)
{
    struct command command;
    struct json query = {0};
    json_get(call->body, "query", &query);
    if (command_create_rerun(&call->op, query, terminate_them, &command, err))
        return -1;
    entity_encode(&command_entity, &command, &call->out);
    return 0;
}

static int rerun_query(struct call *call, struct err *err) { return by_query(call, false, err); }

static int terminate_query(struct call *call, struct err *err) { return by_query(call, true, err); }

static int list_executions(struct call *call, struct err *err)
{
    return listing_get(call, &execution_entity,
                       "projectId serviceId functionName triggerId status creator", NULL, err);
}

static void write_count(void *arg, struct str status, int64_t count)
{
    struct call *call = arg;
    json_w_key_str(&call->out, status);
    json_w_int(&call->out, count);
}

static int get_counters(struct call *call, struct err *err)
{
    struct json json = {0};
    struct filter *given, *mine;
    struct str text = call_query(call, "filter"), project = call_query(call, "projectId"),
               service = call_query(call, "serviceId");
    struct arena *arena = call->op.arena;
    if (text.len > 0 && json_parse(text, 0, &json, err))
        return err_wrap(err, "filter");
    if (filter_parse(json, &execution_entity, op_limits(&call->op), arena, &given, err) ||
        listing_filter(call, &execution_entity, &mine, err))
        return -1;
    given = filter_and(given, mine, arena);
    if (project.at)
        given = filter_and(given, filter_eq_text(&execution_entity, "projectId", project, arena),
                           arena);
    if (service.at)
        given = filter_and(given, filter_eq_text(&execution_entity, "serviceId", service, arena),
                           arena);
    json_w_object(&call->out);
    if (tx_count_by(call->op.tx, &execution_entity, given, "status", write_count, call, err))
        return -1;
    json_w_object_end(&call->out);
    return 0;
}

#define EXECUTIONS "Executions"
#define WAIT       "waitUntilExecutionIsFinished:boolean"

static const struct route routes[] = {
    {"POST", "/executions/{serviceId}", ROUTE_LOOP, SCOPE_SERVICE, ROLE_DEVELOPER, BODY_JSON_ANY,
     create_execution, .operation_id = "createExecution",
     .summary = "Run a function: one execution, an array of them, or a batch by query",
     .tag = EXECUTIONS, .request = "ExecutionRequest", .response = "ExecutionAnswer",
     .success = 201, .query = WAIT},
    {"GET", "/executions", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, list_executions,
     .operation_id = "listExecutions", .summary = "List executions, newest first",
     .tag = EXECUTIONS, .response = "ExecutionPage",
     .query = "projectId:string serviceId:string functionName:string triggerId:string "
              "status:string creator:string pageOffset:integer pageSize:integer"},
    {"GET", "/executions/counters", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, get_counters,
     .operation_id = "countExecutions", .summary = "Count executions by status", .tag = EXECUTIONS,
     .response = "Counters", .query = "filter:string projectId:string serviceId:string"},
    {"POST", "/executions/rerun", ROUTE_WRITE, SCOPE_CALLER, ROLE_NONE, BODY_JSON, rerun_query,
     .operation_id = "rerunExecutions", .summary = "Run again all ended executions of a query",
     .tag = EXECUTIONS, .request = "ExecutionQuery", .response = "Command"},
    {"POST", "/executions/terminate", ROUTE_WRITE, SCOPE_CALLER, ROLE_NONE, BODY_JSON,
     terminate_query, .operation_id = "terminateExecutions",
     .summary = "Terminate all open executions of a query", .tag = EXECUTIONS,
     .request = "ExecutionQuery", .response = "Command"},
    {"GET", "/executions/{id}", ROUTE_READ, SCOPE_EXECUTION, ROLE_VIEWER, BODY_NONE, get_execution,
     .operation_id = "getExecution", .summary = "Get an execution", .tag = EXECUTIONS,
     .response = "Execution"},
    {"PATCH", "/executions/{id}", ROUTE_WRITE, SCOPE_EXECUTION, ROLE_DEVELOPER, BODY_JSON, update,
     .operation_id = "updateExecution", .summary = "Change an execution that has not ended",
     .tag = EXECUTIONS, .request = "Object", .response = "Execution"},
    {"POST", "/executions/{id}/terminate", ROUTE_WRITE, SCOPE_EXECUTION, ROLE_DEVELOPER,
     BODY_JSON_OPTIONAL, terminate, .operation_id = "terminateExecution",
     .summary = "Ask an execution to stop", .tag = EXECUTIONS, .response = "Execution"},
    {"POST", "/executions/{id}/rerun", ROUTE_LOOP, SCOPE_EXECUTION, ROLE_DEVELOPER,
     BODY_JSON_OPTIONAL, rerun, .operation_id = "rerunExecution",
     .summary = "Queue an ended execution again under the same id", .tag = EXECUTIONS,
     .response = "Execution", .query = WAIT},
    {"POST", "/executions/{id}/attempts", ROUTE_WRITE, SCOPE_EXECUTION, ROLE_DEVELOPER,
     BODY_JSON_OPTIONAL, increment, .operation_id = "incrementAttempts",
     .summary = "Count one attempt more", .tag = EXECUTIONS, .response = "Number"},
    {"POST", "/executions/{id}/progress", ROUTE_WRITE, SCOPE_EXECUTION, ROLE_DEVELOPER, BODY_JSON,
     progress, .operation_id = "reportProgress", .summary = "Report progress or an end",
     .tag = EXECUTIONS, .request = "ProgressReport", .response = "Execution"},
};

const struct route_list execution_routes = {routes, sizeof(routes) / sizeof(routes[0])};
