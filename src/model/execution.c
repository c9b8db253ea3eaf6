// SPDX-License-Identifier: Apache-2.0
#include "model/execution.h"

#include "base/clock.h"
#include "model/fields.h"

// Bytes of an input or output; what users meet first are --max-input, --max-output and --max-body.
#define PAYLOAD_MAX (1 << 30)

static const struct field fields[] = {
    COLUMN_ID(execution),
    COLUMN(execution, project_id, "projectId", TEXT, .flags = FIELD_FIXED),
    COLUMN(execution, org_id, "orgId", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution, service_id, "serviceId", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution, service_name, "serviceName", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution, service_version, "serviceVersion", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution, package_id, "packageId", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution, package_name, "packageName", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution, package_revision, "packageRevision", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution, module_name, "moduleName", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution, function_name, "functionName", TEXT, .flags = FIELD_FIXED | FIELD_NONEMPTY,
           .fallback = "\"run\"", .limit = LIMIT_NAME),
    COLUMN(execution, input, "input", JSON, .flags = FIELD_FIXED | FIELD_OBJECT, .fallback = "{}",
           .max = PAYLOAD_MAX),
    COLUMN(execution, output, "output", JSON, .flags = FIELD_READONLY, .max = PAYLOAD_MAX),
    COLUMN(execution, status, "status", TEXT, .flags = FIELD_READONLY | FIELD_COMPOSED,
           .fallback = "\"created\""),
    COLUMN(execution, status_message, "statusMessage", TEXT,
           .flags = FIELD_READONLY | FIELD_COMPOSED),
    COLUMN(execution, percent, "percentComplete", DOUBLE, .flags = FIELD_READONLY | FIELD_COMPOSED,
           .fallback = "0"),
    COLUMN(execution, error, "error", JSON, .flags = FIELD_READONLY | FIELD_COMPOSED),
    COLUMN(execution, usage, "usage", JSON, .flags = FIELD_READONLY | FIELD_OBJECT | FIELD_OMIT),
    COLUMN(execution, attempts, "attempts", INT, .flags = FIELD_READONLY, .fallback = "0"),
    COLUMN(execution, max_attempts, "maxAttempts", INT, .flags = FIELD_FIXED, .min = 1,
           .max = 1000),
    COLUMN(execution, fence, "fence", INT, .flags = FIELD_INTERNAL, .fallback = "0"),
    COLUMN(execution, rerun_fence, "rerunFence", INT, .flags = FIELD_INTERNAL),
    COLUMN(execution, replica_id, "replicaId", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution, to_terminate, "toTerminate", BOOL, .flags = FIELD_READONLY),
    COLUMN(execution, trigger_id, "triggerId", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution, command_id, "commandId", TEXT, .flags = FIELD_READONLY | FIELD_OMIT),
    COLUMN(execution, batch, "batch", JSON, .flags = FIELD_READONLY | FIELD_OBJECT | FIELD_OMIT),
    COLUMN(execution, event_context, "eventContext", JSON, .flags = FIELD_READONLY | FIELD_OBJECT),
    COLUMN(execution, pipeline, "pipeline", JSON, .flags = FIELD_FIXED),
    COLUMN(execution, model, "model", JSON, .flags = FIELD_FIXED),
    COLUMN(execution, app, "app", JSON, .flags = FIELD_READONLY),
    COLUMN(execution, feedback_queue, "feedbackQueue", JSON, .flags = FIELD_FIXED),
    COLUMN(execution, sync_reply_to, "syncReplyTo", JSON, .flags = FIELD_FIXED),
    COLUMN(execution, driver_id, "driverId", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution, creator, "creator", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution, timeout_s, "timeoutSeconds", INT, .flags = FIELD_FIXED, .min = 1,
           .max = 10LL * 365 * 24 * 3600),
    COLUMN(execution, started_at, "startedAt", TIME, .flags = FIELD_READONLY),
    COLUMN(execution, ended_at, "endedAt", TIME, .flags = FIELD_READONLY),
    COLUMN_TIMES(execution),
    EXTRA(execution, duration, "duration", INT, FIELD_COMPOSED),
    ALIAS(execution, status, "latestStatus.status", TEXT),
    ALIAS(execution, status_message, "latestStatus.message", TEXT),
    ALIAS(execution, percent, "latestStatus.percentComplete", DOUBLE),
    ALIAS(execution, updated_at, "latestStatus.timestamp", TIME),
    ALIAS(execution, error, "latestStatus.error", JSON),
    ALIAS(execution, output, "latestStatus.output", JSON),
};

struct report {  // one entry of a status log
    struct str status, message, error;
    double percent;
    int64_t timestamp;
};

static void encode_time(struct json_writer *out, const char *key, int64_t ms)
{
    char text[TIME_TEXT_SIZE];
    json_w_key(out, key);
    if (ms == INT_NONE) {
        json_w_null(out);
        return;
    }
    time_format(ms, text);
    json_w_cstr(out, text);
}

// The members that every entry has; the caller closes the object.
static void encode_report(struct json_writer *out, const struct report *report)
{
    json_w_object(out);
    json_w_pair_str(out, "status", report->status);
    encode_time(out, "timestamp", report->timestamp);
    json_w_pair_str(out, "message", report->message.at ? report->message : STR(""));
    json_w_key(out, "percentComplete");
    json_w_double(out, isnan(report->percent) ? 0 : report->percent);
    json_w_pair_raw(out, "error", report->error);
}

static struct report report_now(const struct execution *execution)
{
    return (struct report){execution->status, execution->status_message, execution->error,
                           execution->percent, execution->updated_at};
}

static void encode_log_entry(struct json_writer *out, const struct execution_status *entry)
{
    encode_report(out, &(struct report){entry->status, entry->message, entry->error, entry->percent,
                                        entry->timestamp});
    json_w_pair_raw(out, "output", entry->output);
    if (entry->action.at)
        json_w_pair_str(out, "action", entry->action);
    if (entry->replica_id.at)
        json_w_pair_str(out, "replicaId", entry->replica_id);
    json_w_object_end(out);
}

// Whether the newest row of the log tells of the present status; an equal one from before the
// newest attempt is the end of a former run.
static bool tells_present(const struct execution *execution, const struct execution_status *newest)
{
    bool former = execution->started_at != INT_NONE && newest->timestamp < execution->started_at;
    return str_eq(execution->status, newest->status) && !former;
}

// The last entry leaves the output out: it may be large and stands beside the log already.
static void encode_log(struct json_writer *out, const char *key, const struct execution *execution,
                       const struct execution_status *log, size_t count)
{
    struct report created = {STR("created"), STR(""), STR_NONE, 0, execution->created_at};
    bool told = count ? tells_present(execution, &log[count - 1])
                      : str_is(execution->status, "created");

    json_w_key(out, key);
    json_w_array(out);
    encode_report(out, &created);
    json_w_object_end(out);
    for (size_t i = 0; i < count; i++)
        encode_log_entry(out, &log[i]);
    if (execution->status.at && !told) {
        struct report now = report_now(execution);
        encode_report(out, &now);
        if (execution->replica_id.at)
            json_w_pair_str(out, "replicaId", execution->replica_id);
        json_w_object_end(out);
    }
    json_w_array_end(out);
}

static int64_t duration_of(const struct execution *execution)
{
    if (execution->duration != INT_NONE)
        return execution->duration;
    if (execution->started_at == INT_NONE || execution->ended_at == INT_NONE)
        return 0;
    return execution->ended_at - execution->started_at;
}

static void encode_rest(const struct execution *execution, const struct execution_status *log,
                        size_t count, struct json_writer *out)
{
    struct report now = report_now(execution);
    fields_link(out, "url", "executions", execution->id, "");
    json_w_pair_int(out, "duration", duration_of(execution));
    json_w_key(out, "latestStatus");
    encode_report(out, &now);
    json_w_pair_raw(out, "output", execution->output);
    json_w_object_end(out);
    encode_log(out, "status", execution, log, count);
    encode_log(out, "statusLog", execution, log, count);
}

static void encode_more(const void *row, struct json_writer *out)
{
    encode_rest(row, NULL, 0, out);
}

void execution_encode(const struct execution *execution, const struct execution_status *log,
                      size_t count, struct json_writer *out)
{
    json_w_object(out);
    entity_encode_columns(&execution_entity, execution, out);
    encode_rest(execution, log, count, out);
    json_w_object_end(out);
}

#define REPORT_SCHEMA                                                                              \
    "{\"type\":\"object\",\"properties\":{\"status\":{\"type\":\"string\"},"                       \
    "\"timestamp\":{\"type\":\"string\",\"format\":\"date-time\"},"                                \
    "\"message\":{\"type\":\"string\"},\"percentComplete\":{\"type\":\"number\"},"                 \
    "\"error\":{\"description\":\"An object with a message, a text, or null.\"},\"output\":{}}}"

const struct entity execution_entity = {
    .name = "execution",
    .table = "executions",
    .resource = "executions",
    .size = sizeof(struct execution),
    FIELDS(fields),
    .encode_more = encode_more,
    .schema_more = "{\"url\":{\"type\":\"string\"},\"duration\":{\"type\":\"integer\"},"
                   "\"latestStatus\":" REPORT_SCHEMA ","
                   "\"status\":{\"type\":\"array\",\"items\":" REPORT_SCHEMA "},"
                   "\"statusLog\":{\"type\":\"array\",\"items\":" REPORT_SCHEMA "}}",
};

static const struct field status_fields[] = {
    COLUMN_ID(execution_status),
    COLUMN(execution_status, execution_id, "executionId", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution_status, status, "status", TEXT, .flags = FIELD_READONLY),
    COLUMN(execution_status, message, "message", TEXT),
    COLUMN(execution_status, action, "action", TEXT, .flags = FIELD_OMIT),
    COLUMN(execution_status, replica_id, "replicaId", TEXT, .flags = FIELD_READONLY | FIELD_OMIT),
    COLUMN(execution_status, percent, "percentComplete", DOUBLE, .min = 0, .max = 100),
    COLUMN(execution_status, error, "error", JSON),
    COLUMN(execution_status, output, "output", JSON, .max = PAYLOAD_MAX),
    COLUMN(execution_status, timestamp, "timestamp", TIME, .flags = FIELD_READONLY),
};

const struct entity execution_status_entity = {
    .name = "execution status",
    .table = "execution_statuses",
    .size = sizeof(struct execution_status),
    FIELDS(status_fields),
};
