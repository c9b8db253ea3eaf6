// SPDX-License-Identifier: Apache-2.0
// drover context list | use | show | remove
#include "base/near.h"
#include "cli/listing.h"
#include "cli/verbs.h"

static const struct column columns[] = {
    {.title = "CURRENT", .path = "current"}, {.title = "NAME", .path = "name"},
    {.title = "URL", .path = "url"},         {.title = "USER", .path = "user"},
    {.title = "PROJECT", .path = "project"}, {.title = "LOGIN", .path = "login", .keep = true},
};

static const struct listing_spec spec = {columns, sizeof(columns) / sizeof(columns[0]), "name",
                                         "There are no contexts. `drover login URL` makes one."};

// What may be shown of it: no key, no token.
static struct json describe(struct cli *cli, const struct context *context, bool current)
{
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
    struct json_writer w = JSON_WRITER(&text);
    json_w_object(&w);
    json_w_pair_str(&w, "name", context->name);
    json_w_pair_str(&w, "url", context->url);
    json_w_pair_str(&w, "user", context->user);
    json_w_pair_str(&w, "project", context->project);
    json_w_pair_str(&w, "login", context->api_key.at ? STR("api-key") : STR("password"));
    if (cli->output == OUTPUT_TABLE)
        json_w_pair_str(&w, "current", current ? STR("*") : STR(""));
    else
        json_w_pair_bool(&w, "current", current);
    json_w_object_end(&w);
    return json_of(arena_copy(cli->arena, buf_str(&text)));
}

static int run_list(struct cli *cli)
{
    struct contexts contexts;
    struct err err = ERR_INIT;
    if (contexts_load(&contexts, cli->arena, &err))
        return cli_fail(cli, &err);
    struct listing *listing = listing_begin(cli, &spec);
    for (size_t i = 0; i < contexts.count; i++)
        listing_add(listing,
                    describe(cli, &contexts.at[i], str_eq(contexts.at[i].name, contexts.current)));
    return listing_end(listing);
}

// The context of that name; *code is the exit code when there is none.
static struct context *named(struct cli *cli, struct contexts *contexts, struct str name, int *code)
{
    struct err err = ERR_INIT;
    if (contexts_load(contexts, cli->arena, &err)) {
        *code = cli_fail(cli, &err);
        return NULL;
    }
    struct context *context = contexts_find(contexts, name);
    if (context)
        return context;
    struct near near = near_start(name);
    for (size_t i = 0; i < contexts->count; i++)
        near_try(&near, contexts->at[i].name);
    bool found = near.found.at != NULL;
    err_set(&err, ERR_NOT_FOUND, "There is no context '" STR_FMT "'%s" STR_FMT "%s", STR_ARG(name),
            found ? "; did you mean '" : "", STR_ARG(near.found), found ? "'?" : "");
    cli_hint(cli, "`drover context list` lists them, `drover login URL` makes one");
    *code = cli_fail(cli, &err);
    return NULL;
}

static int run_use(struct cli *cli)
{
    struct contexts contexts;
    struct err err = ERR_INIT;
    int code;
    const struct context *context = named(cli, &contexts, str_of(cli->args[0]), &code);
    if (!context)
        return code;
    contexts.current = context->name;
    if (contexts_save(&contexts, cli->arena, &err))
        return cli_fail(cli, &err);
    cli_say(cli, "Now using " STR_FMT " (" STR_FMT ").", STR_ARG(context->name),
            STR_ARG(context->url));
    return CLI_OK;
}

static int run_remove(struct cli *cli)
{
    struct contexts contexts;
    struct err err = ERR_INIT;
    int code;
    struct context *context = named(cli, &contexts, str_of(cli->args[0]), &code);
    if (!context)
        return code;
    size_t at = (size_t)(context - contexts.at);
    bool current = str_eq(context->name, contexts.current);
    memmove(context, context + 1, (contexts.count - at - 1) * sizeof(*context));
    contexts.count--;
    if (current)
        contexts.current = STR_NONE;
    if (contexts_save(&contexts, cli->arena, &err))
        return cli_fail(cli, &err);
    cli_say(cli, "Forgot %s.%s", cli->args[0],
            current ? " No context is current now: `drover context use NAME` chooses one." : "");
    return CLI_OK;
}

static int run_show(struct cli *cli)
{
    struct contexts contexts;
    struct err err = ERR_INIT;
    int code;
    if (cli->arg_count > 0) {
        const struct context *context = named(cli, &contexts, str_of(cli->args[0]), &code);
        return context
                   ? listing_one(cli, &spec,
                                 describe(cli, context, str_eq(context->name, contexts.current)))
                   : code;
    }
    // What a verb would use now, from wherever it comes.
    if (cli_target(cli, &err))
        return cli_fail(cli, &err);
    const struct target *target = &cli->target;
    struct context now = {.name = target->context.at ? target->context : target->source,
                          .url = target->url,
                          .project = target->project,
                          .api_key = target->refresh_token.at ? STR_NONE : target->token};
    if (contexts_load(&contexts, cli->arena, &err))
        return cli_fail(cli, &err);
    const struct context *kept = contexts_find(&contexts, target->context);
    now.user = kept ? kept->user : STR_NONE;
    return listing_one(cli, &spec, describe(cli, &now, true));
}

static const struct verb_example list_examples[] = {
    {"drover context list", "every server logged in to; * marks the current one"},
};
static const struct verb_example use_examples[] = {
    {"drover context use production", "from now on the server of that context is asked"},
};
static const struct verb_example show_examples[] = {
    {"drover context show", "which server a verb would ask now, and as whom"},
};
static const struct verb_example remove_examples[] = {
    {"drover context remove production", "forget that login"},
};

#define ABOUT                                                                                      \
    "A context is a server with a login, kept in ~/.config/drover/config.json, which its owner "   \
    "alone may read. Keys and tokens are never shown."

static const struct verb verbs[] = {
    {.name = "context list",
     .group = GROUP_PEOPLE,
     .summary = "list the servers logged in to",
     .about = ABOUT,
     .examples = list_examples,
     .example_count = 1,
     .flags = VERB_OUTPUT,
     .run = run_list},
    {.name = "context use",
     .arguments = "CONTEXT",
     .group = GROUP_PEOPLE,
     .summary = "choose the server that is asked from now on",
     .about = ABOUT,
     .examples = use_examples,
     .example_count = 1,
     .exits = 1U << CLI_NOT_FOUND,
     .run = run_use},
    {.name = "context show",
     .arguments = "[CONTEXT]",
     .group = GROUP_PEOPLE,
     .summary = "show one context, or what would be used now",
     .about = ABOUT,
     .examples = show_examples,
     .example_count = 1,
     .exits = 1U << CLI_NOT_FOUND,
     .flags = VERB_OUTPUT | VERB_SERVER,
     .run = run_show},
    {.name = "context remove",
     .arguments = "CONTEXT",
     .group = GROUP_PEOPLE,
     .summary = "forget a login",
     .about = ABOUT,
     .examples = remove_examples,
     .example_count = 1,
     .exits = 1U << CLI_NOT_FOUND,
     .run = run_remove},
};

const struct verb_list context_verbs = VERB_LIST(verbs);
