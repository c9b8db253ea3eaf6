// SPDX-License-Identifier: Apache-2.0
// drover cancel, drover rerun: one execution, several, or all that a selection finds.
#include "base/clock.h"
#include "cli/executions.h"
#include "cli/link.h"
#include "cli/lookup.h"
#include "cli/page.h"
#include "cli/selection.h"
#include "cli/step.h"
#include "cli/verbs.h"
#include "model/execution.h"

struct rerun_options {
    struct selection selection;
    bool all, wait;
};

struct action {
    const char *word;                    // of the API: "rerun", "terminate"
    const char *question, *doing, *did;  // "Run again", "Running again", "Queued again"
    enum selection_limit limit;
};
static const struct action rerun = {"rerun", "Run again", "Queuing again", "Queued again",
                                    SELECT_ENDED};
static const struct action cancel = {"terminate", "Cancel", "Asking to cancel", "Asked to cancel",
                                     SELECT_OPEN};

// ── named ones ───────────────────────────────────────────────────────────────────────────────

// One that had ended is left as it is.
static bool nothing_done(const struct action *action, struct json execution)
{
    struct json value;
    bool to_terminate = true;
    return action == &cancel && json_get(execution, "toTerminate", &value) &&
           json_bool(value, &to_terminate) && !to_terminate;
}

// One that runs ends when its function heeds its kill event, or when its service's drainTime is
// over.
static void tell_asked(struct cli *cli, const struct action *action, struct json execution)
{
    struct str id = lookup_id(execution, cli->arena);
    struct str service_id = json_text(execution, "serviceId", cli->arena);
    struct err ignored = ERR_INIT;
    struct json service, value;
    char latest[TIME_TEXT_SIZE];
    int64_t drain_s;
    if (action != &cancel || !str_is(execution_status(execution, cli->arena), "in-progress") ||
        cli_get(cli, cli_path(cli, "/services/{}", arena_cstr(cli->arena, service_id)), &service,
                &ignored) ||
        !json_get(service, "drainTime", &value) || !json_int(value, &drain_s)) {
        cli_say(cli, "%s " STR_FMT ".", action->did, STR_ARG(id));
        return;
    }
    if (drain_s == 0)
        drain_s = EXECUTION_CANCEL_GRACE_S;
    time_format(clock_wall(clock_system()) + drain_s * 1000, latest);
    cli_say(cli, "%s " STR_FMT "; if it does not end by itself, it is ended by force by %s.",
            action->did, STR_ARG(id), latest);
}

// Each on its own; one that fails does not keep the others from it. The first failure's code.
static int act_named(struct cli *cli, const struct action *action)
{
    int code = CLI_OK;
    for (int i = 0; i < cli->arg_count; i++) {
        struct json execution;
        struct err err = ERR_INIT;
        const char *path = cli_path(cli, "/executions/{}/", cli->args[i]);
        path = arena_printf(cli->arena, "%s%s", path, action->word).at;
        cli->hint = NULL;
        if (cli_post(cli, path, STR_NONE, &execution, &err)) {
            if (err.kind == ERR_NOT_FOUND)
                cli_hint(cli, "`drover executions` lists them with their ids");
            err_wrap(&err, "%s", cli->args[i]);
            int failed = cli_fail(cli, &err);
            code = code == CLI_OK ? failed : code;
            continue;
        }
        if (cli->output != OUTPUT_TABLE)
            (void)listing_one(cli, &executions_spec, execution);
        else if (nothing_done(action, execution))
            cli_say(cli, "%s had ended; nothing was done.", cli->args[i]);
        else
            tell_asked(cli, action, execution);
    }
    return code;
}

// ── all of a selection ───────────────────────────────────────────────────────────────────────

static int64_t spec_number(struct json command, const char *path)
{
    struct json value;
    int64_t n;
    return json_path(command, str_of(path), &value) && json_int(value, &n) ? n : 0;
}

// Follows the command that does it, until it is over; also over a restart of the server, at which
// the command goes on by itself.
static int follow(struct cli *cli, const struct action *action, struct json *followed,
                  int64_t count, struct err *err)
{
    struct json command = *followed;
    struct arena *outer = cli->arena, *round = arena_new();
    const char *id = arena_cstr(outer, lookup_id(command, outer));
    struct str status = STR("created"), message = STR("");
    int64_t good_at = clock_mono(clock_system());
    int rc = 0;
    step_begin(cli, "%s %lld execution%s", action->doing, (long long)count, count == 1 ? "" : "s");
    for (;;) {
        arena_reset(round);
        cli->arena = round;
        *err = ERR_INIT;
        rc = cli_get(cli, cli_path(cli, "/commands/{}", id), &command, err);
        if (rc && link_wait(cli, good_at, err))
            continue;
        if (rc)
            break;
        good_at = clock_mono(clock_system());
        status = arena_copy(outer, json_text(command, "status", round));
        message = arena_copy(outer, json_text(command, "error.message", round));
        step_bar(cli, spec_number(command, "spec.done"), count);
        if (!str_is(status, "created") && !str_is(status, "in-progress"))
            break;
        if (!cli_sleep(cli, 100)) {
            rc = err_set(err, ERR_TIMEOUT, "interrupted");
            break;
        }
    }
    if (rc && (cli->interrupted || err->kind == ERR_UNAVAILABLE))
        cli_hint(cli, "The command %s goes on at the server%s; `drover executions` shows how far.",
                 id, cli->interrupted ? "" : " when that is back");
    int64_t done = rc ? 0 : spec_number(command, "spec.done");
    if (rc == 0)
        *followed = json_of(arena_copy(outer, command.text));
    cli->arena = outer;
    arena_free(round);
    if (rc)
        return -1;
    if (!str_is(status, "success"))
        return err_set(err, ERR_DEPENDENCY, "The command %s ended as " STR_FMT "%s" STR_FMT, id,
                       STR_ARG(status), message.len > 0 ? ": " : "", STR_ARG(message));
    int64_t shown = done > 0 ? done : count;
    step_end(cli, "%s %lld execution%s", action->did, (long long)shown, shown == 1 ? "" : "s");
    return 0;
}

// Thousands of executions are no answer: a program gets the command that did it.
static const struct listing_spec command_spec = {.name = "id"};

static int act_selected(struct cli *cli, const struct action *action)
{
    const struct rerun_options *options = cli->options;
    struct str filter;
    struct json command;
    struct err err = ERR_INIT;
    int64_t count;
    if (selection_filter(cli, &options->selection, action->limit, &filter, &err) ||
        page_count(cli, "executions", filter, &count, &err))
        return cli_fail(cli, &err);
    if (count == 0) {
        cli_say(cli, "No execution matches; nothing was done.");
        cli_print(cli, cli->output == OUTPUT_JSON ? "null\n" : "");
        return CLI_OK;
    }
    int code = cli_confirm(cli, "%s %lld execution%s?", action->question, (long long)count,
                           count == 1 ? "" : "s");
    if (code != CLI_OK)
        return code;
    _cleanup_buf_ struct buf body = BUF_INIT(filter.len + 4096);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    json_w_pair_raw(&w, "query", filter);
    json_w_object_end(&w);
    cli_catch_interrupt(cli);
    const char *path = arena_printf(cli->arena, "/executions/%s", action->word).at;
    if (cli_post(cli, path, buf_str(&body), &command, &err) ||
        follow(cli, action, &command, count, &err))
        return cli_fail(cli, &err);
    return cli->output == OUTPUT_TABLE ? CLI_OK : listing_one(cli, &command_spec, command);
}

static int act(struct cli *cli, const struct action *action)
{
    const struct rerun_options *options = cli->options;
    bool chosen = selection_given(&options->selection);
    if (cli->arg_count > 0 && (chosen || options->all))
        return cli_usage(cli, "give either ids or a selection, not both");
    if (cli->arg_count > 0)
        return act_named(cli, action);
    if (!chosen && !options->all)
        return cli_usage(cli, "say which: ids, a selection such as --status or --since, or --all");
    return act_selected(cli, action);
}

static int run_rerun(struct cli *cli) { return act(cli, &rerun); }

static int run_cancel(struct cli *cli) { return act(cli, &cancel); }

static const struct option options[] = {
    SELECTION_OPTIONS(struct rerun_options),
    {.flag = "--all",
     .type = OPTION_BOOL,
     .offset = offsetof(struct rerun_options, all),
     .group = "Which executions",
     .help = "All that there are."},
};
#define COUNT (SELECTION_COUNT + 1)

static const struct verb_example rerun_examples[] = {
    {"drover rerun 65f0a1b2c3d4e5f60718293a", "run one again, under the same id"},
    {"drover rerun --status failed --since 1h", "all that failed in the last hour; it asks first"},
    {"drover rerun --service hello --status failed --yes", "in a script, which nobody can ask"},
};
static const struct verb_example cancel_examples[] = {
    {"drover cancel 65f0a1b2c3d4e5f60718293a", "stop one"},
    {"drover cancel --service hello --yes", "all of a service that have not ended"},
};

static const struct verb verbs[] = {
    {.name = "cancel",
     .arguments = "[EXECUTION…]",
     .group = GROUP_RUN,
     .summary = "stop executions",
     .about = "One that is queued ends at once; one that runs is asked to stop, and ended by force "
              "when its service's drainTime is over. By id, or all open ones that the options "
              "choose; -o then prints the command that does it.",
     .options = options,
     .option_count = COUNT,
     .options_size = sizeof(struct rerun_options),
     .examples = cancel_examples,
     .example_count = 2,
     .exits = 1U << CLI_NOT_FOUND,
     .flags = VERB_SERVER | VERB_OUTPUT | VERB_CONFIRM,
     .run = run_cancel},
    {.name = "rerun",
     .arguments = "[EXECUTION…]",
     .group = GROUP_RUN,
     .summary = "run ended executions again",
     .about = "Under the same id, with the same input. By id, or all ended ones that the options "
              "choose; -o then prints the command that does it.",
     .options = options,
     .option_count = COUNT,
     .options_size = sizeof(struct rerun_options),
     .examples = rerun_examples,
     .example_count = 3,
     .exits = 1U << CLI_NOT_FOUND,
     .flags = VERB_SERVER | VERB_OUTPUT | VERB_CONFIRM,
     .run = run_rerun},
};

const struct verb_list rerun_verbs = VERB_LIST(verbs);
