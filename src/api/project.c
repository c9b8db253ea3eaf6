// SPDX-License-Identifier: Apache-2.0
#include "operation/project.h"

#include "api/api_internal.h"
#include "api/page.h"
#include "api/route_table.h"
#include "operation/deletion.h"

static int write_project(struct call *call, struct project *project, struct err *err)
{
    if (project_complete(&call->op, project, err))
        return -1;
    entity_encode(&project_entity, project, &call->out);
    return 0;
}

static int name_of_body(struct call *call, struct str *name, struct err *err)
{
    struct json value;
    if (!json_get(call->body, "name", &value))
        return err_field(err, "name", "name is missing");
    *name = json_str(value, call->op.arena);
    if (!name->at)
        return err_field(err, "name", "name must be a string, not %s", json_type_name(value.type));
    return 0;
}

static int post_project(struct call *call, struct err *err)
{
    struct project project;
    struct str name;
    if (name_of_body(call, &name, err) || project_create(&call->op, name, &project, err))
        return -1;
    entity_encode(&project_entity, &project, &call->out);
    return 0;
}

static int complete(struct call *call, void *row, struct err *err)
{
    return project_complete(&call->op, row, err);
}

static int list(struct call *call, struct filter *more, struct err *err)
{
    struct op *op = &call->op;
    struct page page = {.entity = &project_entity, .complete = complete};
    if (access_filter(op, &project_entity, "id", &page.filter, err))
        return -1;
    page.filter = filter_and(page.filter, more, op->arena);
    return page_array(call, &page, "name", err);
}

static int get_projects(struct call *call, struct err *err) { return list(call, NULL, err); }

static int get_project(struct call *call, struct err *err)
{
    return write_project(call, &call->project, err);
}

// Clients take the first of the array and trip over an empty one: nothing there is a 404.
static int get_by_name(struct call *call, struct err *err)
{
    struct op *op = &call->op;
    struct str name = call_param(call, 0);
    struct filter *filter = filter_eq_text(&project_entity, "name", name, op->arena), *visible;
    struct project project;
    if (access_filter(op, &project_entity, "id", &visible, err))
        return -1;
    filter = filter_and(filter, visible, op->arena);
    if (tx_find(op->tx, &project_entity, filter, &project, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        return err_set(err, ERR_NOT_FOUND, "There is no project named " STR_FMT, STR_ARG(name));
    }
    json_w_array(&call->out);
    if (write_project(call, &project, err))
        return -1;
    json_w_array_end(&call->out);
    return 0;
}

static int patch_project(struct call *call, struct err *err)
{
    struct str name;
    struct json value;
    if (json_get(call->body, "name", &value) &&
        (name_of_body(call, &name, err) || project_rename(&call->op, &call->project, name, err)))
        return -1;
    return write_project(call, &call->project, err);
}

static int delete_project(struct call *call, struct err *err)
{
    return deletion_of_project(&call->op, &call->project, err);
}

// ── organisations ────────────────────────────────────────────────────────────────────────────

static int org_of(struct call *call, struct org *org, struct err *err)
{
    struct str id = call_param(call, 0);
    if (tx_get(call->op.tx, &org_entity, id, org, call->op.arena, err) == 0)
        return 0;
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    return err_set(err, ERR_NOT_FOUND, "There is no organisation " STR_FMT, STR_ARG(id));
}

static int get_orgs(struct call *call, struct err *err)
{
    struct page page = {.entity = &org_entity};
    return page_array(call, &page, "name", err);
}

static int get_org(struct call *call, struct err *err)
{
    struct org org;
    if (org_of(call, &org, err))
        return -1;
    entity_encode(&org_entity, &org, &call->out);
    return 0;
}

static int get_org_projects(struct call *call, struct err *err)
{
    struct org org;
    if (org_of(call, &org, err))
        return -1;
    return list(call, filter_eq_text(&project_entity, "org_id", org.id, call->op.arena), err);
}

#define PROJECTS "Projects"
#define ORGS     "Organisations"

static const struct route routes[] = {
    {"POST", "/projects", ROUTE_WRITE, SCOPE_CALLER, ROLE_NONE, BODY_FORM_OR_JSON, post_project,
     .operation_id = "createProject", .summary = "Make a project", .tag = PROJECTS,
     .request = "ProjectCreate", .response = "Project"},
    {"GET", "/projects", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, get_projects,
     .operation_id = "listProjects", .summary = "List the caller's projects", .tag = PROJECTS,
     .response = "Project[]"},
    {"GET", "/projects/{projectId}", ROUTE_READ, SCOPE_PROJECT, ROLE_VIEWER, BODY_NONE, get_project,
     .operation_id = "getProject", .summary = "Get a project by id or name", .tag = PROJECTS,
     .response = "Project"},
    {"GET", "/projects/{projectName}/name", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE,
     get_by_name, .operation_id = "getProjectByName",
     .summary = "Find a project by its name, as an array of one", .tag = PROJECTS,
     .response = "Project[]"},
    {"PATCH", "/projects/{projectId}", ROUTE_WRITE, SCOPE_PROJECT, ROLE_OWNER, BODY_JSON,
     patch_project, .operation_id = "updateProject", .summary = "Rename a project", .tag = PROJECTS,
     .request = "ProjectPatch", .response = "Project", .query = "system:boolean"},
    {"DELETE", "/projects/{projectId}", ROUTE_WRITE, SCOPE_PROJECT, ROLE_OWNER, BODY_NONE,
     delete_project, .operation_id = "deleteProject",
     .summary = "Delete a project with all that is in it", .tag = PROJECTS, .success = 204},
    {"GET", "/orgs", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, get_orgs,
     .operation_id = "listOrgs", .summary = "List organisations", .tag = ORGS, .response = "Org[]"},
    {"GET", "/orgs/{orgId}", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, get_org,
     .operation_id = "getOrg", .summary = "Get an organisation", .tag = ORGS, .response = "Org"},
    {"GET", "/orgs/{orgId}/projects", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE,
     get_org_projects, .operation_id = "listOrgProjects",
     .summary = "List the caller's projects of an organisation", .tag = ORGS,
     .response = "Project[]"},
};

const struct route_list project_routes = {routes, sizeof(routes) / sizeof(routes[0])};
