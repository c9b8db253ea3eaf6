// SPDX-License-Identifier: Apache-2.0
#include "api/page.h"
#include "api/route_table.h"
#include "model/take.h"

// Administrators see everything, owners their projects.
static int project_filter(struct call *call, struct filter **out, struct err *err)
{
    struct op *op = &call->op;
    struct str id;
    *out = NULL;
    if (take_name(call->body, "projectId", &id, op->arena, err))
        return -1;
    if (id.at) {
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
