// SPDX-License-Identifier: Apache-2.0
// drover events [SERVICE], drover why EXECUTION|SERVICE
#include "base/clock.h"
#include "cli/feed.h"
#include "cli/lookup.h"
#include "cli/text.h"
#include "cli/verbs.h"

struct events_options {
    bool follow;
    const char *since, *kind, *level, *reason;
    int64_t limit;
};

static void write_subject(struct cli *cli, struct json event, struct buf *out)
{
    struct str subject = json_text(event, "subject", cli->arena);
    buf_add_str(out, subject.len ? subject : json_text(event, "serviceId", cli->arena));
}

static void write_count(struct cli *cli, struct json event, struct buf *out)
{
    struct str count = json_text(event, "count", cli->arena);
    if (!str_is(count, "1"))
        buf_printf(out, STR_FMT "x", STR_ARG(count));
}

static const struct column columns[] = {
    {.title = "LAST", .path = "lastAt", .kind = COLUMN_TIME},
    {.title = "LEVEL", .path = "level", .kind = COLUMN_STATUS},
    {.title = "REASON", .path = "reason", .keep = true},
    {.title = "COUNT", .write = write_count},
    {.title = "SUBJECT", .write = write_subject},
    {.title = "MESSAGE", .path = "message"},
};
static const struct listing_spec spec = {columns, sizeof(columns) / sizeof(columns[0]), "id",
                                         "Nothing has happened."};

static void print_event(struct cli *cli, struct json event)
{
    struct str level = json_text(event, "level", cli->arena);
    enum color color = str_is(level, "warning") ? COLOR_YELLOW : COLOR_NONE;
    cli_print(cli, STR_FMT "  %s%-7.*s %-18.*s%s ", STR_ARG(json_text(event, "lastAt", cli->arena)),
              color_on(&cli->out, color), (int)level.len, level.at,
              (int)json_text(event, "reason", cli->arena).len,
              json_text(event, "reason", cli->arena).at, color_off(&cli->out, color));
    terminal_clean(&cli->text, json_text(event, "message", cli->arena));
}

static int events_path(struct cli *cli, struct buf *path, struct err *err)
{
    const struct events_options *options = cli->options;
    struct str project = STR_NONE;
    struct json service;
    if (cli->arg_count > 0) {
        if (lookup_service(cli, cli->args[0], &service, err))
            return -1;
        buf_printf(path, "%s?",
                   cli_path(cli, "/services/{}/events",
                            arena_cstr(cli->arena, lookup_id(service, cli->arena))));
    } else {
        if (lookup_project_chosen(cli, &project, err))
            return -1;
        buf_add_cstr(path, "/events?");
    }
    feed_filter(cli, path, "projectId", project);
    feed_filter(cli, path, "kind", str_of(options->kind));
    feed_filter(cli, path, "level", str_of(options->level));
    feed_filter(cli, path, "reason", str_of(options->reason));
    return 0;
}

static int run_events(struct cli *cli)
{
    const struct events_options *options = cli->options;
    _cleanup_buf_ struct buf path = BUF_INIT(16384);
    struct feed feed = {.limit = options->limit, .spec = &spec, .print = print_event};
    struct err err = ERR_INIT;
    int64_t since;
    if (options->follow && feed_unfit(cli))
        return cli_usage(cli, "%s", feed_unfit(cli));
    if (events_path(cli, &path, &err) ||
        (options->since &&
         moment_parse("--since", options->since, clock_wall(clock_system()), &since, &err)))
        return cli_fail(cli, &err);
    if (options->since)
        feed.after = arena_printf(cli->own_arena, "%lld", (long long)since);
    feed.path = arena_cstr(cli->own_arena, buf_str(&path));
    int failed = options->follow ? feed_follow(cli, &feed, &err) : feed_list(cli, &feed, &err);
    if (failed)
        return cli_fail(cli, &err);
    return cli->interrupted ? CLI_INTERRUPTED : CLI_OK;
}

// ── why ──────────────────────────────────────────────────────────────────────────────────────

static int run_why(struct cli *cli)
{
    struct err err = ERR_INIT;
    struct json found, answer, sentences = {0}, one;
    struct str key;
    bool execution;
    if (lookup_subject(cli, cli->args[0], &found, &execution, &err))
        return cli_fail(cli, &err);
    const char *path = cli_path(cli, execution ? "/executions/{}/why" : "/services/{}/why",
                                arena_cstr(cli->arena, lookup_id(found, cli->arena)));
    if (cli_get(cli, path, &answer, &err))
        return cli_fail(cli, &err);
    if (cli->output != OUTPUT_TABLE) {
        cli_print(cli, STR_FMT "\n", STR_ARG(answer.text));
        return CLI_OK;
    }
    json_get(answer, "sentences", &sentences);
    for (struct json_iter it = json_each(sentences); json_next(&it, &key, &one);) {
        terminal_clean(&cli->text, json_str(one, cli->arena));
        cli_print(cli, ".\n");
    }
    return CLI_OK;
}

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind,                                                 \
        .offset = offsetof(struct events_options, member), __VA_ARGS__                             \
    }

static const struct option options[] = {
    OPTION("follow", BOOL, follow, .letter = 'f',
           .help = "The newest, oldest first, and then what happens, until Ctrl-C."),
    OPTION("limit", INT, limit, .letter = 'n', .unit = "COUNT", .min = -1, .max = 1000,
           .fallback = "100", .help = "At most so many; -1: all."),
    OPTION("since", TEXT, since, .unit = "TIME",
           .help = "Events since then: 30s, 15m, 1h or 2d ago, or 2026-11-23T08:00:00Z."),
    OPTION("kind", CHOICE, kind, .choices = "service|replica|execution",
           .help = "Events of this kind."),
    OPTION("level", CHOICE, level, .choices = "info|warning", .help = "Events of this level."),
    OPTION("reason", TEXT, reason, .unit = "REASON",
           .help = "Events with this reason, AgentFailed."),
};

static const struct verb_example events_examples[] = {
    {"drover events hello", "what happened to a service"},
    {"drover events -f --level warning", "what goes wrong, in all services, as it happens"},
};
static const struct verb_example why_examples[] = {
    {"drover why 65f0a1b2c3d4e5f60718293a", "why an execution waits, where it runs, how it ended"},
    {"drover why hello", "what a service's agents and queue are doing"},
};

static const struct verb verbs[] = {
    {.name = "events",
     .arguments = "[SERVICE]",
     .group = GROUP_LOOK,
     .summary = "list what happened to services",
     .about = "Deployments, agents that started, failed or drained, executions that lost their "
              "agent. Repeats are counted in one line. Executions that run as they should make no "
              "events.",
     .options = options,
     .option_count = sizeof(options) / sizeof(options[0]),
     .options_size = sizeof(struct events_options),
     .examples = events_examples,
     .example_count = 2,
     .exits = 1U << CLI_NOT_FOUND,
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = run_events},
    {.name = "why",
     .arguments = "EXECUTION|SERVICE",
     .group = GROUP_LOOK,
     .summary = "say in sentences why an execution waits or a service does not run",
     .options_size = sizeof(struct events_options),
     .examples = why_examples,
     .example_count = 2,
     .exits = 1U << CLI_NOT_FOUND,
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = run_why},
};

const struct verb_list events_verbs = VERB_LIST(verbs);
