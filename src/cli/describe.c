// SPDX-License-Identifier: Apache-2.0
// drover describe SERVICE|EXECUTION
#include "cli/executions.h"
#include "cli/lookup.h"
#include "cli/status.h"
#include "cli/text.h"
#include "cli/verbs.h"

#define TEXT_MAX ((size_t)64 << 20)

static void title(struct cli *cli, const char *text)
{
    cli_print(cli, "\n%s%s%s\n", color_on(&cli->out, COLOR_BOLD), text,
              color_off(&cli->out, COLOR_BOLD));
}

static void print_clean(struct cli *cli, struct str text)
{
    _cleanup_buf_ struct buf clean = BUF_INIT(TEXT_MAX);
    if (cli->out.tty)
        terminal_clean(&clean, text);
    else
        buf_add_str(&clean, text);
    buf_add_str(&cli->text, buf_str(&clean));
    cli_print(cli, text.len > 0 && text.at[text.len - 1] == '\n' ? "" : "\n");
}

// ── a service ────────────────────────────────────────────────────────────────────────────────

static void write_state(struct cli *cli, struct json service, struct buf *out)
{
    struct json active = {0};
    (void)cli;
    json_get(service, "active", &active);
    buf_add_cstr(out, active.type == JSON_FALSE ? "paused" : "active");
}

static const struct column service_columns[] = {
    {.title = "Name", .path = "name"},
    {.title = "Id", .path = "id"},
    {.title = "State", .kind = COLUMN_STATUS, .write = write_state},
    {.title = "Version", .path = "version"},
    {.title = "Project", .path = "projectId"},
    {.title = "Package", .path = "packageId"},
    {.title = "Package revision", .path = "packageRevision"},
    {.title = "Replicas", .path = "runtime.numReplicas"},
    {.title = "Autoscaler", .path = "runtime.autoscaler"},
    {.title = "Concurrency", .path = "runtime.concurrency"},
    {.title = "Timeout", .path = "executionTimeout"},
    {.title = "Drain time", .path = "drainTime"},
    {.title = "On reset", .path = "onReset"},
    {.title = "Attempts", .path = "maxAttempts"},
    {.title = "Versions", .path = "versions"},
    {.title = "Created", .path = "createdAt", .kind = COLUMN_TIME},
    {.title = "Updated", .path = "updatedAt", .kind = COLUMN_TIME},
    {.title = "By", .path = "updatedBy"},
};
static const struct listing_spec service_spec = {
    service_columns, sizeof(service_columns) / sizeof(service_columns[0]), "name", NULL};

static const struct column replica_columns[] = {
    {.title = "REPLICA", .path = "replicaId", .keep = true},
    {.title = "STATE", .path = "state", .kind = COLUMN_STATUS},
    {.title = "VERSION", .path = "serviceVersion", .keep = true},
    {.title = "RESTARTS", .path = "restartCount", .kind = COLUMN_NUMBER},
    {.title = "SINCE", .path = "lastRestartTime", .kind = COLUMN_TIME},
    {.title = "REASON", .path = "reason"},
    {.title = "MESSAGE", .path = "message"},
};
static const struct listing_spec replica_spec = {
    replica_columns, sizeof(replica_columns) / sizeof(replica_columns[0]), "replicaId",
    "It has no replicas."};

static void write_inputs(struct cli *cli, struct json function, struct buf *out)
{
    struct json inputs = {0}, input;
    struct str key;
    json_get(function, "input", &inputs);
    for (struct json_iter it = json_each(inputs); json_next(&it, &key, &input);)
        buf_printf(out, "%s" STR_FMT ": " STR_FMT, out->len > 0 ? ", " : "",
                   STR_ARG(json_text(input, "name", cli->arena)),
                   STR_ARG(json_text(input, "type", cli->arena)));
}

static const struct column function_columns[] = {
    {.title = "FUNCTION", .path = "name"},
    {.title = "INPUTS", .write = write_inputs},
};
static const struct listing_spec function_spec = {
    function_columns, sizeof(function_columns) / sizeof(function_columns[0]), "name", NULL};

static void list_rows(struct cli *cli, const struct listing_spec *spec, struct json array)
{
    struct listing *listing = listing_begin(cli, spec);
    struct json one;
    struct str key;
    for (struct json_iter it = json_each(array); json_next(&it, &key, &one);)
        listing_add(listing, one);
    (void)listing_end(listing);
}

static void list_functions(struct cli *cli, struct json service, struct json package)
{
    struct json modules = {0}, module, functions;
    struct str key, wanted = json_text(service, "moduleName", cli->arena);
    json_get(package, "modules", &modules);
    for (struct json_iter it = json_each(modules); json_next(&it, &key, &module);)
        if (str_eq(json_text(module, "name", cli->arena), wanted) &&
            json_get(module, "functions", &functions))
            list_rows(cli, &function_spec, functions);
}

static void list_counters(struct cli *cli, const struct replicas *replicas, struct json counters)
{
    struct json count;
    struct str key;
    title(cli, "Executions");
    cli_print(cli, "queued %lld, running %lld\n", (long long)replicas->queued,
              (long long)replicas->running);
    for (struct json_iter it = json_each(counters); json_next(&it, &key, &count);) {
        enum color color = color_of_status(key);
        cli_print(cli, "%s" STR_FMT "%s " STR_FMT "\n", color_on(&cli->out, color), STR_ARG(key),
                  color_off(&cli->out, color), STR_ARG(count.text));
    }
}

static int print_whole(struct cli *cli, struct json service, struct json package,
                       const struct replicas *replicas, struct json counters)
{
    size_t begin = cli->text.len;
    struct json_writer w = JSON_WRITER(&cli->text);
    json_w_object(&w);
    json_w_pair_raw(&w, "service", service.text);
    json_w_pair_raw(&w, "package", package.text);
    json_w_pair_raw(&w, "status", replicas->status.text);
    json_w_pair_raw(&w, "executions", counters.text);
    json_w_object_end(&w);
    if (cli->output == OUTPUT_JSONL) {
        struct str whole = {cli->text.at + begin, cli->text.len - begin};
        whole = arena_copy(cli->arena, whole);
        cli->text.len = begin;
        text_json_line(&cli->text, whole);
    }
    cli_print(cli, "\n");
    return CLI_OK;
}

static int describe_service(struct cli *cli, struct json service)
{
    const char *id = arena_cstr(cli->arena, lookup_id(service, cli->arena));
    const char *package_id = arena_cstr(cli->arena, json_text(service, "packageId", cli->arena));
    const char *revision = arena_cstr(cli->arena,
                                      json_text(service, "packageRevision", cli->arena));
    struct replicas replicas;
    struct json counters, package, all = {0};
    struct err err = ERR_INIT;
    if (status_replicas(cli, id, STR_NONE, &replicas, &err) ||
        cli_get(cli, cli_path(cli, "/executions/counters?serviceId={}", id), &counters, &err) ||
        cli_get(cli, cli_path(cli, "/packages/{}?version={}", package_id, revision), &package,
                &err))
        return cli_fail(cli, &err);
    if (cli->output == OUTPUT_JSON || cli->output == OUTPUT_JSONL)
        return print_whole(cli, service, package, &replicas, counters);
    (void)listing_one(cli, &service_spec, service);
    if (cli->output == OUTPUT_NAME)
        return CLI_OK;
    title(cli, "Functions");
    list_functions(cli, service, package);
    list_counters(cli, &replicas, counters);
    title(cli, "Replicas");
    json_get(replicas.status, "runtimeStatus", &all);
    list_rows(cli, &replica_spec, all);
    return CLI_OK;
}

// ── an execution ─────────────────────────────────────────────────────────────────────────────

static void write_duration(struct cli *cli, struct json execution, struct buf *out)
{
    (void)cli;
    execution_duration(execution, out);
}

static const struct column execution_columns[] = {
    {.title = "Id", .path = "id"},
    {.title = "Status", .path = "latestStatus.status", .kind = COLUMN_STATUS},
    {.title = "Message", .path = "latestStatus.message"},
    {.title = "Progress", .path = "latestStatus.percentComplete"},
    {.title = "Service", .path = "serviceName"},
    {.title = "Function", .path = "functionName"},
    {.title = "Package revision", .path = "packageRevision"},
    {.title = "Created", .path = "createdAt", .kind = COLUMN_TIME},
    {.title = "Started", .path = "startedAt", .kind = COLUMN_TIME},
    {.title = "Ended", .path = "endedAt", .kind = COLUMN_TIME},
    {.title = "Duration", .kind = COLUMN_DURATION, .write = write_duration},
    {.title = "Attempts", .path = "attempts"},
    {.title = "Replica", .path = "replicaId"},
    {.title = "By", .path = "creator"},
};
static const struct listing_spec execution_spec = {
    execution_columns, sizeof(execution_columns) / sizeof(execution_columns[0]), "id", NULL};

static const struct column log_columns[] = {
    {.title = "WHEN", .path = "timestamp", .kind = COLUMN_TIME},
    {.title = "STATUS", .path = "status", .kind = COLUMN_STATUS},
    {.title = "REPLICA", .path = "replicaId", .keep = true},
    {.title = "MESSAGE", .path = "message"},
};
static const struct listing_spec log_spec = {
    log_columns, sizeof(log_columns) / sizeof(log_columns[0]), "status", NULL};

static int describe_execution(struct cli *cli, struct json execution)
{
    struct json part;
    (void)listing_one(cli, &execution_spec, execution);
    if (cli->output != OUTPUT_TABLE)
        return CLI_OK;
    if (json_get(execution, "statusLog", &part)) {
        title(cli, "What happened");
        list_rows(cli, &log_spec, part);
    }
    title(cli, "Input");
    if (json_get(execution, "input", &part))
        print_clean(cli, part.text);
    if (json_get(execution, "output", &part) && part.type != JSON_NULL) {
        title(cli, "Output");
        print_clean(cli, part.text);
    }
    struct str stack = json_text(execution, "latestStatus.error.stack", cli->arena);
    if (stack.len == 0)
        stack = json_text(execution, "latestStatus.error.message", cli->arena);
    if (stack.len > 0) {
        title(cli, "Error");
        print_clean(cli, stack);
    }
    return CLI_OK;
}

static int run(struct cli *cli)
{
    struct json found;
    struct err err = ERR_INIT;
    bool execution;
    if (lookup_subject(cli, cli->args[0], &found, &execution, &err))
        return cli_fail(cli, &err);
    return execution ? describe_execution(cli, found) : describe_service(cli, found);
}

static const struct verb_example examples[] = {
    {"drover describe hello", "a service: settings, functions, replicas, counts"},
    {"drover describe 65f0a1b2c3d4e5f60718293a", "an execution: input, output, what happened"},
};

static const struct verb verbs[] = {
    {.name = "describe",
     .arguments = "SERVICE|EXECUTION",
     .group = GROUP_LOOK,
     .summary = "show all of a service or an execution",
     .examples = examples,
     .example_count = 2,
     .exits = 1U << CLI_NOT_FOUND,
     .flags = VERB_SERVER | VERB_OUTPUT | VERB_WATCH,
     .run = run},
};

const struct verb_list describe_verbs = VERB_LIST(verbs);
