// SPDX-License-Identifier: Apache-2.0
// The rows of observed replicas: what /services/{id}/status shows. Two sources speak of a replica,
// the driver (its process) and the agent itself (what it is doing); the row is their sum.
#include "base/mem.h"
#include "control/control_internal.h"
#include "control/replica_events.h"

#define GREETING_MS 120000  // from an agent's start to its first words

struct replica_view {
    char *id, *service_id, *revision;
    char *state, *reason, *message, *phase;
    char *failure_type, *how;  // of its newest failure
    int64_t restarts, failures, exit_code, started_at;
    bool alive, spoke, failed;
    enum replica_silence silent;
    struct control *control;
    struct loop_timer *greeting;  // while it is alive and has not said a word
    bool observed;                // phase is what the driver said last
    enum replica_phase phase_seen;
};

static void text_set(char **slot, struct str text)
{
    mem_free(*slot);
    *slot = text.at ? mem_copy(text.at, text.len) : NULL;
}

static void view_free(struct replica_view *view)
{
    loop_timer_cancel(view->greeting);
    mem_free(view->id);
    mem_free(view->service_id);
    mem_free(view->revision);
    mem_free(view->state);
    mem_free(view->reason);
    mem_free(view->message);
    mem_free(view->phase);
    mem_free(view->failure_type);
    mem_free(view->how);
    mem_free(view);
}

static struct replica_view *view_of(struct control *control, struct str id, struct str service_id)
{
    struct replica_view *view = map_get(control->replicas, id);
    if (view)
        return view;
    view = mem_alloc(sizeof(*view));
    view->id = mem_copy(id.at, id.len);
    view->service_id = mem_copy(service_id.at, service_id.len);
    view->control = control;
    view->exit_code = INT_NONE;
    view->started_at = INT_NONE;
    map_put(control->replicas, str_of(view->id), view);
    return view;
}

void replica_views_free(struct control *control)
{
    size_t cursor = 0;
    struct str key;
    for (struct replica_view *view; (view = map_next(control->replicas, &cursor, &key));
         cursor = 0) {
        map_remove(control->replicas, key);
        view_free(view);
    }
}

// ── writing ──────────────────────────────────────────────────────────────────────────────────

struct row_write {
    struct control *control;
    struct arena *arena;
    struct replica row;
    bool gone;
    struct service_note note;  // reason NULL: nothing to tell; texts in the arena
};

// The event of the change, in the project of the replica's service.
static int write_note(struct op *op, struct row_write *write, struct str project_id,
                      struct err *err)
{
    if (!write->note.reason)
        return 0;
    write->note.service_id = write->row.service_id;
    write->note.project_id = project_id;
    return service_event_add(op, &write->note, err);
}

static int row_work(struct op *op, void *arg, struct err *err)
{
    struct row_write *write = arg;
    struct replica old;
    bool known = tx_get(op->tx, &replica_entity, write->row.id, &old, op->arena, err) == 0;
    if (!known && err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    if (write->gone && known && write_note(op, write, old.project_id, err))
        return -1;
    if (write->gone)
        return known ? tx_delete(op->tx, &replica_entity, write->row.id, err) : 0;
    struct service service;
    if (tx_get(op->tx, &service_entity, write->row.service_id, &service, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        *err = ERR_INIT;  // the service went first: nothing to show
        return known ? tx_delete(op->tx, &replica_entity, write->row.id, err) : 0;
    }
    write->row.project_id = service.project_id;
    write->row.updated_at = op->now;
    write->row.created_at = known ? old.created_at : op->now;
    if (write_note(op, write, service.project_id, err))
        return -1;
    return known ? tx_update(op->tx, &replica_entity, &write->row, err)
                 : tx_insert(op->tx, &replica_entity, &write->row, err);
}

static void row_done(void *arg, struct err *err)
{
    struct row_write *write = arg;
    if (err->kind != ERR_NONE) {
        log_warn(write->control->platform->log, "control", "replica " STR_FMT " not recorded: %s",
                 STR_ARG(write->row.id), err->message);
    } else {
        struct event event = {.kind = EVENT_REPLICA_CHANGED,
                              .id = write->row.id,
                              .service_id = write->row.service_id};
        events_publish(write->control->platform->events, &event);
    }
    arena_free(write->arena);
    mem_free(write);
}

static struct str copy_of(struct arena *arena, const char *text)
{
    return arena_copy(arena, str_of(text));
}

static struct row_write *write_new(struct control *control)
{
    struct row_write *write = mem_alloc(sizeof(*write));
    write->control = control;
    write->arena = arena_new();
    return write;
}

static void view_write(struct row_write *write, const struct replica_view *view, bool gone)
{
    struct control *control = write->control;
    write->gone = gone;
    if (write->note.reason)
        write->note.subject = copy_of(write->arena, view->id);
    struct replica *row = &write->row;
    entity_clear(&replica_entity, row);
    row->id = copy_of(write->arena, view->id);
    row->service_id = copy_of(write->arena, view->service_id);
    row->service_version = copy_of(write->arena, view->revision);
    row->state = copy_of(write->arena, view->state);
    row->reason = copy_of(write->arena, view->reason);
    row->message = copy_of(write->arena, view->message);
    row->phase = copy_of(write->arena, view->phase);
    row->restarts = view->restarts;
    row->exit_code = view->exit_code;
    row->started_at = view->started_at;
    op_run(control->platform, OP_WRITE_LAZY, row_work, row_done, write);
}

// ── what is said ─────────────────────────────────────────────────────────────────────────────

static bool text_is(const char *text, struct str other) { return str_eq(str_of(text), other); }

// A process that hangs before its first words would be waited for without end.
static void on_no_greeting(void *arg)
{
    struct replica_view *view = arg;
    struct control *control = view->control;
    struct err err = ERR_INIT;
    view->greeting = NULL;
    if (control->stopped)
        return;
    view->silent = SILENCE_START;
    if (driver_signal(control->driver, str_of(view->id), REPLICA_RESTART, &err))
        log_warn(control->platform->log, "control", "replica %s cannot be killed: %s", view->id,
                 err.message);
}

static void expect_greeting(struct replica_view *view)
{
    if (view->alive && !view->spoke && view->greeting)
        return;
    loop_timer_cancel(view->greeting);
    view->greeting = view->alive && !view->spoke
                         ? loop_timer_start(view->control->platform->loop, GREETING_MS, 0,
                                            on_no_greeting, view)
                         : NULL;
}

void replica_observed(struct control *control, const struct replica_status *status)
{
    struct replica_view *view = view_of(control, status->id, status->service_id);
    bool alive = status->phase == REPLICA_STARTING || status->phase == REPLICA_RUNNING ||
                 status->phase == REPLICA_STOPPING;
    metric_add(control->replicas_running, (int64_t)alive - (int64_t)view->alive);
    if (status->restarts > view->restarts)
        metric_add(control->restarts, status->restarts - view->restarts);
    struct row_write *write = write_new(control);
    struct replica_past past = {.seen = view->observed,
                                .phase = view->phase_seen,
                                .silent = view->silent,
                                .started = control->started};
    if (!replica_event_observed(&past, status, clock_wall(control->platform->clock), write->arena,
                                &write->note))
        write->note.reason = NULL;
    view->observed = true;
    view->phase_seen = status->phase;
    view->alive = alive;
    view->restarts = status->restarts;
    view->failures = status->failures;
    if (status->phase == REPLICA_WAITING)
        text_set(&view->how, replica_how_ended(status, view->silent, write->arena));
    view->exit_code = status->exit_code;
    view->started_at = status->started_at;
    text_set(&view->revision, status->revision);
    if (status->phase == REPLICA_EXITED) {
        view_write(write, view, true);
        map_remove(control->replicas, status->id);
        view_free(view);
        return;
    }
    if (!alive)
        view->spoke = false;
    if (!alive)
        view->silent = SILENCE_NONE;
    expect_greeting(view);
    if (status->phase == REPLICA_STOPPING)
        text_set(&view->state, STR("draining"));
    else if (!alive)
        text_set(&view->state, STR("exited"));
    else if (!view->spoke)
        text_set(&view->state, STR("starting"));
    // What the agent said of its failure is better than its last lines on stderr.
    if (!view->failed || (alive && view->spoke)) {
        text_set(&view->reason, status->reason);
        text_set(&view->message, status->message);
    } else if (!alive) {
        text_set(&view->reason, status->reason);
    }
    view_write(write, view, false);
}

void replica_silent(struct control *control, struct str replica_id)
{
    struct replica_view *view = map_get(control->replicas, replica_id);
    if (view)
        view->silent = SILENCE_LEASE;
}

enum replica_silence replica_silence_of(const struct control *control, struct str replica_id)
{
    const struct replica_view *view = map_get(control->replicas, replica_id);
    return view ? view->silent : SILENCE_NONE;
}

// ── what they say together ───────────────────────────────────────────────────────────────────

void replicas_each_kept(struct control *control,
                        void (*each)(void *arg, struct str replica_id, struct str service_id,
                                     int64_t age_ms),
                        void *arg)
{
    int64_t now = clock_wall(control->platform->clock);
    size_t cursor = 0;
    struct str id;
    for (const struct replica_view *it; (it = map_next(control->replicas, &cursor, &id));)
        if (it->alive && it->phase_seen != REPLICA_STOPPING)
            each(arg, str_of(it->id), str_of(it->service_id),
                 it->started_at == INT_NONE ? 0 : now - it->started_at);
}

static struct watch_failure failure_of(const struct replica_view *view)
{
    bool oom = text_is(view->reason, STR("OOMKilled"));
    return (struct watch_failure){.replica_id = str_of(view->id),
                                  .type = oom                  ? STR("OOMKilled")
                                          : view->failure_type ? str_of(view->failure_type)
                                                               : STR("internal"),
                                  .how = str_of(view->how),
                                  .words = str_of(view->message),
                                  .failures = view->failures,
                                  .exit_code = view->exit_code};
}

void replicas_look(void *arg, struct str service_id, struct str agents, struct lifecycle_view *view,
                   struct watch_failure *worst)
{
    struct control *control = arg;
    size_t cursor = 0;
    struct str id;
    for (const struct replica_view *it; (it = map_next(control->replicas, &cursor, &id));) {
        if (!text_is(it->service_id, service_id))
            continue;
        bool ready = it->alive && text_is(it->state, STR("ready"));
        if (!text_is(it->revision, agents)) {
            view->old += it->alive;
            view->old_ready += ready;
            continue;
        }
        view->ready += ready;
        if (!ready && it->failures > view->failures) {
            view->failures = it->failures;
            *worst = failure_of(it);
        }
    }
}

// ── rows of an earlier server ────────────────────────────────────────────────────────────────

struct settle {
    struct control *control;
    struct arena *arena;
    struct map *known;  // ids, in the arena
    int64_t before;     // rows written since are ours
};

static void settle_known(void *arg, const struct replica_status *status)
{
    struct settle *settle = arg;
    map_put(settle->known, arena_copy(settle->arena, status->id), settle);
}

static int settle_work(struct op *op, void *arg, struct err *err)
{
    struct settle *settle = arg;
    struct query query = {.filter = filter_compare(&replica_entity, "updatedAt", FILTER_LT,
                                                   settle->before, op->arena),
                          .limit = QUERY_LIMIT_MAX};
    for (size_t count = QUERY_LIMIT_MAX; count == QUERY_LIMIT_MAX;) {
        void *rows;
        if (tx_select(op->tx, &replica_entity, &query, op->arena, &rows, &count, err))
            return -1;
        for (size_t i = 0; i < count; i++) {
            const struct replica *row = (const struct replica *)rows + i;
            if (map_get(settle->known, row->id))
                query.offset++;
            else if (tx_delete(op->tx, &replica_entity, row->id, err))
                return -1;
        }
    }
    return 0;
}

static void settle_done(void *arg, struct err *err)
{
    struct settle *settle = arg;
    if (err->kind != ERR_NONE)
        log_warn(settle->control->platform->log, "control", "rows of ended replicas stay: %s",
                 err->message);
    map_free(settle->known);
    arena_free(settle->arena);
    mem_free(settle);
}

void replicas_settle(struct control *control)
{
    struct settle *settle = mem_alloc(sizeof(*settle));
    settle->control = control;
    settle->arena = arena_new();
    settle->known = map_new();
    settle->before = clock_wall(control->platform->clock);
    driver_observe(control->driver, STR_NONE, settle_known, settle);
    op_run(control->platform, OP_WRITE, settle_work, settle_done, settle);
}

// ── what the agent says ──────────────────────────────────────────────────────────────────────

static struct str failure_text(struct json failure, struct arena *arena)
{
    struct json message, stack;
    struct str m = json_get(failure, "message", &message) ? json_str(message, arena) : STR_NONE;
    struct str s = json_get(failure, "stack", &stack) ? json_str(stack, arena) : STR_NONE;
    return s.len > 0 ? s : m;
}

bool replica_spoke(struct control *control, struct str replica_id, struct str service_id,
                   const char *state, struct str phase, struct json failure)
{
    struct replica_view *view = view_of(control, replica_id, service_id);
    bool ready = str_is(STR("ready"), state);
    bool news = !text_is(view->state, str_of(state)) || !text_is(view->phase, phase) ||
                failure.type == JSON_OBJECT;
    view->spoke = true;
    expect_greeting(view);
    if (!news)
        return false;
    struct row_write *write = write_new(control);
    if (ready && !text_is(view->state, STR("ready"))) {
        int64_t now = clock_wall(control->platform->clock);
        int64_t took = view->started_at == INT_NONE ? INT_NONE : now - view->started_at;
        replica_event_ready(replica_id, str_of(view->revision), took, write->arena, &write->note);
    }
    text_set(&view->state, str_of(state));
    text_set(&view->phase, phase.len > 0 ? phase : STR_NONE);  // of a ready one: what is special
    if (failure.type == JSON_OBJECT) {
        struct json type;
        struct str text = failure_text(failure, write->arena);
        struct str kind = json_get(failure, "type", &type) ? json_str(type, write->arena)
                                                           : STR_NONE;
        view->failed = true;
        text_set(&view->message, text);
        text_set(&view->failure_type, kind);
        replica_event_failed(replica_id, kind, text, write->arena, &write->note);
    } else if (ready) {
        view->failed = false;
        text_set(&view->failure_type, STR_NONE);
        text_set(&view->reason, STR_NONE);
        text_set(&view->message, STR_NONE);
    }
    view_write(write, view, false);
    return true;
}
