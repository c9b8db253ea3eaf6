// SPDX-License-Identifier: Apache-2.0
// drover notifications list, show, read
#include "cli/feed.h"
#include "cli/lookup.h"
#include "cli/verbs.h"

struct notifications_options {
    bool follow, unread, all;
    const char *level, *type;
    int64_t limit;
};

static void write_state(struct cli *cli, struct json row, struct buf *out)
{
    struct json read = {0};
    json_get(row, "read", &read);
    buf_add_cstr(out, read.type == JSON_TRUE ? "read" : "unread");
    if (json_text(row, "resolvedAt", cli->arena).len > 0)
        buf_add_cstr(out, ", over");
}

static const struct column columns[] = {
    {.title = "ID", .path = "id", .keep = true},
    {.title = "LAST", .path = "lastAt", .kind = COLUMN_TIME},
    {.title = "LEVEL", .path = "level", .kind = COLUMN_STATUS},
    {.title = "STATE", .write = write_state},
    {.title = "TYPE", .path = "type"},
    {.title = "COUNT", .path = "count", .kind = COLUMN_NUMBER},
    {.title = "TITLE", .path = "title"},
};
static const struct listing_spec list_spec = {columns, sizeof(columns) / sizeof(columns[0]), "id",
                                              "There are no notifications."};

static const struct column fields[] = {
    {.title = "Title", .path = "title"},
    {.title = "Type", .path = "type"},
    {.title = "Level", .path = "level", .kind = COLUMN_STATUS},
    {.title = "State", .write = write_state},
    {.title = "Of", .path = "entityName"},
    {.title = "Count", .path = "count", .kind = COLUMN_NUMBER},
    {.title = "First", .path = "firstAt", .kind = COLUMN_TIME},
    {.title = "Last", .path = "lastAt", .kind = COLUMN_TIME},
    {.title = "Over since", .path = "resolvedAt", .kind = COLUMN_TIME},
};
static const struct listing_spec one_spec = {fields, sizeof(fields) / sizeof(fields[0]), "id",
                                             NULL};

// ── list ─────────────────────────────────────────────────────────────────────────────────────

static void print_notification(struct cli *cli, struct json row)
{
    struct str level = json_text(row, "level", cli->arena);
    enum color color = str_is(level, "error")     ? COLOR_RED
                       : str_is(level, "warning") ? COLOR_YELLOW
                                                  : COLOR_NONE;
    cli_print(cli, STR_FMT "  %s%-7.*s%s ", STR_ARG(json_text(row, "lastAt", cli->arena)),
              color_on(&cli->out, color), (int)level.len, level.at, color_off(&cli->out, color));
    terminal_clean(&cli->text, json_text(row, "title", cli->arena));
}

static int run_list(struct cli *cli)
{
    const struct notifications_options *options = cli->options;
    _cleanup_buf_ struct buf path = BUF_INIT(16384);
    struct feed feed = {.limit = options->limit, .spec = &list_spec, .print = print_notification};
    struct str project = STR_NONE;
    struct err err = ERR_INIT;
    if (options->follow && feed_unfit(cli))
        return cli_usage(cli, "%s", feed_unfit(cli));
    if (lookup_project_chosen(cli, &project, &err))
        return cli_fail(cli, &err);
    buf_printf(&path, "/notifications?unread=%s", options->unread ? "true" : "false");
    feed_filter(cli, &path, "projectId", project);
    feed_filter(cli, &path, "level", str_of(options->level));
    feed_filter(cli, &path, "type", str_of(options->type));
    feed.path = arena_cstr(cli->own_arena, buf_str(&path));
    int failed = options->follow ? feed_follow(cli, &feed, &err) : feed_list(cli, &feed, &err);
    if (failed)
        return cli_fail(cli, &err);
    return cli->interrupted ? CLI_INTERRUPTED : CLI_OK;
}

// ── show ─────────────────────────────────────────────────────────────────────────────────────

static int run_show(struct cli *cli)
{
    struct err err = ERR_INIT;
    struct json row;
    if (cli_get(cli, cli_path(cli, "/notifications/{}", cli->args[0]), &row, &err))
        return cli_fail(cli, &err);
    int code = listing_one(cli, &one_spec, row);
    struct str message = json_text(row, "message", cli->arena);
    if (cli->output != OUTPUT_TABLE || message.len == 0)
        return code;
    cli_print(cli, "\n");
    for (struct str rest = message; rest.at;) {
        terminal_clean(&cli->text, str_cut(&rest, '\n'));
        cli_print(cli, "\n");
    }
    return code;
}

// ── read ─────────────────────────────────────────────────────────────────────────────────────

static int read_all(struct cli *cli, struct err *err)
{
    struct json answer, more = {.type = JSON_TRUE}, marked;
    struct str project = STR_NONE;
    int64_t count, total = 0;
    _cleanup_buf_ struct buf body = BUF_INIT(4096);
    struct json_writer w = JSON_WRITER(&body);
    if (lookup_project_chosen(cli, &project, err))
        return -1;
    json_w_object(&w);
    if (project.at) {
        json_w_key(&w, "filter");
        json_w_object(&w);
        json_w_pair_str(&w, "projectId", project);
        json_w_object_end(&w);
    }
    json_w_object_end(&w);
    while (more.type == JSON_TRUE) {
        if (cli_post(cli, "/notifications/read", buf_str(&body), &answer, err))
            return -1;
        json_get(answer, "more", &more);
        total += json_get(answer, "marked", &marked) && json_int(marked, &count) ? count : 0;
    }
    cli_say(cli, "%lld marked as read", (long long)total);
    return 0;
}

static int run_read(struct cli *cli)
{
    const struct notifications_options *options = cli->options;
    struct err err = ERR_INIT;
    struct json row;
    if (options->all == (cli->arg_count > 0))
        return cli_usage(cli, "name the notifications that you have read, or --all");
    if (options->all)
        return read_all(cli, &err) ? cli_fail(cli, &err) : CLI_OK;
    for (int i = 0; i < cli->arg_count; i++)
        if (cli_call(cli, "PATCH", cli_path(cli, "/notifications/{}", cli->args[i]),
                     STR("{\"read\":true}"), &row, &err))
            return cli_fail(cli, &err);
    cli_say(cli, "%d marked as read", cli->arg_count);
    return CLI_OK;
}

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind,                                                 \
        .offset = offsetof(struct notifications_options, member), __VA_ARGS__                      \
    }

static const struct option list_options[] = {
    OPTION("unread", BOOL, unread, .letter = 'u', .help = "Those that you have not read."),
    OPTION("follow", BOOL, follow, .letter = 'f',
           .help = "The newest, oldest first, and then what comes, until Ctrl-C."),
    OPTION("limit", INT, limit, .letter = 'n', .unit = "COUNT", .min = -1, .max = 1000,
           .fallback = "100", .help = "At most so many; -1: all."),
    OPTION("level", CHOICE, level, .choices = "info|warning|error", .help = "Those of this level."),
    OPTION("type", TEXT, type, .unit = "TYPE", .help = "Those of this type, CrashLoopBackOff."),
};
static const struct option read_options[] = {
    OPTION("all", BOOL, all, .help = "All of the chosen project; of all projects when none is."),
};

static const struct verb_example list_examples[] = {
    {"drover notifications --unread", "what you have not read yet"},
    {"drover notifications list -f --level error", "what goes wrong, as it happens"},
};
static const struct verb_example show_examples[] = {
    {"drover notifications show 65f0a1b2c3d4e5f60718293a", "one, with the exact error"},
};
static const struct verb_example read_examples[] = {
    {"drover notifications read 65f0a1b2c3d4e5f60718293a", "you have read that one"},
    {"drover notifications read --all", "and now all of them"},
};

#define COMMON                                                                                     \
    .group = GROUP_LOOK, .options_size = sizeof(struct notifications_options),                     \
    .exits = 1U << CLI_NOT_FOUND

static const struct verb verbs[] = {
    {.name = "notifications list",
     COMMON,
     .summary = "list what you must hear of, newest first",
     .about = "A service that was stopped because it cannot start, a rollout that was halted, or "
              "what functions tell. Repeats that nobody has read are counted in one line.",
     .options = list_options,
     .option_count = sizeof(list_options) / sizeof(list_options[0]),
     .examples = list_examples,
     .example_count = 2,
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = run_list},
    {.name = "notifications show",
     .arguments = "ID",
     COMMON,
     .summary = "show a notification with the exact error",
     .examples = show_examples,
     .example_count = 1,
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = run_show},
    {.name = "notifications read",
     .arguments = "[ID…]",
     COMMON,
     .summary = "mark notifications as read by you",
     .options = read_options,
     .option_count = 1,
     .examples = read_examples,
     .example_count = 2,
     .flags = VERB_SERVER,
     .run = run_read},
};

const struct verb_list notifications_verbs = VERB_LIST(verbs);
