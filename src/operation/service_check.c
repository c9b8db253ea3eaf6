// SPDX-License-Identifier: Apache-2.0
#include "operation/service_check.h"

#include <stdio.h>

#include "model/describe.h"
#include "model/module.h"
#include "model/runtime.h"
#include "operation/package.h"
#include "operation/service_env.h"

// ── the package ──────────────────────────────────────────────────────────────────────────────

static int read_package(struct op *op, const struct service *service, struct package *out,
                        struct err *err)
{
    struct package package;
    if (tx_get(op->tx, &package_entity, service->package_id, &package, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        return err_field(err, "packageId", "packageId: there is no package " STR_FMT,
                         STR_ARG(service->package_id));
    }
    if (!package.global && !str_eq(package.project_id, service->project_id))
        return err_field(err, "packageId",
                         "packageId: package " STR_FMT " belongs to another project",
                         STR_ARG(service->package_id));
    if (package_at(op, &package, service->package_revision, out, err) == 0)
        return 0;
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    struct str shown = describe_clip(service->package_revision, 64);
    return err_field(err, "packageRevision",
                     "packageRevision: package " STR_FMT " has no revision " STR_FMT,
                     STR_ARG(package.name), STR_ARG(shown));
}

static struct str module_names(const struct module *modules, size_t count, struct arena *arena)
{
    struct str names = STR("");
    for (size_t i = 0; i < count; i++)
        names = arena_printf(arena, STR_FMT "%s" STR_FMT, STR_ARG(names), i > 0 ? ", " : "",
                             STR_ARG(modules[i].name));
    return describe_clip(names, 400);
}

static int find_module(struct op *op, struct service *service, const struct package *package,
                       const struct module **out, struct err *err)
{
    struct module *modules;
    size_t count;
    if (modules_parse(json_of(package->modules), NULL, op->arena, &modules, &count, err))
        return err_wrap(err, "package " STR_FMT, STR_ARG(package->name));
    struct str name = service->module_name.len > 0 ? service->module_name : STR_NONE;
    *out = module_find(modules, count, name);
    if (!*out) {
        struct str names = module_names(modules, count, op->arena);
        return err_field(err, "moduleName",
                         "moduleName: package " STR_FMT " has no module " STR_FMT
                         "; it has " STR_FMT,
                         STR_ARG(package->name), STR_ARG(name), STR_ARG(names));
    }
    service->module_name = (*out)->name;
    return 0;
}

static int check_init(struct op *op, const struct service *service, const struct module *module,
                      struct err *err)
{
    struct json params = json_of(service->init_params), value;
    struct json_iter it = json_each(params);
    struct str key;
    while (json_next(&it, &key, &value)) {
        struct str name = json_unescape(key, op->arena);
        bool known = false;
        for (size_t i = 0; i < module->init_input_count && !known; i++)
            known = str_eq(module->init_inputs[i].name, name);
        if (known)
            continue;
        struct str shown = describe_clip(name, 64);
        return err_field(err, "initParams",
                         "initParams: module " STR_FMT " has no init input named " STR_FMT,
                         STR_ARG(module->name), STR_ARG(shown));
    }
    for (size_t i = 0; i < module->init_input_count; i++) {
        const char *name = arena_cstr(op->arena, module->init_inputs[i].name);
        if (!json_get(params, name, &value))
            return err_field(err, "initParams",
                             "initParams: the init input %s of module " STR_FMT " is missing", name,
                             STR_ARG(module->name));
    }
    return 0;
}

// ── its own parts ────────────────────────────────────────────────────────────────────────────

// Versions become arguments of pip: a letter or digit first, then nothing but version characters.
static bool version_word(struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!word && (i == 0 || !strchr("._+!-", c)))
            return false;
    }
    return text.len > 0 && text.len <= 64;
}

static int check_versions(struct op *op, const struct service *service, struct err *err)
{
    struct json_iter it = json_each(json_of(service->versions));
    struct str key;
    for (struct json value; json_next(&it, &key, &value);) {
        char path[80], what[DESCRIBE_SIZE];
        if (value.type == JSON_NULL || value.type == JSON_TRUE || value.type == JSON_FALSE)
            continue;
        if (value.type == JSON_STRING && version_word(json_str(value, op->arena)))
            continue;
        struct str shown = describe_clip(key, 48);
        snprintf(path, sizeof(path), "versions." STR_FMT, STR_ARG(shown));
        return err_field(err, path, "%s must be a version such as 1.126.5, not %s", path,
                         describe_value(value, what));
    }
    return 0;
}

static int check_images(struct op *op, const struct runtime *runtime, struct err *err)
{
    const char *driver = op->platform->settings->driver;
    const char *path = runtime->runner_image.len > 0  ? "runtime.runnerImage"
                       : runtime->proxy_image.len > 0 ? "runtime.proxyImage"
                                                      : NULL;
    if (!path)
        return 0;
    return err_field(err, path,
                     "%s: container images need the Kubernetes driver; this server runs its agents "
                     "as processes (--driver %s): leave it out",
                     path, driver ? driver : "process");
}

int service_check(struct op *op, struct service *service, const struct service *before,
                  struct err *err)
{
    bool same_runtime = before && str_eq(service->runtime, before->runtime);
    const struct limits *limits = same_runtime ? NULL : op_limits(op);
    struct package package;
    const struct module *module;
    struct runtime runtime;
    if (name_check(service->name, "name", err) || read_package(op, service, &package, err) ||
        find_module(op, service, &package, &module, err) || check_init(op, service, module, err) ||
        check_versions(op, service, err) || service_env_check(op, service, before, err) ||
        runtime_parse(json_of(service->runtime), limits, &runtime, op->arena, err) ||
        (!same_runtime && check_images(op, &runtime, err)))
        return -1;
    service->package_revision = package.version;
    service->runtime = runtime_normalise(json_of(service->runtime), &runtime, op->arena);
    return 0;
}

// ── what agents are made of ──────────────────────────────────────────────────────────────────

static bool same_json(struct str a, struct str b, struct arena *scratch)
{
    if (a.len == 0 || b.len == 0)
        return a.len == b.len;
    return json_equal(json_of(a), json_of(b), scratch);
}

static bool is_dynamic(struct str runtime)
{
    struct json value;
    bool dynamic = false;
    return json_get(json_of(runtime), "dynamicConcurrency", &value) && json_bool(value, &dynamic) &&
           dynamic;
}

// How many agents there are says nothing about each one; nor does a concurrency that they take
// while they run.
static bool same_runtime(struct str before, struct str after, struct arena *scratch)
{
    struct str patch = is_dynamic(before) && is_dynamic(after)
                           ? STR("{\"numReplicas\":null,\"autoscaler\":null,\"concurrency\":null}")
                           : STR("{\"numReplicas\":null,\"autoscaler\":null}");
    return same_json(json_merge(json_of(before), json_of(patch), scratch),
                     json_merge(json_of(after), json_of(patch), scratch), scratch);
}

bool service_needs_agents(const struct service *before, const struct service *after,
                          struct arena *scratch)
{
    return !str_eq(before->package_id, after->package_id) ||
           !str_eq(before->package_revision, after->package_revision) ||
           !str_eq(before->module_name, after->module_name) ||
           !str_eq(before->driver_id, after->driver_id) ||
           before->execution_timeout != after->execution_timeout ||
           before->drain_time != after->drain_time ||
           before->run_as_process != after->run_as_process ||
           before->use_user_jwt != after->use_user_jwt ||
           !same_json(before->versions, after->versions, scratch) ||
           !same_json(before->init_params, after->init_params, scratch) ||
           !same_json(before->secrets, after->secrets, scratch) ||
           !same_json(before->integrations, after->integrations, scratch) ||
           !same_runtime(before->runtime, after->runtime, scratch);
}
