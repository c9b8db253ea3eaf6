// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "store/memory/memory_internal.h"

static const struct field meta_fields[] = {
    {.name = "id",
     .column = "id",
     .type = FIELD_TEXT,
     .offset = offsetof(struct store_memory_meta_row, id)},
    {.name = "value",
     .column = "value",
     .type = FIELD_TEXT,
     .offset = offsetof(struct store_memory_meta_row, value)},
};

const struct entity store_memory_meta = {
    .name = "setting",
    .table = "meta",
    .size = sizeof(struct store_memory_meta_row),
    .fields = meta_fields,
    .count = 2,
};

static struct str id_of(const struct memory_table *table, const void *data)
{
    return *field_text(&table->entity->fields[0], (void *)data);
}

struct memory_table *store_memory_table(struct memory_tx *tx, const struct entity *entity)
{
    for (size_t i = 0; i < tx->db->table_count; i++)
        if (tx->db->tables[i].entity == entity)
            return &tx->db->tables[i];
    return NULL;  // unreachable: every entity of entity_all has its table from the start
}

// Where the id is, or belongs.
static size_t position(const struct memory_table *table, struct str id)
{
    size_t low = 0, high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (str_cmp(id_of(table, table->rows[middle]->data), id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct memory_row *store_memory_find(const struct memory_table *table, struct str id)
{
    size_t at = position(table, id);
    if (at < table->count && str_eq(id_of(table, table->rows[at]->data), id))
        return table->rows[at];
    return NULL;
}

static void link_row(struct memory_table *table, struct memory_row *row)
{
    if (table->count == table->cap) {
        table->cap = table->cap ? table->cap * 2 : 16;
        table->rows = mem_resize(table->rows, table->cap * sizeof(struct memory_row *));
    }
    size_t at = position(table, id_of(table, row->data));
    memmove(&table->rows[at + 1], &table->rows[at],
            (table->count - at) * sizeof(struct memory_row *));
    table->rows[at] = row;
    table->count++;
}

static void unlink_row(struct memory_table *table, struct memory_row *row)
{
    size_t at = position(table, id_of(table, row->data));
    table->count--;
    memmove(&table->rows[at], &table->rows[at + 1],
            (table->count - at) * sizeof(struct memory_row *));
}

// What has no column is not kept.
static void clear_unstored(const struct entity *entity, void *data)
{
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *field = &entity->fields[i];
        if (!(field->flags & FIELD_UNSTORED))
            continue;
        switch (field->type) {
        case FIELD_TEXT:
        case FIELD_JSON: *field_text(field, data) = STR_NONE; break;
        case FIELD_INT:
        case FIELD_TIME: *field_int(field, data) = INT_NONE; break;
        case FIELD_DOUBLE: *field_double(field, data) = NAN; break;
        case FIELD_BOOL: *field_bool(field, data) = false; break;
        }
    }
}

static struct memory_row *row_new(const struct entity *entity, const void *data)
{
    struct memory_row *row = mem_alloc(sizeof(*row));
    row->arena = arena_new();
    row->data = arena_alloc(row->arena, entity->size);
    entity_copy(entity, data, row->data, row->arena);
    clear_unstored(entity, row->data);
    return row;
}

void store_memory_row_free(struct memory_row *row)
{
    if (!row)
        return;
    arena_free(row->arena);
    mem_free(row);
}

static void record(struct memory_tx *tx, struct memory_table *table, struct memory_row *before,
                   struct memory_row *after)
{
    if (tx->count == tx->cap) {
        tx->cap = tx->cap ? tx->cap * 2 : 16;
        tx->changes = mem_resize(tx->changes, tx->cap * sizeof(*tx->changes));
    }
    tx->changes[tx->count++] = (struct memory_change){table, before, after};
}

void store_memory_put(struct memory_tx *tx, struct memory_table *table, const void *data)
{
    struct memory_row *after = row_new(table->entity, data);
    struct memory_row *before = store_memory_find(table, id_of(table, data));
    if (before)
        unlink_row(table, before);
    link_row(table, after);
    record(tx, table, before, after);
}

void store_memory_remove(struct memory_tx *tx, struct memory_table *table, struct str id)
{
    struct memory_row *before = store_memory_find(table, id);
    if (!before)
        return;
    unlink_row(table, before);
    record(tx, table, before, NULL);
}

void store_memory_undo(struct memory_tx *tx, size_t mark)
{
    while (tx->count > mark) {
        struct memory_change change = tx->changes[--tx->count];
        if (change.after)
            unlink_row(change.table, change.after);
        store_memory_row_free(change.after);
        if (change.before)
            link_row(change.table, change.before);
    }
}

void store_memory_forget(struct memory_tx *tx)
{
    for (size_t i = 0; i < tx->count; i++)
        store_memory_row_free(tx->changes[i].before);
    tx->count = 0;
}
