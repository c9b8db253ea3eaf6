// SPDX-License-Identifier: Apache-2.0
// From argv to a verb: finds it, reads its options, checks its arguments, runs it.
#include "cli/cli.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/map.h"
#include "base/near.h"
#include "cli/cli_internal.h"
#include "cli/link.h"
#include "cli/step.h"

#define TEXT_FLUSH ((size_t)64 * 1024)
#define TEXT_MAX   ((size_t)1 << 30)

// ── printing ─────────────────────────────────────────────────────────────────────────────────

int cli_flush(struct cli *cli)
{
    size_t at = 0;
    while (at < cli->text.len) {
        ssize_t n = write(cli->out.fd, cli->text.at + at, cli->text.len - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            fprintf(stderr, "drover: cannot write the answer: %s\n", strerror(errno));
            buf_clear(&cli->text);
            return CLI_FAILED;
        }
        at += (size_t)n;
    }
    buf_clear(&cli->text);
    return CLI_OK;
}

void cli_print(struct cli *cli, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *at = len > 0 ? buf_reserve(&cli->text, (size_t)len + 1) : NULL;
    if (!at)
        return;
    va_start(args, fmt);
    vsnprintf(at, (size_t)len + 1, fmt, args);
    va_end(args);
    cli->text.len += (size_t)len;
    if (cli->text.len > TEXT_FLUSH && !cli->common->watch)
        (void)cli_flush(cli);
}

static void say(struct cli *cli, const char *fmt, va_list args)
{
    step_hide(cli);
    (void)cli_flush(cli);
    vfprintf(stderr, fmt, args);
    fputc('\n', stderr);
}

void cli_say(struct cli *cli, const char *fmt, ...)
{
    va_list args;
    if (cli->common->quiet)
        return;
    va_start(args, fmt);
    say(cli, fmt, args);
    va_end(args);
}

void cli_warn(struct cli *cli, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    say(cli, fmt, args);
    va_end(args);
}

// ── failing ──────────────────────────────────────────────────────────────────────────────────

int cli_hint(struct cli *cli, const char *fmt, ...)
{
    if (cli->hint)
        return -1;
    va_list args;
    char text[512];
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    cli->hint = arena_copy(cli->own_arena, str_of(text)).at;
    return -1;
}

static const char *usual_hint(const struct cli *cli, enum err_kind kind)
{
    if (kind == ERR_UNAUTHENTICATED)
        return cli->target_known ? "log in again with `drover login URL`, or give another key in "
                                   "DROVER_API_KEY"
                                 : "`drover login URL`, or start a server here: `drover server`";
    if (kind == ERR_DENIED)
        return "ask an owner of the project for the role (`drover users list` shows who has "
               "which), "
               "or an administrator of the server";
    if (kind == ERR_UNAVAILABLE && cli->no_server)
        return "is it running? `drover server` starts one here; `drover context list` shows which "
               "server is asked";
    if (kind == ERR_BUSY)
        return "the server has much to do: try again in a moment";
    if (kind == ERR_INTERNAL)
        return "the server's log says more";
    return NULL;
}

static int exit_of(const struct cli *cli, enum err_kind kind)
{
    if (cli->interrupted)
        return CLI_INTERRUPTED;
    switch (kind) {
    case ERR_BAD_INPUT:
    case ERR_TOO_LARGE: return CLI_USAGE;
    case ERR_NOT_FOUND: return CLI_NOT_FOUND;
    case ERR_UNAUTHENTICATED:
    case ERR_DENIED: return CLI_DENIED;
    case ERR_UNAVAILABLE: return cli->no_server || cli->not_ready ? CLI_UNREACHABLE : CLI_FAILED;
    default: return CLI_FAILED;
    }
}

int cli_fail(struct cli *cli, const struct err *err)
{
    int code = exit_of(cli, err->kind);
    step_break(cli);
    (void)cli_flush(cli);
    if (code == CLI_INTERRUPTED) {
        if (cli->hint)
            fprintf(stderr, "%s\n", cli->hint);
        return code;
    }
    const char *hint = cli->hint ? cli->hint : usual_hint(cli, err->kind);
    _cleanup_buf_ struct buf clean = BUF_INIT(sizeof(err->message) * 3);
    terminal_clean(&clean, str_of(err->message));
    fprintf(stderr, "%sdrover %s:%s " STR_FMT "\n", color_on(&cli->err, COLOR_RED), cli->verb->name,
            color_off(&cli->err, COLOR_RED), STR_ARG(buf_str(&clean)));
    if (hint && !cli->common->quiet)
        fprintf(stderr, "  next: %s\n", hint);
    return code;
}

int cli_usage(struct cli *cli, const char *fmt, ...)
{
    va_list args;
    step_break(cli);
    (void)cli_flush(cli);
    fprintf(stderr, "drover %s: ", cli->verb->name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\n  usage: " STR_FMT "\n  next: `drover help %s` says more\n",
            STR_ARG(verb_usage(cli->verb, cli->arena)), cli->verb->name);
    return CLI_USAGE;
}

// ── which verb ───────────────────────────────────────────────────────────────────────────────

// Reads one or two words off argv; *used says how many. NULL: none.
static const struct verb *find_verb(const struct program *program, int argc, char **argv, int *used)
{
    const struct verb *verb;
    for (*used = 2; *used > 0; --*used) {
        for (size_t i = 0; *used < argc && (verb = program_verb(program, i)); i++) {
            struct str rest = str_of(verb->name);
            struct str first = str_cut(&rest, ' ');
            bool two = rest.at != NULL;
            if (two == (*used == 2) && str_is(first, argv[1]) && (!two || str_is(rest, argv[2])))
                return verb;
        }
    }
    return NULL;
}

static bool is_family(const struct program *program, struct str word)
{
    const struct verb *verb;
    for (size_t i = 0; (verb = program_verb(program, i)); i++) {
        struct str rest = str_of(verb->name);
        if (str_eq(str_cut(&rest, ' '), word) && rest.at && !(verb->flags & VERB_HIDDEN))
            return true;
    }
    return false;
}

// "keys" alone is "keys list".
static const struct verb *family_list(const struct program *program, int argc, char **argv)
{
    const struct verb *verb;
    if (argc > 2 && argv[2][0] != '-')
        return NULL;
    for (size_t i = 0; (verb = program_verb(program, i)); i++) {
        struct str rest = str_of(verb->name);
        if (str_is(str_cut(&rest, ' '), argv[1]) && str_is(rest, "list"))
            return verb;
    }
    return NULL;
}

static int no_verb(const struct program *program, int argc, char **argv)
{
    const struct verb *verb;
    char word[96];
    bool family = is_family(program, str_of(argv[1]));
    bool second = family && argc > 2 && argv[2][0] != '-';
    snprintf(word, sizeof(word), second ? "%s %s" : "%s", argv[1], second ? argv[2] : "");
    if (family && !second) {
        fprintf(stderr, "drover: '%s' needs a second word\n  next: `drover help %s` lists them\n",
                word, word);
        return CLI_USAGE;
    }
    struct near near = near_start(str_of(word));
    for (size_t i = 0; (verb = program_verb(program, i)); i++) {
        struct str rest = str_of(verb->name);
        if (verb->flags & VERB_HIDDEN)
            continue;
        near_try(&near, rest);
        near_try(&near, str_cut(&rest, ' '));
    }
    fprintf(stderr, "drover: there is no verb '%s'", word);
    if (near.found.at)
        fprintf(stderr, "; did you mean '" STR_FMT "'?", STR_ARG(near.found));
    fprintf(stderr, "\n  next: `drover help` lists all verbs\n");
    return CLI_USAGE;
}

// ── running it ───────────────────────────────────────────────────────────────────────────────

static enum cli_output output_of(const char *word)
{
    static const char *const words[] = {"table", "json", "jsonl", "name"};
    for (size_t i = 1; word && i < sizeof(words) / sizeof(words[0]); i++)
        if (strcmp(word, words[i]) == 0)
            return (enum cli_output)i;
    return OUTPUT_TABLE;
}

static int check_arguments(struct cli *cli)
{
    int least, most;
    verb_arguments(cli->verb, &least, &most);
    if (cli->arg_count < least) {
        struct str missing = verb_argument(cli->verb, cli->arg_count);
        return cli_usage(cli, STR_FMT " is missing", STR_ARG(missing));
    }
    if (cli->arg_count > most)
        return cli_usage(cli, "'%s' is one argument too many", cli->args[most]);
    for (int i = 0; i < cli->arg_count; i++)
        if (cli->args[i][0] == '\0' && !(cli->verb->flags & VERB_HIDDEN))
            return cli_usage(cli, "an argument is empty");
    return CLI_OK;
}

// Draws what was printed over the former frame, without flicker, as far as the window is high.
static void draw_frame(struct cli *cli)
{
    struct buf text = buf_take(&cli->text);
    int line = 0;
    cli->text = BUF_INIT(TEXT_MAX);
    terminal_measure(&cli->out);
    buf_add_cstr(&cli->text, cli->round == 0 ? "\033[H\033[2J" : "\033[H");
    for (struct str rest = buf_str(&text); rest.len > 0 && line < cli->out.height - 1; line++) {
        buf_add_str(&cli->text, str_cut(&rest, '\n'));
        buf_add_cstr(&cli->text, "\033[K\n");
    }
    buf_add_cstr(&cli->text, "\033[J");
    buf_deinit(&text);
}

// Runs it again and again; on a terminal each answer takes the place of the former.
static int watch(struct cli *cli)
{
    struct arena *first = cli->arena, *round = arena_new();
    int code = CLI_OK;
    cli_catch_interrupt(cli);
    cli->seen = cli->output == OUTPUT_JSONL ? map_new() : NULL;
    for (cli->round = 0; !cli->interrupted; cli->round++) {
        arena_reset(round);
        cli->arena = round;
        cli->hint = NULL;
        if (cli->output != OUTPUT_JSONL && cli->round > 0 && !cli->out.tty)
            buf_add_char(&cli->text, '\n');
        code = cli->verb->run(cli);
        if (code == CLI_OK && cli->output != OUTPUT_JSONL && cli->out.tty)
            draw_frame(cli);
        // One that cannot be reached may come back; after a good round that is worth waiting for.
        bool patient = code == CLI_UNREACHABLE && cli->round > 0;
        if ((code != CLI_OK && !patient) || cli_flush(cli) != CLI_OK ||
            !cli_sleep(cli, cli->common->interval_ms))
            break;
    }
    cli->arena = first;
    arena_free(round);
    if (cli->interrupted && cli->out.tty)
        buf_add_char(&cli->text, '\n');  // behind the ^C that the terminal shows
    return cli->interrupted ? CLI_INTERRUPTED : code;
}

static int run(struct cli *cli)
{
    int code = check_arguments(cli);
    if (code == CLI_OK)
        code = cli->common->watch ? watch(cli) : cli->verb->run(cli);
    step_break(cli);
    int flushed = cli_flush(cli);
    return code == CLI_OK ? flushed : code;
}

static bool wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static int print_help(const struct verb *verb)
{
    _cleanup_buf_ struct buf text = BUF_INIT(TEXT_MAX);
    help_verb(verb, &text);
    fwrite(text.at, 1, text.len, stdout);
    return fflush(stdout) ? CLI_FAILED : CLI_OK;
}

static int prepare(struct cli *cli, int argc, char **argv)
{
    struct option_table table = {0};
    struct err err = ERR_INIT;
    size_t own, size;
    struct option *options = verb_options(cli->verb, cli->arena, &table.count, &own, &size);
    bool live = (cli->verb->flags & VERB_LIVE) && isatty(STDOUT_FILENO) == 1;
    for (size_t i = 0; live && i < table.count; i++)
        if (strcmp(options[i].flag, "--watch") == 0)
            options[i].fallback = "true";
    table.options = options;
    char *settings = arena_alloc(cli->arena, size);
    cli->common = (const struct cli_common *)(const void *)settings;
    cli->options = settings + own;
    cli->err = terminal_of(STDERR_FILENO, "auto");
    if (option_load(&table, &argc, argv, NULL, settings, cli->arena, &err)) {
        cli_hint(cli, "`drover help %s` lists its options", cli->verb->name);
        return cli_fail(cli, &err);
    }
    cli->args = argv + 1;
    cli->arg_count = argc - 1;
    cli->output = output_of(cli->common->output);
    const char *color = cli->common->color ? cli->common->color : "auto";
    cli->out = terminal_of(STDOUT_FILENO, color);
    cli->err = terminal_of(STDERR_FILENO, color);
    return CLI_OK;
}

static int run_verb(const struct program *program, const struct verb *verb, int argc, char **argv)
{
    if (wants_help(argc, argv))
        return print_help(verb);
    if (verb->own_main)
        return verb->own_main(argc, argv);
    struct cli cli = {
        .program = program,
        .verb = verb,
        .signals = -1,
        .arena = arena_new(),
        .own_arena = arena_new(),
        .text = BUF_INIT(TEXT_MAX),
        .out = {.fd = STDOUT_FILENO},
        .err = {.fd = STDERR_FILENO},
    };
    int code = prepare(&cli, argc, argv);
    if (code == CLI_OK)
        code = run(&cli);
    link_free(cli.link);
    cli_signals_end(&cli);
    map_free(cli.seen);
    buf_deinit(&cli.text);
    arena_free(cli.own_arena);
    arena_free(cli.arena);
    return code;
}

int cli_main(const struct program *program, int argc, char **argv)
{
    int used;
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0))
        argv[1] = (char *)(uintptr_t) "help";
    if (argc > 1 && strcmp(argv[1], "--version") == 0)
        argv[1] = (char *)(uintptr_t) "version";
    if (argc < 2) {
        _cleanup_buf_ struct buf text = BUF_INIT(TEXT_MAX);
        help_program(program, &text);
        fwrite(text.at, 1, text.len, stderr);
        return CLI_USAGE;
    }
    const struct verb *verb = find_verb(program, argc, argv, &used);
    if (!verb && (verb = family_list(program, argc, argv)))
        used = 1;
    if (!verb)
        return no_verb(program, argc, argv);
    return run_verb(program, verb, argc - used, argv + used);
}
