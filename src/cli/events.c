// SPDX-License-Identifier: Apache-2.0
// drover events [SERVICE], drover why EXECUTION|SERVICE
#include "base/clock.h"
#include "base/id.h"
#include "base/map.h"
#include "cli/link.h"
#include "cli/listing.h"
#include "cli/lookup.h"
#include "cli/text.h"
#include "cli/verbs.h"

#define POLL_MS   1000
#define PAGE_MOST 1000

struct events_options {
    bool follow;
    const char *since, *kind, *level, *reason;
    int64_t limit;
};

struct showing {
    struct cli *cli;
    struct str service_id, project_id;
    struct str after;   // time of the newest shown; absent: none yet
    struct map *shown;  // "id count" of those of that time
    struct listing *listing;
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

// ── reading ──────────────────────────────────────────────────────────────────────────────────

static void add_query(struct cli *cli, struct buf *path, const char *name, struct str value)
{
    if (value.len == 0)
        return;
    buf_printf(path, "&%s=%s", name, cli_path(cli, "{}", arena_cstr(cli->arena, value)));
}

static int read_page(struct showing *showing, int64_t size, int64_t page, struct json *out,
                     struct err *err)
{
    struct cli *cli = showing->cli;
    const struct events_options *options = cli->options;
    _cleanup_buf_ struct buf path = BUF_INIT(16384);
    if (showing->service_id.at)
        buf_add_cstr(&path, cli_path(cli, "/services/{}/events",
                                     arena_cstr(cli->arena, showing->service_id)));
    else
        buf_add_cstr(&path, "/events");
    buf_printf(&path, "?pageSize=%lld&pageOffset=%lld", (long long)size, (long long)page);
    add_query(cli, &path, "projectId", showing->project_id);
    add_query(cli, &path, "after", showing->after);
    add_query(cli, &path, "kind", str_of(options->kind));
    add_query(cli, &path, "level", str_of(options->level));
    add_query(cli, &path, "reason", str_of(options->reason));
    return cli_get(cli, arena_cstr(cli->arena, buf_str(&path)), out, err);
}

static bool is_new(struct showing *showing, struct json event)
{
    struct cli *cli = showing->cli;
    struct str key = arena_printf(cli->own_arena, STR_FMT " " STR_FMT,
                                  STR_ARG(json_text(event, "id", cli->arena)),
                                  STR_ARG(json_text(event, "count", cli->arena)));
    return !map_put(showing->shown, key, showing);
}

static void print_line(struct showing *showing, struct json event)
{
    struct cli *cli = showing->cli;
    struct str level = json_text(event, "level", cli->arena);
    enum color color = str_is(level, "warning") ? COLOR_YELLOW : COLOR_NONE;
    if (cli->output != OUTPUT_TABLE) {
        cli_print(cli, STR_FMT "\n", STR_ARG(event.text));
        return;
    }
    cli_print(cli, STR_FMT "  %s%-7.*s %-18.*s%s ", STR_ARG(json_text(event, "lastAt", cli->arena)),
              color_on(&cli->out, color), (int)level.len, level.at,
              (int)json_text(event, "reason", cli->arena).len,
              json_text(event, "reason", cli->arena).at, color_off(&cli->out, color));
    terminal_clean(&cli->text, json_text(event, "message", cli->arena));
    cli_print(cli, "\n");
}

// Oldest first.
static void print_reversed(struct showing *showing, struct json items)
{
    struct cli *cli = showing->cli;
    size_t count = 0, room = json_count(items);
    struct json *all = arena_array_of(cli->arena, struct json, room + 1);
    struct json_iter it = json_each(items);
    struct str key;
    while (count < room && json_next(&it, &key, &all[count]))
        count++;
    if (count > 0)
        showing->after = arena_copy(cli->own_arena, json_text(all[0], "lastAt", cli->arena));
    while (count-- > 0)
        if (is_new(showing, all[count]))
            print_line(showing, all[count]);
}

static int follow(struct showing *showing, struct err *err)
{
    struct cli *cli = showing->cli;
    const struct events_options *options = cli->options;
    struct json page, items = {0};
    struct arena *kept = cli->arena, *round = arena_new();
    int64_t size = options->limit > 0 ? options->limit : 20;
    int64_t good_at = clock_mono(clock_system());
    int rc = 0;
    cli->arena = round;
    while (!cli->interrupted) {
        *err = ERR_INIT;
        if (read_page(showing, size, 0, &page, err)) {
            if (link_wait(cli, good_at, err))
                continue;
            rc = cli->interrupted ? 0 : -1;
            break;
        }
        good_at = clock_mono(clock_system());
        json_get(page, "items", &items);
        print_reversed(showing, items);
        if (cli_flush(cli) != CLI_OK || !cli_sleep(cli, POLL_MS))
            break;
        arena_reset(round);
        size = PAGE_MOST;
    }
    cli->arena = kept;
    arena_free(round);
    return rc;
}

static int list(struct showing *showing, struct err *err)
{
    struct cli *cli = showing->cli;
    const struct events_options *options = cli->options;
    struct json page, items = {0}, more = {.type = JSON_TRUE}, event;
    struct str key;
    int64_t left = options->limit > 0 ? options->limit : INT64_MAX;
    struct listing *listing = listing_begin(cli, &spec);
    for (int64_t number = 0; more.type == JSON_TRUE && left > 0; number++) {
        if (read_page(showing, left < PAGE_MOST ? left : PAGE_MOST, number, &page, err))
            return -1;
        json_get(page, "items", &items);
        for (struct json_iter it = json_each(items); json_next(&it, &key, &event) && left > 0;
             left--)
            listing_add(listing, event);
        json_get(page, "hasNextPage", &more);
    }
    (void)listing_end(listing);
    return 0;
}

static int prepare(struct showing *showing, struct err *err)
{
    struct cli *cli = showing->cli;
    const struct events_options *options = cli->options;
    struct json service;
    int64_t since;
    if (cli->arg_count > 0) {
        if (lookup_service(cli, cli->args[0], &service, err))
            return -1;
        showing->service_id = arena_copy(cli->own_arena, lookup_id(service, cli->arena));
    } else {
        struct str project = STR_NONE;
        if (lookup_project_chosen(cli, &project, err))
            return -1;
        showing->project_id = arena_copy(cli->own_arena, project);
    }
    if (!options->since)
        return 0;
    if (moment_parse("--since", options->since, clock_wall(clock_system()), &since, err))
        return -1;
    showing->after = arena_printf(cli->own_arena, "%lld", (long long)since);
    return 0;
}

static int run_events(struct cli *cli)
{
    const struct events_options *options = cli->options;
    struct showing showing = {.cli = cli};
    struct err err = ERR_INIT;
    if (options->follow && (cli->output == OUTPUT_JSON || cli->output == OUTPUT_NAME))
        return cli_usage(cli, "what is followed never ends: -o is table or jsonl with --follow");
    if (options->follow)
        cli_catch_interrupt(cli);
    showing.shown = map_new();
    int failed = prepare(&showing, &err) ||
                 (options->follow ? follow(&showing, &err) : list(&showing, &err));
    map_free(showing.shown);
    return failed ? cli_fail(cli, &err) : CLI_OK;
}

// ── why ──────────────────────────────────────────────────────────────────────────────────────

static int find_subject(struct cli *cli, const char *name, const char **path, struct err *err)
{
    struct json found;
    if (id_valid(str_of(name))) {
        if (lookup_execution(cli, name, &found, err) == 0) {
            *path = cli_path(cli, "/executions/{}/why", name);
            return 0;
        }
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        *err = ERR_INIT;
        cli->hint = NULL;
    }
    if (lookup_service(cli, name, &found, err))
        return -1;
    *path = cli_path(cli, "/services/{}/why", arena_cstr(cli->arena, lookup_id(found, cli->arena)));
    return 0;
}

static int run_why(struct cli *cli)
{
    struct err err = ERR_INIT;
    struct json answer, sentences = {0}, one;
    struct str key;
    const char *path;
    if (find_subject(cli, cli->args[0], &path, &err) || cli_get(cli, path, &answer, &err))
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
    OPTION("limit", INT, limit, .letter = 'n', .unit = "COUNT", .min = 0, .max = 1000,
           .fallback = "100", .help = "At most so many; 0: all."),
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
