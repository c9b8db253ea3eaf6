// SPDX-License-Identifier: Apache-2.0
#include "operation/assignment.h"

#include "base/id.h"
#include "model/module.h"
#include "model/runtime.h"
#include "operation/token.h"

struct str service_bot(struct str service_id, struct arena *arena)
{
    return arena_printf(arena, STR_FMT "@bot.drover", STR_ARG(service_id));
}

struct str assignment_token(const struct platform *platform, struct str service_id,
                            struct str project_id, struct arena *arena, int64_t *expires_at)
{
    int64_t now = clock_wall(platform->clock);
    *expires_at = now + platform->settings->service_token_ttl_ms;
    struct token_claims claims = {
        .kind = TOKEN_SERVICE,
        .user_id = service_bot(service_id, arena),
        .id = id_new(now, arena),
        .service_id = service_id,
        .project_id = project_id,
        .expires_at = *expires_at,
    };
    return token_make(platform->tokens, &claims, arena);
}

// The package as it was at the service's revision; the package itself when the revision is "latest"
// or absent.
static int read_package(struct op *op, const struct service *service, struct package *out,
                        struct err *err)
{
    if (tx_get(op->tx, &package_entity, service->package_id, out, op->arena, err))
        return err_wrap(err, "the service's package");
    struct str version = service->package_revision;
    if (version.len == 0 || str_is(version, "latest") || str_eq(version, out->version))
        return 0;
    struct revision revision;
    struct str id = arena_printf(op->arena, STR_FMT ":" STR_FMT, STR_ARG(service->package_id),
                                 STR_ARG(version));
    if (tx_get(op->tx, &revision_entity, id, &revision, op->arena, err))
        return err_wrap(err, "revision " STR_FMT " of package " STR_FMT, STR_ARG(version),
                        STR_ARG(out->name));
    return entity_load(&package_entity, json_of(revision.body), out, op->arena, err);
}

static int read_code(struct op *op, struct assignment *a, struct err *err)
{
    struct json codebase = json_of(a->package.codebase), value;
    struct str type = json_get(codebase, "type", &value) ? json_str(value, op->arena) : STR_NONE;
    if (str_is(type, "git")) {
        a->git = a->package.codebase;
        return 0;
    }
    if (!json_get(codebase, "itemId", &value))
        return err_set(err, ERR_CONFLICT, "package " STR_FMT " has no code: push it again",
                       STR_ARG(a->package.name));
    struct item item;
    if (tx_get(op->tx, &item_entity, json_str(value, op->arena), &item, op->arena, err))
        return err_wrap(err, "the code of package " STR_FMT, STR_ARG(a->package.name));
    a->blob = item.blob;
    a->blob_size = item.size;
    return 0;
}

static int read_module(struct op *op, struct assignment *a, struct err *err)
{
    struct json_iter it = json_each(json_of(a->package.modules));
    struct str key;
    for (struct json module, name; json_next(&it, &key, &module);) {
        struct str text = json_get(module, "name", &name) ? json_str(name, op->arena) : STR_NONE;
        if (a->service.module_name.len > 0 && !str_eq(text, a->service.module_name))
            continue;
        a->module_json = module.text;
        return 0;
    }
    return err_set(err, ERR_CONFLICT, "package " STR_FMT " has no module \"" STR_FMT "\"",
                   STR_ARG(a->package.name), STR_ARG(a->service.module_name));
}

static struct str member_str(struct json object, const char *key, struct arena *arena)
{
    struct json value;
    return json_get(object, key, &value) ? json_str(value, arena) : STR_NONE;
}

static void read_requirements(struct op *op, struct assignment *a)
{
    struct json list = json_of(a->package.requirements);
    a->requirements = arena_array_of(op->arena, struct str, json_count(list) + 1);
    struct json_iter it = json_each(list);
    struct str key;
    for (struct json entry; json_next(&it, &key, &entry);) {
        struct str name = member_str(entry, "name", op->arena);
        struct str version = member_str(entry, "version", op->arena);
        struct str relation = member_str(entry, "operator", op->arena);
        if (name.len == 0)
            continue;
        a->requirements[a->requirement_count++] = version.len == 0
                                                      ? name
                                                      : arena_printf(
                                                            op->arena, STR_FMT STR_FMT STR_FMT,
                                                            STR_ARG(name),
                                                            STR_ARG(relation.len > 0 ? relation
                                                                                     : STR("==")),
                                                            STR_ARG(version));
    }
}

// Without its secrets the agent starts nothing, and says why.
static int read_env(struct op *op, struct assignment *a, struct err *err)
{
    if (service_env_values(op, &a->service, &a->env, &a->env_count, err) == 0)
        return 0;
    if (err->kind != ERR_CONFLICT)
        return -1;
    a->env_count = 0;
    a->refusal = arena_copy(op->arena, str_of(err->message));
    *err = ERR_INIT;
    return 0;
}

static int read_service(struct op *op, struct str service_id, struct assignment *a, struct err *err)
{
    if (tx_get(op->tx, &service_entity, service_id, &a->service, op->arena, err))
        return err_wrap(err, "the service of this agent");
    return read_package(op, &a->service, &a->package, err);
}

int assignment_code(struct op *op, struct str service_id, struct str *blob, int64_t *size,
                    struct err *err)
{
    struct assignment a = {0};
    if (read_service(op, service_id, &a, err) || read_code(op, &a, err))
        return -1;
    if (!a.blob.at)
        return err_set(err, ERR_NOT_FOUND,
                       "the code of this service comes from git, not from an archive");
    *blob = a.blob;
    *size = a.blob_size;
    return 0;
}

int assignment_read(struct op *op, struct str service_id, struct assignment *a, struct err *err)
{
    *a = (struct assignment){0};
    if (read_service(op, service_id, a, err))
        return -1;
    if (!a->service.active)
        return err_set(err, ERR_CONFLICT, "service " STR_FMT " is paused",
                       STR_ARG(a->service.name));
    if (tx_get(op->tx, &project_entity, a->service.project_id, &a->project, op->arena, err) ||
        read_module(op, a, err) || read_code(op, a, err))
        return -1;
    struct runtime runtime;
    if (runtime_parse(json_of(a->service.runtime), NULL, &runtime, op->arena, err))
        return -1;
    a->concurrency = runtime.concurrency;
    a->dtlpy = member_str(json_of(a->service.versions), "dtlpy", op->arena);
    if (!a->dtlpy.at)
        a->dtlpy = str_of(op->platform->settings->dtlpy_version);
    if (str_is(a->dtlpy, "none"))
        a->dtlpy = STR_NONE;
    read_requirements(op, a);
    if (read_env(op, a, err))
        return -1;
    a->token = assignment_token(op->platform, a->service.id, a->service.project_id, op->arena,
                                &a->token_expires_at);
    return 0;
}
