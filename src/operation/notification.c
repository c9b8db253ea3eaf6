// SPDX-License-Identifier: Apache-2.0
#include "operation/notification.h"

#include "model/describe.h"

#define TOGETHER_MS  (24 * 3600 * 1000LL)
#define TITLE_MAX    300
#define READERS_MOST 1000  // of one notification: the first who read it are forgotten
#define MARK_ROWS    1000
#define RESOLVE_ROWS 100

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

static bool counts_up(const struct op *op, const struct notification *row)
{
    return row->resolved_at == INT_NONE && !row->readers.at && row->last_at > op->now - TOGETHER_MS;
}

int notification_raise(struct op *op, const struct notification_note *note, struct err *err)
{
    struct notification *rows, row;
    size_t count;
    if (newest(op, about(op, note->type, note->entity_id), 1, &rows, &count, err))
        return -1;
    bool again = count > 0 && counts_up(op, &rows[0]);
    if (again) {
        row = rows[0];
    } else {
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
    return again ? tx_update(op->tx, entity, &row, err) : tx_insert(op->tx, entity, &row, err);
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
