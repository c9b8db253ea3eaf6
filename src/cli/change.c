// SPDX-License-Identifier: Apache-2.0
// What is done to a service as a whole: pause, resume, scale, restart, delete.
#include "cli/listing.h"
#include "cli/lookup.h"
#include "cli/status.h"
#include "cli/verbs.h"

struct change_options {
    bool force;
    const char *replica;
};

static const char *id_of(struct cli *cli, struct json service)
{
    return arena_cstr(cli->arena, lookup_id(service, cli->arena));
}

static const struct column columns[] = {
    {.title = "Service", .path = "name"},
    {.title = "Version", .path = "version"},
    {.title = "Active", .path = "active"},
    {.title = "Replicas", .path = "runtime.numReplicas"},
};
static const struct listing_spec spec = {columns, sizeof(columns) / sizeof(columns[0]), "name",
                                         NULL};

// For people a sentence is enough; a program gets the service as it is now.
static int answer(struct cli *cli, struct json service, const char *sentence)
{
    if (cli->output != OUTPUT_TABLE)
        return listing_one(cli, &spec, service);
    cli_say(cli, STR_FMT " %s", STR_ARG(lookup_name(service, cli->arena)), sentence);
    return CLI_OK;
}

static int set_active(struct cli *cli, const char *path, const char *sentence)
{
    const struct change_options *options = cli->options;
    struct json service, after;
    struct err err = ERR_INIT;
    int code = CLI_OK;
    for (int i = 0; i < cli->arg_count; i++) {
        const char *body = options->force ? "{\"force\":true}" : "{}";
        if (lookup_service(cli, cli->args[i], &service, &err) ||
            cli_post(cli, cli_path(cli, path, id_of(cli, service)), str_of(body), &after, &err))
            return cli_fail(cli, &err);
        code = answer(cli, after, sentence);
    }
    return code;
}

static int run_pause(struct cli *cli)
{
    return set_active(cli, "/services/{}/stop",
                      "is paused: its agents drain, and its executions stay queued until `drover "
                      "resume`.");
}

static int run_resume(struct cli *cli)
{
    return set_active(cli, "/services/{}/resume", "is active again.");
}

static int run_restart(struct cli *cli)
{
    const struct change_options *options = cli->options;
    struct json service, none;
    struct err err = ERR_INIT;
    _cleanup_buf_ struct buf body = BUF_INIT(4096);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    if (options->replica)
        json_w_pair_str(&w, "replicaId", str_of(options->replica));
    json_w_object_end(&w);
    if (lookup_service(cli, cli->args[0], &service, &err) ||
        cli_post(cli, cli_path(cli, "/services/{}/restart", id_of(cli, service)), buf_str(&body),
                 &none, &err))
        return cli_fail(cli, &err);
    return answer(cli, service,
                  options->replica ? "restarts the runner of that replica."
                                   : "replaces its agents: the old ones finish what they run.");
}

static int run_preempt(struct cli *cli)
{
    struct json none;
    struct err err = ERR_INIT;
    for (int i = 0; i < cli->arg_count; i++) {
        if (cli_post(cli, cli_path(cli, "/replicas/{}/preempt", cli->args[i]), STR("{}"), &none,
                     &err))
            return cli_fail(cli, &err);
        cli_say(cli, "%s takes nothing new, and another replica takes its place.", cli->args[i]);
    }
    return CLI_OK;
}

static int run_scale(struct cli *cli)
{
    struct json service, after, scaler = {0};
    struct err err = ERR_INIT;
    int64_t count;
    if (!str_int(str_of(cli->args[1]), &count) || count < 0)
        return cli_usage(cli, "'%s' is no number of replicas: 0, 1, 2, …", cli->args[1]);
    if (lookup_service(cli, cli->args[0], &service, &err))
        return cli_fail(cli, &err);
    bool scaled = json_path(service, STR("runtime.autoscaler"), &scaler) &&
                  scaler.type == JSON_OBJECT;
    struct json runtime = json_of(STR("{}"));
    json_get(service, "runtime", &runtime);
    struct str patch = arena_printf(cli->arena, "{\"numReplicas\":%lld,\"autoscaler\":null}",
                                    (long long)count);
    struct str body = arena_printf(cli->arena, "{\"runtime\":" STR_FMT "}",
                                   STR_ARG(json_merge(runtime, json_of(patch), cli->arena)));
    if (cli_call(cli, "PATCH", cli_path(cli, "/services/{}", id_of(cli, service)), body, &after,
                 &err))
        return cli_fail(cli, &err);
    if (scaled)
        cli_say(cli, "Its autoscaler is off now: the number is fixed.");
    return answer(
        cli, after,
        arena_printf(cli->arena, "has %lld replica%s now.", (long long)count, count == 1 ? "" : "s")
            .at);
}

static int run_delete(struct cli *cli)
{
    const struct change_options *options = cli->options;
    struct json service, command;
    struct err err = ERR_INIT;
    if (lookup_service(cli, cli->args[0], &service, &err))
        return cli_fail(cli, &err);
    struct str name = lookup_name(service, cli->arena);
    int code = cli_confirm(cli, "Delete the service " STR_FMT ", its logs and what is queued?",
                           STR_ARG(name));
    if (code != CLI_OK)
        return code;
    const char *path = cli_path(cli, "/services/{}", id_of(cli, service));
    if (options->force)
        path = arena_printf(cli->arena, "%s?force=true", path).at;
    if (cli_call(cli, "DELETE", path, STR_NONE, &command, &err))
        return cli_fail(cli, &err);
    cli_say(cli, STR_FMT " is deleted%s.", STR_ARG(name),
            options->force ? "" : "; what runs may finish");
    return CLI_OK;
}

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind,                                                 \
        .offset = offsetof(struct change_options, member), __VA_ARGS__                             \
    }

static const struct option force_option[] = {
    OPTION("force", BOOL, force, .help = "End at once what runs, instead of letting it finish."),
};
static const struct option replica_option[] = {
    OPTION("replica", TEXT, replica, .unit = "ID",
           .help = "Only the runner of this replica, see `drover describe`."),
};

static const struct verb_example pause_examples[] = {
    {"drover pause hello", "its executions stay queued"},
};
static const struct verb_example resume_examples[] = {
    {"drover resume hello", "what is queued runs"},
};
static const struct verb_example scale_examples[] = {
    {"drover scale hello 2", "two replicas"},
    {"drover scale hello 0", "none: executions wait in the queue"},
};
static const struct verb_example restart_examples[] = {
    {"drover restart hello", "new agents, one after the other"},
};
static const struct verb_example preempt_examples[] = {
    {"drover preempt 65f0a1b2c3d4e5f60718293a", "see whether its service bears it"},
};
static const struct verb_example delete_examples[] = {
    {"drover delete hello --yes", "without asking"},
};

#define SIZE .options_size = sizeof(struct change_options), .exits = 1U << CLI_NOT_FOUND

static const struct verb verbs[] = {
    {.name = "pause",
     .arguments = "SERVICE…",
     .group = GROUP_CHANGE,
     .summary = "let a service rest; its executions stay queued",
     .options = force_option,
     .option_count = 1,
     SIZE,
     .examples = pause_examples,
     .example_count = 1,
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = run_pause},
    {.name = "resume",
     .arguments = "SERVICE…",
     .group = GROUP_CHANGE,
     .summary = "let a paused service run again",
     SIZE,
     .examples = resume_examples,
     .example_count = 1,
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = run_resume},
    {.name = "scale",
     .arguments = "SERVICE REPLICAS",
     .group = GROUP_CHANGE,
     .summary = "set how many replicas a service has",
     .about = "A service with an autoscaler has a fixed number of replicas from then on.",
     SIZE,
     .examples = scale_examples,
     .example_count = 2,
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = run_scale},
    {.name = "restart",
     .arguments = "SERVICE",
     .group = GROUP_CHANGE,
     .summary = "replace the agents of a service",
     .options = replica_option,
     .option_count = 1,
     SIZE,
     .examples = restart_examples,
     .example_count = 1,
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = run_restart},
    {.name = "preempt",
     .arguments = "REPLICA…",
     .group = GROUP_CHANGE,
     .summary = "take replicas away as their machine might, with a notice",
     .examples = preempt_examples,
     .example_count = 1,
     .flags = VERB_SERVER,
     .run = run_preempt},
    {.name = "delete",
     .arguments = "SERVICE",
     .group = GROUP_CHANGE,
     .summary = "delete a service with its logs",
     .options = force_option,
     .option_count = 1,
     SIZE,
     .examples = delete_examples,
     .example_count = 1,
     .flags = VERB_SERVER | VERB_CONFIRM,
     .run = run_delete},
};

const struct verb_list change_verbs = VERB_LIST(verbs);
