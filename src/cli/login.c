// SPDX-License-Identifier: Apache-2.0
// drover login URL
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/link.h"
#include "cli/verbs.h"

#define SECRET_MAX ((size_t)16 * 1024)

struct login_options {
    const char *user, *password_file, *api_key_file, *name, *ca_file;
    bool api_key, password_stdin;
};

// A secret's file, or stdin: without the line end.
static int read_secret(struct cli *cli, const char *path, struct str *out, struct err *err)
{
    if (cli_read(cli, path, SECRET_MAX, out, err))
        return -1;
    *out = str_trim(*out);
    return out->len > 0 ? 0 : err_set(err, ERR_BAD_INPUT, "%s is empty", path);
}

static int take_api_key(struct cli *cli, struct context *context, struct err *err)
{
    const struct login_options *options = cli->options;
    if (options->api_key_file)
        return read_secret(cli, options->api_key_file, &context->api_key, err);
    if (!isatty(STDIN_FILENO))
        return read_secret(cli, "-", &context->api_key, err);
    return cli_secret(cli, "API key: ", &context->api_key, err);
}

static int take_password(struct cli *cli, struct str *password, struct err *err)
{
    const struct login_options *options = cli->options;
    char prompt[256];
    if (options->password_file)
        return read_secret(cli, options->password_file, password, err);
    if (options->password_stdin || !isatty(STDIN_FILENO))
        return read_secret(cli, "-", password, err);
    snprintf(prompt, sizeof(prompt), "Password of %.200s: ", options->user);
    return cli_secret(cli, prompt, password, err);
}

static int log_in(struct cli *cli, struct context *context, struct err *err)
{
    const struct login_options *options = cli->options;
    struct str password;
    struct link_answer answer;
    struct json json, value;
    if (take_password(cli, &password, err))
        return -1;
    _cleanup_buf_ struct buf body = BUF_INIT(256 * 1024);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    json_w_pair_str(&w, "type", STR("user_credentials"));
    json_w_pair_str(&w, "username", str_of(options->user));
    json_w_pair_str(&w, "password", password);
    json_w_object_end(&w);
    struct link_request request = {
        .method = "POST",
        .url = arena_printf(cli->arena, STR_FMT "/token", STR_ARG(context->url)).at,
        .body = buf_str(&body),
    };
    if (link_send(cli, &request, &answer, err))
        return -1;
    if (answer.status != 200) {
        cli_hint(cli, "check the address and the password; an administrator can make a new one");
        return link_refused(&answer, cli->arena, err);
    }
    if (json_parse(answer.body, 0, &json, err) || !json_get(json, "id_token", &value))
        return err_set(err, ERR_INTERNAL, "What answers at " STR_FMT " is no Drover server",
                       STR_ARG(context->url));
    context->token = json_str(value, cli->arena);
    if (json_get(json, "refresh_token", &value))
        context->refresh_token = json_str(value, cli->arena);
    return 0;
}

// Asks who this is: a wrong key, or a wrong server, shows now and not at the first use.
static int check(struct cli *cli, struct context *context, struct err *err)
{
    struct json me, value;
    cli->target = (struct target){.url = context->url,
                                  .source = STR("drover login"),
                                  .ca_file = context->ca_file,
                                  .token = context->api_key.at ? context->api_key : context->token};
    cli->target_known = true;
    if (cli_get(cli, "/users/me", &me, err)) {
        if (err->kind == ERR_UNAUTHENTICATED)
            cli_hint(cli, "the key is not one of this server: `drover keys create` makes one");
        return -1;
    }
    if (json_get(me, "email", &value) || json_get(me, "id", &value))
        context->user = json_str(value, cli->arena);
    return 0;
}

// "127.0.0.1-8080" of http://127.0.0.1:8080
static struct str default_name(struct cli *cli, struct str url)
{
    struct str rest = url;
    size_t at;
    if (str_find(rest, STR("://"), &at))
        rest = (struct str){rest.at + at + 3, rest.len - at - 3};
    char *name = arena_cstr(cli->arena, rest);
    for (char *c = name; *c; c++)
        if (*c == ':' || *c == '/')
            *c = '-';
    return str_of(name);
}

static int keep(struct cli *cli, const struct context *context, struct err *err)
{
    struct contexts contexts;
    if (contexts_load(&contexts, cli->arena, err))
        return -1;
    contexts_put(&contexts, context, cli->arena);
    contexts.current = context->name;
    return contexts_save(&contexts, cli->arena, err);
}

// Kept whole, as the folder may be another one at the next time.
static int take_ca_file(struct cli *cli, const char *path, struct context *context, struct err *err)
{
    char *whole = realpath(path, NULL);
    if (!whole)
        return err_errno(err, ERR_BAD_INPUT, errno, "Cannot read %s", path);
    context->ca_file = arena_copy(cli->arena, str_of(whole));
    cli->target.ca_file = context->ca_file;
    free(whole);
    return 0;
}

static int run(struct cli *cli)
{
    const struct login_options *options = cli->options;
    struct context context = {.url = str_of(cli->args[0])};
    struct err err = ERR_INIT;
    bool key = options->api_key || options->api_key_file;
    if (!url_fits(&context.url))
        return cli_usage(cli, "'%s' is no address such as http://127.0.0.1:8080", cli->args[0]);
    if (key && options->user)
        return cli_usage(cli, "--user and an API key exclude each other: give one of them");
    if (!key && !options->user)
        return cli_usage(cli, "say as whom: --user NAME, --api-key or --api-key-file FILE");
    if (options->ca_file && take_ca_file(cli, options->ca_file, &context, &err))
        return cli_fail(cli, &err);
    context.name = options->name ? str_of(options->name) : default_name(cli, context.url);
    if ((key ? take_api_key(cli, &context, &err) : log_in(cli, &context, &err)) ||
        check(cli, &context, &err) || keep(cli, &context, &err))
        return cli_fail(cli, &err);
    cli_say(cli, "Logged in to " STR_FMT " as " STR_FMT "; the context is called " STR_FMT ".",
            STR_ARG(context.url), STR_ARG(context.user), STR_ARG(context.name));
    return CLI_OK;
}

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind,                                                 \
        .offset = offsetof(struct login_options, member), __VA_ARGS__                              \
    }

static const struct option options[] = {
    OPTION("user", TEXT, user, .letter = 'u', .unit = "EMAIL",
           .help = "Log in with a password; it is asked for on the terminal."),
    OPTION("password-file", TEXT, password_file, .unit = "FILE",
           .help = "Read the password from this file; - is stdin."),
    OPTION("password-stdin", BOOL, password_stdin, .help = "Read the password from stdin."),
    OPTION("api-key", BOOL, api_key,
           .help = "Log in with an API key: asked for on the terminal, or read from stdin."),
    OPTION("api-key-file", TEXT, api_key_file, .unit = "FILE",
           .help = "Read the API key from this file; - is stdin."),
    OPTION("ca-file", TEXT, ca_file, .unit = "FILE",
           .help = "Certificates (PEM) to trust for https instead of the system's; kept in the "
                   "context. For a single run: DROVER_CA_FILE."),
    OPTION("name", TEXT, name, .unit = "NAME",
           .help = "Name of the context; made from the address when not given."),
};

static const struct verb_example examples[] = {
    {"drover login https://faas.example.org --user ada@example.org",
     "log in with a password, which is asked for"},
    {"drover login http://127.0.0.1:8080 --api-key-file drover-data/admin-key --name local",
     "log in as the administrator of a server on this machine"},
};

static const struct verb verbs[] = {
    {.name = "login",
     .arguments = "URL",
     .group = GROUP_PEOPLE,
     .summary = "log in to a server and keep it as a context",
     .about = "The login is kept in ~/.config/drover/config.json, which its owner alone may read, "
              "and becomes the current context. Passwords and keys are never taken from "
              "arguments.\n\nWithout any login, a server that was started in this folder is found "
              "by ./drover-data/admin-key.",
     .options = options,
     .option_count = sizeof(options) / sizeof(options[0]),
     .options_size = sizeof(struct login_options),
     .examples = examples,
     .example_count = 2,
     .exits = 1U << CLI_DENIED | 1U << CLI_UNREACHABLE,
     .run = run},
};

const struct verb_list login_verbs = VERB_LIST(verbs);
