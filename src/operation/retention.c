// SPDX-License-Identifier: Apache-2.0
#include "operation/retention.h"

#include <stdio.h>

#include "base/id.h"
#include "model/status.h"

#define WALK_ROWS 1000  // looked at in one read

// Those that may go: final, and (before given) not changed since.
static struct filter *may_go(struct op *op, int64_t before)
{
    static const enum status all[] = {STATUS_CREATED,  STATUS_IN_PROGRESS, STATUS_SUCCESS,
                                      STATUS_FAILED,   STATUS_TERMINATED,  STATUS_ABORTED,
                                      STATUS_CANCELED, STATUS_RERUN,       STATUS_SYSTEM_FAILURE};
    struct str final[sizeof(all) / sizeof(all[0])];
    size_t count = 0;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        if (status_final(all[i]))
            final[count++] = str_of(status_word(all[i]));
    struct filter *filter = filter_in_text(&execution_entity, "status", final, count, op->arena);
    if (before == INT64_MAX)
        return filter;
    return filter_and(filter,
                      filter_compare(&execution_entity, "updatedAt", FILTER_LT, before, op->arena),
                      op->arena);
}

// Ids from `after` on, up to `last` (absent: any); ids grow with time.
static int id_range(struct op *op, struct str after, struct str last, bool with_last,
                    struct filter **out, struct err *err)
{
    struct buf text = BUF_INIT(1024);
    struct json_writer w = JSON_WRITER(&text);
    struct json json;
    json_w_object(&w);
    json_w_key(&w, "id");
    json_w_object(&w);
    json_w_pair_str(&w, "$gt", after.at ? after : STR(""));
    if (last.at)
        json_w_pair_str(&w, with_last ? "$lte" : "$lt", last);
    json_w_object_end(&w);
    json_w_object_end(&w);
    struct str copy = arena_copy(op->arena, buf_str(&text));
    buf_deinit(&text);
    return json_parse(copy, 0, &json, err) ||
                   filter_parse(json, &execution_entity, &limits_default, op->arena, out, err)
               ? -1
               : 0;
}

struct ids {
    struct arena *arena;
    struct str *at;
    size_t count, cap;
};

static void add_id(void *arg, struct str id, int64_t count)
{
    struct ids *ids = arg;
    (void)count;
    if (ids->count == ids->cap) {
        ids->cap = ids->cap ? ids->cap * 2 : 64;
        struct str *more = arena_array_of(ids->arena, struct str, ids->cap);
        if (ids->count > 0)
            memcpy(more, ids->at, ids->count * sizeof(*more));
        ids->at = more;
    }
    ids->at[ids->count++] = arena_copy(ids->arena, id);
}

// Grouped by id, rows are read without what is long in them.
static int ids_of(struct op *op, const struct filter *filter, struct ids *ids, struct err *err)
{
    return tx_count_by(op->tx, &execution_entity, filter, "id", add_id, ids, err);
}

static int row_at(struct op *op, struct filter *filter, const char *sort, bool descending,
                  int64_t offset, struct execution *row, bool *found, struct err *err)
{
    struct query query = {.filter = filter, .limit = 1, .offset = offset, .sort_count = 1};
    void *rows;
    size_t count;
    query.sort[0] = (struct sort_key){.field = entity_field(&execution_entity, str_of(sort)),
                                      .path = STR(""),
                                      .descending = descending};
    if (tx_select(op->tx, &execution_entity, &query, op->arena, &rows, &count, err))
        return -1;
    *found = count > 0;
    if (count > 0)
        *row = *(const struct execution *)rows;
    return 0;
}

static int find_old(struct op *op, const struct retention_search *search, struct ids *ids,
                    struct retention_found *found, struct err *err)
{
    struct filter *range;
    struct execution last;
    char end[ID_LEN + 1];
    snprintf(end, sizeof(end), "%012llx000000000000", (unsigned long long)search->before);
    if (id_range(op, search->after, str_of(end), false, &range, err) ||
        row_at(op, range, "id", false, WALK_ROWS - 1, &last, &found->more, err))
        return -1;
    if (found->more) {
        found->after = arena_copy(ids->arena, last.id);
        if (id_range(op, search->after, last.id, true, &range, err))
            return -1;
    }
    return ids_of(op, filter_and(range, may_go(op, search->before), op->arena), ids, err);
}

static int find_many(struct op *op, const struct retention_search *search, struct ids *ids,
                     struct retention_found *found, struct err *err)
{
    struct filter *some = filter_and(
        filter_eq_text(&execution_entity, "serviceId", search->service_id, op->arena),
        filter_and(
            filter_compare(&execution_entity, "createdAt", FILTER_GTE, search->created_after,
                           op->arena),
            filter_compare(&execution_entity, "createdAt", FILTER_LT, search->before, op->arena),
            op->arena),
        op->arena);
    struct execution last;
    if (row_at(op, some, "createdAt", false, WALK_ROWS, &last, &found->more, err))
        return -1;
    if (found->more) {  // all of one moment go together
        found->created_after = last.created_at > search->created_after ? last.created_at
                                                                       : last.created_at + 1;
        some = filter_and(some,
                          filter_compare(&execution_entity, "createdAt", FILTER_LT,
                                         found->created_after, op->arena),
                          op->arena);
    }
    return ids_of(op, filter_and(some, may_go(op, INT64_MAX), op->arena), ids, err);
}

int retention_find(struct op *op, const struct retention_search *search, struct arena *arena,
                   struct retention_found *found, struct err *err)
{
    struct ids ids = {.arena = arena};
    *found = (struct retention_found){0};
    if (search->service_id.at ? find_many(op, search, &ids, found, err)
                              : find_old(op, search, &ids, found, err))
        return -1;
    found->ids = ids.at;
    found->count = ids.count;
    return 0;
}

int retention_boundary(struct op *op, struct str service_id, int64_t keep, int64_t *created_at,
                       struct err *err)
{
    struct execution row;
    bool found;
    struct filter *final = filter_and(
        filter_eq_text(&execution_entity, "serviceId", service_id, op->arena),
        may_go(op, INT64_MAX), op->arena);
    if (row_at(op, final, "createdAt", true, keep - 1, &row, &found, err))
        return -1;
    *created_at = found ? row.created_at : INT64_MIN;
    return 0;
}

int retention_delete(struct op *op, const struct str *ids, size_t count, int64_t before,
                     int64_t *deleted, struct err *err)
{
    struct ids still = {.arena = op->arena};
    int64_t statuses;
    *deleted = 0;
    struct filter *these = filter_and(
        filter_in_text(&execution_entity, "id", ids, count, op->arena), may_go(op, before),
        op->arena);
    if (count == 0)
        return 0;
    if (ids_of(op, these, &still, err))
        return -1;
    if (still.count == 0)
        return 0;
    struct filter *log = filter_in_text(&execution_status_entity, "execution_id", still.at,
                                        still.count, op->arena);
    these = filter_in_text(&execution_entity, "id", still.at, still.count, op->arena);
    if (tx_delete_where(op->tx, &execution_status_entity, log, 0, &statuses, err))
        return -1;
    return tx_delete_where(op->tx, &execution_entity, these, 0, deleted, err);
}

int retention_delete_audit(struct op *op, int64_t before, int64_t limit, int64_t *deleted,
                           struct err *err)
{
    struct filter *old = filter_compare(&audit_entity, "at", FILTER_LT, before, op->arena);
    return tx_delete_where(op->tx, &audit_entity, old, limit, deleted, err);
}

int retention_delete_commands(struct op *op, int64_t before, int64_t limit, int64_t *deleted,
                              struct err *err)
{
    static const struct str ended[] = {STR("success"), STR("failed"), STR("timeout"),
                                       STR("canceled"), STR("aborted")};
    struct filter *old = filter_and(
        filter_in_text(&command_entity, "status", ended, sizeof(ended) / sizeof(ended[0]),
                       op->arena),
        filter_compare(&command_entity, "updatedAt", FILTER_LT, before, op->arena), op->arena);
    return tx_delete_where(op->tx, &command_entity, old, limit, deleted, err);
}
