// SPDX-License-Identifier: Apache-2.0
#include "operation/notification.h"

#include "model/describe.h"
#include "model/take.h"
#include "operation/delivery.h"

#define TOGETHER_MS  (24 * 3600 * 1000LL)
#define TITLE_MAX    300
#define READERS_MOST 1000  // of one notification: the first who read it are forgotten
#define MARK_ROWS    1000
#define RESOLVE_ROWS 100
#define HOUR_MS      (3600 * 1000)
#define HOUR_MOST    20  // new ones of a service that its functions raise

static const struct entity *const entity = &notification_entity;

// The newest first.
static int newest(struct op *op, struct filter *filter, int64_t limit, struct notification **rows,
                  size_t *count, struct err *err)
{
    struct query query = {.filter = filter, .limit = limit, .sort_count = 1};
    void *found;
    query.sort[0] = (struct sort_key){
        .field = entity_field(entity, STR("lastAt")), .path = STR(""), .descending = true};
    if (tx_select(op->tx, entity, &query, op->arena, &found, count, err))
        return -1;
    *rows = found;
    return 0;
}

static struct filter *about(struct op *op, struct str type, struct str entity_id)
{
    return filter_and(filter_eq_text(entity, "entityId", entity_id, op->arena),
                      filter_eq_text(entity, "type", type, op->arena), op->arena);
}

// Text for people: valid, and without what is too much at its beginning.
static struct str tidy(struct op *op, struct str text)
{
    bool cut = text.len > NOTIFICATION_MESSAGE_MAX;
    if (cut) {
        text.at += text.len - NOTIFICATION_MESSAGE_MAX;
        text.len = NOTIFICATION_MESSAGE_MAX;
        while (text.len > 0 && ((unsigned char)text.at[0] & 0xC0) == 0x80) {
            text.at++;
            text.len--;
        }
    }
    char *out = arena_alloc(op->arena, text.len * 3 + 1);
    struct str clean = {out, str_utf8_clean(text, out)};
    return cut ? arena_printf(op->arena, "[…]" STR_FMT, STR_ARG(clean)) : clean;
}

// The one that a repeat counts up; *found false: it is a new incident.
static int find_same(struct op *op, struct str type, struct str entity_id, struct notification *out,
                     bool *found, struct err *err)
{
    struct notification *rows;
    size_t count;
    if (newest(op, about(op, type, entity_id), 1, &rows, &count, err))
        return -1;
    *found = count > 0 && rows->resolved_at == INT_NONE && !rows->readers.at &&
             rows->last_at > op->now - TOGETHER_MS;
    if (*found)
        *out = *rows;
    return 0;
}

int notification_raise(struct op *op, const struct notification_note *note, struct err *err)
{
    struct notification row;
    bool again;
    if (find_same(op, note->type, note->entity_id, &row, &again, err))
        return -1;
    if (!again) {
        entity_clear(entity, &row);
        row.id = op_id(op);
        row.project_id = note->project_id;
        row.type = note->type;
        row.entity_type = str_of(note->entity_type);
        row.entity_id = note->entity_id;
        row.first_at = op->now;
        row.count = 0;
    }
    row.level = str_of(note->level);
    row.entity_name = note->entity_name;
    row.title = describe_clip(tidy(op, note->title), TITLE_MAX);
    row.message = tidy(op, note->message);
    row.inputs = note->inputs;
    row.count++;
    row.last_at = op->now;
    if (again)
        return tx_update(op->tx, entity, &row, err);
    return tx_insert(op->tx, entity, &row, err) || delivery_enqueue(op, &row, err) ? -1 : 0;
}

int notification_resolve(struct op *op, const char *type, struct str entity_id, struct err *err)
{
    struct filter *open = filter_and(about(op, str_of(type), entity_id),
                                     filter_eq_text(entity, "resolvedAt", STR_NONE, op->arena),
                                     op->arena);
    struct notification *rows;
    size_t count = RESOLVE_ROWS;
    while (count == RESOLVE_ROWS) {
        if (newest(op, open, RESOLVE_ROWS, &rows, &count, err))
            return -1;
        for (size_t i = 0; i < count; i++) {
            rows[i].resolved_at = op->now;
            if (tx_update(op->tx, entity, &rows[i], err))
                return -1;
        }
    }
    return 0;
}

// ── what agents and functions tell ───────────────────────────────────────────────────────────

// A function that fails in ever new words must not fill the centre, nor a mailbox.
static int check_rate(struct op *op, const struct service *service, struct str type,
                      struct err *err)
{
    struct notification same;
    int64_t told;
    bool found;
    struct filter *recent = filter_and(
        filter_eq_text(entity, "entityId", service->id, op->arena),
        filter_compare(entity, "firstAt", FILTER_GT, op->now - HOUR_MS, op->arena), op->arena);
    if (find_same(op, type, service->id, &same, &found, err))
        return -1;
    if (found)
        return 0;
    if (tx_count(op->tx, entity, recent, &told, err))
        return -1;
    if (told < HOUR_MOST)
        return 0;
    return err_set(err, ERR_BUSY,
                   "This service has raised %d notifications within an hour: no new ones are taken "
                   "until that is over; those that repeat a notificationName are counted",
                   HOUR_MOST);
}

// What else was told, as it came.
static struct str report_inputs(struct op *op, struct json body)
{
    static const char *const keys[] = {"action", "agentInfo", "notificationPath", "support",
                                       "docs"};
    _cleanup_buf_ struct buf buf = BUF_INIT((size_t)op_limits(op)->field);
    struct json_writer out = JSON_WRITER(&buf);
    struct json value;
    json_w_object(&out);
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
        if (json_get(body, keys[i], &value))
            json_w_pair_raw(&out, keys[i], value.text);
    json_w_object_end(&out);
    return buf.over ? STR_NONE : arena_copy(op->arena, buf_str(&buf));
}

// What the server itself raises is nobody else's to say: a real one would count up a false one.
static int check_type(struct str type, struct err *err)
{
    static const char *const own[] = {NOTIFICATION_CRASH_LOOP, NOTIFICATION_IMAGE_PULL,
                                      NOTIFICATION_ROLLOUT_HALTED, NOTIFICATION_ROLLED_BACK};
    for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++)
        if (str_is(type, own[i]))
            return err_field(err, "notificationName",
                             "notificationName: only the server itself raises %s; give it another "
                             "name",
                             own[i]);
    return 0;
}

int notification_report(struct op *op, const struct service *service, struct json body,
                        struct err *err)
{
    struct str action, message, name;
    if (take_name(body, "action", &action, op->arena, err) ||
        take_text(body, "message", &message, op->arena, err) ||
        take_name(body, "notificationName", &name, op->arena, err) ||
        limits_bytes(op_limits(op), LIMIT_NAME, "notificationName", name.len, err))
        return -1;
    if (!action.at)
        return err_field(err, "action", "action is missing: \"created\"");
    if (!name.at)
        name = STR("AgentNotification");
    if (check_type(name, err) || check_rate(op, service, name, err))
        return -1;
    struct notification_note note = {
        .type = name,
        .level = "warning",
        .project_id = service->project_id,
        .entity_type = service_entity.name,
        .entity_id = service->id,
        .entity_name = service->name,
        .title = arena_printf(op->arena, STR_FMT " says: " STR_FMT, STR_ARG(service->name),
                              STR_ARG(name)),
        .message = message.at ? message : STR(""),
        .inputs = report_inputs(op, body),
    };
    return notification_raise(op, &note, err);
}

// ── reading ──────────────────────────────────────────────────────────────────────────────────

struct filter *notification_unread(struct op *op)
{
    return filter_not(filter_eq_text(entity, "readers", op->caller.user_id, op->arena), op->arena);
}

void notification_complete(struct op *op, struct notification *row)
{
    struct json_iter it = json_each(json_of(row->readers));
    struct str key;
    struct json one;
    row->read = false;
    while (json_next(&it, &key, &one))
        row->read = row->read || str_eq(json_str(one, op->arena), op->caller.user_id);
}

// The readers without the caller, who comes last when `read`.
static void set_readers(struct op *op, struct notification *row, bool read)
{
    struct json list = json_of(row->readers), one;
    struct json_iter it = json_each(list);
    struct str key;
    size_t count = json_count(list), kept = 0;
    _cleanup_buf_ struct buf buf = BUF_INIT(1 << 20);
    struct json_writer out = JSON_WRITER(&buf);
    json_w_array(&out);
    for (size_t i = 0; json_next(&it, &key, &one); i++) {
        if (i + READERS_MOST <= count || str_eq(json_str(one, op->arena), op->caller.user_id))
            continue;
        json_w_raw(&out, one.text);
        kept++;
    }
    if (read)
        json_w_str(&out, op->caller.user_id);
    json_w_array_end(&out);
    row->readers = kept + read > 0 ? arena_copy(op->arena, buf_str(&buf)) : STR_NONE;
    row->read = read;
}

int notification_mark(struct op *op, struct notification *row, bool read, struct err *err)
{
    notification_complete(op, row);
    if (row->read == read)
        return 0;
    set_readers(op, row, read);
    return tx_update(op->tx, entity, row, err);
}

int notification_mark_all(struct op *op, struct filter *filter, int64_t *marked, bool *more,
                          struct err *err)
{
    struct notification *rows;
    size_t count;
    *marked = 0;
    if (newest(op, filter_and(filter, notification_unread(op), op->arena), MARK_ROWS, &rows, &count,
               err))
        return -1;
    for (size_t i = 0; i < count; i++)
        if (notification_mark(op, &rows[i], true, err))
            return -1;
    *marked = (int64_t)count;
    *more = count == MARK_ROWS;
    return 0;
}
