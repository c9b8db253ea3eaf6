// SPDX-License-Identifier: Apache-2.0
// drover secrets. A value is read from the terminal, a file or stdin: never from the command line,
// which others on the machine can see, and which a shell remembers.
#include <unistd.h>

#include "base/clock.h"
#include "cli/listing.h"
#include "cli/lookup.h"
#include "cli/verbs.h"

#define VALUE_MAX (64u << 10)  // what the server takes

struct secrets_options {
    const char *file;
    bool keep_agents;
};

static void write_changed(struct cli *cli, struct json secret, struct buf *out)
{
    char text[TIME_TEXT_SIZE];
    struct json value;
    int64_t ms;
    (void)cli;
    if (!json_get(secret, "updatedAt", &value) || !json_int(value, &ms))
        return;
    time_format(ms, text);
    buf_add_cstr(out, text);
}

static const struct column columns[] = {
    {.title = "NAME", .path = "name", .keep = true}, {.title = "TYPE", .path = "type"},
    {.title = "CHANGED", .write = write_changed},    {.title = "BY", .path = "creator"},
    {.title = "ID", .path = "id", .keep = true},
};
static const struct listing_spec spec = {
    columns, sizeof(columns) / sizeof(columns[0]), "name",
    "There are no secrets. `drover secrets create NAME` makes one."};

// ── which one, and what ──────────────────────────────────────────────────────────────────────

static int find(struct cli *cli, const char *path, struct str *id, struct err *err)
{
    struct str wanted = str_of(cli->args[0]), key;
    struct json all, one;
    if (cli_get(cli, path, &all, err))
        return -1;
    for (struct json_iter it = json_each(all); json_next(&it, &key, &one);) {
        *id = lookup_id(one, cli->arena);
        if (str_eq(*id, wanted) || str_eq(lookup_name(one, cli->arena), wanted))
            return 0;
    }
    cli_hint(cli, "`drover secrets` lists them");
    return err_set(err, ERR_NOT_FOUND, "There is no secret %s", cli->args[0]);
}

static int read_value(struct cli *cli, struct str *out, struct err *err)
{
    const struct secrets_options *options = cli->options;
    bool ask = !options->file && isatty(STDIN_FILENO);
    const char *file = options->file ? options->file : "-";
    if (ask ? cli_secret(cli, "Value: ", out, err) : cli_read(cli, file, VALUE_MAX + 2, out, err))
        return -1;
    while (out->len > 0 && (out->at[out->len - 1] == '\n' || out->at[out->len - 1] == '\r'))
        out->len--;
    if (out->len == 0)
        return err_set(err, ERR_BAD_INPUT, "The value is empty");
    if (!str_utf8_valid(*out) || memchr(out->at, '\0', out->len))
        return err_set(err, ERR_BAD_INPUT,
                       "The value is no text (UTF-8): an environment variable cannot hold it; "
                       "encode it, as with base64");
    return 0;
}

// ── the verbs ────────────────────────────────────────────────────────────────────────────────

static int secrets_list(struct cli *cli)
{
    const char *path;
    struct json all, one;
    struct str key;
    struct err err = ERR_INIT;
    if (lookup_integrations(cli, &path, &err) || cli_get(cli, path, &all, &err))
        return cli_fail(cli, &err);
    struct listing *listing = listing_begin(cli, &spec);
    for (struct json_iter it = json_each(all); json_next(&it, &key, &one);)
        listing_add(listing, one);
    return listing_end(listing);
}

static void write_options(struct json_writer *w, struct str name, struct str value)
{
    json_w_key(w, "options");
    json_w_object(w);
    json_w_pair_str(w, "key", name);
    json_w_pair_str(w, "value", value);
    json_w_object_end(w);
}

static int secrets_create(struct cli *cli)
{
    const char *path;
    struct str value, name = str_of(cli->args[0]);
    struct json made;
    struct err err = ERR_INIT;
    _cleanup_buf_ struct buf body = BUF_INIT(1 << 20);
    struct json_writer w = JSON_WRITER(&body);
    if (lookup_integrations(cli, &path, &err) || read_value(cli, &value, &err))
        return cli_fail(cli, &err);
    json_w_object(&w);
    json_w_pair_str(&w, "name", name);
    json_w_pair_str(&w, "type", STR("key_value"));
    write_options(&w, name, value);
    json_w_object_end(&w);
    if (cli_post(cli, path, buf_str(&body), &made, &err))
        return cli_fail(cli, &err);
    return listing_one(cli, &spec, made);
}

static int secrets_set(struct cli *cli)
{
    const struct secrets_options *options = cli->options;
    const char *path;
    struct str value, id;
    struct json changed;
    struct err err = ERR_INIT;
    _cleanup_buf_ struct buf body = BUF_INIT(1 << 20);
    struct json_writer w = JSON_WRITER(&body);
    if (lookup_integrations(cli, &path, &err) || find(cli, path, &id, &err) ||
        read_value(cli, &value, &err))
        return cli_fail(cli, &err);
    json_w_object(&w);
    json_w_pair_str(&w, "integrationId", id);
    json_w_key(&w, "credentials");
    json_w_object(&w);
    write_options(&w, str_of(cli->args[0]), value);
    json_w_pair_str(&w, "type", STR("key_value"));
    json_w_object_end(&w);
    json_w_object_end(&w);
    if (!options->keep_agents)
        path = arena_printf(cli->arena, "%s?reloadServices=true", path).at;
    if (cli_call(cli, "PATCH", path, buf_str(&body), &changed, &err))
        return cli_fail(cli, &err);
    cli_say(cli, "Changed %s.%s", cli->args[0],
            options->keep_agents ? " Agents that run keep the old value."
                                 : " Services that use it get new agents, one after the other.");
    return CLI_OK;
}

static int secrets_delete(struct cli *cli)
{
    const char *path;
    struct str id;
    struct json left;
    struct err err = ERR_INIT;
    if (lookup_integrations(cli, &path, &err) || find(cli, path, &id, &err))
        return cli_fail(cli, &err);
    int code = cli_confirm(cli, "Delete the secret %s?", cli->args[0]);
    if (code != CLI_OK)
        return code;
    path = arena_printf(cli->arena, "%s/" STR_FMT, path, STR_ARG(id)).at;
    if (cli_call(cli, "DELETE", path, STR_NONE, &left, &err))
        return cli_fail(cli, &err);
    cli_say(cli, "Deleted %s.", cli->args[0]);
    return CLI_OK;
}

// ── the table ────────────────────────────────────────────────────────────────────────────────

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind,                                                 \
        .offset = offsetof(struct secrets_options, member), __VA_ARGS__                            \
    }

static const struct option options[] = {
    OPTION("file", TEXT, file, .letter = 'f', .unit = "FILE",
           .help = "Read the value from here (- is stdin), without the line end at its end; "
                   "otherwise it is asked for, or read from stdin."),
    OPTION("keep-agents", BOOL, keep_agents,
           .help = "Agents that run keep the old value; those that start get the new one."),
};

static const struct verb_example list_examples[] = {
    {"drover secrets", "their names; what they hold is never shown"},
};
static const struct verb_example create_examples[] = {
    {"drover secrets create API_TOKEN", "asks for the value"},
    {"drover secrets create API_TOKEN --file token.txt", "from a file"},
    {"pass show api | drover secrets create API_TOKEN", "from another program"},
};
static const struct verb_example set_examples[] = {
    {"drover secrets set API_TOKEN --file new.txt", "services that use it go on without a pause"},
};
static const struct verb_example delete_examples[] = {
    {"drover secrets delete API_TOKEN --yes", "refused while a service uses it"},
};

#define EXAMPLES(array) .examples = (array), .example_count = sizeof(array) / sizeof((array)[0])
#define COMMON                                                                                     \
    .group = GROUP_PEOPLE, .options_size = sizeof(struct secrets_options),                         \
    .exits = 1U << CLI_NOT_FOUND | 1U << CLI_DENIED

static const struct verb verbs[] = {
    {.name = "secrets list",
     .summary = "list the secrets of the organisation by name",
     COMMON,
     EXAMPLES(list_examples),
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = secrets_list},
    {.name = "secrets create",
     .arguments = "NAME",
     .summary = "keep a value that functions get as an environment variable",
     .about = "A service names it in `integrations` of its configuration, "
              "{\"env\": \"API_TOKEN\", \"value\": \"<id>\"}, or by its id in `secrets`; then the "
              "variable has the secret's name. For administrators.",
     COMMON,
     .options = options,
     .option_count = 1,
     EXAMPLES(create_examples),
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = secrets_create},
    {.name = "secrets set",
     .arguments = "SECRET",
     .summary = "change the value of a secret",
     COMMON,
     .options = options,
     .option_count = 2,
     EXAMPLES(set_examples),
     .flags = VERB_SERVER,
     .run = secrets_set},
    {.name = "secrets delete",
     .arguments = "SECRET",
     .summary = "delete a secret that no service uses",
     COMMON,
     EXAMPLES(delete_examples),
     .flags = VERB_SERVER | VERB_CONFIRM,
     .run = secrets_delete},
};

const struct verb_list secrets_verbs = VERB_LIST(verbs);
