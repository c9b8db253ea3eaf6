// SPDX-License-Identifier: Apache-2.0
#include "cli/lookup.h"

#include <stdio.h>

#include "base/id.h"
#include "base/near.h"
#include "cli/page.h"

struct str lookup_id(struct json object, struct arena *arena)
{
    struct json value;
    return json_get(object, "id", &value) ? json_str(value, arena) : STR_NONE;
}

struct str lookup_name(struct json object, struct arena *arena)
{
    struct json value;
    return json_get(object, "name", &value) ? json_str(value, arena) : STR_NONE;
}

// ── projects ─────────────────────────────────────────────────────────────────────────────────

// An error that says what there is instead.
static int no_project(struct cli *cli, struct str name, struct err *err)
{
    struct json all, one;
    struct str key;
    struct err ignored = ERR_INIT;
    struct near near = near_start(name);
    cli_hint(cli, "`drover projects list` lists them");
    if (cli_get(cli, "/projects", &all, &ignored) == 0)
        for (struct json_iter it = json_each(all); json_next(&it, &key, &one);)
            near_try(&near, lookup_name(one, cli->arena));
    bool found = near.found.at != NULL;
    return err_set(err, ERR_NOT_FOUND, "There is no project '" STR_FMT "'%s" STR_FMT "%s",
                   STR_ARG(name), found ? "; did you mean '" : "", STR_ARG(near.found),
                   found ? "'?" : "");
}

int lookup_project_named(struct cli *cli, struct str name, struct json *out, struct err *err)
{
    const char *path = cli_path(cli, "/projects/{}", arena_cstr(cli->arena, name));
    if (cli_get(cli, path, out, err) == 0)
        return 0;
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    return no_project(cli, name, err);
}

int lookup_project_chosen(struct cli *cli, struct str *id, struct err *err)
{
    struct json project;
    *id = STR_NONE;
    if (cli_target(cli, err))
        return -1;
    if (!cli->target.project.at)
        return 0;
    if (lookup_project_named(cli, cli->target.project, &project, err))
        return -1;
    *id = lookup_id(project, cli->arena);
    return 0;
}

static int several(struct cli *cli, struct json all, struct err *err)
{
    _cleanup_buf_ struct buf names = BUF_INIT(400);
    struct json one;
    struct str key;
    for (struct json_iter it = json_each(all); json_next(&it, &key, &one) && !names.over;)
        buf_printf(&names, "%s" STR_FMT, names.len > 0 ? ", " : "",
                   STR_ARG(lookup_name(one, cli->arena)));
    cli_hint(cli, "name one with --project, or choose it for good: `drover projects use PROJECT`");
    return err_set(err, ERR_BAD_INPUT, "There are %zu projects, and none is chosen: " STR_FMT "%s",
                   json_count(all), STR_ARG(buf_str(&names)), names.over ? ", …" : "");
}

int lookup_project(struct cli *cli, struct str *id, struct str *name, struct err *err)
{
    struct json all, project;
    struct str key;
    if (cli_target(cli, err))
        return -1;
    if (cli->target.project.at) {
        if (lookup_project_named(cli, cli->target.project, &project, err))
            return -1;
    } else {
        if (cli_get(cli, "/projects", &all, err))
            return -1;
        if (json_count(all) > 1)
            return several(cli, all, err);
        struct json_iter it = json_each(all);
        if (!json_next(&it, &key, &project) &&
            cli_post(cli, "/projects", STR("{\"name\":\"default\"}"), &project, err))
            return -1;
    }
    *id = lookup_id(project, cli->arena);
    *name = lookup_name(project, cli->arena);
    return 0;
}

// ── services and packages ────────────────────────────────────────────────────────────────────

struct named {
    struct cli *cli;
    struct str name;
    struct near near;
    struct json found;
    size_t count;
    struct buf *places;  // of those with this name
};

static bool take(void *arg, struct json object)
{
    struct named *named = arg;
    struct arena *arena = named->cli->arena;
    struct json project, id = {0};
    struct err ignored = ERR_INIT;
    if (!str_eq(lookup_name(object, arena), named->name)) {
        near_try(&named->near, lookup_name(object, arena));
        return true;
    }
    named->found = object;
    named->count++;
    json_get(object, "projectId", &id);
    const char *path = cli_path(named->cli, "/projects/{}", arena_cstr(arena, json_str(id, arena)));
    bool known = named->places && cli_get(named->cli, path, &project, &ignored) == 0;
    if (named->places)
        buf_printf(named->places, "%s" STR_FMT " in project " STR_FMT,
                   named->places->len > 0 ? ", " : "", STR_ARG(lookup_id(object, arena)),
                   STR_ARG(known ? lookup_name(project, arena) : json_str(id, arena)));
    return true;
}

struct str lookup_filter(struct cli *cli, struct str project_id, const char *key, struct str value)
{
    _cleanup_buf_ struct buf filter = BUF_INIT(64 * 1024);
    struct json_writer w = JSON_WRITER(&filter);
    json_w_object(&w);
    if (project_id.at)
        json_w_pair_str(&w, "projectId", project_id);
    if (value.at)
        json_w_pair_str(&w, key, value);
    json_w_object_end(&w);
    return arena_copy(cli->arena, buf_str(&filter));
}

static const char *resource_of(const char *kind)
{
    return strcmp(kind, "service") == 0 ? "services" : "packages";
}

int lookup_in_project(struct cli *cli, const char *kind, struct str project_id, struct str name,
                      struct json *out, bool *found, struct err *err)
{
    struct named named = {.cli = cli, .name = name};
    struct page_query query = {.resource = resource_of(kind),
                               .filter = lookup_filter(cli, project_id, "name", name)};
    if (page_each(cli, &query, take, &named, err))
        return -1;
    *found = named.count > 0;
    *out = named.found;
    return 0;
}

static bool looks_like_id(struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        if (!strchr("0123456789abcdef", text.at[i]))
            return false;
    return text.len == 24;
}

static int not_there(struct cli *cli, const char *kind, struct named *named, struct str project_id,
                     struct err *err)
{
    struct page_query all = {.resource = resource_of(kind),
                             .filter = lookup_filter(cli, project_id, "name", STR_NONE)};
    struct err ignored = ERR_INIT;
    named->near = near_start(named->name);
    named->places = NULL;
    if (page_each(cli, &all, take, named, &ignored))
        named->near.found = STR_NONE;
    bool found = named->near.found.at != NULL;
    cli_hint(cli, "`drover %s` lists them", resource_of(kind));
    return err_set(err, ERR_NOT_FOUND, "There is no %s '" STR_FMT "'%s%s" STR_FMT "%s", kind,
                   STR_ARG(named->name), project_id.at ? " in this project" : "",
                   found ? "; did you mean '" : "", STR_ARG(named->near.found), found ? "'?" : "");
}

int lookup_named(struct cli *cli, const char *kind, const char *name, struct json *out,
                 struct err *err)
{
    _cleanup_buf_ struct buf places = BUF_INIT(500);
    struct named named = {.cli = cli, .name = str_of(name), .places = &places};
    struct str project_id;
    const char *path = strcmp(kind, "service") == 0 ? "/services/{}" : "/packages/{}";
    if (lookup_project_chosen(cli, &project_id, err))
        return -1;
    if (looks_like_id(named.name) && cli_get(cli, cli_path(cli, path, name), out, err) == 0)
        return 0;
    if (err->kind != ERR_NONE && err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    struct page_query query = {.resource = resource_of(kind),
                               .filter = lookup_filter(cli, project_id, "name", named.name)};
    if (page_each(cli, &query, take, &named, err))
        return -1;
    if (named.count == 0)
        return not_there(cli, kind, &named, project_id, err);
    *out = named.found;
    if (named.count == 1)
        return 0;
    cli_hint(cli, "name the project with --project, or give the id");
    return err_set(err, ERR_BAD_INPUT, "%zu %s are called '%s': " STR_FMT, named.count,
                   resource_of(kind), name, STR_ARG(buf_str(&places)));
}

// ── executions ───────────────────────────────────────────────────────────────────────────────

int lookup_execution(struct cli *cli, const char *id, struct json *out, struct err *err)
{
    if (cli_get(cli, cli_path(cli, "/executions/{}", id), out, err) == 0)
        return 0;
    if (err->kind == ERR_NOT_FOUND)
        cli_hint(cli, "`drover executions` lists them with their ids");
    return -1;
}

int lookup_integrations(struct cli *cli, const char **path, struct err *err)
{
    struct json me, id;
    if (cli_get(cli, "/users/me", &me, err))
        return -1;
    if (!json_path(me, STR("org.id"), &id) || id.type != JSON_STRING)
        return err_set(err, ERR_NOT_FOUND, "This account belongs to no organisation");
    *path = cli_path(cli, "/orgs/{}/integrations", json_str(id, cli->arena).at);
    return 0;
}

int lookup_subject(struct cli *cli, const char *name, struct json *out, bool *execution,
                   struct err *err)
{
    *execution = false;
    if (!id_valid(str_of(name)))
        return lookup_service(cli, name, out, err);
    if (cli_get(cli, cli_path(cli, "/executions/{}", name), out, err) == 0) {
        *execution = true;
        return 0;
    }
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    if (cli_get(cli, cli_path(cli, "/services/{}", name), out, err) == 0)
        return 0;
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    cli_hint(cli, "`drover executions` and `drover services` list them with their ids");
    return err_set(err, ERR_NOT_FOUND, "There is no execution and no service %s", name);
}
