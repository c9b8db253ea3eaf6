// SPDX-License-Identifier: Apache-2.0
#include "api/page.h"
#include "api/route_table.h"

// Administrators see everything, owners their projects.
static int project_filter(struct call *call, struct filter **out, struct err *err)
{
    struct op *op = &call->op;
    struct json value;
    *out = NULL;
    if (json_get(call->body, "projectId", &value) && value.type == JSON_STRING) {
        struct str id = json_str(value, op->arena);
        *out = filter_eq_text(&audit_entity, "projectId", id, op->arena);
        return access_require(op, id, ROLE_OWNER, err);
    }
    if (op->caller.admin)
        return 0;
    return err_field(err, "projectId",
                     "projectId is missing: only administrators may read the whole audit log");
}

static int post_logs(struct call *call, struct err *err)
{
    struct page page = {.entity = &audit_entity, .body = call->body};
    struct json body = call->body.type == JSON_OBJECT ? call->body : json_of(STR("{}"));
    page.body = body;
    if (project_filter(call, &page.filter, err))
        return -1;
    return page_reply(call, &page, err);
}

static const struct route routes[] = {
    {"POST", "/audit/logs", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_JSON_OPTIONAL, post_logs,
     .operation_id = "queryAudit", .summary = "List changes: who, what, before, after",
     .tag = "Audit", .request = "AuditQuery", .response = "AuditPage"},
};

const struct route_list audit_routes = {routes, sizeof(routes) / sizeof(routes[0])};
