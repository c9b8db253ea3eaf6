// SPDX-License-Identifier: Apache-2.0
// drover logs SERVICE|EXECUTION
#include "cli/logs.h"

#include "base/clock.h"
#include "cli/executions.h"
#include "cli/link.h"
#include "cli/lookup.h"
#include "cli/text.h"
#include "cli/verbs.h"

#define PAGE_MOST 1000

struct logs_options {
    bool follow, system;
    const char *since, *until, *level, *text, *function, *replica;
    int64_t tail;
};

struct showing {
    struct cli *cli;
    struct log_reader reader;
    bool many;    // of several executions
    bool first;   // of a JSON array
    bool failed;  // stdout takes no more
    // --tail: the last lines, newest first
    struct str *tail;
    size_t tail_count, tail_most;
};

static void print(struct showing *showing, struct json line)
{
    struct cli *cli = showing->cli;
    if (cli->output == OUTPUT_TABLE) {
        log_line(cli, line, &cli->out, showing->many, &cli->text);
    } else {
        if (cli->output == OUTPUT_JSON)
            buf_add_cstr(&cli->text, showing->first ? "\n" : ",\n");
        buf_add_str(&cli->text, line.text);
        if (cli->output != OUTPUT_JSON)
            buf_add_char(&cli->text, '\n');
    }
    showing->first = false;
}

static void on_line(void *arg, struct json line) { print(arg, line); }

static void on_tail(void *arg, struct json line)
{
    struct showing *showing = arg;
    if (showing->tail_count < showing->tail_most)
        showing->tail[showing->tail_count++] = arena_copy(showing->cli->own_arena, line.text);
}

// Reads the last lines backwards and prints them forwards; what follows goes on behind the newest.
static int show_tail(struct showing *showing, struct err *err)
{
    struct cli *cli = showing->cli;
    struct log_reader back = showing->reader;
    bool stop = false;
    back.descending = true;
    back.follow = false;
    showing->tail = arena_array_of(cli->own_arena, struct str, showing->tail_most);
    // With --tail 0 one line is read all the same, for its place.
    do {
        size_t left = showing->tail_most - showing->tail_count;
        back.size = left == 0 ? 1 : left < PAGE_MOST ? (int64_t)left : PAGE_MOST;
        if (log_read(cli, &back, on_tail, showing, &stop, err))
            return -1;
    } while (!stop && (showing->tail_count < showing->tail_most || !back.newest.at));
    for (size_t i = showing->tail_count; i > 0; i--)
        print(showing, json_of(showing->tail[i - 1]));
    showing->reader.checkpoint = back.newest;
    return 0;
}

static int show_all(struct showing *showing, struct err *err)
{
    struct cli *cli = showing->cli;
    struct arena *outer = cli->arena, *round = arena_new();
    int64_t good_at = clock_mono(clock_system());
    bool stop = false;
    int rc = 0;
    while (!stop && !showing->failed) {
        arena_reset(round);
        cli->arena = round;
        *err = ERR_INIT;
        rc = log_read(cli, &showing->reader, on_line, showing, &stop, err);
        showing->failed = cli_flush(cli) != CLI_OK;
        if (rc == 0)
            good_at = clock_mono(clock_system());
        else if (!showing->reader.follow || !link_wait(cli, good_at, err))
            break;
    }
    cli->arena = outer;
    arena_free(round);
    return rc;
}

// ── whose lines ──────────────────────────────────────────────────────────────────────────────

static int find_subject(struct showing *showing, const char *name, struct err *err)
{
    struct cli *cli = showing->cli;
    struct json found;
    bool execution;
    if (lookup_subject(cli, name, &found, &execution, err))
        return -1;
    struct str id = lookup_id(found, cli->arena);
    if (execution)
        showing->reader.execution_id = id;
    else
        showing->reader.service_id = id;
    showing->many = !execution;
    return 0;
}

static int read_options(struct showing *showing, struct err *err)
{
    const struct logs_options *options = showing->cli->options;
    struct log_reader *reader = &showing->reader;
    int64_t now = clock_wall(clock_system());
    *reader = (struct log_reader){
        .function = options->function,
        .replica = options->replica,
        .level = options->level,
        .text = options->text,
        .follow = options->follow,
        .system = options->system,
    };
    if ((options->since && moment_parse("--since", options->since, now, &reader->start, err)) ||
        (options->until && moment_parse("--until", options->until, now, &reader->end, err)))
        return -1;
    showing->tail_most = options->tail > 0 ? (size_t)options->tail : 0;
    return 0;
}

static int run(struct cli *cli)
{
    const struct logs_options *options = cli->options;
    struct showing showing = {.cli = cli, .first = true};
    struct err err = ERR_INIT;
    if (cli->output == OUTPUT_NAME)
        return cli_usage(cli, "lines have no names: -o is table, json or jsonl here");
    if (options->follow && cli->output == OUTPUT_JSON)
        return cli_usage(cli, "an array that is followed never ends: use -o jsonl");
    cli_catch_interrupt(cli);
    if (read_options(&showing, &err) || find_subject(&showing, cli->args[0], &err))
        return cli_fail(cli, &err);
    if (cli->output == OUTPUT_JSON)
        cli_print(cli, "[");
    if ((options->tail > 0 || (options->tail == 0 && options->follow)) && show_tail(&showing, &err))
        return cli_fail(cli, &err);
    if ((options->tail < 0 || options->follow) && show_all(&showing, &err))
        return cli_fail(cli, &err);
    if (cli->output == OUTPUT_JSON)
        cli_print(cli, showing.first ? "]\n" : "\n]\n");
    return showing.failed ? CLI_FAILED : CLI_OK;
}

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind,                                                 \
        .offset = offsetof(struct logs_options, member), __VA_ARGS__                               \
    }

static const struct option options[] = {
    OPTION("follow", BOOL, follow, .letter = 'f',
           .help = "Go on with new lines: of an execution until it has ended, of a service until "
                   "Ctrl-C."),
    OPTION("tail", INT, tail, .letter = 'n', .unit = "COUNT", .fallback = "-1", .min = -1,
           .max = 10000000, .help = "Only the last lines; -1: all."),
    OPTION("since", TEXT, since, .unit = "TIME",
           .help = "Lines since then: 30s, 15m, 1h or 2d ago, or 2026-11-23T08:00:00Z."),
    OPTION("until", TEXT, until, .unit = "TIME", .help = "Lines before then, as --since."),
    OPTION("level", CHOICE, level, .choices = "DEBUG|INFO|WARNING|ERROR|CRITICAL",
           .help = "Lines of this level and above."),
    OPTION("text", TEXT, text, .unit = "TEXT", .help = "Lines that hold this text."),
    OPTION("function", TEXT, function, .unit = "FUNCTION", .help = "Lines of this function."),
    OPTION("replica", TEXT, replica, .unit = "ID", .help = "Lines of this replica."),
    OPTION("system", BOOL, system,
           .help = "Also what the platform says: starts, environments, ends."),
};

static const struct verb_example examples[] = {
    {"drover logs hello -f --tail 10", "the last ten lines of a service, and then new ones"},
    {"drover logs 65f0a1b2c3d4e5f60718293a -f", "all of one execution until it has ended"},
    {"drover logs hello --since 1h --level ERROR -o jsonl", "errors of an hour, for a program"},
};

static const struct verb verbs[] = {
    {.name = "logs",
     .arguments = "SERVICE|EXECUTION",
     .group = GROUP_LOOK,
     .summary = "show or follow log lines",
     .about = "Of a service, by name or id, or of one execution, by id. With --follow it lives "
              "through a server that is started again.",
     .options = options,
     .option_count = sizeof(options) / sizeof(options[0]),
     .options_size = sizeof(struct logs_options),
     .examples = examples,
     .example_count = 3,
     .exits = 1U << CLI_NOT_FOUND,
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = run},
};

const struct verb_list logs_verbs = VERB_LIST(verbs);
