// SPDX-License-Identifier: Apache-2.0
#include "operation/service.h"

#include "base/id.h"
#include "model/describe.h"
#include "model/module.h"
#include "model/runtime.h"
#include "operation/assignment.h"
#include "operation/command.h"
#include "operation/notification.h"
#include "operation/package.h"
#include "operation/repeat.h"
#include "operation/service_check.h"
#include "operation/service_event.h"

struct str service_agents_new(const struct service *service, struct arena *arena)
{
    return arena_printf(arena, STR_FMT ".%lld", STR_ARG(service->version),
                        (long long)(service->generation == INT_NONE ? 0 : service->generation));
}

// ── revisions ────────────────────────────────────────────────────────────────────────────────

static int keep_revision(struct op *op, const struct service *service, struct err *err)
{
    struct revision revision;
    entity_clear(&revision_entity, &revision);
    revision.parent_id = service->id;
    revision.version = service->version;
    revision.project_id = service->project_id;
    return revision_add(op, &revision, &service_entity, service, err);
}

// The newest revision follows changes that make no version of their own.
static int refresh_revision(struct op *op, const struct service *service, struct err *err)
{
    struct revision revision;
    struct str id = arena_printf(op->arena, STR_FMT ":" STR_FMT, STR_ARG(service->id),
                                 STR_ARG(service->version));
    if (tx_get(op->tx, &revision_entity, id, &revision, op->arena, err))
        return -1;
    revision.body = entity_dump(&service_entity, service, op->arena);
    return tx_update(op->tx, &revision_entity, &revision, err);
}

int service_at(struct op *op, const struct service *service, struct str version,
               struct service *out, struct err *err)
{
    struct revision revision;
    if (version.len == 0 || str_is(version, "latest") || str_eq(version, service->version)) {
        *out = *service;
        return 0;
    }
    struct str id = arena_printf(op->arena, STR_FMT ":" STR_FMT, STR_ARG(service->id),
                                 STR_ARG(version));
    if (tx_get(op->tx, &revision_entity, id, &revision, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        return err_set(err, ERR_NOT_FOUND, "Service " STR_FMT " has no revision " STR_FMT,
                       STR_ARG(service->name), STR_ARG(version));
    }
    return entity_load(&service_entity, json_of(revision.body), out, op->arena, err);
}

// ── create ───────────────────────────────────────────────────────────────────────────────────

// Agents that run take another concurrency where the client asked for that (dynamicConcurrency).
static int64_t dynamic_concurrency(struct op *op, const struct service *service)
{
    struct runtime runtime;
    struct err err = ERR_INIT;
    if (runtime_parse(json_of(service->runtime), NULL, &runtime, op->arena, &err))
        return 0;
    return runtime.dynamic_concurrency ? runtime.concurrency : 0;
}

static void note_changed(struct op *op, const struct service *service, bool force)
{
    op_event(op, &(struct event){.kind = EVENT_SERVICE_CHANGED,
                                 .id = service->id,
                                 .service_id = service->id,
                                 .concurrency = dynamic_concurrency(op, service),
                                 .force = force});
}

// What somebody did to the service; `subject`: the revision.
static int note_event(struct op *op, const struct service *service, const char *reason,
                      struct str subject, struct str message, struct str inputs, struct err *err)
{
    struct service_note note = {.service_id = service->id,
                                .project_id = service->project_id,
                                .kind = "service",
                                .reason = reason,
                                .subject = subject,
                                .message = message,
                                .inputs = inputs,
                                .apart = true};
    return service_event_add(op, &note, err);
}

// The service that the same create has made before its answer was lost.
static bool made_before(struct op *op, struct service *service, const struct err *err)
{
    struct service first;
    struct err ignored = ERR_INIT;
    if (err->kind != ERR_CONFLICT)
        return false;
    struct filter *same = filter_and(
        filter_eq_text(&service_entity, "projectId", service->project_id, op->arena),
        filter_eq_text(&service_entity, "name", service->name, op->arena), op->arena);
    if (tx_find(op->tx, &service_entity, same, &first, op->arena, &ignored) ||
        !repeat_of(op, &service_entity, &first, service))
        return false;
    *service = first;
    return true;
}

int service_create(struct op *op, const struct project *project, struct json body,
                   struct service *out, struct err *err)
{
    struct json given;
    if (entity_decode(&service_entity, body, DECODE_CREATE, op_limits(op), out, op->arena, err))
        return -1;
    out->id = op_id(op);
    out->project_id = project->id;
    out->org_id = project->org_id;
    out->bot_user = service_bot(out->id, op->arena);
    out->creator = out->updated_by = op->caller.user_id;
    out->created_at = out->updated_at = op->now;
    const struct settings *settings = op->platform->settings;
    if (!json_get(body, "executionTimeout", &given) || given.type == JSON_NULL)
        out->execution_timeout = settings->timeout_default_s;
    if (!json_get(body, "drainTime", &given) || given.type == JSON_NULL)
        out->drain_time = settings->drain_default_s;
    if (!json_get(body, "maxAttempts", &given) || given.type == JSON_NULL)
        out->max_attempts = settings->attempts_default;
    if (service_check(op, out, NULL, err))
        return -1;
    out->agents = service_agents_new(out, op->arena);
    if (tx_insert(op->tx, &service_entity, out, err)) {
        if (!made_before(op, out, err))
            return -1;
        *err = ERR_INIT;
        return 0;
    }
    struct str message = arena_printf(
        op->arena, "deployed by " STR_FMT " with package revision " STR_FMT,
        STR_ARG(op->caller.user_id),
        STR_ARG(out->package_revision.len ? out->package_revision : STR("latest")));
    if (keep_revision(op, out, err) || op_audit(op, "create", &service_entity, NULL, out, err) ||
        note_event(op, out, "Deployed", out->version, message, STR_NONE, err))
        return -1;
    note_changed(op, out, false);
    return 0;
}

// ── change ───────────────────────────────────────────────────────────────────────────────────

static int save(struct op *op, const struct service *before, struct service *after,
                const char *action, struct err *err)
{
    after->updated_by = op->caller.user_id;
    after->updated_at = op->now;
    bool new_version = !str_eq(before->version, after->version);
    if (tx_update(op->tx, &service_entity, after, err) ||
        (new_version ? keep_revision(op, after, err) : refresh_revision(op, after, err)))
        return -1;
    return op_audit(op, action, &service_entity, before, after, err);
}

// Clients send whole services back, so the name may stand there; another one would be ignored.
static int check_same_name(const struct service *before, struct json body, struct arena *arena,
                           struct err *err)
{
    char what[DESCRIBE_SIZE];
    struct json name;
    if (!json_get(body, "name", &name) || name.type == JSON_NULL ||
        (name.type == JSON_STRING && str_eq(json_str(name, arena), before->name)))
        return 0;
    return err_field(err, "name", "name cannot be changed: it stays \"" STR_FMT "\", not %s",
                     STR_ARG(before->name), describe_value(name, what));
}

static int note_update(struct op *op, const struct service *before, const struct service *after,
                       struct err *err)
{
    _cleanup_buf_ struct buf changes = BUF_INIT((size_t)op_limits(op)->field);
    struct json_writer w = JSON_WRITER(&changes);
    if (entity_diff(&service_entity, before, after, SERVICE_UNCOUNTED, &w) == 0)
        return 0;
    struct str who = op->caller.user_id;
    struct str inputs = changes.over ? STR("{}") : arena_copy(op->arena, buf_str(&changes));
    struct str message = str_eq(before->version, after->version)
                             ? arena_printf(op->arena, "changed by " STR_FMT "; its agents stay",
                                            STR_ARG(who))
                             : arena_printf(
                                   op->arena,
                                   "updated by " STR_FMT " from revision " STR_FMT " to " STR_FMT,
                                   STR_ARG(who), STR_ARG(before->version), STR_ARG(after->version));
    return note_event(op, after, "Updated", after->version, message, inputs, err);
}

int service_update(struct op *op, const struct service *before, struct json body, bool force,
                   struct service *out, struct err *err)
{
    *out = *before;
    if (check_same_name(before, body, op->arena, err) ||
        entity_decode(&service_entity, body, DECODE_PATCH, op_limits(op), out, op->arena, err) ||
        service_check(op, out, before, err))
        return -1;
    if (service_needs_agents(before, out, op->arena)) {
        if (version_next(before->version, op->arena, &out->version, err))
            return -1;
        out->agents = service_agents_new(out, op->arena);
    }
    if (save(op, before, out, "update", err) || note_update(op, before, out, err))
        return -1;
    note_changed(op, out, force);
    return 0;
}

// The newest revision but the present one.
static int revision_before(struct op *op, const struct service *service, struct str *version,
                           struct err *err)
{
    struct query query = {
        .filter = filter_eq_text(&revision_entity, "parentId", service->id, op->arena),
        .sort_count = 1,
        .limit = 2};
    void *rows;
    size_t count;
    query.sort[0] = (struct sort_key){.field = entity_field(&revision_entity, STR("createdAt")),
                                      .path = STR(""),
                                      .descending = true};
    if (tx_select(op->tx, &revision_entity, &query, op->arena, &rows, &count, err))
        return -1;
    if (count < 2)
        return err_set(err, ERR_NOT_FOUND,
                       "Service " STR_FMT " has one revision only: there is nothing to go back to",
                       STR_ARG(service->name));
    *version = ((const struct revision *)rows)[1].version;
    return 0;
}

// How many replicas there are is of today, also with the content of an old revision.
static struct str keep_scale(struct str runtime, struct str present, struct arena *arena)
{
    struct json replicas, scaler;
    if (!json_get(json_of(present), "numReplicas", &replicas))
        replicas = json_of(STR("null"));
    if (!json_get(json_of(present), "autoscaler", &scaler))
        scaler = json_of(STR("null"));
    struct str patch = arena_printf(arena,
                                    "{\"numReplicas\":" STR_FMT ",\"autoscaler\":" STR_FMT "}",
                                    STR_ARG(replicas.text), STR_ARG(scaler.text));
    return json_merge(json_of(runtime), json_of(patch), arena);
}

int service_rollback(struct op *op, const struct service *before, struct str version,
                     struct service *out, struct err *err)
{
    _cleanup_buf_ struct buf changes = BUF_INIT((size_t)op_limits(op)->field);
    struct json_writer w = JSON_WRITER(&changes);
    if (version.len == 0 && revision_before(op, before, &version, err))
        return -1;
    if (service_at(op, before, version, out, err))
        return -1;
    out->id = before->id;
    out->name = before->name;
    out->project_id = before->project_id;
    out->org_id = before->org_id;
    out->creator = before->creator;
    out->created_at = before->created_at;
    out->bot_user = before->bot_user;
    out->active = before->active;
    out->good_version = before->good_version;
    out->runtime = keep_scale(out->runtime, before->runtime, op->arena);
    out->crashloop = before->crashloop;
    // Since a restart its agents are no longer what they were.
    bool same_agents = out->agents.len > 0 && out->generation == before->generation;
    out->generation = before->generation;
    if (service_check(op, out, before, err))
        return -1;
    if (entity_diff(&service_entity, before, out, SERVICE_UNCOUNTED, &w) == 0)
        return err_set(err, ERR_CONFLICT,
                       "Revision " STR_FMT " of service " STR_FMT " is what it has already",
                       STR_ARG(version), STR_ARG(before->name));
    if (version_next(before->version, op->arena, &out->version, err))
        return -1;
    if (!same_agents)
        out->agents = service_agents_new(out, op->arena);
    if (save(op, before, out, "rollback", err))
        return -1;
    struct str message = arena_printf(
        op->arena,
        "rolled back by " STR_FMT " to the content of revision " STR_FMT
        ", which is now revision " STR_FMT,
        STR_ARG(op->caller.user_id), STR_ARG(version), STR_ARG(out->version));
    struct str inputs = changes.over ? STR("{}") : arena_copy(op->arena, buf_str(&changes));
    if (note_event(op, out, "RolledBack", out->version, message, inputs, err))
        return -1;
    note_changed(op, out, false);
    return 0;
}

int service_set_active(struct op *op, const struct service *before, bool active, bool force,
                       struct service *out, struct err *err)
{
    *out = *before;
    out->active = active;
    if (active && out->crashloop.len > 0) {  // the count begins anew
        out->crashloop = STR_NONE;
        if (notification_resolve(op, NOTIFICATION_CRASH_LOOP, out->id, err))
            return -1;
    }
    struct str message = arena_printf(op->arena, "%s by " STR_FMT "%s",
                                      active ? "resumed" : "paused", STR_ARG(op->caller.user_id),
                                      force ? ", its agents are killed" : "");
    if (before->active != active &&
        (save(op, before, out, active ? "resume" : "pause", err) ||
         note_event(op, out, active ? "Resumed" : "Paused", STR_NONE, message, STR_NONE, err)))
        return -1;
    note_changed(op, out, force);
    return 0;
}

int service_deactivate(struct op *op, struct service *service, struct err *err)
{
    struct service before = *service;
    char now[TIME_TEXT_SIZE];
    time_format(op->now, now);
    service->active = false;
    service->crashloop = arena_printf(
        op->arena, "{\"time\":\"%s\",\"action\":\"deactivate\",\"reason\":\"depletion\"}", now);
    if (save(op, &before, service, "deactivate", err))
        return -1;
    note_changed(op, service, false);
    return 0;
}

int service_restart(struct op *op, const struct service *before, struct err *err)
{
    struct service after = *before;
    after.generation = before->generation == INT_NONE ? 1 : before->generation + 1;
    after.agents = service_agents_new(&after, op->arena);
    struct str message = arena_printf(op->arena, "all agents are replaced, asked for by " STR_FMT,
                                      STR_ARG(op->caller.user_id));
    if (save(op, before, &after, "restart", err) ||
        note_event(op, &after, "Restarted", after.version, message, STR_NONE, err))
        return -1;
    note_changed(op, &after, false);
    return 0;
}

int service_delete(struct op *op, const struct service *service, bool force,
                   struct command *command, struct err *err)
{
    int64_t deleted;
    struct filter *revisions = filter_eq_text(&revision_entity, "parentId", service->id, op->arena);
    struct filter *replicas = filter_eq_text(&replica_entity, "serviceId", service->id, op->arena);
    struct str spec = arena_printf(op->arena, "{\"serviceId\":\"" STR_FMT "\",\"force\":%s}",
                                   STR_ARG(service->id), force ? "true" : "false");
    if (tx_delete(op->tx, &service_entity, service->id, err) ||
        tx_delete_where(op->tx, &revision_entity, revisions, 0, &deleted, err) ||
        tx_delete_where(op->tx, &replica_entity, replicas, 0, &deleted, err) ||
        op_audit(op, "delete", &service_entity, service, NULL, err) ||
        note_event(op, service, "Deleted", STR_NONE,
                   arena_printf(op->arena, STR_FMT " deleted by " STR_FMT, STR_ARG(service->name),
                                STR_ARG(op->caller.user_id)),
                   STR_NONE, err) ||
        command_create(op, "deleteService", service->project_id, spec, command, err))
        return -1;
    op_event(op, &(struct event){.kind = EVENT_SERVICE_DELETED,
                                 .id = service->id,
                                 .service_id = service->id,
                                 .force = force});
    return 0;
}
