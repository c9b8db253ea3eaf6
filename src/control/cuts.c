// SPDX-License-Identifier: Apache-2.0
// Events of executions that lost their agent. Many end at once with one replica, so they are
// counted by service for a moment and told together. Agents whose leases ran out are told here too.
#include "base/mem.h"
#include "control/control_internal.h"
#include "operation/service_event.h"

#define GATHER_MS   500
#define SAMPLE_MOST 5

struct cut {                                 // of one service, since the last telling
    char *service_id, *project_id, *reason;  // reason: of the newest
    int64_t requeued, failed;
    char sample[SAMPLE_MOST][ID_LEN + 1];  // execution ids
    size_t sample_count;
};

static void cut_free(struct cut *cut)
{
    mem_free(cut->service_id);
    mem_free(cut->project_id);
    mem_free(cut->reason);
    mem_free(cut);
}

static struct str inputs_of(const struct cut *cut, struct arena *arena)
{
    _cleanup_buf_ struct buf text = BUF_INIT(4096);
    struct json_writer w = JSON_WRITER(&text);
    json_w_object(&w);
    json_w_pair_int(&w, "requeued", cut->requeued);
    json_w_pair_int(&w, "failed", cut->failed);
    json_w_key(&w, "executions");
    json_w_array(&w);
    for (size_t i = 0; i < cut->sample_count; i++)
        json_w_cstr(&w, cut->sample[i]);
    json_w_array_end(&w);
    json_w_object_end(&w);
    return arena_copy(arena, buf_str(&text));
}

static int add_cut(struct op *op, const struct cut *cut, bool failed, struct err *err)
{
    int64_t times = failed ? cut->failed : cut->requeued;
    if (times == 0)
        return 0;
    struct str message = arena_printf(op->arena, "%lld execution%s %s: %s", (long long)times,
                                      times == 1 ? "" : "s", failed ? "failed" : "queued again",
                                      cut->reason);
    struct service_note note = {.service_id = str_of(cut->service_id),
                                .project_id = str_of(cut->project_id),
                                .kind = "execution",
                                .warning = true,
                                .reason = failed ? "ExecutionsFailed" : "ExecutionsRequeued",
                                .message = message,
                                .inputs = inputs_of(cut, op->arena),
                                .times = times};
    return service_event_add(op, &note, err);
}

struct telling {
    struct control *control;
    struct map *cuts;
};

static int tell_work(struct op *op, void *arg, struct err *err)
{
    struct telling *telling = arg;
    size_t cursor = 0;
    struct str key;
    for (struct cut *cut; (cut = map_next(telling->cuts, &cursor, &key));)
        if (add_cut(op, cut, false, err) || add_cut(op, cut, true, err))
            return -1;
    return 0;
}

static void cuts_drop(struct map *cuts)
{
    size_t cursor = 0;
    struct str key;
    for (struct cut *cut; (cut = map_next(cuts, &cursor, &key)); cursor = 0) {
        map_remove(cuts, key);
        cut_free(cut);
    }
    map_free(cuts);
}

static void tell_done(void *arg, struct err *err)
{
    struct telling *telling = arg;
    if (err->kind != ERR_NONE)
        log_warn(telling->control->platform->log, "control", "an event is not recorded: %s",
                 err->message);
    cuts_drop(telling->cuts);
    mem_free(telling);
}

static void on_gathered(void *arg)
{
    struct control *control = arg;
    struct telling *telling = mem_alloc(sizeof(*telling));
    *telling = (struct telling){.control = control, .cuts = control->cuts};
    control->cuts = NULL;
    control->cuts_timer = NULL;
    op_run(control->platform, OP_WRITE_LAZY, tell_work, tell_done, telling);
}

void cuts_add(struct control *control, const struct event *event)
{
    if (control->stopped)
        return;
    if (!control->cuts) {
        control->cuts = map_new();
        control->cuts_timer = loop_timer_start(control->platform->loop, GATHER_MS, 0, on_gathered,
                                               control);
    }
    struct cut *cut = map_get(control->cuts, event->service_id);
    if (!cut) {
        cut = mem_alloc(sizeof(*cut));
        cut->service_id = mem_copy(event->service_id.at, event->service_id.len);
        cut->project_id = mem_copy(event->project_id.at, event->project_id.len);
        map_put(control->cuts, str_of(cut->service_id), cut);
    }
    mem_free(cut->reason);
    cut->reason = mem_copy(event->body.at, event->body.len);
    *(event->force ? &cut->failed : &cut->requeued) += 1;
    if (cut->sample_count < SAMPLE_MOST && event->id.len <= ID_LEN)
        memcpy(cut->sample[cut->sample_count++], event->id.at, event->id.len);
}

void cuts_stop(struct control *control)
{
    loop_timer_cancel(control->cuts_timer);
    control->cuts_timer = NULL;
    if (control->cuts)
        on_gathered(control);
}

// ── silent agents ────────────────────────────────────────────────────────────────────────────

struct silence {
    struct control *control;
    char *replica_id;
};

static int silence_work(struct op *op, void *arg, struct err *err)
{
    struct silence *silence = arg;
    struct replica replica;
    if (tx_get(op->tx, &replica_entity, str_of(silence->replica_id), &replica, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        *err = ERR_INIT;
        return 0;
    }
    int64_t lease_ms = op->platform->settings->lease_ms;
    struct service_note note = {
        .service_id = replica.service_id,
        .project_id = replica.project_id,
        .kind = "replica",
        .warning = true,
        .reason = "LeaseExpired",
        .subject = replica.id,
        .message = arena_printf(op->arena,
                                "the agent said nothing for %.0f s (--lease): its executions are "
                                "taken from it, and it is killed",
                                (double)lease_ms / 1000),
        .inputs = arena_printf(op->arena, "{\"leaseMs\":%lld}", (long long)lease_ms)};
    return service_event_add(op, &note, err);
}

static void silence_done(void *arg, struct err *err)
{
    struct silence *silence = arg;
    if (err->kind != ERR_NONE)
        log_warn(silence->control->platform->log, "control", "an event is not recorded: %s",
                 err->message);
    mem_free(silence->replica_id);
    mem_free(silence);
}

void silence_add(struct control *control, struct str replica_id)
{
    struct silence *silence = mem_alloc(sizeof(*silence));
    silence->control = control;
    silence->replica_id = mem_copy(replica_id.at, replica_id.len);
    op_run(control->platform, OP_WRITE_LAZY, silence_work, silence_done, silence);
}
