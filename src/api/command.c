// SPDX-License-Identifier: Apache-2.0
#include "operation/command.h"

#include "api/api_internal.h"
#include "api/route_table.h"

static int get_command(struct call *call, struct err *err)
{
    (void)err;
    entity_encode(&command_entity, &call->subject.command, &call->out);
    return 0;
}

static int abort_command(struct call *call, struct err *err)
{
    struct command command;
    if (command_abort(&call->op, &call->subject.command, &command, err))
        return -1;
    entity_encode(&command_entity, &command, &call->out);
    return 0;
}

#define COMMANDS "Commands"

static const struct route routes[] = {
    {"GET", "/commands/{id}", ROUTE_READ, SCOPE_COMMAND, ROLE_VIEWER, BODY_NONE, get_command,
     .operation_id = "getCommand", .summary = "Get a command", .tag = COMMANDS,
     .response = "Command"},
    {"GET", "/commands/faas/{id}", ROUTE_READ, SCOPE_COMMAND, ROLE_VIEWER, BODY_NONE, get_command,
     .operation_id = "getFaasCommand", .summary = "Get a command", .tag = COMMANDS,
     .response = "Command"},
    {"POST", "/commands/{id}/abort", ROUTE_WRITE, SCOPE_COMMAND, ROLE_DEVELOPER, BODY_JSON_OPTIONAL,
     abort_command, .operation_id = "abortCommand",
     .summary = "Stop a command after its present step", .tag = COMMANDS, .response = "Command"},
};

const struct route_list command_routes = {routes, sizeof(routes) / sizeof(routes[0])};
