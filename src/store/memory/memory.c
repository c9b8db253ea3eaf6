// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "store/memory/memory_internal.h"

static int driver_open(const struct store_config *config, struct store_db **out, struct err *err)
{
    (void)config;
    (void)err;
    struct store_db *db = mem_alloc(sizeof(*db));
    pthread_rwlock_init(&db->lock, NULL);
    size_t count = 0;
    while (entity_all[count])
        count++;
    db->tables = mem_alloc((count + 1) * sizeof(*db->tables));
    db->table_count = count + 1;
    for (size_t i = 0; i < count; i++)
        db->tables[i].entity = entity_all[i];
    db->tables[count].entity = &store_memory_meta;
    *out = db;
    return 0;
}

static void driver_close(struct store_db *db)
{
    for (size_t t = 0; t < db->table_count; t++) {
        for (size_t i = 0; i < db->tables[t].count; i++)
            store_memory_row_free(db->tables[t].rows[i]);
        mem_free(db->tables[t].rows);
    }
    mem_free(db->tables);
    pthread_rwlock_destroy(&db->lock);
    mem_free(db);
}

static struct tx *tx_open(struct store_db *db, bool writer, struct err *err)
{
    (void)err;
    struct memory_tx *tx = mem_alloc(sizeof(*tx));
    tx->tx = (struct tx){.driver = &store_memory_driver, .writer = writer};
    tx->db = db;
    return &tx->tx;
}

static void tx_close(struct tx *base)
{
    mem_free(memory_of(base)->changes);
    mem_free(base);
}

static int begin(struct tx *base, struct err *err)
{
    (void)err;
    struct memory_tx *tx = memory_of(base);
    if (base->writer)
        pthread_rwlock_wrlock(&tx->db->lock);
    else
        pthread_rwlock_rdlock(&tx->db->lock);
    tx->open = true;
    return 0;
}

static int commit(struct tx *base, bool *fatal, struct err *err)
{
    (void)fatal;
    (void)err;
    struct memory_tx *tx = memory_of(base);
    store_memory_forget(tx);
    tx->open = false;
    pthread_rwlock_unlock(&tx->db->lock);
    return 0;
}

static void rollback(struct tx *base)
{
    struct memory_tx *tx = memory_of(base);
    store_memory_undo(tx, 0);
    tx->open = false;
    pthread_rwlock_unlock(&tx->db->lock);
}

static int mark(struct tx *base, struct err *err)
{
    (void)err;
    memory_of(base)->mark = memory_of(base)->count;
    return 0;
}

static int keep(struct tx *base, struct err *err)
{
    (void)base;
    (void)err;
    return 0;
}

static void undo(struct tx *base) { store_memory_undo(memory_of(base), memory_of(base)->mark); }
static bool alive(const struct tx *base)
{
    return ((const struct memory_tx *)(const void *)base)->open;
}

static int after_commit(struct tx *base, bool *wanted, struct err *err)
{
    (void)base;
    (void)err;
    *wanted = false;
    return 0;
}

static int service(struct tx *base, struct err *err)
{
    (void)base;
    (void)err;
    return 0;
}

static void rest(struct tx *base) { (void)base; }

// ── rows by id ───────────────────────────────────────────────────────────────────────────────

static int get(struct tx *base, const struct entity *entity, struct str id, void *row,
               struct arena *arena, struct err *err)
{
    struct memory_row *found = store_memory_find(store_memory_table(memory_of(base), entity), id);
    if (!found)
        return store_not_found(entity, id, err);
    entity_copy(entity, found->data, row, arena);
    return 0;
}

static bool same_unique(const struct entity *entity, const void *a, const void *b)
{
    struct str rest = str_of(entity->unique);
    while (rest.len > 0) {
        const struct field *field = entity_column(entity, str_cut(&rest, ','));
        struct str left = *field_text(field, (void *)a), right = *field_text(field, (void *)b);
        if (!left.at || !right.at || !str_eq(left, right))
            return false;  // as in SQL, absent values are never equal
    }
    return true;
}

static int check_unique(const struct memory_table *table, const void *row, struct err *err)
{
    const struct entity *entity = table->entity;
    struct str id = *field_text(&entity->fields[0], (void *)row);
    for (size_t i = 0; entity->unique && i < table->count; i++) {
        const void *other = table->rows[i]->data;
        if (!str_eq(*field_text(&entity->fields[0], (void *)other), id) &&
            same_unique(entity, row, other))
            return store_conflict_unique(entity, row, err);
    }
    return 0;
}

static int insert(struct tx *base, const struct entity *entity, const void *row, struct err *err)
{
    struct memory_table *table = store_memory_table(memory_of(base), entity);
    struct str id = *field_text(&entity->fields[0], (void *)row);
    if (!id.at)
        return err_set(err, ERR_INTERNAL, "store: a %s without an id", entity->name);
    if (store_memory_find(table, id))
        return store_conflict_id(entity, id, err);
    if (check_unique(table, row, err) < 0)
        return -1;
    store_memory_put(memory_of(base), table, row);
    return 0;
}

static int update(struct tx *base, const struct entity *entity, const void *row, struct err *err)
{
    struct memory_table *table = store_memory_table(memory_of(base), entity);
    struct str id = *field_text(&entity->fields[0], (void *)row);
    if (!store_memory_find(table, id))
        return store_not_found(entity, id, err);
    if (check_unique(table, row, err) < 0)
        return -1;
    store_memory_put(memory_of(base), table, row);
    return 0;
}

static int delete_row(struct tx *base, const struct entity *entity, struct str id, struct err *err)
{
    struct memory_table *table = store_memory_table(memory_of(base), entity);
    if (!store_memory_find(table, id))
        return store_not_found(entity, id, err);
    store_memory_remove(memory_of(base), table, id);
    return 0;
}

static int meta_get(struct tx *base, const char *key, struct arena *arena, struct str *value,
                    struct err *err)
{
    (void)err;
    struct memory_table *table = store_memory_table(memory_of(base), &store_memory_meta);
    struct memory_row *row = store_memory_find(table, str_of(key));
    if (row)
        *value = arena_copy(arena, ((struct store_memory_meta_row *)row->data)->value);
    return 0;
}

static int meta_set(struct tx *base, const char *key, struct str value, struct err *err)
{
    (void)err;
    struct memory_table *table = store_memory_table(memory_of(base), &store_memory_meta);
    store_memory_put(memory_of(base), table, &(struct store_memory_meta_row){str_of(key), value});
    return 0;
}

static int blob_used(struct tx *base, struct str sha256, bool *used, struct err *err)
{
    (void)err;
    struct memory_table *table = store_memory_table(memory_of(base), &item_entity);
    for (size_t i = 0; i < table->count && !*used; i++) {
        const struct item *item = table->rows[i]->data;
        *used = item->blob.at && str_eq(item->blob, sha256);
    }
    return 0;
}

const struct store_driver store_memory_driver = {
    .name = "memory",
    .open = driver_open,
    .close = driver_close,
    .tx_open = tx_open,
    .tx_close = tx_close,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .mark = mark,
    .keep = keep,
    .undo = undo,
    .alive = alive,
    .after_commit = after_commit,
    .service = service,
    .rest = rest,
    .get = get,
    .insert = insert,
    .update = update,
    .delete_row = delete_row,
    .select = store_memory_select,
    .count = store_memory_count,
    .delete_where = store_memory_delete_where,
    .count_by = store_memory_count_by,
    .meta_get = meta_get,
    .meta_set = meta_set,
    .execution_start = store_memory_execution_start,
    .execution_finish = store_memory_execution_finish,
    .execution_requeue = store_memory_execution_requeue,
    .execution_each_open = store_memory_execution_each_open,
    .blob_used = blob_used,
};
