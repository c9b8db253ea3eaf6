// SPDX-License-Identifier: Apache-2.0
#include "operation/execution_functions.h"

#include "base/mem.h"
#include "operation/package.h"

#define SLOTS 256  // a power of two

// Direct-mapped: a service whose slot another one took is parsed again.
struct slot {
    struct arena *arena;
    struct str service_id, revision;
    int64_t updated_at;
    struct service_functions functions;
};

struct execution_functions {
    struct slot slots[SLOTS];
};

struct execution_functions *execution_functions_new(void)
{
    return mem_alloc(sizeof(struct execution_functions));
}

void execution_functions_free(struct execution_functions *functions)
{
    if (!functions)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        arena_free(functions->slots[i].arena);
    mem_free(functions);
}

static int no_module(const struct service *service, const struct package *package, struct err *err)
{
    return err_set(err, ERR_CONFLICT, "Package " STR_FMT " has no module " STR_FMT,
                   STR_ARG(package->name), STR_ARG(service->module_name));
}

static int parse(struct op *op, const struct service *service, struct arena *arena,
                 struct service_functions *out, struct err *err)
{
    struct package package, current;
    struct module *modules;
    size_t count;
    if (tx_get(op->tx, &package_entity, service->package_id, &current, op->arena, err) ||
        package_at(op, &current, service->package_revision, &package, err))
        return err_wrap(err, "the package of service " STR_FMT, STR_ARG(service->name));
    struct json text = json_of(arena_copy(arena, package.modules));
    if (modules_parse(text, NULL, arena, &modules, &count, err))
        return err_wrap(err, "the package of service " STR_FMT, STR_ARG(service->name));
    const struct module *module = module_find(modules, count, service->module_name);
    if (!module)
        return no_module(service, &package, err);
    out->module = *module;
    out->package_name = arena_copy(arena, package.name);
    return 0;
}

int execution_functions_of(struct op *op, struct execution_functions *functions,
                           const struct service *service, const struct service_functions **out,
                           struct err *err)
{
    if (!functions) {
        struct service_functions *made = arena_new_of(op->arena, struct service_functions);
        *out = made;
        return parse(op, service, op->arena, made, err);
    }
    struct slot *slot = &functions->slots[str_hash(service->id) & (SLOTS - 1)];
    *out = &slot->functions;
    if (slot->updated_at == service->updated_at && str_eq(slot->service_id, service->id) &&
        str_eq(slot->revision, service->package_revision))
        return 0;
    if (!slot->arena)
        slot->arena = arena_new();
    arena_reset(slot->arena);
    slot->service_id = STR_NONE;
    if (parse(op, service, slot->arena, &slot->functions, err))
        return -1;
    slot->service_id = arena_copy(slot->arena, service->id);
    slot->revision = arena_copy(slot->arena, service->package_revision);
    slot->updated_at = service->updated_at;
    return 0;
}
