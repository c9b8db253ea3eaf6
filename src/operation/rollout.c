// SPDX-License-Identifier: Apache-2.0
#include "operation/rollout.h"

#include "model/describe.h"
#include "operation/notification.h"
#include "operation/service.h"
#include "operation/service_event.h"

#define VALUE_SHOWN 120  // bytes of a changed field's value in the text for people

struct str service_agents(const struct service *service, struct arena *arena)
{
    return service->agents.len ? service->agents : service_agents_new(service, arena);
}

int64_t service_replicas(const struct service *service, const struct runtime *runtime)
{
    if (!service->active || service->archive)
        return 0;
    if (runtime->autoscaler == AUTOSCALER_NONE)
        return runtime->replicas;
    return runtime->min_replicas > 0 ? runtime->min_replicas : 1;
}

// ERR_NOT_FOUND counts as moved on. 1: it is as it was, 0: it has moved on.
static int find_unmoved(struct op *op, struct str service_id, struct str agents,
                        struct service *service, struct err *err)
{
    if (tx_get(op->tx, &service_entity, service_id, service, op->arena, err) == 0)
        return service->active && str_eq(service_agents(service, op->arena), agents);
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    return 0;
}

static int tell(struct op *op, const struct service *service, const char *reason, bool warning,
                struct str message, struct str inputs, struct err *err)
{
    struct service_note note = {.service_id = service->id,
                                .project_id = service->project_id,
                                .kind = "service",
                                .reason = reason,
                                .warning = warning,
                                .subject = service->version,
                                .message = message,
                                .inputs = inputs,
                                .apart = true};
    return service_event_add(op, &note, err);
}

int rollout_good(struct op *op, struct str service_id, struct str agents, struct err *err)
{
    struct service service;
    int found = find_unmoved(op, service_id, agents, &service, err);
    if (found <= 0 || str_eq(service.good_version, service.version))
        return found < 0 ? -1 : 0;
    service.good_version = service.version;
    if (tx_update(op->tx, &service_entity, &service, err) ||
        notification_resolve(op, NOTIFICATION_CRASH_LOOP, service.id, err))
        return -1;
    return tell(op, &service, "RolloutComplete", false,
                arena_printf(op->arena, "all agents run revision " STR_FMT " and take executions",
                             STR_ARG(service.version)),
                STR_NONE, err);
}

// ── why it failed, for people ────────────────────────────────────────────────────────────────

// What the revision changed against the last good one: JSON for programs, lines for people.
struct changes {
    struct str json, lines;
};

static struct str shown(struct json value, struct arena *arena)
{
    if (value.type == JSON_NULL)
        return STR("none");
    struct str text = value.text;
    return text.len <= VALUE_SHOWN ? text : arena_printf(arena, "%.*s…", VALUE_SHOWN, text.at);
}

static int changes_since(struct op *op, const struct service *good, const struct service *service,
                         struct changes *out, struct err *err)
{
    _cleanup_buf_ struct buf json = BUF_INIT((size_t)op_limits(op)->field);
    _cleanup_buf_ struct buf lines = BUF_INIT(NOTIFICATION_MESSAGE_MAX / 2);
    struct json_writer w = JSON_WRITER(&json);
    *out = (struct changes){STR("{}"), STR("")};
    if (entity_diff(&service_entity, good, service, SERVICE_UNCOUNTED, &w) == 0 || json.over)
        return 0;
    out->json = arena_copy(op->arena, buf_str(&json));
    struct json parsed;
    if (json_parse(out->json, 0, &parsed, err))
        return -1;
    struct json_iter it = json_each(parsed);
    struct str key;
    for (struct json sides; json_next(&it, &key, &sides);) {
        struct json before, after;
        if (!json_get(sides, "before", &before) || !json_get(sides, "after", &after))
            continue;
        struct str line = arena_printf(op->arena, "\n  " STR_FMT ": " STR_FMT " -> " STR_FMT,
                                       STR_ARG(key), STR_ARG(shown(before, op->arena)),
                                       STR_ARG(shown(after, op->arena)));
        buf_add_str(&lines, line);
    }
    out->lines = lines.over ? STR("") : arena_copy(op->arena, buf_str(&lines));
    return 0;
}

static struct str inputs_of(struct op *op, const struct rollout_failure *failure,
                            const struct service *service, struct str changes)
{
    _cleanup_buf_ struct buf text = BUF_INIT(SIZE_MAX);
    struct json_writer w = JSON_WRITER(&text);
    json_w_object(&w);
    json_w_pair_str(&w, "type", failure->type);
    json_w_pair_str(&w, "revision", service->version);
    json_w_pair_str(&w, "goodRevision", service->good_version);
    json_w_pair_str(&w, "replicaId", failure->replica_id);
    json_w_pair_int(&w, "failures", failure->failures);
    if (failure->exit_code != INT_NONE)
        json_w_pair_int(&w, "exitCode", failure->exit_code);
    json_w_pair_int(&w, "memoryLimitMib", failure->memory_mib);
    json_w_pair_raw(&w, "changes", changes);
    json_w_object_end(&w);
    return arena_copy(op->arena, buf_str(&text));
}

// The exact error first, then what is known around it.
static struct str message_of(struct op *op, const struct rollout_failure *failure,
                             const struct service *service, struct str changes)
{
    struct str since = changes.len == 0
                           ? STR("")
                           : arena_printf(op->arena,
                                          "\nChanged since revision " STR_FMT
                                          ", which was good:" STR_FMT,
                                          STR_ARG(service->good_version), STR_ARG(changes));
    struct str words = str_trim(failure->words);
    return arena_printf(op->arena,
                        STR_FMT "%sAgent " STR_FMT " of revision " STR_FMT " " STR_FMT
                                ", %lld times in a row (memory limit: %lld MiB)." STR_FMT,
                        STR_ARG(words), words.len ? "\n\n" : "", STR_ARG(failure->replica_id),
                        STR_ARG(service->version), STR_ARG(failure->how),
                        (long long)failure->failures, (long long)failure->memory_mib,
                        STR_ARG(since));
}

static int notify(struct op *op, const struct service *service, const char *type, const char *level,
                  struct str title, struct str message, struct str inputs, struct err *err)
{
    return notification_raise(op,
                              &(struct notification_note){.type = str_of(type),
                                                          .level = level,
                                                          .project_id = service->project_id,
                                                          .entity_type = "service",
                                                          .entity_id = service->id,
                                                          .entity_name = service->name,
                                                          .title = title,
                                                          .message = message,
                                                          .inputs = inputs},
                              err);
}

// ── back, or the end ─────────────────────────────────────────────────────────────────────────

int rollout_back(struct op *op, const struct rollout_failure *failure, struct err *err)
{
    struct service service, good, now;
    struct changes changes;
    int found = find_unmoved(op, failure->service_id, failure->agents, &service, err);
    if (found <= 0)
        return found;
    if (service_at(op, &service, service.good_version, &good, err) ||
        changes_since(op, &good, &service, &changes, err))
        return -1;
    struct str inputs = inputs_of(op, failure, &service, changes.json);
    struct str message = message_of(op, failure, &service, changes.lines);
    struct str halted = arena_printf(op->arena,
                                     "the agents of revision " STR_FMT " cannot start (" STR_FMT
                                     "): one " STR_FMT
                                     ", %lld times in a row; the old ones serve on",
                                     STR_ARG(service.version), STR_ARG(failure->type),
                                     STR_ARG(failure->how), (long long)failure->failures);
    struct str title = arena_printf(op->arena,
                                    STR_FMT " went back to revision " STR_FMT
                                            ": the agents of revision " STR_FMT
                                            " cannot start (" STR_FMT ")",
                                    STR_ARG(service.name), STR_ARG(service.good_version),
                                    STR_ARG(service.version), STR_ARG(failure->type));
    if (tell(op, &service, "RolloutHalted", true, halted, inputs, err) ||
        service_rollback(op, &service, service.good_version, &now, err))
        return -1;
    return notify(op, &now, NOTIFICATION_ROLLED_BACK, "warning", title, message, inputs, err);
}

int rollout_stop(struct op *op, const struct rollout_failure *failure, struct err *err)
{
    struct service service, good;
    struct changes changes = {STR("{}"), STR("")};
    int found = find_unmoved(op, failure->service_id, failure->agents, &service, err);
    if (found <= 0)
        return found;
    if (service.good_version.len > 0 && !str_eq(service.good_version, service.version) &&
        (service_at(op, &service, service.good_version, &good, err) ||
         changes_since(op, &good, &service, &changes, err)))
        return -1;
    struct str inputs = inputs_of(op, failure, &service, changes.json);
    struct str message = message_of(op, failure, &service, changes.lines);
    struct str title = arena_printf(
        op->arena, STR_FMT " was deactivated: its agents cannot start (" STR_FMT ")",
        STR_ARG(service.name), STR_ARG(failure->type));
    struct str sentence = arena_printf(
        op->arena,
        "deactivated: its agents cannot start (" STR_FMT "), one " STR_FMT
        ", %lld times in a row; queued executions wait until it is "
        "resumed",
        STR_ARG(failure->type), STR_ARG(failure->how), (long long)failure->failures);
    if (service_deactivate(op, &service, err) ||
        tell(op, &service, "Deactivated", true, sentence, inputs, err))
        return -1;
    return notify(op, &service, NOTIFICATION_CRASH_LOOP, "error", title, message, inputs, err);
}
