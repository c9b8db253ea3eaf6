// SPDX-License-Identifier: Apache-2.0
// drover keys, users, projects
#include "cli/listing.h"
#include "cli/lookup.h"
#include "cli/verbs.h"

struct people_options {
    const char *description, *user, *role, *password_file;
    bool all, admin;
};

static int list(struct cli *cli, const struct listing_spec *spec, const char *path)
{
    struct json all, one;
    struct str key;
    struct err err = ERR_INIT;
    if (cli_get(cli, path, &all, &err))
        return cli_fail(cli, &err);
    struct listing *listing = listing_begin(cli, spec);
    for (struct json_iter it = json_each(all); json_next(&it, &key, &one);)
        listing_add(listing, one);
    return listing_end(listing);
}

// ── keys ─────────────────────────────────────────────────────────────────────────────────────

static const struct column key_columns[] = {
    {.title = "ID", .path = "id", .keep = true},
    {.title = "DESCRIPTION", .path = "description"},
    {.title = "USER", .path = "userId"},
    {.title = "CREATED", .path = "createdAt", .kind = COLUMN_TIME},
    {.title = "EXPIRES", .path = "expiresAt", .keep = true},
};
static const struct listing_spec key_spec = {key_columns,
                                             sizeof(key_columns) / sizeof(key_columns[0]), "id",
                                             "There are no keys. `drover keys create` makes one."};

static int keys_list(struct cli *cli) { return list(cli, &key_spec, "/apiKeys"); }

// The key itself is on stdout alone, for a pipe or a file; it cannot be shown again.
static int keys_create(struct cli *cli)
{
    const struct people_options *options = cli->options;
    struct json made, jwt;
    struct err err = ERR_INIT;
    _cleanup_buf_ struct buf body = BUF_INIT(64 * 1024);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    json_w_pair_str(&w, "description",
                    str_of(options->description ? options->description : "drover keys create"));
    if (options->user)
        json_w_pair_str(&w, "userId", str_of(options->user));
    json_w_object_end(&w);
    if (cli_post(cli, "/apiKeys", buf_str(&body), &made, &err))
        return cli_fail(cli, &err);
    struct str id = lookup_id(made, cli->arena);
    if (cli->output == OUTPUT_JSON || cli->output == OUTPUT_JSONL || cli->output == OUTPUT_NAME)
        return listing_one(cli, &key_spec, made);
    if (json_get(made, "jwt", &jwt))
        cli_print(cli, STR_FMT "\n", STR_ARG(json_str(jwt, cli->arena)));
    cli_say(cli,
            "This is the key " STR_FMT ", shown this once. Keep it in a file that you alone may "
            "read.",
            STR_ARG(id));
    return CLI_OK;
}

static int keys_revoke(struct cli *cli)
{
    struct json key;
    struct err err = ERR_INIT;
    const char *path = cli_path(cli, "/apiKeys/{}", cli->args[0]);
    if (cli_get(cli, path, &key, &err)) {
        cli_hint(cli, "`drover keys list` lists them with their ids");
        return cli_fail(cli, &err);
    }
    struct str description = json_text(key, "description", cli->arena);
    int code = cli_confirm(cli, "Revoke the key %s (" STR_FMT ")?", cli->args[0],
                           STR_ARG(description));
    if (code != CLI_OK)
        return code;
    if (cli_call(cli, "DELETE", path, STR_NONE, &key, &err))
        return cli_fail(cli, &err);
    cli_say(cli, "Revoked %s.", cli->args[0]);
    return CLI_OK;
}

// ── users ────────────────────────────────────────────────────────────────────────────────────

static void write_name(struct cli *cli, struct json user, struct buf *out)
{
    struct str first = json_text(user, "firstName", cli->arena);
    struct str last = json_text(user, "lastName", cli->arena);
    buf_printf(out, STR_FMT "%s" STR_FMT, STR_ARG(first), first.len > 0 && last.len > 0 ? " " : "",
               STR_ARG(last));
}

static const struct column user_columns[] = {
    {.title = "EMAIL", .path = "email", .keep = true},
    {.title = "NAME", .write = write_name},
    {.title = "ROLE", .path = "role"},
    {.title = "ADMIN", .path = "admin"},
    {.title = "SINCE", .path = "createdAt", .kind = COLUMN_TIME},
};
static const struct listing_spec user_spec = {
    user_columns, sizeof(user_columns) / sizeof(user_columns[0]), "email", NULL};

static int project_path(struct cli *cli, const char *path, const char **out, struct err *err)
{
    struct str id, name;
    if (lookup_project(cli, &id, &name, err))
        return -1;
    *out = cli->arg_count > 0 ? cli_path(cli, path, arena_cstr(cli->arena, id), cli->args[0])
                              : cli_path(cli, path, arena_cstr(cli->arena, id));
    return 0;
}

static int users_list(struct cli *cli)
{
    const struct people_options *options = cli->options;
    const char *path;
    struct err err = ERR_INIT;
    if (options->all)
        return list(cli, &user_spec, "/users");
    if (project_path(cli, "/projects/{}/members", &path, &err))
        return cli_fail(cli, &err);
    return list(cli, &user_spec, path);
}

// Makes the account. *password: the one that the server made up, absent when one was given.
static int make_account(struct cli *cli, struct json *user, struct str *password, struct err *err)
{
    const struct people_options *options = cli->options;
    _cleanup_buf_ struct buf body = BUF_INIT(64 * 1024);
    struct json_writer w = JSON_WRITER(&body);
    struct str given = STR_NONE;
    struct json value;
    *password = STR_NONE;
    if (options->password_file && cli_read(cli, options->password_file, 4096, &given, err))
        return -1;
    json_w_object(&w);
    json_w_pair_str(&w, "email", str_of(cli->args[0]));
    if (given.at)
        json_w_pair_str(&w, "password", str_trim(given));
    if (options->admin)
        json_w_pair_bool(&w, "admin", true);
    json_w_object_end(&w);
    if (cli_post(cli, "/users", buf_str(&body), user, err))
        return -1;
    if (!given.at && json_get(*user, "password", &value))
        *password = json_str(value, cli->arena);
    return 0;
}

static int add_member(struct cli *cli, const char *role, struct json *out, struct err *err)
{
    const char *path;
    struct str body = arena_printf(cli->arena, "{\"role\":\"%s\"}", role);
    if (project_path(cli, "/projects/{}/members/{}", &path, err))
        return -1;
    path = arena_printf(cli->arena, "%s?allowUpdate=true", path).at;
    return cli_post(cli, path, body, out, err);
}

static int users_invite(struct cli *cli)
{
    const struct people_options *options = cli->options;
    struct json user, member;
    struct str password;
    struct err err = ERR_INIT;
    bool there = false;
    if (make_account(cli, &user, &password, &err)) {
        // An account that is there already only gets its role; owners may do that, too.
        there = (err.kind == ERR_CONFLICT || err.kind == ERR_DENIED) && !options->admin;
        if (!there)
            return cli_fail(cli, &err);
        err = ERR_INIT;
    }
    if (!options->admin && add_member(cli, options->role, &member, &err))
        return cli_fail(cli, &err);
    if (password.at)
        cli_print(cli, STR_FMT "\n", STR_ARG(password));
    if (there)
        cli_say(cli, "%s has an account already, and now the role %s in the project.", cli->args[0],
                options->role);
    else
        cli_say(cli, "%s has an account now, %s%s%s.%s", cli->args[0],
                options->admin ? "as an administrator" : "and the role ",
                options->admin ? "" : options->role, options->admin ? "" : " in the project",
                password.at ? " The line above is the password, shown this once." : "");
    return CLI_OK;
}

static int users_role(struct cli *cli)
{
    struct json member;
    struct err err = ERR_INIT;
    if (add_member(cli, cli->args[1], &member, &err)) {
        if (err.kind == ERR_NOT_FOUND)
            cli_hint(cli, "`drover users invite %s` makes the account", cli->args[0]);
        return cli_fail(cli, &err);
    }
    cli_say(cli, "%s has the role %s in the project now.", cli->args[0], cli->args[1]);
    return CLI_OK;
}

static int users_remove(struct cli *cli)
{
    const char *path;
    struct json members;
    struct err err = ERR_INIT;
    if (project_path(cli, "/projects/{}/members/{}", &path, &err))
        return cli_fail(cli, &err);
    int code = cli_confirm(cli, "Take %s out of the project?", cli->args[0]);
    if (code != CLI_OK)
        return code;
    if (cli_call(cli, "DELETE", path, STR_NONE, &members, &err))
        return cli_fail(cli, &err);
    cli_say(cli, "%s has no role in the project any more.", cli->args[0]);
    return CLI_OK;
}

// ── projects ─────────────────────────────────────────────────────────────────────────────────

static const struct column project_columns[] = {
    {.title = "NAME", .path = "name"},
    {.title = "ROLE", .path = "role"},
    {.title = "CREATED", .path = "createdAt", .kind = COLUMN_TIME},
    {.title = "ID", .path = "id", .keep = true},
};
static const struct listing_spec project_spec = {
    project_columns, sizeof(project_columns) / sizeof(project_columns[0]), "name",
    "There are no projects. `drover projects create NAME` makes one."};

static int projects_list(struct cli *cli) { return list(cli, &project_spec, "/projects"); }

static int projects_create(struct cli *cli)
{
    struct json project;
    struct err err = ERR_INIT;
    _cleanup_buf_ struct buf body = BUF_INIT(64 * 1024);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    json_w_pair_str(&w, "name", str_of(cli->args[0]));
    json_w_object_end(&w);
    if (cli_post(cli, "/projects", buf_str(&body), &project, &err))
        return cli_fail(cli, &err);
    return listing_one(cli, &project_spec, project);
}

// Keeps the choice in the context that is used.
static int projects_use(struct cli *cli)
{
    struct json project;
    struct contexts contexts;
    struct err err = ERR_INIT;
    if (cli_target(cli, &err) || lookup_project_named(cli, str_of(cli->args[0]), &project, &err) ||
        contexts_load(&contexts, cli->arena, &err))
        return cli_fail(cli, &err);
    struct context *context = contexts_find(&contexts, cli->target.context);
    if (!context) {
        err_set(&err, ERR_BAD_INPUT,
                "There is no context to keep the choice in: the server is known from " STR_FMT,
                STR_ARG(cli->target.source));
        cli_hint(cli, "`drover login` makes one; or set DROVER_PROJECT=%s", cli->args[0]);
        return cli_fail(cli, &err);
    }
    context->project = lookup_name(project, cli->arena);
    if (contexts_save(&contexts, cli->arena, &err))
        return cli_fail(cli, &err);
    cli_say(cli, "Context " STR_FMT " now uses the project " STR_FMT ".", STR_ARG(context->name),
            STR_ARG(context->project));
    return CLI_OK;
}

static int projects_delete(struct cli *cli)
{
    struct json project;
    struct err err = ERR_INIT;
    if (lookup_project_named(cli, str_of(cli->args[0]), &project, &err))
        return cli_fail(cli, &err);
    int code = cli_confirm(cli, "Delete the project " STR_FMT " with all that is in it?",
                           STR_ARG(lookup_name(project, cli->arena)));
    if (code != CLI_OK)
        return code;
    const char *path = cli_path(cli, "/projects/{}",
                                arena_cstr(cli->arena, lookup_id(project, cli->arena)));
    if (cli_call(cli, "DELETE", path, STR_NONE, &project, &err))
        return cli_fail(cli, &err);
    cli_say(cli, "Deleted %s.", cli->args[0]);
    return CLI_OK;
}

// ── the table ────────────────────────────────────────────────────────────────────────────────

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind,                                                 \
        .offset = offsetof(struct people_options, member), __VA_ARGS__                             \
    }

static const struct option create_options[] = {
    OPTION("description", TEXT, description, .letter = 'd', .unit = "TEXT",
           .help = "What the key is for."),
    OPTION("user", TEXT, user, .unit = "EMAIL",
           .help = "A key of this account; for administrators."),
};
static const struct option users_options[] = {
    OPTION("all", BOOL, all, .help = "All accounts of the server; for administrators."),
};
static const struct option invite_options[] = {
    OPTION("role", CHOICE, role, .letter = 'r', .fallback = "developer",
           .choices = "viewer|developer|owner", .help = "Role in the project."),
    OPTION("admin", BOOL, admin, .help = "Make an administrator of the server instead."),
    OPTION("password-file", TEXT, password_file, .unit = "FILE",
           .help = "Read the first password from here (- is stdin) instead of making one up."),
};

#define EXAMPLE(name_, command_, what_)                                                            \
    static const struct verb_example name_##_examples[] = {{command_, what_}}
EXAMPLE(keys_list, "drover keys", "your keys; the keys themselves are never shown again");
EXAMPLE(keys_create, "drover keys create -d 'the build server' > key",
        "make one, and keep it in a file");
EXAMPLE(keys_revoke, "drover keys revoke 65f0a1b2c3d4e5f60718293a --yes", "it is good no more");
EXAMPLE(users_list, "drover users", "the members of the project and their roles");
EXAMPLE(users_invite, "drover users invite ada@example.org --role viewer",
        "make an account that may look; the password is printed once");
EXAMPLE(users_role, "drover users role ada@example.org owner", "give another role");
EXAMPLE(users_remove, "drover users remove ada@example.org --yes", "the account stays");
EXAMPLE(projects_list, "drover projects", "the projects that you may see");
EXAMPLE(projects_create, "drover projects create robots", "a new project, with you as its owner");
EXAMPLE(projects_use, "drover projects use robots", "what follows is about that project");
EXAMPLE(projects_delete, "drover projects delete robots --yes",
        "with its services, packages and data");

#define VERB(name_, arguments_, id, summary_, flags_, ...)                                         \
    {                                                                                              \
        .name = name_, .arguments = arguments_, .group = GROUP_PEOPLE, .summary = summary_,        \
        .examples = id##_examples, .example_count = 1,                                             \
        .options_size = sizeof(struct people_options), .exits = 1U << CLI_NOT_FOUND,               \
        .flags = VERB_SERVER | (flags_), .run = id, __VA_ARGS__                                    \
    }

static const struct verb verbs[] = {
    VERB("projects list", "", projects_list, "list projects", VERB_OUTPUT | VERB_WATCH, ),
    VERB("projects create", "NAME", projects_create, "make a project", VERB_OUTPUT, ),
    VERB("projects use", "PROJECT", projects_use, "choose the project of the current context", 0, ),
    VERB("projects delete", "PROJECT", projects_delete, "delete a project with all that is in it",
         VERB_CONFIRM, ),
    VERB("keys list", "", keys_list, "list your API keys", VERB_OUTPUT, ),
    VERB("keys create", "", keys_create, "make an API key", VERB_OUTPUT, .options = create_options,
         .option_count = 2),
    VERB("keys revoke", "KEY", keys_revoke, "make an API key worthless", VERB_CONFIRM, ),
    VERB("users list", "", users_list, "list the members of the project, or all accounts",
         VERB_OUTPUT, .options = users_options, .option_count = 1),
    VERB("users invite", "EMAIL", users_invite, "make an account and give it a role", 0,
         .options = invite_options, .option_count = 3,
         .about = "Roles: a viewer reads everything of the project; a developer also changes "
                  "packages and services and runs executions; an owner also manages members."),
    VERB("users role", "USER ROLE", users_role, "give a member another role", 0, ),
    VERB("users remove", "USER", users_remove, "take a member out of the project", VERB_CONFIRM, ),
};

const struct verb_list people_verbs = VERB_LIST(verbs);
