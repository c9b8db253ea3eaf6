// SPDX-License-Identifier: Apache-2.0
#include "operation/integration.h"

#include "api/page.h"
#include "api/route_table.h"
#include "operation/integration_type.h"

static int write_list(struct call *call, struct err *err)
{
    struct page page = {.entity = &integration_entity};
    page.filter = filter_eq_text(&integration_entity, "orgId", call_param(call, 0), call->op.arena);
    return page_array(call, &page, "name", err);
}

static int list(struct call *call, struct err *err)
{
    return integration_see(&call->op, call_param(call, 0), err) || write_list(call, err) ? -1 : 0;
}

static int available(struct call *call, struct err *err)
{
    if (integration_see(&call->op, call_param(call, 0), err))
        return -1;
    integration_types_write(&call->out);
    return 0;
}

static int get_one(struct call *call, struct err *err)
{
    struct integration integration;
    if (integration_see(&call->op, call_param(call, 0), err) ||
        integration_get(&call->op, call_param(call, 1), &integration, err))
        return -1;
    if (!str_eq(integration.org_id, call_param(call, 0)))
        return access_unknown(err, "integration", call_param(call, 1));
    entity_encode(&integration_entity, &integration, &call->out);
    return 0;
}

static int get_by_id(struct call *call, struct err *err)
{
    struct integration integration;
    if (integration_see(&call->op, call->op.platform->org_id, err) ||
        integration_get(&call->op, call_param(call, 0), &integration, err))
        return -1;
    entity_encode(&integration_entity, &integration, &call->out);
    return 0;
}

static int create(struct call *call, struct err *err)
{
    struct integration integration;
    if (integration_create(&call->op, call_param(call, 0), call->body, &integration, err))
        return -1;
    entity_encode(&integration_entity, &integration, &call->out);
    return 0;
}

static int update(struct call *call, struct err *err)
{
    struct integration integration;
    if (integration_update(&call->op, call_param(call, 0), call->body,
                           call_query_bool(call, "reloadServices"), &integration, err))
        return -1;
    entity_encode(&integration_entity, &integration, &call->out);
    return 0;
}

static int delete_one(struct call *call, struct err *err)
{
    return integration_delete(&call->op, call_param(call, 0), call_param(call, 1), err) ||
                   write_list(call, err)
               ? -1
               : 0;
}

#define INTEGRATIONS "Integrations"

static const struct route routes[] = {
    {"GET", "/orgs/{orgId}/integrations", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, list,
     .operation_id = "listIntegrations",
     .summary = "List the integrations of an organisation, without what they hold",
     .tag = INTEGRATIONS, .response = "Integration[]"},
    {"POST", "/orgs/{orgId}/integrations", ROUTE_WRITE, SCOPE_ADMIN, ROLE_NONE, BODY_JSON, create,
     .operation_id = "createIntegration",
     .summary = "Make an integration: a secret, or credentials", .tag = INTEGRATIONS,
     .request = "NewIntegration", .response = "Integration"},
    {"PATCH", "/orgs/{orgId}/integrations", ROUTE_WRITE, SCOPE_ADMIN, ROLE_NONE, BODY_JSON, update,
     .operation_id = "updateIntegration",
     .summary = "Rename an integration or change what it holds; reloadServices: services that use "
                "it get new agents, one after the other",
     .tag = INTEGRATIONS, .request = "IntegrationChange", .response = "Integration",
     .query = "reloadServices:boolean"},
    {"GET", "/orgs/{orgId}/integrations/{integrationId}", ROUTE_READ, SCOPE_CALLER, ROLE_NONE,
     BODY_NONE, get_one, .operation_id = "getOrgIntegration",
     .summary = "Get an integration of an organisation, without what it holds", .tag = INTEGRATIONS,
     .response = "Integration"},
    {"DELETE", "/orgs/{orgId}/integrations/{integrationId}", ROUTE_WRITE, SCOPE_ADMIN, ROLE_NONE,
     BODY_NONE, delete_one, .operation_id = "deleteIntegration",
     .summary = "Delete an integration that no service uses; answers those that are left",
     .tag = INTEGRATIONS, .response = "Integration[]"},
    {"GET", "/orgs/{orgId}/availableIntegrations", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE,
     available, .operation_id = "listIntegrationTypes",
     .summary = "List the types of integrations and their options", .tag = INTEGRATIONS,
     .response = "IntegrationType[]"},
    {"GET", "/integrations/{integrationId}", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE,
     get_by_id, .operation_id = "getIntegration",
     .summary = "Get an integration, without what it holds", .tag = INTEGRATIONS,
     .response = "Integration"},
};

const struct route_list integration_routes = ROUTE_LIST(routes);
