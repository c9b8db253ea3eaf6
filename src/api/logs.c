// SPDX-License-Identifier: Apache-2.0
// POST /services/logs: pages of log lines. The client asks again with the checkpoint until a page
// says stop; that page's lines are not looked at, so the last lines always come with stop: false.
// With follow an empty page is held until there is news.
#include <limits.h>

#include "api/api_internal.h"
#include "api/log_checkpoint.h"
#include "api/route_table.h"
#include "api/wait.h"
#include "base/clock.h"
#include "model/describe.h"
#include "model/execution.h"
#include "model/status.h"
#include "model/take.h"
#include "operation/deletion.h"
#include "operation/log_ends.h"

#define SIZE_MAX_LINES 1000
#define HOLD_MS        10000
#define READS_MAX      20  // of lines that nobody looks for, before a page without lines is given

struct log_call {
    struct call *call;
    // what was asked
    struct str project_id, service_id, function_name, replica_id;
    struct take_names executions;
    int64_t start, size;
    bool follow, system, descending;
    bool by_execution;  // no service was named
    struct log_checkpoint at;
    // how the executions stand, at each look
    bool all_final;
    bool drained, lost;  // all their lines are stored, or (lost) will not be
    int64_t last_end;
    struct log_line end_line;  // of the one execution that was asked for, when it has ended
    // the page
    int64_t deadline;  // mono ms; 0: not held yet
    struct wait *wait;
    struct arena *arena;  // of one look
    struct logs_read read;
    int reads;  // since a line was found
};

// ── the request ──────────────────────────────────────────────────────────────────────────────

static int take_time(struct call *call, const char *key, int64_t *out, struct err *err)
{
    char what[DESCRIBE_SIZE];
    struct json value;
    if (!json_get(call->body, key, &value) || value.type == JSON_NULL)
        return 0;
    struct str text = json_str(value, call->op.arena);
    if (json_int(value, out) || (text.at && time_parse(text, out)))
        return 0;
    return err_field(err, key, "%s must be a time such as 2026-11-23T08:00:00Z, not %s", key,
                     describe_value(value, what));
}

// One id or a list of them. To name none is a mistake: it would mean all lines, or no line ever.
static int take_executions(struct log_call *log, struct err *err)
{
    struct call *call = log->call;
    int64_t max = call->op.platform->settings->bulk_max;
    struct json value;
    struct str *one;
    if (json_get(call->body, "executionId", &value) && value.type == JSON_STRING) {
        one = arena_new_of(call->op.arena, struct str);
        log->executions = (struct take_names){one, 1};
        return take_name(call->body, "executionId", one, call->op.arena, err);
    }
    if (take_names(call->body, "executionId", &log->executions, call->op.arena, err))
        return -1;
    if ((int64_t)log->executions.count > max)
        return err_field(err, "executionId", "executionId has %zu entries; --max-bulk allows %lld",
                         log->executions.count, (long long)max);
    return log->executions.at && log->executions.count == 0
               ? err_field(err, "executionId",
                           "executionId names no execution: give an id, or leave it out")
               : 0;
}

// The service may stand in the path, in the body, or in both alike.
static int take_service(struct log_call *log, struct err *err)
{
    struct call *call = log->call;
    struct str named = call_param(call, 0);
    if (take_name(call->body, "serviceId", &log->service_id, call->op.arena, err))
        return -1;
    if (!log->service_id.at)
        log->service_id = named;
    if (!named.at || str_eq(named, log->service_id))
        return 0;
    return err_field(err, "serviceId", "serviceId is not the service " STR_FMT " of the path",
                     STR_ARG(named));
}

// What a checkpoint could not carry is refused: further pages would be of other lines.
static int take_search(struct log_call *log, struct err *err)
{
    struct str *text = &log->at.text;
    if (take_text(log->call->body, "text", text, log->call->op.arena, err))
        return -1;
    return log_text_fits(*text)
               ? 0
               : err_field(err, "text", "text is longer than %d characters", LOG_TEXT_MAX);
}

static int take_words(struct log_call *log, struct err *err)
{
    struct json body = log->call->body;
    struct arena *arena = log->call->op.arena;
    return take_name(body, "projectId", &log->project_id, arena, err) || take_service(log, err) ||
                   take_name(body, "functionName", &log->function_name, arena, err) ||
                   take_name(body, "replicaId", &log->replica_id, arena, err) ||
                   take_search(log, err) || take_bool(body, "follow", &log->follow, err) ||
                   take_bool(body, "system", &log->system, err)
               ? -1
               : 0;
}

static int take_limits(struct log_call *log, struct err *err)
{
    struct call *call = log->call;
    char what[DESCRIBE_SIZE];
    struct json value;
    struct str level, direction;
    if (take_text(call->body, "logLevel", &level, call->op.arena, err) ||
        take_text(call->body, "direction", &direction, call->op.arena, err))
        return -1;
    log->size = SIZE_MAX_LINES;
    if (json_get(call->body, "size", &value) && value.type != JSON_NULL &&
        (!json_int(value, &log->size) || log->size < 1))
        return err_field(err, "size", "size must be a number from 1 on, not %s",
                         describe_value(value, what));
    if (log->size > SIZE_MAX_LINES)
        log->size = SIZE_MAX_LINES;
    if (level.at && !(log->at.level = line_level_parse(level)))
        return err_field(err, "logLevel",
                         "logLevel must be DEBUG, INFO, WARNING, ERROR or CRITICAL, not \"" STR_FMT
                         "\"",
                         STR_ARG(describe_clip(level, 40)));
    if (direction.at && !str_is(direction, "asc") && !str_is(direction, "desc"))
        return err_field(err, "direction", "direction must be asc or desc, not \"" STR_FMT "\"",
                         STR_ARG(describe_clip(direction, 40)));
    log->descending = str_is(direction, "desc");
    return 0;
}

static int read_request(struct log_call *log, struct err *err)
{
    struct call *call = log->call;
    struct json checkpoint;
    log->start = INT64_MIN;
    log->at = (struct log_checkpoint){.end = INT64_MAX};
    if (take_words(log, err) || take_time(call, "start", &log->start, err) ||
        take_time(call, "end", &log->at.end, err) || take_executions(log, err) ||
        take_limits(log, err))
        return -1;
    log->by_execution = !log->service_id.at && log->executions.count > 0;
    if (log->at.text.len == 0)
        log->at.text = STR_NONE;
    log->at.seq = log->descending ? INT64_MAX : -1;
    if (log->descending)
        log->follow = false;
    if (json_get(call->body, "checkpoint", &checkpoint) && checkpoint.type != JSON_NULL)
        return log_checkpoint_read(checkpoint, &log->at, call->op.arena, err);
    return 0;
}

// ── who may, and how its executions stand (store thread) ─────────────────────────────────────

static int check_executions(struct log_call *log, struct err *err)
{
    struct op *op = &log->call->op;
    log->all_final = log->executions.count > 0;
    log->last_end = 0;
    for (size_t i = 0; i < log->executions.count; i++) {
        struct execution execution;
        if (tx_get(op->tx, &execution_entity, log->executions.at[i], &execution, op->arena, err)) {
            if (err->kind != ERR_NOT_FOUND)
                return -1;
            *err = ERR_INIT;  // of a deleted project: nothing more comes
            continue;
        }
        if (!status_final(status_parse(execution.status))) {
            log->all_final = false;
            continue;
        }
        if (execution.updated_at > log->last_end)
            log->last_end = execution.updated_at;
        log->end_line = (struct log_line){.at = execution.ended_at,
                                          .level = LINE_INFO,
                                          .service_id = execution.service_id,
                                          .project_id = execution.project_id,
                                          .execution_id = execution.id,
                                          .function_name = execution.function_name,
                                          .replica_id = execution.replica_id,
                                          .message = STR(EXECUTION_LAST_LINE)};
    }
    return 0;
}

static int check(struct call *call, struct err *err)
{
    struct log_call *log = call->data;
    struct op *op = &call->op;
    const char *kind = "project";
    struct str id = log->project_id;
    struct service service;
    struct execution execution;
    // At each look: an execution may outlive its service, until it has ended.
    if (log->by_execution) {
        kind = "execution";
        id = log->executions.at[0];
        if (tx_get(op->tx, &execution_entity, id, &execution, op->arena, err))
            return err->kind == ERR_NOT_FOUND ? access_unknown(err, kind, id) : -1;
        log->service_id = execution.service_id;
        log->project_id = execution.project_id;
    } else if (log->service_id.at) {
        kind = "service";
        id = log->service_id;
        if (tx_get(op->tx, &service_entity, id, &service, op->arena, err))
            return err->kind == ERR_NOT_FOUND ? access_unknown(err, kind, id) : -1;
        log->project_id = service.project_id;
    } else if (!log->project_id.at) {
        return err_field(err, "serviceId",
                         "serviceId is missing: name the service whose logs to "
                         "read");
    }
    bool deleted;
    if (access_require_seen(op, log->project_id, ROLE_VIEWER, kind, id, err) ||
        deletion_under_way(op, log->project_id, STR_NONE, &deleted, err))
        return -1;
    if (deleted)
        return access_unknown(err, kind, id);
    return check_executions(log, err);
}

// ── the page ─────────────────────────────────────────────────────────────────────────────────

static void look(struct log_call *log);
static void look_again(void *arg, const struct event *ended);

static void write_line(struct json_writer *out, const struct log_line *line)
{
    char time[TIME_TEXT_SIZE];
    time_format(line->at, time);
    json_w_object(out);
    json_w_pair_str(out, "message", line->message.at ? line->message : STR(""));
    json_w_pair_str(out, "timestamp", str_of(time));
    json_w_pair_str(out, "level", str_of(line_level_word(line->level)));
    json_w_pair_str(out, "serviceId", line->service_id);
    json_w_pair_str(out, "replicaId", line->replica_id);
    json_w_pair_str(out, "executionId", line->execution_id);
    json_w_pair_str(out, "functionName", line->function_name);
    json_w_pair_str(out, "projectId", line->project_id);
    json_w_pair_bool(out, "system", line->system);
    json_w_object_end(out);
}

// Of a page in descending order: where whoever has shown its lines goes on with newer ones.
static void write_newest(struct log_call *log, struct json_writer *out)
{
    const struct log_checkpoint at = {
        .seq = log->at.end_given ? -1 : log->read.lines[0].seq,
        .end = log->at.end,
        .level = log->at.level,
        .end_given = log->at.end_given,
        .text = log->at.text,
    };
    json_w_pair_str(out, "newest", log_checkpoint_text(&at, log->call->op.arena));
}

static void finish(struct log_call *log, bool stop)
{
    struct call *call = log->call;
    struct json_writer *out = &call->out;
    const struct logs_read *read = &log->read;
    if (read->more)
        log->at.seq = read->reached;
    else if (read->count > 0)
        log->at.seq = read->lines[read->count - 1].seq;
    json_w_object(out);
    json_w_key(out, "logs");
    json_w_array(out);
    for (size_t i = 0; i < read->count; i++)
        write_line(out, &read->lines[i]);
    json_w_array_end(out);
    json_w_pair_str(out, "checkpoint", log_checkpoint_text(&log->at, call->op.arena));
    if (log->descending && read->count > 0)
        write_newest(log, out);
    json_w_pair_bool(out, "stop", stop);
    if (log->executions.count > 0) {
        json_w_pair_bool(out, "ended", stop && log->drained);
        json_w_pair_bool(out, "complete", stop && log->drained && !log->lost);
    }
    json_w_object_end(out);
    arena_free(log->arena);
    log->arena = NULL;
    call_finish(call, NULL);
}

static void fail(struct log_call *log, const struct err *err)
{
    arena_free(log->arena);
    log->arena = NULL;
    call_finish(log->call, err);
}

static void gone(struct call *call)
{
    struct log_call *log = call->data;
    call->on_gone = NULL;
    wait_cancel(log->wait);
    finish(log, false);
}

static void hold(struct log_call *log)
{
    struct call *call = log->call;
    int64_t now = clock_mono(call->op.platform->clock);
    if (log->deadline == 0)
        log->deadline = now + HOLD_MS;
    int64_t left = log->deadline - now;
    if (left <= 0 || !call->http || call->api->stopping) {
        finish(log, false);
        return;
    }
    // Nothing wakes a look at a whole project, nor one that waits for an end to be old enough.
    if ((!log->service_id.at || log->all_final) && left > 1000)
        left = 1000;
    call->on_gone = gone;
    log->wait = wait_start(call->api->waits, log->service_id.at ? log->service_id : STR("-"), left,
                           look_again, log);
}

static void read_lines(struct log_call *log);

static void on_any_line(void *arg, struct logs_read *read)
{
    struct log_call *log = arg;
    if (read->err.kind != ERR_NONE) {
        fail(log, &read->err);
        return;
    }
    bool silent = read->count == 0;
    log->end_line.seq = log->at.seq;
    log->at.end_given = silent;
    log->read.lines = &log->end_line;
    log->read.count = silent;
    log->read.more = false;
    finish(log, !silent);  // clients look at no line of a page that says stop
}

// An agent leaves out the last line of an execution that wrote no others, which would be most of
// what there is to store for short functions. Whoever reads such a log is given it here.
static void finish_or_end(struct log_call *log)
{
    bool plain = !log->at.text.at && !log->function_name.at && !log->replica_id.at &&
                 log->at.level <= LINE_INFO && log->end_line.at >= log->start &&
                 log->end_line.at <= log->at.end;
    if (log->executions.count != 1 || !log->drained || log->lost || log->at.end_given || !plain) {
        finish(log, true);
        return;
    }
    log->read = (struct logs_read){.query = {.project_id = log->project_id,
                                             .service_id = log->service_id,
                                             .executions = log->executions.at,
                                             .execution_count = 1,
                                             .system = true,
                                             .start = INT64_MIN,
                                             .end = INT64_MAX,
                                             .after_seq = -1,
                                             .before_seq = INT64_MAX,
                                             .limit = 1},
                                   .arena = log->arena,
                                   .done = on_any_line,
                                   .arg = log};
    logs_read(log->call->op.platform->logs, &log->read);
}

static void on_lines(void *arg, struct logs_read *read)
{
    struct log_call *log = arg;
    struct call *call = log->call;
    bool over = log->at.end < clock_wall(call->op.platform->clock);
    if (read->err.kind != ERR_NONE) {
        fail(log, &read->err);
    } else if (read->more && read->count == 0 && ++log->reads < READS_MAX && call->http &&
               !call->api->stopping) {
        log->at.seq = read->reached;
        arena_reset(log->arena);
        read_lines(log);
    } else if (read->more || read->count > 0)
        finish(log, false);
    else if (!log->follow || log->drained || over)
        finish_or_end(log);
    else
        hold(log);
}

static void read_lines(struct log_call *log)
{
    log->read = (struct logs_read){
        .query = {.project_id = log->project_id,
                  .service_id = log->service_id,
                  .function_name = log->function_name,
                  .replica_id = log->replica_id,
                  .text = log->at.text,
                  .executions = log->executions.at,
                  .execution_count = log->executions.count,
                  .level_min = log->at.level,
                  .system = log->system,
                  .start = log->start,
                  .end = log->at.end,
                  .after_seq = log->descending ? -1 : log->at.seq,
                  .before_seq = log->descending ? log->at.seq : INT64_MAX,
                  .descending = log->descending,
                  .limit = log->size},
        .arena = log->arena,
        .done = on_lines,
        .arg = log,
    };
    logs_read(log->call->op.platform->logs, &log->read);
}

// Whether all that the executions wrote can be read now.
static void look_at_ends(struct log_call *log)
{
    const struct log_ends *ends = log->call->op.platform->log_ends;
    log->drained = log->all_final;
    log->lost = false;
    for (size_t i = 0; log->all_final && i < log->executions.count; i++) {
        enum log_end end = log_ends_of(ends, log->executions.at[i], log->last_end);
        log->drained &= end != LOG_END_OPEN;
        log->lost |= end == LOG_END_LOST;
    }
}

static void checked(struct call *call, struct err *err)
{
    struct log_call *log = call->data;
    if (err->kind != ERR_NONE) {
        fail(log, err);
        return;
    }
    if (!log->arena)
        log->arena = arena_new();
    arena_reset(log->arena);
    log->reads = 0;
    look_at_ends(log);
    read_lines(log);
}

static void look(struct log_call *log) { call_run(log->call, OP_READ, check, checked); }

static void look_again(void *arg, const struct event *ended)
{
    (void)ended;
    struct log_call *log = arg;
    log->wait = NULL;
    log->call->on_gone = NULL;
    look(log);
}

static int get_logs(struct call *call, struct err *err)
{
    struct log_call *log = arena_new_of(call->op.arena, struct log_call);
    log->call = call;
    call->data = log;
    if (read_request(log, err))
        return -1;
    look(log);
    return 0;
}

static const struct route routes[] = {
    {"POST", "/services/logs", ROUTE_LOOP, SCOPE_CALLER, ROLE_NONE, BODY_JSON, get_logs,
     .operation_id = "getLogs", .summary = "Read or follow log lines, a page at a time",
     .tag = "Logs", .request = "LogQuery", .response = "LogPage"},
    {"POST", "/services/{id}/logs", ROUTE_LOOP, SCOPE_CALLER, ROLE_NONE, BODY_JSON, get_logs,
     .operation_id = "getServiceLogs",
     .summary = "Read or follow a service's log lines, a page at a time", .tag = "Logs",
     .request = "LogQuery", .response = "LogPage"},
};

const struct route_list log_routes = {routes, sizeof(routes) / sizeof(routes[0])};
