// SPDX-License-Identifier: Apache-2.0
#include "operation/service.h"

#include "api/api_internal.h"
#include "api/listing.h"
#include "api/route_table.h"
#include "base/clock.h"
#include "model/take.h"
#include "operation/dispatch.h"
#include "operation/service_warnings.h"

static void answer(struct call *call, const struct service *service)
{
    struct str warnings[SERVICE_WARNINGS_MAX];
    size_t count = service_warnings(service, call->op.arena, warnings);
    json_w_object(&call->out);
    entity_encode_fields(&service_entity, service, &call->out);
    if (count > 0) {
        json_w_key(&call->out, "warnings");
        json_w_array(&call->out);
        for (size_t i = 0; i < count; i++)
            json_w_str(&call->out, warnings[i]);
        json_w_array_end(&call->out);
    }
    json_w_object_end(&call->out);
}

static int create_service(struct call *call, struct err *err)
{
    struct service service;
    if (service_create(&call->op, &call->project, call->body, &service, err))
        return -1;
    answer(call, &service);
    return 0;
}

static int list_services(struct call *call, struct err *err)
{
    return listing_get(call, &service_entity, "projectId name packageId creator", NULL, err);
}

static int get_service(struct call *call, struct err *err)
{
    struct service service;
    if (service_at(&call->op, &call->subject.service, call_query(call, "version"), &service, err))
        return -1;
    answer(call, &service);
    return 0;
}

static int update_service(struct call *call, struct err *err)
{
    struct service service;
    if (service_update(&call->op, &call->subject.service, call->body,
                       call_query_bool(call, "force"), &service, err))
        return -1;
    answer(call, &service);
    return 0;
}

static int delete_service(struct call *call, struct err *err)
{
    struct command command;
    if (service_delete(&call->op, &call->subject.service, call_query_bool(call, "force"), &command,
                       err))
        return -1;
    entity_encode(&command_entity, &command, &call->out);
    return 0;
}

static int set_active(struct call *call, bool active, struct err *err)
{
    struct service service;
    bool force;
    if (take_bool(call->body, "force", &force, err) ||
        service_set_active(&call->op, &call->subject.service, active,
                           force || call_query_bool(call, "force"), &service, err))
        return -1;
    answer(call, &service);
    return 0;
}

static int stop_service(struct call *call, struct err *err) { return set_active(call, false, err); }

static int resume_service(struct call *call, struct err *err)
{
    return set_active(call, true, err);
}

static int list_revisions(struct call *call, struct err *err)
{
    return listing_revisions(call, &service_entity, call->subject.service.id, NULL, err);
}

// ── restart ──────────────────────────────────────────────────────────────────────────────────

// The replica that the request names, as dtlpy does or as the status does; absent: all of them.
static int replica_name(struct call *call, struct str *out, struct err *err)
{
    static const char *const keys[] = {"replicaName", "replicaId"};
    struct str given[4];  // of the body, then of the query
    *out = STR_NONE;
    for (size_t i = 0; i < 2; i++) {
        if (take_name(call->body, keys[i], &given[i], call->op.arena, err))
            return -1;
        given[2 + i] = call_query(call, keys[i]);
        if (given[2 + i].at && given[2 + i].len == 0)
            return err_field(err, keys[i], "%s must not be empty", keys[i]);
    }
    for (size_t i = 0; i < 4; i++) {
        if (out->at && given[i].at && !str_eq(*out, given[i]))
            return err_field(err, keys[i % 2],
                             "%s names another replica than is named beside it: name one",
                             keys[i % 2]);
        if (given[i].at)
            *out = given[i];
    }
    return 0;
}

static int restart_work(struct call *call, struct err *err)
{
    struct str name = *(struct str *)call->data;
    struct replica replica;
    if (!name.at)
        return service_restart(&call->op, &call->subject.service, err);
    if (tx_get(call->op.tx, &replica_entity, name, &replica, call->op.arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
    } else if (str_eq(replica.service_id, call->subject.service.id)) {
        return op_audit(&call->op, "restart replica", &service_entity, &call->subject.service,
                        &call->subject.service, err);
    }
    return err_set(err, ERR_NOT_FOUND, "Service " STR_FMT " has no replica " STR_FMT,
                   STR_ARG(call->subject.service.name), STR_ARG(name));
}

static void restart_done(struct call *call, struct err *err)
{
    struct str name = *(struct str *)call->data;
    if (err->kind == ERR_NONE && name.at)
        dispatch_command(call->api->config.dispatch, name, "reload");
    call_finish(call, err);
}

static int restart_service(struct call *call, struct err *err)
{
    struct str *name = arena_new_of(call->op.arena, struct str);
    if (replica_name(call, name, err))
        return -1;
    call->data = name;
    call_run(call, OP_WRITE, restart_work, restart_done);
    return 0;
}

// ── status ───────────────────────────────────────────────────────────────────────────────────

struct status_rows {
    struct replica *rows;
    size_t count;
};

static int status_work(struct call *call, struct err *err)
{
    struct op *op = &call->op;
    struct status_rows *status = call->data;
    struct query query = {.filter = filter_eq_text(&replica_entity, "serviceId",
                                                   call->subject.service.id, op->arena)};
    void *rows;
    if (tx_select(op->tx, &replica_entity, &query, op->arena, &rows, &status->count, err))
        return -1;
    status->rows = rows;
    return 0;
}

static void write_time(struct json_writer *out, const char *key, int64_t ms)
{
    char text[TIME_TEXT_SIZE];
    if (ms == INT_NONE)
        return;
    time_format(ms, text);
    json_w_pair_str(out, key, str_of(text));
}

static void write_replica(struct json_writer *out, const struct replica *replica)
{
    bool ready = str_is(replica->state, "ready");
    struct str message = replica->message.len > 0 ? replica->message : replica->phase;
    json_w_object(out);
    json_w_pair_str(out, "replicaId", replica->id);
    json_w_pair_bool(out, "status", ready);
    json_w_pair_str(out, "state", replica->state);
    json_w_pair_str(out, "serviceVersion", replica->service_version);
    write_time(out, "createdAt", replica->created_at);
    json_w_pair_str(out, "reason", replica->reason);
    json_w_pair_str(out, "message", message.at ? message : STR(""));
    json_w_pair_str(out, "phase", replica->phase);
    json_w_pair_int(out, "restartCount", replica->restarts == INT_NONE ? 0 : replica->restarts);
    write_time(out, "lastRestartTime", replica->started_at);
    json_w_object_end(out);
}

static void status_done(struct call *call, struct err *err)
{
    const struct status_rows *status = call->data;
    if (err->kind != ERR_NONE) {
        call_finish(call, err);
        return;
    }
    struct dispatch_counts counts = dispatch_counts(call->api->config.dispatch,
                                                    call->subject.service.id);
    struct json_writer *out = &call->out;
    json_w_object(out);
    json_w_pair_int(out, "numMessagesInQueue", counts.queued);
    json_w_pair_int(out, "running", counts.running);
    json_w_pair_int(out, "replicasReady", counts.replicas_ready);
    json_w_key(out, "runtimeStatus");
    json_w_array(out);
    for (size_t i = 0; i < status->count; i++)
        write_replica(out, &status->rows[i]);
    json_w_array_end(out);
    json_w_object_end(out);
    call_finish(call, NULL);
}

static int get_status(struct call *call, struct err *err)
{
    (void)err;
    call->data = arena_new_of(call->op.arena, struct status_rows);
    call_run(call, OP_READ, status_work, status_done);
    return 0;
}

#define SERVICES "Services"

static const struct route routes[] = {
    {"POST", "/services", ROUTE_WRITE, SCOPE_BODY, ROLE_DEVELOPER, BODY_JSON, create_service,
     .operation_id = "createService", .summary = "Create a service", .tag = SERVICES,
     .request = "ServiceCreate", .response = "Service", .success = 201},
    {"GET", "/services", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, list_services,
     .operation_id = "listServices", .summary = "List services", .tag = SERVICES,
     .response = "ServicePage",
     .query = "projectId:string name:string packageId:string creator:string pageOffset:integer "
              "pageSize:integer"},
    {"GET", "/services/{id}", ROUTE_READ, SCOPE_SERVICE, ROLE_VIEWER, BODY_NONE, get_service,
     .operation_id = "getService", .summary = "Get a service, or a revision of it", .tag = SERVICES,
     .response = "Service", .query = "version:string"},
    {"PATCH", "/services/{id}", ROUTE_WRITE, SCOPE_SERVICE, ROLE_DEVELOPER, BODY_JSON,
     update_service, .operation_id = "updateService",
     .summary = "Change a service; what needs new agents makes a new version", .tag = SERVICES,
     .request = "ServicePatch", .response = "Service", .query = "force:boolean"},
    {"DELETE", "/services/{id}", ROUTE_WRITE, SCOPE_SERVICE, ROLE_DEVELOPER, BODY_NONE,
     delete_service, .operation_id = "deleteService",
     .summary = "Delete a service; a command lets what runs finish (force: ends it), cancels "
                "what is queued, and deletes the logs",
     .tag = SERVICES, .response = "Command", .query = "force:boolean"},
    {"POST", "/services/{id}/stop", ROUTE_WRITE, SCOPE_SERVICE, ROLE_DEVELOPER, BODY_JSON_OPTIONAL,
     stop_service, .operation_id = "stopService",
     .summary = "Pause a service: its agents drain, its executions stay queued", .tag = SERVICES,
     .response = "Service", .query = "force:boolean"},
    {"POST", "/services/{id}/resume", ROUTE_WRITE, SCOPE_SERVICE, ROLE_DEVELOPER,
     BODY_JSON_OPTIONAL, resume_service, .operation_id = "resumeService",
     .summary = "Resume a paused service", .tag = SERVICES, .response = "Service",
     .query = "force:boolean"},
    {"POST", "/services/{id}/restart", ROUTE_LOOP, SCOPE_SERVICE, ROLE_DEVELOPER,
     BODY_JSON_OPTIONAL, restart_service, .operation_id = "restartService",
     .summary = "Replace all agents of a service, or restart the runner of one", .tag = SERVICES,
     .request = "Object", .success = 204, .query = "replicaName:string replicaId:string"},
    {"GET", "/services/{id}/status", ROUTE_LOOP, SCOPE_SERVICE, ROLE_VIEWER, BODY_NONE, get_status,
     .operation_id = "getServiceStatus", .summary = "Show a service's replicas and queue",
     .tag = SERVICES, .response = "ServiceStatus"},
    {"GET", "/services/{id}/revisions", ROUTE_READ, SCOPE_SERVICE, ROLE_VIEWER, BODY_NONE,
     list_revisions, .operation_id = "listServiceRevisions",
     .summary = "List the revisions of a service, newest first", .tag = SERVICES,
     .response = "Service[]"},
};

const struct route_list service_routes = {routes, sizeof(routes) / sizeof(routes[0])};
