// SPDX-License-Identifier: Apache-2.0
// drover deploy FOLDER
#include "base/clock.h"
#include "cli/link.h"
#include "cli/listing.h"
#include "cli/lookup.h"
#include "cli/push.h"
#include "cli/status.h"
#include "cli/step.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "model/module.h"

struct deploy_options {
    const char *name, *package;
    int64_t replicas, concurrency, timeout_ms;
    bool wait;
};

// ── the service ──────────────────────────────────────────────────────────────────────────────

// The manifest's runtime with what the options say of it.
static void write_runtime(struct cli *cli, struct json given, struct json_writer *w)
{
    const struct deploy_options *options = cli->options;
    _cleanup_buf_ struct buf patch = BUF_INIT(1024);
    struct json_writer p = JSON_WRITER(&patch);
    json_w_object(&p);
    if (options->replicas >= 0)
        json_w_pair_int(&p, "numReplicas", options->replicas);
    if (options->replicas >= 0)
        json_w_pair_raw(&p, "autoscaler", STR("null"));
    if (options->concurrency > 0)
        json_w_pair_int(&p, "concurrency", options->concurrency);
    json_w_object_end(&p);
    bool object = given.type == JSON_OBJECT;
    if (!object && patch.len <= 2)
        return;
    json_w_pair_raw(
        w, "runtime",
        json_merge(object ? given : json_of(STR("{}")), json_of(buf_str(&patch)), cli->arena));
}

// The manifest's settings go as they are: the server checks them and names what is wrong.
static struct str service_body(struct cli *cli, const struct manifest *manifest,
                               const struct manifest_service *service, struct json package,
                               struct str project_id)
{
    _cleanup_buf_ struct buf body = BUF_INIT(service->settings.text.len * 2 + (1 << 20));
    struct json_writer w = JSON_WRITER(&body);
    struct json value, runtime = {0}, versions;
    struct str key;
    json_w_object(&w);
    for (struct json_iter it = json_each(service->settings); json_next(&it, &key, &value);) {
        if (json_key_is(key, "runtime"))
            runtime = value;
        else if (!json_key_is(key, "name") && !json_key_is(key, "packageRevision")) {
            json_w_key_str(&w, json_unescape(key, cli->arena));
            json_w_raw(&w, value.text);
        }
    }
    write_runtime(cli, runtime, &w);
    // An environment with dtlpy takes a minute to make: not for code that does not use it.
    if (!json_get(service->settings, "versions", &versions) && !manifest->from_file &&
        !manifest->uses_dtlpy)
        json_w_pair_raw(&w, "versions", STR("{\"dtlpy\":\"none\"}"));
    json_w_pair_str(&w, "packageId", lookup_id(package, cli->arena));
    json_w_pair_str(&w, "packageRevision", json_text(package, "version", cli->arena));
    if (project_id.at) {
        json_w_pair_str(&w, "name", service->name);
        json_w_pair_str(&w, "projectId", project_id);
    }
    json_w_object_end(&w);
    return arena_copy(cli->arena, buf_str(&body));
}

static void tell_warnings(struct cli *cli, struct json service)
{
    struct json warnings, one;
    struct str key;
    if (!json_get(service, "warnings", &warnings))
        return;
    for (struct json_iter it = json_each(warnings); json_next(&it, &key, &one);)
        cli_say(cli, "  note: " STR_FMT, STR_ARG(json_str(one, cli->arena)));
}

static int store(struct cli *cli, const struct manifest *manifest,
                 const struct manifest_service *service, struct json package, struct str project_id,
                 struct json *out, struct err *err)
{
    struct json before;
    bool found;
    step_begin(cli, "Service " STR_FMT, STR_ARG(service->name));
    if (lookup_in_project(cli, "service", project_id, service->name, &before, &found, err))
        return -1;
    struct str body = service_body(cli, manifest, service, package, found ? STR_NONE : project_id);
    if (!found) {
        if (cli_post(cli, "/services", body, out, err))
            return -1;
        step_end(cli, "Service " STR_FMT ": created", STR_ARG(service->name));
        return 0;
    }
    const char *path = cli_path(cli, "/services/{}",
                                arena_cstr(cli->arena, lookup_id(before, cli->arena)));
    if (cli_call(cli, "PATCH", path, body, out, err))
        return -1;
    struct str was = json_text(before, "version", cli->arena);
    struct str now = json_text(*out, "version", cli->arena);
    step_end(cli, "Service " STR_FMT ": %s" STR_FMT, STR_ARG(service->name),
             str_eq(was, now) ? "unchanged, version " : "updated to version ", STR_ARG(now));
    return 0;
}

// ── waiting for its agents ───────────────────────────────────────────────────────────────────

#define GIVE_UP_AFTER 2  // starts that failed: the next ones would, the same way

static int gave_up(struct cli *cli, struct str name, const struct replicas *replicas,
                   const char *why, struct err *err)
{
    step_break(cli);
    if (replicas->told.len > replicas->words.len)
        cli_say(cli, STR_FMT, STR_ARG(str_trim(replicas->told)));
    cli_hint(cli,
             "`drover logs " STR_FMT " --system` shows what they said; starting goes on, until the "
             "server goes back to the last good revision, or stops the service",
             STR_ARG(name));
    return err_set(err, ERR_DEPENDENCY, "Service " STR_FMT " %s: " STR_FMT, STR_ARG(name), why,
                   STR_ARG(replicas->words));
}

// Shows what the agents of the new version are doing until all are ready.
static int wait_ready(struct cli *cli, struct json service, struct err *err)
{
    const struct deploy_options *options = cli->options;
    struct arena *outer = cli->arena, *round = arena_new();
    struct str name = lookup_name(service, outer), id = lookup_id(service, outer);
    struct str version = json_text(service, "version", outer);
    int64_t start = clock_mono(clock_system()), wanted = status_wanted(service), good_at = start;
    _cleanup_buf_ struct buf took = BUF_INIT(64);
    int rc = 0;
    step_begin(cli, "Waiting for " STR_FMT, STR_ARG(name));
    for (;;) {
        struct replicas replicas;
        arena_reset(round);
        cli->arena = round;
        *err = ERR_INIT;
        rc = status_replicas(cli, arena_cstr(round, id), version, &replicas, err);
        if (rc && link_wait(cli, good_at, err))
            continue;
        if (rc || replicas.ready >= wanted)
            break;
        good_at = clock_mono(clock_system());
        int64_t waited = good_at - start;
        if (replicas.most_restarts >= GIVE_UP_AFTER)
            rc = gave_up(cli, name, &replicas, "does not start", err);
        else if (waited > options->timeout_ms)
            rc = gave_up(cli, name, &replicas, "is not ready in time (--timeout)", err);
        else if (!cli_sleep(cli, 200))
            rc = err_set(err, ERR_TIMEOUT, "interrupted");
        if (rc)
            break;
        step_update(cli, "Waiting for " STR_FMT ": %lld of %lld replicas ready%s" STR_FMT,
                    STR_ARG(name), (long long)replicas.ready, (long long)wanted,
                    replicas.words.len > 0 ? "; " : "", STR_ARG(replicas.words));
    }
    cli->arena = outer;
    arena_free(round);
    if (cli->interrupted || (rc && err->kind == ERR_UNAVAILABLE))
        cli_hint(cli, "It is deployed and goes on starting%s: `drover describe " STR_FMT "`",
                 cli->interrupted ? "" : " when the server is back", STR_ARG(name));
    if (rc)
        return rc;
    duration_text(clock_mono(clock_system()) - start, &took);
    step_end(cli, "Ready: %lld of %lld replicas of " STR_FMT " after " STR_FMT, (long long)wanted,
             (long long)wanted, STR_ARG(name), STR_ARG(buf_str(&took)));
    return 0;
}

// ── the verb ─────────────────────────────────────────────────────────────────────────────────

static const struct column columns[] = {
    {.title = "Service", .path = "name"},
    {.title = "Version", .path = "version"},
    {.title = "Package revision", .path = "packageRevision"},
    {.title = "Id", .path = "id"},
};
static const struct listing_spec spec = {columns, sizeof(columns) / sizeof(columns[0]), "name",
                                         NULL};

static int deploy_one(struct cli *cli, const struct manifest *manifest,
                      const struct manifest_service *service, struct json package,
                      struct str project_id, struct err *err)
{
    const struct deploy_options *options = cli->options;
    struct json made, active = {0};
    if (store(cli, manifest, service, package, project_id, &made, err))
        return -1;
    tell_warnings(cli, made);
    json_get(made, "active", &active);
    if (active.type == JSON_FALSE)
        cli_say(cli, "It is paused: `drover resume " STR_FMT "` starts it.",
                STR_ARG(service->name));
    else if (options->wait && wait_ready(cli, made, err))
        return -1;
    // The steps have told people; a program asks for a form.
    return cli->output == OUTPUT_TABLE ? CLI_OK : listing_one(cli, &spec, made);
}

// Before anything is sent: what was refused is not half done then.
static int check_names(const struct deploy_options *options, struct manifest *manifest,
                       struct err *err)
{
    if (options->name)
        manifest->services[0].name = str_of(options->name);
    if (options->package && name_check(str_of(options->package), "--package", err))
        return -1;
    for (size_t i = 0; i < manifest->service_count; i++)
        if (name_check(manifest->services[i].name, options->name ? "--name" : "services", err))
            return -1;
    return 0;
}

static int run(struct cli *cli)
{
    const struct deploy_options *options = cli->options;
    struct manifest manifest;
    struct str project_id, project;
    struct json package;
    struct err err = ERR_INIT;
    bool changed;
    cli_catch_interrupt(cli);
    if (manifest_read(cli, cli->arg_count > 0 ? cli->args[0] : ".", &manifest, &err))
        return cli_fail(cli, &err);
    if (options->name && manifest.service_count > 1)
        return cli_usage(cli, "--name names one service, but the folder describes %zu",
                         manifest.service_count);
    if (check_names(options, &manifest, &err) || lookup_project(cli, &project_id, &project, &err))
        return cli_fail(cli, &err);
    step_begin(cli, "Project " STR_FMT, STR_ARG(project));
    step_end(cli, "Project " STR_FMT, STR_ARG(project));
    if (push_package(cli, &manifest, options->package, project_id, &package, &changed, &err))
        return cli_fail(cli, &err);
    for (size_t i = 0; i < manifest.service_count; i++)
        if (deploy_one(cli, &manifest, &manifest.services[i], package, project_id, &err))
            return cli_fail(cli, &err);
    cli_say(cli, "Try it: drover exec " STR_FMT " " STR_FMT " --wait",
            STR_ARG(manifest.services[0].name), STR_ARG(manifest.example));
    return CLI_OK;
}

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind,                                                 \
        .offset = offsetof(struct deploy_options, member), __VA_ARGS__                             \
    }

static const struct option options[] = {
    OPTION("name", TEXT, name, .unit = "NAME",
           .help = "Name of the service instead of dataloop.json's, or the package's."),
    OPTION("package", TEXT, package, .unit = "NAME",
           .help = "Name of the package instead of dataloop.json's, or the folder's."),
    OPTION("replicas", INT, replicas, .letter = 'r', .unit = "COUNT", .fallback = "-1", .min = -1,
           .max = 1000000,
           .help = "So many replicas, whatever dataloop.json says; -1: as it says."),
    OPTION("concurrency", INT, concurrency, .unit = "COUNT", .min = 0, .max = 1000000,
           .help = "So many executions at a time in each replica."),
    OPTION("wait", BOOL, wait, .fallback = "true",
           .help = "Wait until the replicas of the new version are ready (--no-wait: do not)."),
    OPTION("timeout", SECONDS, timeout_ms, .fallback = "10m", .min = 1000, .max = 86400000,
           .help = "How long to wait for them."),
};

static const struct verb_example examples[] = {
    {"drover deploy hello", "push the folder hello and run it as a service; again: update it"},
    {"drover deploy hello --name hello-two --replicas 2 --no-wait", "a second service of it"},
};

static const struct verb verbs[] = {
    {.name = "deploy",
     .arguments = "[FOLDER]",
     .group = GROUP_RUN,
     .summary = "push a folder of code and run it as a service",
     .about = "Makes the package (as `drover push` does) and the services that dataloop.json "
              "describes, or one called as the package; a second time it updates them. Without a "
              "project, the only one there is is used, or one called default is made.\n\nA service "
              "whose replicas do not start is an error; starting goes on, until the "
              "server goes back to the last good revision, or stops the service.",
     .options = options,
     .option_count = sizeof(options) / sizeof(options[0]),
     .options_size = sizeof(struct deploy_options),
     .examples = examples,
     .example_count = 2,
     .exits = 1U << CLI_NOT_FOUND,
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = run},
};

const struct verb_list deploy_verbs = VERB_LIST(verbs);
