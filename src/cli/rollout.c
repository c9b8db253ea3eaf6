// SPDX-License-Identifier: Apache-2.0
// drover rollout status|history|undo SERVICE
#include "base/clock.h"
#include "cli/link.h"
#include "cli/listing.h"
#include "cli/lookup.h"
#include "cli/step.h"
#include "cli/verbs.h"

#define POLL_MS 500

struct rollout_options {
    const char *to;
    bool watch;
    int64_t timeout_ms;
};

static const struct column status_columns[] = {
    {.title = "STATE", .path = "state", .kind = COLUMN_STATUS},
    {.title = "REVISION", .path = "revision"},
    {.title = "WANTED", .path = "wanted", .kind = COLUMN_NUMBER},
    {.title = "READY", .path = "ready", .kind = COLUMN_NUMBER},
    {.title = "OLD", .path = "old", .kind = COLUMN_NUMBER},
    {.title = "FAILING", .path = "failing", .kind = COLUMN_NUMBER},
    {.title = "CHANGED", .path = "since", .kind = COLUMN_TIME},
    {.title = "MESSAGE", .path = "message"},
};
static const struct listing_spec status_spec = {
    status_columns, sizeof(status_columns) / sizeof(status_columns[0]), "state", NULL};

static const char *service_path(struct cli *cli, const char *path, struct err *err)
{
    struct json service;
    if (lookup_service(cli, cli->args[0], &service, err))
        return NULL;
    const char *id = arena_cstr(cli->own_arena, lookup_id(service, cli->arena));
    return arena_cstr(cli->own_arena, str_of(cli_path(cli, path, id)));
}

static bool is_state(struct cli *cli, struct json rollout, const char *state)
{
    return str_is(json_text(rollout, "state", cli->arena), state);
}

// Until it is complete, or the time is over, or Ctrl-C. `round` holds what one look gives.
static int wait_complete(struct cli *cli, struct arena *round, const char *path, struct json *out,
                         struct err *err)
{
    const struct rollout_options *options = cli->options;
    int64_t good_at = clock_mono(clock_system());
    for (int64_t waited = 0;; waited += POLL_MS) {
        *err = ERR_INIT;
        if (cli_get(cli, path, out, err)) {
            if (link_wait(cli, good_at, err))
                continue;
            return -1;
        }
        good_at = clock_mono(clock_system());
        if (is_state(cli, *out, "complete") || is_state(cli, *out, "paused"))
            return 0;
        struct str message = json_text(*out, "message", cli->arena);
        step_update(cli, STR_FMT, STR_ARG(message));
        if (options->timeout_ms > 0 && waited >= options->timeout_ms)
            return err_set(err, ERR_TIMEOUT, "The rollout is not complete: " STR_FMT,
                           STR_ARG(message));
        if (!cli_sleep(cli, POLL_MS))
            return err_set(err, ERR_TIMEOUT, "interrupted; the rollout goes on");
        arena_reset(round);
    }
}

static int watch(struct cli *cli, const char *path, struct json *out, struct err *err)
{
    struct arena *kept = cli->arena, *round = arena_new();
    step_begin(cli, "Waiting for the rollout");
    cli->arena = round;
    int rc = wait_complete(cli, round, path, out, err);
    cli->arena = kept;
    if (rc == 0)
        *out = json_of(arena_copy(kept, out->text));
    arena_free(round);
    if (rc == 0)
        step_end(cli, STR_FMT, STR_ARG(json_text(*out, "message", cli->arena)));
    else
        step_break(cli);
    return rc;
}

static int show(struct cli *cli, const char *path)
{
    const struct rollout_options *options = cli->options;
    struct err err = ERR_INIT;
    struct json rollout;
    if (options->watch)
        cli_catch_interrupt(cli);
    if (options->watch ? watch(cli, path, &rollout, &err) : cli_get(cli, path, &rollout, &err))
        return cli_fail(cli, &err);
    bool failing = is_state(cli, rollout, "failing");
    int code = listing_one(cli, &status_spec, rollout);
    return code == CLI_OK && failing ? CLI_FAILED : code;
}

static int run_status(struct cli *cli)
{
    struct err err = ERR_INIT;
    const char *path = service_path(cli, "/services/{}/rollout", &err);
    return path ? show(cli, path) : cli_fail(cli, &err);
}

// ── history ──────────────────────────────────────────────────────────────────────────────────

static void write_changes(struct cli *cli, struct json revision, struct buf *out)
{
    struct json changes = {0}, change, before, after;
    struct str key;
    (void)cli;
    json_get(revision, "changes", &changes);
    for (struct json_iter it = json_each(changes); json_next(&it, &key, &change);) {
        json_get(change, "before", &before);
        json_get(change, "after", &after);
        buf_printf(out, "%s" STR_FMT ": " STR_FMT " → " STR_FMT, out->len ? "; " : "", STR_ARG(key),
                   STR_ARG(before.text), STR_ARG(after.text));
    }
}

static const struct column history_columns[] = {
    {.title = "REVISION", .path = "revision", .keep = true},
    {.title = "MADE", .path = "createdAt", .kind = COLUMN_TIME},
    {.title = "BY", .path = "creator"},
    {.title = "CHANGES", .write = write_changes},
};
static const struct listing_spec history_spec = {
    history_columns, sizeof(history_columns) / sizeof(history_columns[0]), "revision", NULL};

static int run_history(struct cli *cli)
{
    struct err err = ERR_INIT;
    struct json revisions, one;
    struct str key;
    const char *path = service_path(cli, "/services/{}/rollout/history", &err);
    if (!path || cli_get(cli, path, &revisions, &err))
        return cli_fail(cli, &err);
    struct listing *listing = listing_begin(cli, &history_spec);
    for (struct json_iter it = json_each(revisions); json_next(&it, &key, &one);)
        listing_add(listing, one);
    return listing_end(listing);
}

// ── undo ─────────────────────────────────────────────────────────────────────────────────────

static int run_undo(struct cli *cli)
{
    const struct rollout_options *options = cli->options;
    struct err err = ERR_INIT;
    struct json service;
    _cleanup_buf_ struct buf body = BUF_INIT(4096);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    if (options->to)
        json_w_pair_str(&w, "revision", str_of(options->to));
    json_w_object_end(&w);
    const char *path = service_path(cli, "/services/{}/rollback", &err);
    if (!path || cli_post(cli, path, buf_str(&body), &service, &err))
        return cli_fail(cli, &err);
    cli_say(cli, STR_FMT " has revision " STR_FMT " now",
            STR_ARG(json_text(service, "name", cli->arena)),
            STR_ARG(json_text(service, "version", cli->arena)));
    path = service_path(cli, "/services/{}/rollout", &err);
    return path ? show(cli, path) : cli_fail(cli, &err);
}

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind,                                                 \
        .offset = offsetof(struct rollout_options, member), __VA_ARGS__                            \
    }
#define WATCH                                                                                      \
    OPTION("watch", BOOL, watch, .letter = 'w',                                                    \
           .help = "Wait until all replicas are new and ready."),                                  \
        OPTION("timeout", SECONDS, timeout_ms, .unit = "TIME", .max = 31536000000,                 \
               .help = "With --watch: give up after so long; the rollout goes on.")

static const struct option watch_options[] = {WATCH};
static const struct option undo_options[] = {
    WATCH,
    OPTION("to", TEXT, to, .unit = "REVISION",
           .help = "The revision whose content comes back; the one before when not given."),
};

static const struct verb_example status_examples[] = {
    {"drover rollout status hello --watch", "wait until the newest revision runs everywhere"},
};
static const struct verb_example history_examples[] = {
    {"drover rollout history hello", "who changed what, and when"},
};
static const struct verb_example undo_examples[] = {
    {"drover rollout undo hello", "back to the revision before"},
    {"drover rollout undo hello --to 1.0.2 --watch", "back to a named one, and wait for it"},
};

#define COMMON                                                                                     \
    .arguments = "SERVICE", .group = GROUP_CHANGE, .options_size = sizeof(struct rollout_options), \
    .exits = 1U << CLI_NOT_FOUND, .flags = VERB_SERVER | VERB_OUTPUT

static const struct verb verbs[] = {
    {.name = "rollout status",
     .summary = "say how far a change has come, and what holds it up",
     COMMON,
     .options = watch_options,
     .option_count = sizeof(watch_options) / sizeof(watch_options[0]),
     .examples = status_examples,
     .example_count = 1,
     .run = run_status},
    {.name = "rollout history",
     .summary = "list a service's revisions and what each changed",
     COMMON,
     .examples = history_examples,
     .example_count = 1,
     .run = run_history},
    {.name = "rollout undo",
     .summary = "go back to an old revision, as a new one",
     COMMON,
     .options = undo_options,
     .option_count = sizeof(undo_options) / sizeof(undo_options[0]),
     .examples = undo_examples,
     .example_count = 2,
     .run = run_undo},
};

const struct verb_list rollout_verbs = VERB_LIST(verbs);
