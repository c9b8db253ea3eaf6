// SPDX-License-Identifier: Apache-2.0
// How far the agents of a service have come to its newest revision, what its revisions changed, and
// the way back to an old one.
#include "operation/rollout.h"

#include "api/api_internal.h"
#include "api/route_table.h"
#include "base/clock.h"
#include "model/runtime.h"
#include "model/take.h"
#include "operation/preemption.h"
#include "operation/service.h"

#define REVISIONS_MOST 200

// ── status ───────────────────────────────────────────────────────────────────────────────────

struct rollout {
    struct service service;
    struct runtime runtime;
    struct replica *rows;
    size_t row_count;
    struct str revision;  // as the driver names it
    int64_t updated, ready, old, failing;
    struct str words;  // of a replica that fails
    struct json_writer *out;
};

static int rollout_rows(struct call *call, struct err *err)
{
    struct op *op = &call->op;
    struct rollout *rollout = call->data;
    void *rows;
    rollout->service = call->subject.service;
    struct query query = {
        .filter = filter_eq_text(&replica_entity, "serviceId", rollout->service.id, op->arena)};
    if (runtime_parse(json_of(rollout->service.runtime), NULL, &rollout->runtime, op->arena, err) ||
        tx_select(op->tx, &replica_entity, &query, op->arena, &rows, &rollout->row_count, err))
        return -1;
    rollout->rows = rows;
    return 0;
}

static void write_replica(struct json_writer *out, const struct replica *row, bool updated,
                          bool failing)
{
    char started[TIME_TEXT_SIZE];
    json_w_object(out);
    json_w_pair_str(out, "replicaId", row->id);
    json_w_pair_str(out, "serviceVersion", row->service_version);
    json_w_pair_bool(out, "updated", updated);
    json_w_pair_str(out, "state", row->state);
    json_w_pair_bool(out, "failing", failing);
    json_w_pair_str(out, "phase", row->phase);
    json_w_pair_int(out, "restartCount", row->restarts == INT_NONE ? 0 : row->restarts);
    if (row->started_at != INT_NONE) {
        time_format(row->started_at, started);
        json_w_pair_str(out, "startedAt", str_of(started));
    }
    json_w_object_end(out);
}

// A replica that has ended, now or before, or says why it cannot start, fails until it is ready.
// One of an old revision says nothing about the change to the new one.
static void count_replica(struct rollout *rollout, const struct replica *row)
{
    bool updated = str_eq(row->service_version, rollout->revision);
    bool ready = str_is(row->state, "ready");
    bool failing = !ready && !str_is(row->state, "draining") &&
                   (str_is(row->state, "exited") || row->message.len > 0 ||
                    (row->restarts != INT_NONE && row->restarts > 0));
    rollout->updated += updated;
    rollout->ready += updated && ready;
    rollout->old += !updated;
    rollout->failing += updated && failing;
    if (updated && failing)
        rollout->words = row->message.len ? row->message : row->reason;
    write_replica(rollout->out, row, updated, failing);
}

static const char *state_of(const struct rollout *rollout, int64_t wanted)
{
    if (wanted == 0 && rollout->updated + rollout->old > 0)
        return "progressing";
    if (!rollout->service.active || rollout->service.archive)
        return "paused";
    if (rollout->ready >= wanted && rollout->old == 0)
        return "complete";
    return rollout->failing > 0 ? "failing" : "progressing";
}

static struct str message_of(const struct rollout *rollout, int64_t wanted, const char *state,
                             struct arena *arena)
{
    struct str version = rollout->service.version;
    if (strcmp(state, "paused") == 0)
        return rollout->service.crashloop.len > 0
                   ? STR("the service was deactivated because its agents cannot start: its events "
                         "and notifications say why; resume it when that is mended")
                   : STR("the service is paused");
    if (strcmp(state, "complete") == 0)
        return wanted == 0 ? STR("no replicas are wanted (runtime.numReplicas is 0)")
                           : arena_printf(arena, "all %lld replicas run revision " STR_FMT,
                                          (long long)wanted, STR_ARG(version));
    if (wanted == 0)
        return arena_printf(arena, "%lld replicas are draining",
                            (long long)(rollout->updated + rollout->old));
    // The last line says most of a traceback.
    struct str end = STR("");
    for (struct str rest = rollout->words; rest.at && rest.len;) {
        struct str line = str_trim(str_cut(&rest, '\n'));
        end = line.len ? line : end;
    }
    return arena_printf(arena,
                        "%lld of %lld replicas run revision " STR_FMT ", %lld are old%s" STR_FMT,
                        (long long)rollout->ready, (long long)wanted, STR_ARG(version),
                        (long long)rollout->old, end.len ? "; one fails: " : "", STR_ARG(end));
}

static int get_rollout(struct call *call, struct err *err)
{
    struct rollout *rollout = arena_new_of(call->op.arena, struct rollout);
    char since[TIME_TEXT_SIZE];
    call->data = rollout;
    if (rollout_rows(call, err))
        return -1;
    struct arena *arena = call->op.arena;
    const struct service *service = &rollout->service;
    int64_t wanted = service_replicas(service, &rollout->runtime);
    rollout->revision = service_agents(service, arena);
    rollout->out = &call->out;
    json_w_object(&call->out);
    json_w_pair_str(&call->out, "revision", service->version);
    json_w_key(&call->out, "replicas");
    json_w_array(&call->out);
    for (size_t i = 0; i < rollout->row_count; i++)
        count_replica(rollout, &rollout->rows[i]);
    json_w_array_end(&call->out);
    const char *state = state_of(rollout, wanted);
    time_format(service->updated_at, since);
    json_w_pair_str(&call->out, "state", str_of(state));
    json_w_pair_int(&call->out, "wanted", wanted);
    json_w_pair_int(&call->out, "updated", rollout->updated);
    json_w_pair_int(&call->out, "ready", rollout->ready);
    json_w_pair_int(&call->out, "old", rollout->old);
    json_w_pair_int(&call->out, "failing", rollout->failing);
    json_w_pair_str(&call->out, "since", str_of(since));
    json_w_pair_str(&call->out, "message", message_of(rollout, wanted, state, arena));
    json_w_object_end(&call->out);
    return 0;
}

// ── history ──────────────────────────────────────────────────────────────────────────────────

static int write_change(struct call *call, const struct revision *revision,
                        const struct revision *before, struct err *err)
{
    struct service now, then;
    char at[TIME_TEXT_SIZE];
    struct arena *arena = call->op.arena;
    if (entity_load(&service_entity, json_of(revision->body), &now, arena, err) ||
        (before && entity_load(&service_entity, json_of(before->body), &then, arena, err)))
        return err_wrap(err, "revision " STR_FMT, STR_ARG(revision->version));
    if (!before)
        entity_clear(&service_entity, &then);
    time_format(revision->created_at, at);
    json_w_object(&call->out);
    json_w_pair_str(&call->out, "revision", revision->version);
    json_w_pair_str(&call->out, "createdAt", str_of(at));
    json_w_pair_str(&call->out, "creator", revision->creator.at ? revision->creator : STR(""));
    json_w_key(&call->out, "changes");
    if (before)
        entity_diff(&service_entity, &then, &now, SERVICE_UNCOUNTED, &call->out);
    else
        json_w_raw(&call->out, STR("{}"));  // the first one: all of it is new
    json_w_object_end(&call->out);
    return 0;
}

static int get_history(struct call *call, struct err *err)
{
    struct op *op = &call->op;
    struct query query = {
        .filter = filter_eq_text(&revision_entity, "parentId", call->subject.service.id, op->arena),
        .sort_count = 1,
        .limit = REVISIONS_MOST};
    void *rows;
    size_t count;
    query.sort[0] = (struct sort_key){.field = entity_field(&revision_entity, STR("createdAt")),
                                      .path = STR(""),
                                      .descending = true};
    if (tx_select(op->tx, &revision_entity, &query, op->arena, &rows, &count, err))
        return -1;
    const struct revision *revisions = rows;
    json_w_array(&call->out);
    for (size_t i = 0; i < count; i++)
        if (write_change(call, &revisions[i], i + 1 < count ? &revisions[i + 1] : NULL, err))
            return -1;
    json_w_array_end(&call->out);
    return 0;
}

// ── back ─────────────────────────────────────────────────────────────────────────────────────

static int roll_back(struct call *call, struct err *err)
{
    struct service service;
    struct str revision = STR_NONE;
    if (call->body.type == JSON_OBJECT &&
        take_name(call->body, "revision", &revision, call->op.arena, err))
        return -1;
    if (service_rollback(&call->op, &call->subject.service, revision, &service, err))
        return -1;
    entity_encode(&service_entity, &service, &call->out);
    return 0;
}

// ── preemption ───────────────────────────────────────────────────────────────────────────────

static int preempt(struct call *call, struct err *err)
{
    return replica_preempt(&call->op, call_param(call, 0), PREEMPTION_OPERATOR, err);
}

#define SERVICES "Services"

static const struct route routes[] = {
    {"GET", "/services/{id}/rollout", ROUTE_READ, SCOPE_SERVICE, ROLE_VIEWER, BODY_NONE,
     get_rollout, .operation_id = "getRollout",
     .summary = "Say how many replicas run the newest revision, and what holds the others up",
     .tag = SERVICES, .response = "Rollout"},
    {"GET", "/services/{id}/rollout/history", ROUTE_READ, SCOPE_SERVICE, ROLE_VIEWER, BODY_NONE,
     get_history, .operation_id = "getRolloutHistory",
     .summary = "List the revisions of a service with what each changed, newest first",
     .tag = SERVICES, .response = "RevisionChange[]"},
    {"POST", "/services/{id}/rollback", ROUTE_WRITE, SCOPE_SERVICE, ROLE_DEVELOPER,
     BODY_JSON_OPTIONAL, roll_back, .operation_id = "rollbackService",
     .summary = "Make a new revision with the content of an old one; the one before when none is "
                "named",
     .tag = SERVICES, .request = "Rollback", .response = "Service"},
    {"POST", "/replicas/{id}/preempt", ROUTE_WRITE, SCOPE_ADMIN, ROLE_VIEWER, BODY_JSON_OPTIONAL,
     preempt, .operation_id = "preemptReplica",
     .summary = "Take a replica away as its machine might: with a notice, and another one takes "
                "its place",
     .tag = SERVICES, .success = 204},
};

const struct route_list rollout_routes = ROUTE_LIST(routes);
