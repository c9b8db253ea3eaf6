// SPDX-License-Identifier: Apache-2.0
#include "api/api_internal.h"
#include "model/take.h"
#include "operation/deletion.h"

static int scope_project(struct call *call, struct str *project_id, struct err *err)
{
    struct op *op = &call->op;
    struct str name = call_param(call, 0);
    if (tx_get(op->tx, &project_entity, name, &call->project, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        struct filter *filter = filter_eq_text(&project_entity, "name", name, op->arena);
        if (tx_find(op->tx, &project_entity, filter, &call->project, op->arena, err)) {
            if (err->kind != ERR_NOT_FOUND)
                return -1;
            return access_unknown(err, "project", name);
        }
        *err = ERR_INIT;
    }
    *project_id = call->project.id;
    return 0;
}

// {"projectId"}, as datasets and others also {"projects": [id]} or {"project"}.
static int body_project(struct call *call, struct str *out, struct err *err)
{
    struct arena *arena = call->op.arena;
    struct take_names projects;
    struct str project;
    if (take_name(call->body, "projectId", out, arena, err) ||
        take_name(call->body, "project", &project, arena, err) ||
        take_names(call->body, "projects", &projects, arena, err))
        return -1;
    if (projects.count > 1)
        return err_field(err, "projects", "projects must name one project, not %zu",
                         projects.count);
    if (!out->at)
        *out = project.at ? project : projects.count > 0 ? projects.at[0] : STR_NONE;
    if (out->at)
        return 0;
    return err_field(err, "projectId", "projectId is missing: name the project this belongs to");
}

static int scope_body(struct call *call, struct str *project_id, struct err *err)
{
    struct op *op = &call->op;
    if (body_project(call, project_id, err))
        return -1;
    if (tx_get(op->tx, &project_entity, *project_id, &call->project, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        return access_unknown(err, "project", *project_id);
    }
    return 0;
}

struct subject {
    const struct entity *entity;
    size_t project_id;  // offset in the entity's struct
};

static const struct subject *subject_of(enum route_scope scope)
{
    static const struct subject subjects[] = {
        [SCOPE_DATASET] = {&dataset_entity, offsetof(struct dataset, project_id)},
        [SCOPE_ITEM] = {&item_entity, offsetof(struct item, project_id)},
        [SCOPE_PACKAGE] = {&package_entity, offsetof(struct package, project_id)},
        [SCOPE_SERVICE] = {&service_entity, offsetof(struct service, project_id)},
        [SCOPE_EXECUTION] = {&execution_entity, offsetof(struct execution, project_id)},
        [SCOPE_COMMAND] = {&command_entity, offsetof(struct command, project_id)},
    };
    return &subjects[scope];
}

// What the caller is told that there is none of.
static const char *kind_of(enum route_scope scope)
{
    if (scope == SCOPE_PROJECT || scope == SCOPE_BODY)
        return project_entity.name;
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): the table has all that come here
    return subject_of(scope)->entity->name;
}

static int scope_subject(struct call *call, struct str *project_id, struct err *err)
{
    const struct subject *subject = subject_of(call->route->scope);
    struct op *op = &call->op;
    struct str id = call_param(call, 0);
    if (tx_get(op->tx, subject->entity, id, &call->subject, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        return access_unknown(err, kind_of(call->route->scope), id);
    }
    *project_id = *(const struct str *)(const void *)((const char *)&call->subject +
                                                      subject->project_id);
    call->project.id = *project_id;
    bool deleted;
    struct str dataset_id = call->route->scope == SCOPE_ITEM ? call->subject.item.dataset_id
                                                             : STR_NONE;
    if (deletion_under_way(op, *project_id, dataset_id, &deleted, err))
        return -1;
    return deleted ? access_unknown(err, kind_of(call->route->scope), id) : 0;
}

// What needs no role in the project: global packages may be read by everyone, and a command that
// belongs to no project by whoever started it.
static bool open_to_all(const struct call *call)
{
    if (call->route->scope == SCOPE_PACKAGE)
        return call->subject.package.global && call->route->role <= ROLE_VIEWER;
    if (call->route->scope == SCOPE_COMMAND && !call->subject.command.project_id.at)
        return str_eq(call->subject.command.creator, call->op.caller.user_id);
    return false;
}

int call_check(struct call *call, struct err *err)
{
    struct str project_id = STR_NONE;
    enum route_scope scope = call->route->scope;
    int rc = 0;
    if (scope == SCOPE_PUBLIC || call->accepted)
        return 0;
    if (access_identify(&call->op, err))
        return -1;
    if (scope == SCOPE_CALLER)
        return 0;
    if (scope == SCOPE_ADMIN)
        return access_require_admin(&call->op, err);
    entity_clear(&project_entity, &call->project);
    if (scope == SCOPE_PROJECT)
        rc = scope_project(call, &project_id, err);
    else if (scope == SCOPE_BODY)
        rc = scope_body(call, &project_id, err);
    else
        rc = scope_subject(call, &project_id, err);
    if (rc)
        return -1;
    if (open_to_all(call))
        return 0;
    if (scope == SCOPE_PACKAGE && call->subject.package.global)  // seen by everyone
        return access_require(&call->op, project_id, call->route->role, err);
    return access_require_seen(&call->op, project_id, call->route->role, kind_of(scope),
                               scope == SCOPE_BODY ? project_id : call_param(call, 0), err);
}
