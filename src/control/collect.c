// SPDX-License-Identifier: Apache-2.0
// Housekeeping, in small steps: code items that no package revision refers to, blobs that no item
// refers to, events and notifications past their age. Everything younger than the grace is
// left alone, so that an upload under way never loses its bytes.
#include "base/mem.h"
#include "control/control_internal.h"
#include "operation/package.h"

#define STEP_ROWS 500
#define STEP_MS   60000  // by which a clock is not set without a step

struct collection {
    struct control *control;
    struct arena *arena;
    struct str *blobs;  // candidates
    bool *blob_used;
    size_t blob_count, blob_room;
    int64_t before;
    int64_t items, events, notifications, removed;
};

// ── code items ───────────────────────────────────────────────────────────────────────────────

// Whether the item lies in a project's Binaries and holds no revision's code.
static int is_unused(struct op *op, const struct item *item, bool *out, struct err *err)
{
    struct dataset dataset;
    struct revision revision;
    bool used;
    *out = false;
    if (tx_get(op->tx, &dataset_entity, item->dataset_id, &dataset, op->arena, err) ||
        !dataset.system) {
        *err = ERR_INIT;
        return 0;
    }
    if (package_code_of(op, item->id, &revision, &used, err))
        return -1;
    *out = !used;
    return 0;
}

static int drop_unused_items(struct op *op, struct collection *c, struct err *err)
{
    struct json codebases;
    struct filter *filter;
    if (json_parse(STR("{\"filename\":\"/codebases/**\"}"), 0, &codebases, err) ||
        filter_parse(codebases, &item_entity, NULL, op->arena, &filter, err))
        return -1;
    filter = filter_and(filter,
                        filter_compare(&item_entity, "createdAt", FILTER_LT, c->before, op->arena),
                        op->arena);
    struct query query = {.filter = filter, .limit = STEP_ROWS};
    for (size_t count = STEP_ROWS; count == STEP_ROWS;) {
        void *rows;
        if (tx_select(op->tx, &item_entity, &query, op->arena, &rows, &count, err))
            return -1;
        for (size_t i = 0; i < count; i++) {
            const struct item *item = (const struct item *)rows + i;
            bool unused;
            if (is_unused(op, item, &unused, err))
                return -1;
            if (!unused) {
                query.offset++;
                continue;
            }
            if (tx_delete(op->tx, &item_entity, item->id, err))
                return -1;
            c->items++;
        }
    }
    return 0;
}

// At most so many at a time: what is left goes at the next housekeeping.
// Past their age, and past their number.
static int drop_events(struct op *op, struct collection *c, struct err *err)
{
    const struct settings *settings = op->platform->settings;
    int64_t oldest = op->now - settings->event_days * 24 * 3600 * 1000;
    struct query query = {.limit = 1, .offset = settings->event_max, .sort_count = 1};
    void *rows;
    size_t count;
    query.sort[0] = (struct sort_key){.field = entity_field(&service_event_entity, STR("lastAt")),
                                      .path = STR(""),
                                      .descending = true};
    if (tx_select(op->tx, &service_event_entity, &query, op->arena, &rows, &count, err))
        return -1;
    if (count > 0 && ((const struct service_event *)rows)->last_at >= oldest)
        oldest = ((const struct service_event *)rows)->last_at + 1;
    struct filter *old = filter_compare(&service_event_entity, "lastAt", FILTER_LT, oldest,
                                        op->arena);
    return tx_delete_where(op->tx, &service_event_entity, old, STEP_ROWS * 10, &c->events, err);
}

static int drop_notifications(struct op *op, struct collection *c, struct err *err)
{
    int64_t oldest = op->now - op->platform->settings->notification_days * 24 * 3600 * 1000;
    struct filter *old = filter_compare(&notification_entity, "lastAt", FILTER_LT, oldest,
                                        op->arena);
    struct filter *gone = filter_and(
        filter_compare(&notification_delivery_entity, "createdAt", FILTER_LT, oldest, op->arena),
        filter_not(
            filter_eq_text(&notification_delivery_entity, "state", STR("waiting"), op->arena),
            op->arena),
        op->arena);
    int64_t deliveries;
    return tx_delete_where(op->tx, &notification_delivery_entity, gone, STEP_ROWS * 10, &deliveries,
                           err) ||
                   tx_delete_where(op->tx, &notification_entity, old, STEP_ROWS * 10,
                                   &c->notifications, err)
               ? -1
               : 0;
}

static int collect_rows(struct op *op, void *arg, struct err *err)
{
    struct collection *c = arg;
    c->items = c->events = c->notifications = 0;
    return drop_unused_items(op, c, err) || drop_events(op, c, err) ||
                   drop_notifications(op, c, err)
               ? -1
               : 0;
}

// ── blobs ────────────────────────────────────────────────────────────────────────────────────

static void note_blob(void *arg, struct str name, int64_t size)
{
    struct collection *c = arg;
    (void)size;
    if (c->blob_count == c->blob_room) {
        c->blob_room = c->blob_room ? c->blob_room * 2 : 256;
        c->blobs = mem_resize(c->blobs, c->blob_room * sizeof(*c->blobs));
    }
    c->blobs[c->blob_count++] = arena_copy(c->arena, name);
}

static void list_blobs(void *arg)  // on the pool
{
    struct collection *c = arg;
    struct err err = ERR_INIT;
    if (blob_each(c->control->platform->blobs, c->before, note_blob, c, &err))
        log_warn(c->control->platform->log, "collect", "%s", err.message);
}

static int check_blobs(struct op *op, void *arg, struct err *err)
{
    struct collection *c = arg;
    c->blob_used = arena_array_of(c->arena, bool, c->blob_count + 1);
    for (size_t i = 0; i < c->blob_count; i++)
        if (tx_blob_used(op->tx, c->blobs[i], &c->blob_used[i], err))
            return -1;
    return 0;
}

static void remove_blobs(void *arg)  // on the pool
{
    struct collection *c = arg;
    struct err busy = ERR_INIT;
    _cleanup_fd_ int hold = blobs_hold(c->control->platform->blobs, false, &busy);
    if (hold < 0) {  // at the next housekeeping
        log_debug(c->control->platform->log, "collect", "no blobs are removed: %s", busy.message);
        return;
    }
    for (size_t i = 0; i < c->blob_count; i++) {
        struct err err = ERR_INIT;
        if (!c->blob_used[i] &&
            blob_remove(c->control->platform->blobs, c->blobs[i], c->before, &err) == 0)
            c->removed++;
    }
}

// ── the road through the steps ───────────────────────────────────────────────────────────────

static void collection_end(void *arg)
{
    struct collection *c = arg;
    if (c->items + c->events + c->notifications + c->removed > 0)
        log_info(c->control->platform->log, "collect",
                 "removed %lld unused code items, %lld blobs, %lld old events, %lld old "
                 "notifications",
                 (long long)c->items, (long long)c->removed, (long long)c->events,
                 (long long)c->notifications);
    c->control->collecting = false;
    mem_free(c->blobs);
    arena_free(c->arena);
    mem_free(c);
}

static void blobs_checked(void *arg, struct err *err)
{
    struct collection *c = arg;
    if (err->kind != ERR_NONE || c->control->stopped)
        collection_end(c);
    else
        loop_work(c->control->platform->loop, remove_blobs, collection_end, c);
}

static void blobs_listed(void *arg)
{
    struct collection *c = arg;
    op_run(c->control->platform, OP_READ, check_blobs, blobs_checked, c);
}

static void rows_collected(void *arg, struct err *err)
{
    struct collection *c = arg;
    if (err->kind != ERR_NONE)
        log_warn(c->control->platform->log, "collect", "%s", err->message);
    if (err->kind != ERR_NONE || c->control->stopped)
        collection_end(c);
    else
        loop_work(c->control->platform->loop, list_blobs, blobs_listed, c);
}

// When the wall clock was set forward, what is minutes old looks like a day: nothing is collected
// until everything from before is past the grace by the clock that does not step.
static bool ages_doubtful(struct control *control)
{
    const struct platform *platform = control->platform;
    int64_t now = clock_mono(platform->clock);
    int64_t offset = clock_wall(platform->clock) - now;
    if (offset > control->clock_offset + STEP_MS) {
        control->collect_after = now + platform->settings->collect_grace_ms;
        log_warn(platform->log, "collect",
                 "the clock was set forward by %lld s: nothing is collected for %lld s",
                 (long long)((offset - control->clock_offset) / 1000),
                 (long long)(platform->settings->collect_grace_ms / 1000));
    }
    control->clock_offset = offset;
    return now < control->collect_after;
}

static void collect(void *arg)
{
    struct control *control = arg;
    deletions_go_on(control);
    if (ages_doubtful(control))
        return;
    retention_go(control);
    if (control->collecting)
        return;
    control->collecting = true;
    struct collection *c = mem_alloc(sizeof(*c));
    c->control = control;
    c->arena = arena_new();
    c->before = clock_wall(control->platform->clock) -
                control->platform->settings->collect_grace_ms;
    op_run(control->platform, OP_WRITE, collect_rows, rows_collected, c);
}

void collect_start(struct control *control)
{
    const struct clock *clock = control->platform->clock;
    int64_t every = control->platform->settings->collect_ms;
    control->clock_offset = clock_wall(clock) - clock_mono(clock);
    if (every > 0)
        control->collect = loop_timer_start(control->platform->loop, every, every, collect,
                                            control);
}
