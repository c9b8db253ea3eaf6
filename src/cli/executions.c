// SPDX-License-Identifier: Apache-2.0
// drover executions
#include "cli/executions.h"

#include "cli/page.h"
#include "cli/selection.h"
#include "cli/verbs.h"

struct executions_options {
    struct selection selection;
    int64_t limit;
    bool oldest_first;
};

// What it says of itself now: a message, or the error that ended it.
static void write_message(struct cli *cli, struct json execution, struct buf *out)
{
    struct str message = json_text(execution, "latestStatus.message", cli->arena);
    if (message.len == 0)
        message = json_text(execution, "latestStatus.error.message", cli->arena);
    if (message.len > 0)
        buf_add_str(out, str_cut(&message, '\n'));
}

// The server counts an attempt when it has ended; people count the one that runs.
static void write_attempts(struct cli *cli, struct json execution, struct buf *out)
{
    struct json value;
    int64_t attempts;
    if (!json_get(execution, "attempts", &value) || !json_int(value, &attempts))
        return;
    attempts += str_is(execution_status(execution, cli->arena), "in-progress");
    buf_printf(out, "%lld", (long long)attempts);
}

static void write_duration(struct cli *cli, struct json execution, struct buf *out)
{
    (void)cli;
    execution_duration(execution, out);
}

static const struct column columns[] = {
    {.title = "ID", .path = "id", .keep = true},
    {.title = "SERVICE", .path = "serviceName"},
    {.title = "FUNCTION", .path = "functionName"},
    {.title = "STATUS", .path = "latestStatus.status", .kind = COLUMN_STATUS},
    {.title = "CREATED", .path = "createdAt", .kind = COLUMN_TIME},
    {.title = "DURATION", .kind = COLUMN_DURATION, .write = write_duration},
    {.title = "ATTEMPTS", .kind = COLUMN_NUMBER, .write = write_attempts},
    {.title = "MESSAGE", .write = write_message},
};

const struct listing_spec executions_spec = {
    columns, sizeof(columns) / sizeof(columns[0]), "id",
    "There are no such executions. `drover exec SERVICE FUNCTION` makes one."};

static int run(struct cli *cli)
{
    const struct executions_options *options = cli->options;
    struct page_query query = {
        .resource = "executions", .stream = true, .oldest_first = options->oldest_first};
    struct err err = ERR_INIT;
    if (selection_filter(cli, &options->selection, SELECT_ALL, &query.filter, &err) ||
        page_list(cli, &query, options->limit, &executions_spec, &err))
        return cli_fail(cli, &err);
    return CLI_OK;
}

static const struct option options[] = {
    SELECTION_OPTIONS(struct executions_options),
    {.flag = "--limit",
     .letter = 'n',
     .type = OPTION_INT,
     .offset = offsetof(struct executions_options, limit),
     .unit = "COUNT",
     .fallback = "-1",
     .min = -1,
     .max = 1000000000,
     .help = "At most so many, the newest ones; -1: all."},
    {.flag = "--oldest-first",
     .type = OPTION_BOOL,
     .offset = offsetof(struct executions_options, oldest_first),
     .help = "The oldest first."},
};

static const struct verb_example examples[] = {
    {"drover executions --limit 20", "the newest twenty"},
    {"drover executions --service hello --status failed --since 1h", "what failed in an hour"},
    {"drover executions --status open -o name", "the ids of all that have not ended"},
    {"drover executions --limit 20 --watch", "the newest, kept up to date"},
};

static const struct verb verbs[] = {
    {.name = "executions",
     .group = GROUP_LOOK,
     .summary = "list executions",
     .about = "Newest first, all that match: pages are read as they are needed.",
     .options = options,
     .option_count = SELECTION_COUNT + 2,
     .options_size = sizeof(struct executions_options),
     .examples = examples,
     .example_count = 4,
     .exits = 1U << CLI_NOT_FOUND,
     .flags = VERB_SERVER | VERB_OUTPUT | VERB_WATCH,
     .run = run},
};

const struct verb_list executions_verbs = VERB_LIST(verbs);
