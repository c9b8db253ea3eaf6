// SPDX-License-Identifier: Apache-2.0
#include "operation/service_env.h"

#include <stdio.h>

#include "model/describe.h"
#include "model/variable.h"
#include "operation/integration_type.h"
#include "operation/sealed.h"

#define ENTRIES_MOST 100
#define VALUES_MAX   (1 << 20)  // bytes of all variables together: what a program can be given

struct entry {
    char path[48];  // "integrations[3]"
    struct str id, env, type, key;
    bool optional, legacy;
    struct integration integration;
    bool found;
};

// ── reading ──────────────────────────────────────────────────────────────────────────────────

static int member_text(const struct entry *entry, struct json object, const char *key,
                       struct str *out, struct arena *arena, struct err *err)
{
    char path[80];
    struct json value;
    *out = STR_NONE;
    if (!json_get(object, key, &value) || value.type == JSON_NULL)
        return 0;
    *out = json_str(value, arena);
    snprintf(path, sizeof(path), "%s.%s", entry->path, key);
    return out->at ? 0
                   : err_field(err, path, "%s must be a text, not %s", path,
                               json_type_name(value.type));
}

static int read_entry(struct json value, struct entry *entry, struct arena *arena, struct err *err)
{
    struct json optional;
    if (entry->legacy) {
        entry->id = json_str(value, arena);
        return entry->id.at
                   ? 0
                   : err_field(err, entry->path, "%s must be the id of an integration, not %s",
                               entry->path, json_type_name(value.type));
    }
    if (value.type != JSON_OBJECT)
        return err_field(err, entry->path, "%s must be an object, not %s", entry->path,
                         json_type_name(value.type));
    if (json_get(value, "optional", &optional))
        (void)json_bool(optional, &entry->optional);
    return member_text(entry, value, "value", &entry->id, arena, err) ||
                   member_text(entry, value, "env", &entry->env, arena, err) ||
                   member_text(entry, value, "type", &entry->type, arena, err) ||
                   member_text(entry, value, "key", &entry->key, arena, err)
               ? -1
               : 0;
}

static int find(struct op *op, const struct service *service, struct entry *entry, struct err *err)
{
    char path[80];
    snprintf(path, sizeof(path), "%s%s", entry->path, entry->legacy ? "" : ".value");
    if (entry->id.len > 0) {
        if (tx_get(op->tx, &integration_entity, entry->id, &entry->integration, op->arena, err)) {
            if (err->kind != ERR_NOT_FOUND)
                return -1;
            *err = ERR_INIT;
        } else {
            entry->found = str_eq(entry->integration.org_id, service->org_id);
        }
    }
    struct str shown = describe_clip(entry->id, 64);
    if (!entry->found && !entry->optional)
        return entry->id.len > 0
                   ? err_field(err, path, "%s: there is no integration " STR_FMT, path,
                               STR_ARG(shown))
                   : err_field(err, path, "%s is missing: it names the integration", path);
    if (entry->found && entry->type.len > 0 && !str_eq(entry->type, entry->integration.type)) {
        snprintf(path, sizeof(path), "%s.type", entry->path);
        return err_field(err, path, "%s: integration " STR_FMT " is of type " STR_FMT, path,
                         STR_ARG(entry->integration.name), STR_ARG(entry->integration.type));
    }
    return 0;
}

static bool makes_variable(const struct entry *entry)
{
    return !entry->found || !integration_is_registry(entry->integration.type);
}

static int check_name(struct entry *entries, size_t at, struct err *err)
{
    struct entry *entry = &entries[at];
    char path[80];
    if (entry->legacy)
        entry->env = entry->integration.name;
    snprintf(path, sizeof(path), "%s%s", entry->path, entry->legacy ? "" : ".env");
    if (!makes_variable(entry))
        return 0;
    if (entry->env.len == 0)
        return err_field(err, path, "%s is missing: it names the environment variable", path);
    if (variable_check(entry->env, path, err))
        return -1;
    for (size_t i = 0; i < at; i++)
        if (makes_variable(&entries[i]) && str_eq(entries[i].env, entry->env))
            return err_field(err, path, "%s: %s makes the variable " STR_FMT " already", path,
                             entries[i].path, STR_ARG(entry->env));
    return 0;
}

static int read_list(struct op *op, const struct service *service, bool legacy,
                     struct entry *entries, size_t *count, struct err *err)
{
    const char *name = legacy ? "secrets" : "integrations";
    struct json list = json_of(legacy ? service->secrets : service->integrations);
    if (*count + json_count(list) > ENTRIES_MOST)
        return err_field(err, name, "%s: a service takes at most %d integrations", name,
                         ENTRIES_MOST);
    struct json_iter it = json_each(list);
    struct str key;
    size_t i = 0;
    for (struct json value; json_next(&it, &key, &value); i++, (*count)++) {
        struct entry *entry = &entries[*count];
        *entry = (struct entry){.legacy = legacy};
        snprintf(entry->path, sizeof(entry->path), "%s[%zu]", name, i);
        if (read_entry(value, entry, op->arena, err) || find(op, service, entry, err) ||
            check_name(entries, *count, err))
            return -1;
    }
    return 0;
}

static int read_all(struct op *op, const struct service *service, struct entry **entries,
                    size_t *count, struct err *err)
{
    *count = 0;
    *entries = arena_array_of(op->arena, struct entry, ENTRIES_MOST);
    return read_list(op, service, false, *entries, count, err) ||
                   read_list(op, service, true, *entries, count, err)
               ? -1
               : 0;
}

// ── what others ask ──────────────────────────────────────────────────────────────────────────

bool service_env_uses(const struct service *service, struct str integration_id, bool only_secrets)
{
    for (int legacy = only_secrets; legacy < 2; legacy++) {
        struct json_iter it = json_each(json_of(legacy ? service->secrets : service->integrations));
        struct str key;
        for (struct json value; json_next(&it, &key, &value);) {
            struct json id = value;
            if (!legacy && !json_get(value, "value", &id))
                continue;
            if (json_is(id, JSON_STRING) &&
                json_raw_eq((struct str){id.text.at + 1, id.text.len - 2}, integration_id))
                return true;
        }
    }
    return false;
}

// Whoever may run code in a project must not reach the secrets of the organisation by it.
static int check_caller(struct op *op, const struct entry *entries, size_t count,
                        const struct service *before, struct err *err)
{
    if (op->caller.kind != CALLER_SERVICE)
        return 0;
    for (size_t i = 0; i < count; i++)
        if (!before || !service_env_uses(before, entries[i].id, false))
            return err_set(err, ERR_DENIED,
                           "A function cannot attach integrations to a service (%s)",
                           entries[i].path);
    return 0;
}

int service_env_check(struct op *op, const struct service *service, const struct service *before,
                      struct err *err)
{
    struct entry *entries;
    size_t count;
    if (!service->secrets.len && !service->integrations.len)
        return 0;
    return read_all(op, service, &entries, &count, err) ||
                   check_caller(op, entries, count, before, err)
               ? -1
               : 0;
}

static int open_value(struct op *op, const struct entry *entry, struct str *out, struct err *err)
{
    struct str text;
    if (sealed_open(op->platform->master_keys, entry->integration.id, entry->integration.sealed,
                    op->arena, &text, err))
        return err_wrap(err, "The integration " STR_FMT " cannot be opened",
                        STR_ARG(entry->integration.name));
    *out = integration_value(entry->integration.type, json_of(text), entry->key, op->arena);
    return 0;
}

int service_env_values(struct op *op, const struct service *service, struct variable **out,
                       size_t *count, struct err *err)
{
    struct entry *entries;
    size_t named, bytes = 0;
    *count = 0;
    *out = NULL;
    if (!service->secrets.len && !service->integrations.len)
        return 0;
    if (read_all(op, service, &entries, &named, err)) {
        if (err->kind == ERR_BAD_INPUT)
            err->kind = ERR_CONFLICT;
        return -1;
    }
    *out = arena_array_of(op->arena, struct variable, named + 1);
    for (size_t i = 0; i < named; i++) {
        struct variable *variable = &(*out)[*count];
        if (!entries[i].found || !makes_variable(&entries[i]))
            continue;
        variable->name = entries[i].env;
        if (open_value(op, &entries[i], &variable->value, err))
            return -1;
        bytes += variable->name.len + variable->value.len;
        (*count)++;
    }
    if (bytes > VALUES_MAX)
        return err_set(err, ERR_CONFLICT,
                       "The service's secrets have %zu bytes; a program can be given %d", bytes,
                       VALUES_MAX);
    return 0;
}

int service_env_redactor(struct op *op, struct str service_id, struct redactor **out,
                         struct err *err)
{
    struct service service;
    struct variable *variables;
    size_t count;
    *out = NULL;
    if (tx_get(op->tx, &service_entity, service_id, &service, op->arena, err) ||
        service_env_values(op, &service, &variables, &count, err)) {
        if (err->kind != ERR_NOT_FOUND && err->kind != ERR_CONFLICT)
            return -1;
        *err = ERR_INIT;
        return 0;
    }
    if (count > 0)
        *out = redactor_new();
    for (size_t i = 0; i < count; i++)
        redactor_add(*out, variables[i].name, variables[i].value);
    return 0;
}
