// SPDX-License-Identifier: Apache-2.0
// drover top
#include "base/clock.h"
#include "cli/listing.h"
#include "cli/lookup.h"
#include "cli/page.h"
#include "cli/status.h"
#include "cli/verbs.h"

#define MINUTE_MS 60000

struct top_options {
    const char *service;
};

static const struct column columns[] = {
    {.title = "SERVICE", .path = "name"},
    {.title = "STATE", .path = "state", .kind = COLUMN_STATUS},
    {.title = "QUEUED", .path = "queued", .kind = COLUMN_NUMBER},
    {.title = "RUNNING", .path = "running", .kind = COLUMN_NUMBER},
    {.title = "ENDED/MIN", .path = "endedPerMinute", .kind = COLUMN_NUMBER},
    {.title = "FAILED/MIN", .path = "failedPerMinute", .kind = COLUMN_NUMBER},
    {.title = "READY", .path = "ready", .keep = true},
    {.title = "RESTARTS", .path = "restarts", .kind = COLUMN_NUMBER},
    {.title = "MEMORY", .path = "memory", .kind = COLUMN_BYTES},
    {.title = "DOING", .path = "doing"},
};
static const struct listing_spec spec = {
    columns, sizeof(columns) / sizeof(columns[0]), "name",
    "There are no services. `drover deploy FOLDER` makes one."};

struct top {
    struct cli *cli;
    struct listing *listing;
    struct err *err;
    int64_t queued, running;
    size_t services;
};

// How many executions of the service have ended within the last minute, by status.
static int count_ended(struct cli *cli, const char *id, int64_t *ended, int64_t *failed,
                       struct err *err)
{
    char since[TIME_TEXT_SIZE];
    struct json counters, count;
    struct str key;
    time_format(clock_wall(clock_system()) - MINUTE_MS, since);
    struct str filter = arena_printf(cli->arena, "{\"endedAt\":{\"$gte\":\"%s\"}}", since);
    const char *path = cli_path(cli, "/executions/counters?serviceId={}&filter={}", id, filter.at);
    *ended = *failed = 0;
    if (cli_get(cli, path, &counters, err))
        return -1;
    for (struct json_iter it = json_each(counters); json_next(&it, &key, &count);) {
        int64_t n = 0;
        (void)json_int(count, &n);
        *ended += n;
        if (str_is(key, "failed") || str_is(key, "system-failure") || str_is(key, "aborted"))
            *failed += n;
    }
    return 0;
}

// Where the replicas say how much memory they use.
static bool sum_memory(struct json status, int64_t *out)
{
    struct json all = {0}, one, value;
    struct str key;
    bool any = false;
    *out = 0;
    json_get(status, "runtimeStatus", &all);
    for (struct json_iter it = json_each(all); json_next(&it, &key, &one);) {
        int64_t bytes;
        if (json_get(one, "memoryBytes", &value) && json_int(value, &bytes)) {
            *out += bytes;
            any = true;
        }
    }
    return any;
}

static struct json row(struct cli *cli, struct json service, const struct replicas *replicas,
                       int64_t ended, int64_t failed)
{
    _cleanup_buf_ struct buf text = BUF_INIT(64 * 1024);
    struct json_writer w = JSON_WRITER(&text);
    struct json active = {0};
    int64_t memory;
    json_get(service, "active", &active);
    json_w_object(&w);
    json_w_pair_str(&w, "name", lookup_name(service, cli->arena));
    json_w_pair_str(&w, "id", lookup_id(service, cli->arena));
    json_w_pair_str(&w, "state", active.type == JSON_FALSE ? STR("paused") : STR("active"));
    json_w_pair_int(&w, "queued", replicas->queued);
    json_w_pair_int(&w, "running", replicas->running);
    json_w_pair_int(&w, "endedPerMinute", ended);
    json_w_pair_int(&w, "failedPerMinute", failed);
    json_w_pair_str(&w, "ready",
                    arena_printf(cli->arena, "%lld/%lld", (long long)replicas->ready,
                                 (long long)status_wanted(service)));
    json_w_pair_int(&w, "restarts", replicas->restarts);
    if (sum_memory(replicas->status, &memory))
        json_w_pair_int(&w, "memory", memory);
    json_w_pair_str(&w, "doing", replicas->words);
    json_w_object_end(&w);
    return json_of(arena_copy(cli->arena, buf_str(&text)));
}

static bool add(void *arg, struct json service)
{
    struct top *top = arg;
    struct cli *cli = top->cli;
    const char *id = arena_cstr(cli->arena, lookup_id(service, cli->arena));
    struct replicas replicas;
    int64_t ended, failed;
    if (status_replicas(cli, id, STR_NONE, &replicas, top->err) ||
        count_ended(cli, id, &ended, &failed, top->err)) {
        // It was deleted meanwhile.
        bool gone = top->err->kind == ERR_NOT_FOUND;
        if (gone)
            *top->err = ERR_INIT;
        return gone;
    }
    top->queued += replicas.queued;
    top->running += replicas.running;
    top->services++;
    listing_add(top->listing, row(cli, service, &replicas, ended, failed));
    return true;
}

static int run(struct cli *cli)
{
    struct err err = ERR_INIT;
    struct top top = {.cli = cli, .err = &err};
    const struct top_options *options = cli->options;
    struct page_query query = {.resource = "services"};
    struct json service;
    struct str project_id;
    if (options->service ? lookup_service(cli, options->service, &service, &err)
                         : lookup_project_chosen(cli, &project_id, &err))
        return cli_fail(cli, &err);
    if (!options->service)
        query.filter = lookup_filter(cli, project_id, "name", STR_NONE);
    top.listing = listing_begin(cli, &spec);
    if (options->service)
        add(&top, service);
    else if (page_each(cli, &query, add, &top, &err))
        return cli_fail(cli, &err);
    if (err.kind != ERR_NONE)
        return cli_fail(cli, &err);
    if (cli->output == OUTPUT_TABLE && cli->out.tty) {
        char now[TIME_TEXT_SIZE];
        time_format(clock_wall(clock_system()), now);
        cli_print(cli, STR_FMT "  %.19s  %zu service%s, %lld queued, %lld running\n\n",
                  STR_ARG(cli->target.url), now, top.services, top.services == 1 ? "" : "s",
                  (long long)top.queued, (long long)top.running);
    }
    return listing_end(top.listing);
}

static const struct option options[] = {
    {.flag = "--service",
     .letter = 's',
     .type = OPTION_TEXT,
     .offset = offsetof(struct top_options, service),
     .unit = "SERVICE",
     .help = "Only this one."},
};

static const struct verb_example examples[] = {
    {"drover top", "once, or on a terminal until Ctrl-C"},
    {"drover top -o json", "the same numbers for a program"},
};

static const struct verb verbs[] = {
    {.name = "top",
     .group = GROUP_LOOK,
     .summary = "watch queues, rates and replicas",
     .about = "A line for each service: executions queued and running, how many ended and failed "
              "within the last minute, replicas that are ready of those wanted, and memory where "
              "the server knows it. On a terminal it is kept up to date (--no-watch: once).",
     .options = options,
     .option_count = 1,
     .options_size = sizeof(struct top_options),
     .examples = examples,
     .example_count = 2,
     .exits = 1U << CLI_NOT_FOUND,
     .flags = VERB_SERVER | VERB_OUTPUT | VERB_WATCH | VERB_LIVE,
     .run = run},
};

const struct verb_list top_verbs = VERB_LIST(verbs);
