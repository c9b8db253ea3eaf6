// SPDX-License-Identifier: Apache-2.0
#include "operation/service_event.h"

#include "base/id.h"

#define TOGETHER_MS (3600 * 1000)

// The newest one with the same reason and subject, when it is young enough. 1: none.
static int find_same(struct op *op, const struct service_note *note, struct service_event *out,
                     struct err *err)
{
    const struct entity *entity = &service_event_entity;
    struct arena *arena = op->arena;
    struct str reason = str_of(note->reason);
    struct filter *same = filter_and(
        filter_and(filter_eq_text(entity, "serviceId", note->service_id, arena),
                   filter_eq_text(entity, "reason", reason, arena), arena),
        filter_and(
            filter_eq_text(entity, "subject", note->subject.at ? note->subject : STR(""), arena),
            filter_compare(entity, "lastAt", FILTER_GT, op->now - TOGETHER_MS, arena), arena),
        arena);
    struct query query = {.filter = same, .limit = 1, .sort_count = 1};
    void *rows;
    size_t count;
    query.sort[0] = (struct sort_key){
        .field = entity_field(entity, STR("lastAt")), .path = STR(""), .descending = true};
    if (tx_select(op->tx, entity, &query, arena, &rows, &count, err))
        return -1;
    if (count == 0)
        return 1;
    *out = *(const struct service_event *)rows;
    return 0;
}

int service_event_add(struct op *op, const struct service_note *note, struct err *err)
{
    struct service_event row;
    int64_t times = note->times > 0 ? note->times : 1;
    int found = note->apart ? 1 : find_same(op, note, &row, err);
    if (found < 0)
        return -1;
    if (found == 1) {
        entity_clear(&service_event_entity, &row);
        row.id = id_new(op->now, op->arena);
        row.service_id = note->service_id;
        row.project_id = note->project_id;
        row.kind = str_of(note->kind);
        row.reason = str_of(note->reason);
        row.subject = note->subject.at ? note->subject : STR("");
        row.first_at = op->now;
        row.count = 0;
    }
    row.level = note->warning ? STR("warning") : STR("info");
    row.message = note->message;
    row.inputs = note->inputs;
    row.count += times;
    row.last_at = op->now;
    return found == 1 ? tx_insert(op->tx, &service_event_entity, &row, err)
                      : tx_update(op->tx, &service_event_entity, &row, err);
}
