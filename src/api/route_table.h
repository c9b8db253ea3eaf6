// SPDX-License-Identifier: Apache-2.0
// api/route_table: every route of the public listener. A resource file defines one list; adding it
// is one line here and one in route_table.c.
#ifndef DROVER_API_ROUTE_TABLE_H
#define DROVER_API_ROUTE_TABLE_H

#include "api/call.h"

extern const struct route_list account_routes, audit_routes, backup_routes, event_routes,
    command_routes, dataset_routes, execution_routes, faas_query_routes, health_routes, item_routes,
    log_routes, member_routes, misc_routes, openapi_routes, package_routes, project_routes,
    service_routes, rollout_routes, why_routes, notification_routes, inbox_routes,
    integration_routes;

const struct route_list *const *route_table(size_t *count);

// The table as a JSON array, for tests and documentation: method, path, scope, role, body, mode,
// operationId, summary, tag, success.
void route_table_dump(struct buf *out);

#endif
