// SPDX-License-Identifier: Apache-2.0
#include "operation/integration.h"

#include <sodium.h>

#include "base/id.h"
#include "model/take.h"
#include "operation/access.h"
#include "operation/integration_type.h"
#include "operation/project.h"
#include "operation/repeat.h"
#include "operation/sealed.h"
#include "operation/service.h"
#include "operation/service_env.h"

#define SHOWN_MOST 5  // services that a message names

// ── who may ──────────────────────────────────────────────────────────────────────────────────

static int check_org(struct op *op, struct str org_id, struct err *err)
{
    struct org org;
    if (tx_get(op->tx, &org_entity, org_id, &org, op->arena, err) == 0)
        return 0;
    return err->kind == ERR_NOT_FOUND ? access_unknown(err, "organisation", org_id) : -1;
}

int integration_see(struct op *op, struct str org_id, struct err *err)
{
    if (op->caller.kind == CALLER_SERVICE)
        return err_set(err, ERR_DENIED,
                       "A function cannot look at the integrations of its organisation");
    return check_org(op, org_id, err);
}

int integration_get(struct op *op, struct str id, struct integration *out, struct err *err)
{
    if (tx_get(op->tx, &integration_entity, id, out, op->arena, err) == 0)
        return 0;
    return err->kind == ERR_NOT_FOUND ? access_unknown(err, "integration", id) : -1;
}

static int get_in(struct op *op, struct str org_id, struct str id, struct integration *out,
                  struct err *err)
{
    if (integration_get(op, id, out, err))
        return -1;
    return str_eq(out->org_id, org_id) ? 0 : access_unknown(err, "integration", id);
}

// ── services that use one ────────────────────────────────────────────────────────────────────

typedef int (*use_fn)(struct op *op, const struct service *service, void *arg, struct err *err);

static int each_use(struct op *op, const struct integration *integration, bool only_secrets,
                    use_fn fn, void *arg, struct err *err)
{
    struct query query = {
        .filter = filter_eq_text(&service_entity, "orgId", integration->org_id, op->arena),
        .limit = QUERY_LIMIT_MAX};
    size_t count;
    do {
        void *rows;
        if (tx_select(op->tx, &service_entity, &query, op->arena, &rows, &count, err))
            return -1;
        const struct service *services = rows;
        for (size_t i = 0; i < count; i++)
            if (service_env_uses(&services[i], integration->id, only_secrets) &&
                fn(op, &services[i], arg, err))
                return -1;
        query.offset += (int64_t)count;
    } while (count == QUERY_LIMIT_MAX);
    return 0;
}

struct names {
    struct str text;
    size_t count;
};

static int add_name(struct op *op, const struct service *service, void *arg, struct err *err)
{
    struct names *names = arg;
    (void)err;
    if (names->count++ < SHOWN_MOST)
        names->text = arena_printf(op->arena, STR_FMT "%s" STR_FMT " (" STR_FMT ")",
                                   STR_ARG(names->text), names->count > 1 ? ", " : "",
                                   STR_ARG(service->name), STR_ARG(service->id));
    return 0;
}

static int refuse_used(struct op *op, const struct integration *integration, bool only_secrets,
                       const char *what, struct err *err)
{
    struct names names = {.text = STR("")};
    if (each_use(op, integration, only_secrets, add_name, &names, err))
        return -1;
    if (names.count == 0)
        return 0;
    return err_set(err, ERR_CONFLICT, "The integration " STR_FMT " %s: " STR_FMT "%s",
                   STR_ARG(integration->name), what, STR_ARG(names.text),
                   names.count > SHOWN_MOST ? ", and others" : "");
}

static int restart(struct op *op, const struct service *service, void *arg, struct err *err)
{
    (void)arg;
    return service_restart(op, service, err);
}

// ── create ───────────────────────────────────────────────────────────────────────────────────

static int refuse_name(struct err *err, struct str name)
{
    return err_set(err, ERR_CONFLICT, "There is an integration named " STR_FMT " already",
                   STR_ARG(name));
}

// The one that the same create has made before its answer was lost.
static bool made_before(struct op *op, struct integration *made, struct str options)
{
    struct integration first;
    struct str kept;
    struct err ignored = ERR_INIT;
    struct filter *same = filter_and(
        filter_eq_text(&integration_entity, "orgId", made->org_id, op->arena),
        filter_eq_text(&integration_entity, "name", made->name, op->arena), op->arena);
    if (tx_find(op->tx, &integration_entity, same, &first, op->arena, &ignored) ||
        !repeat_within_minute(op, first.creator, first.created_at) ||
        !str_eq(first.type, made->type) ||
        sealed_open(op->platform->master_keys, first.id, first.sealed, op->arena, &kept,
                    &ignored) ||
        kept.len != options.len || sodium_memcmp(kept.at, options.at, kept.len) != 0)
        return false;
    *made = first;
    return true;
}

int integration_create(struct op *op, struct str org_id, struct json body, struct integration *out,
                       struct err *err)
{
    struct json options = {0}, metadata;
    if (check_org(op, org_id, err) ||
        entity_decode(&integration_entity, body, DECODE_CREATE, op_limits(op), out, op->arena,
                      err) ||
        title_check(out->name, "name", op_limits(op), err))
        return -1;
    if (!json_get(body, "options", &options))
        return err_field(err, "options", "options is required");
    if (integration_options_check(out->type, options, "options", op->arena, err) ||
        take_object(body, "metadata", &metadata, err))
        return -1;
    out->id = uuid_new(op->arena);
    out->org_id = org_id;
    out->metadata = metadata.type == JSON_OBJECT ? metadata.text : STR("{}");
    out->sealed = sealed_make(op->platform->master_keys, out->id, options.text, op->arena);
    out->creator = op->caller.user_id;
    out->created_at = out->updated_at = op->now;
    if (tx_insert(op->tx, &integration_entity, out, err)) {
        if (err->kind != ERR_CONFLICT)
            return -1;
        if (!made_before(op, out, options.text))
            return refuse_name(err, out->name);
        *err = ERR_INIT;
        return 0;
    }
    return op_audit(op, "create", &integration_entity, NULL, out, err);
}

// ── change ───────────────────────────────────────────────────────────────────────────────────

static int check_rename(struct op *op, const struct integration *before, struct integration *after,
                        struct err *err)
{
    if (title_check(after->name, "name", op_limits(op), err))
        return -1;
    return str_eq(before->name, after->name)
               ? 0
               : refuse_used(op, before, true,
                             "keeps its name while services name it in `secrets`, where the name "
                             "is the variable's",
                             err);
}

static int set_value(struct op *op, struct json credentials, struct integration *after,
                     struct err *err)
{
    struct str type;
    struct json options = {0};
    if (take_text(credentials, "type", &type, op->arena, err))
        return err_under(err, "credentials");
    if (type.at && !str_eq(type, after->type))
        return err_field(err, "credentials.type",
                         "credentials.type: the integration stays of type " STR_FMT,
                         STR_ARG(after->type));
    json_get(credentials, "options", &options);
    if (integration_options_check(after->type, options, "credentials.options", op->arena, err))
        return -1;
    after->sealed = sealed_make(op->platform->master_keys, after->id, options.text, op->arena);
    return 0;
}

int integration_update(struct op *op, struct str org_id, struct json body, bool reload,
                       struct integration *out, struct err *err)
{
    struct integration before;
    struct str id, name;
    struct json credentials;
    if (check_org(op, org_id, err) || take_name(body, "integrationId", &id, op->arena, err) ||
        take_text(body, "name", &name, op->arena, err) ||
        take_object(body, "credentials", &credentials, err))
        return -1;
    if (!id.at)
        return err_field(err, "integrationId", "integrationId is required");
    if (get_in(op, org_id, id, &before, err))
        return -1;
    *out = before;
    bool valued = credentials.type == JSON_OBJECT;
    if (name.at)
        out->name = name;
    out->updated_at = op->now;
    if ((name.at && check_rename(op, &before, out, err)) ||
        (valued && set_value(op, credentials, out, err)))
        return -1;
    if (tx_update(op->tx, &integration_entity, out, err))
        return err->kind == ERR_CONFLICT ? refuse_name(err, out->name) : -1;
    if (op_audit(op, valued ? "change-secret" : "update", &integration_entity, &before, out, err))
        return -1;
    return valued && reload ? each_use(op, out, false, restart, NULL, err) : 0;
}

int integration_delete(struct op *op, struct str org_id, struct str id, struct err *err)
{
    struct integration integration;
    if (check_org(op, org_id, err) || get_in(op, org_id, id, &integration, err) ||
        refuse_used(op, &integration, false, "is used by services; take it from them first", err) ||
        tx_delete(op->tx, &integration_entity, id, err))
        return -1;
    return op_audit(op, "delete", &integration_entity, &integration, NULL, err);
}

// ── the master key ───────────────────────────────────────────────────────────────────────────

typedef int (*row_fn)(struct op *op, struct integration *one, void *arg, struct err *err);

static int each_row(struct op *op, row_fn fn, void *arg, struct err *err)
{
    struct query query = {.limit = QUERY_LIMIT_MAX};
    size_t count;
    do {
        void *rows;
        if (tx_select(op->tx, &integration_entity, &query, op->arena, &rows, &count, err))
            return -1;
        for (size_t i = 0; i < count; i++)
            if (fn(op, &((struct integration *)rows)[i], arg, err))
                return -1;
        query.offset += (int64_t)count;
    } while (count == QUERY_LIMIT_MAX);
    return 0;
}

static int reseal(struct op *op, struct integration *one, void *arg, struct err *err)
{
    int64_t *count = arg;
    const struct master_keys *keys = op->platform->master_keys;
    struct str text;
    (*count)++;
    if (sealed_open(keys, one->id, one->sealed, op->arena, &text, err))
        return err_wrap(err, "The integration " STR_FMT, STR_ARG(one->name));
    if (str_eq(sealed_key_id(one->sealed), master_keys_id(keys)))
        return 0;
    one->sealed = sealed_make(keys, one->id, text, op->arena);
    return tx_update(op->tx, &integration_entity, one, err);
}

int integration_reseal(struct op *op, int64_t *count, struct err *err)
{
    *count = 0;
    return each_row(op, reseal, count, err);
}

struct closed {
    void (*each)(void *arg, const struct integration *one, const char *why);
    void *arg;
};

static int look(struct op *op, struct integration *one, void *arg, struct err *err)
{
    const struct closed *closed = arg;
    struct str text;
    struct err why = ERR_INIT;
    (void)err;
    if (sealed_open(op->platform->master_keys, one->id, one->sealed, op->arena, &text, &why))
        closed->each(closed->arg, one, why.message);
    return 0;
}

int integration_each_closed(struct op *op,
                            void (*each)(void *arg, const struct integration *one, const char *why),
                            void *arg, struct err *err)
{
    return each_row(op, look, &(struct closed){each, arg}, err);
}
