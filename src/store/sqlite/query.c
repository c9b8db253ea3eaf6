// SPDX-License-Identifier: Apache-2.0
// Lists, counts and deletions by filter.
#include "store/sqlite/sqlite_internal.h"

static void add_int(struct sql *sql, int64_t n)
{
    store_sqlite_add_bind(sql, (struct bind){.kind = BIND_INT, .integer = n});
}

static void add_order(struct sql *sql, const struct query *query)
{
    bool descending = false, by_id = false;
    buf_add_cstr(&sql->text, " ORDER BY ");
    for (size_t i = 0; i < query->sort_count && !by_id; i++) {
        const struct sort_key *key = &query->sort[i];
        descending = key->descending;
        by_id = strcmp(key->field->column, "id") == 0;
        if (key->field->type == FIELD_JSON && key->path.len > 0) {
            buf_printf(&sql->text, "json_key(%s,", key->field->column);
            store_sqlite_add_bind(sql, (struct bind){.kind = BIND_TEXT, .text = key->path});
            buf_add_char(&sql->text, ')');
        } else {
            buf_add_cstr(&sql->text, key->field->column);
        }
        buf_add_cstr(&sql->text, descending ? " DESC" : "");
        buf_add_cstr(&sql->text, by_id ? "" : ",");
    }
    if (!by_id)
        buf_printf(&sql->text, "id%s", descending ? " DESC" : "");
}

struct query_rows {  // an array in an arena that doubles
    char *at;
    size_t count, cap;
    struct err *err;
};

static int read_rows(struct sqlite_tx *tx, sqlite3_stmt *statement, const struct entity *entity,
                     struct arena *arena, struct query_rows *out)
{
    int rc;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        if (out->count == out->cap) {
            size_t cap = out->cap ? out->cap * 2 : 8;
            char *more = arena_alloc(arena, cap * entity->size);
            if (out->count > 0)
                memcpy(more, out->at, out->count * entity->size);
            out->at = more;
            out->cap = cap;
        }
        store_sqlite_read_row(statement, entity, out->at + out->count * entity->size, arena);
        out->count++;
    }
    return rc == SQLITE_DONE ? 0 : store_sqlite_err(tx, "reading a list", out->err);
}

// What lies before the page goes into the condition as far as spans tell, the rest is walked.
static int add_skip(struct sqlite_tx *tx, struct sql *sql, const struct entity *entity,
                    const struct query *query, int64_t *offset, struct err *err)
{
    struct str scope;
    int64_t bound;
    bool descending = query->sort_count > 0 && query->sort[0].descending;
    *offset = query->offset;
    if (!spans_serve(tx, entity, query, &scope))
        return 0;
    if (spans_skip(tx, scope, descending, offset, &bound, err))
        return -1;
    if (*offset == query->offset)
        return 0;
    buf_add_cstr(&sql->text, descending ? " AND created_at<" : " AND created_at>=");
    add_int(sql, bound);
    return 0;
}

int store_sqlite_select(struct tx *base, const struct entity *entity, const struct query *query,
                        struct arena *arena, void **rows, size_t *count, struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    struct sql sql;
    store_sqlite_sql_init(&sql, entity);
    buf_add_cstr(&sql.text, "SELECT ");
    store_sqlite_columns(entity, &sql.text);
    buf_printf(&sql.text, " FROM %s", entity->table);
    store_sqlite_where(&sql, query->filter);
    int64_t offset;
    struct query_rows out = {.err = err};
    int failed = add_skip(tx, &sql, entity, query, &offset, err);
    add_order(&sql, query);
    buf_add_cstr(&sql.text, " LIMIT ");
    add_int(&sql, query->limit);
    if (offset > 0) {
        buf_add_cstr(&sql.text, " OFFSET ");
        add_int(&sql, offset);
    }
    sqlite3_stmt *statement = failed ? NULL : store_sqlite_sql_prepare(tx, &sql, err);
    failed = statement ? read_rows(tx, statement, entity, arena, &out) : -1;
    if (statement)
        store_sqlite_release(tx, statement);
    store_sqlite_sql_deinit(&sql);
    *rows = out.at;
    *count = failed ? 0 : out.count;
    return failed;
}

static const char *counted_table(const struct entity *entity, bool served)
{
    return served ? "execution_counts" : entity->table;
}

int store_sqlite_count(struct tx *base, const struct entity *entity, const struct filter *filter,
                       int64_t *count, struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    struct sql sql;
    store_sqlite_sql_init(&sql, entity);
    bool served = counts_serve(entity, filter);
    buf_printf(&sql.text, "SELECT %s FROM %s", served ? "coalesce(sum(n),0)" : "count(*)",
               counted_table(entity, served));
    store_sqlite_where(&sql, filter);
    sqlite3_stmt *statement = store_sqlite_sql_prepare(tx, &sql, err);
    int failed = statement ? 0 : -1;
    if (statement && sqlite3_step(statement) == SQLITE_ROW)
        *count = sqlite3_column_int64(statement, 0);
    else if (statement)
        failed = store_sqlite_err(tx, "counting", err);
    if (statement)
        store_sqlite_release(tx, statement);
    if (served)
        *count += counts_pending(tx, filter);
    store_sqlite_sql_deinit(&sql);
    return failed;
}

int store_sqlite_delete_where(struct tx *base, const struct entity *entity,
                              const struct filter *filter, int64_t limit, int64_t *deleted,
                              struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    struct sql sql;
    store_sqlite_sql_init(&sql, entity);
    buf_printf(&sql.text, "DELETE FROM %s", entity->table);
    if (limit > 0)
        buf_printf(&sql.text, " WHERE id IN (SELECT id FROM %s", entity->table);
    store_sqlite_where(&sql, filter);
    if (limit > 0) {
        buf_add_cstr(&sql.text, " LIMIT ");
        add_int(&sql, limit);
        buf_add_char(&sql.text, ')');
    }
    sqlite3_stmt *statement = store_sqlite_sql_prepare(tx, &sql, err);
    int failed = statement ? store_sqlite_run(tx, statement, "deleting rows", err) : -1;
    if (entity->hot)
        row_cache_clear(tx->rows);
    if (!failed)
        *deleted = sqlite3_changes64(tx->sql);
    if (statement)
        store_sqlite_release(tx, statement);
    store_sqlite_sql_deinit(&sql);
    return failed;
}

int store_sqlite_count_by(struct tx *base, const struct entity *entity, const struct filter *filter,
                          const struct field *field,
                          void (*each)(void *arg, struct str value, int64_t count), void *arg,
                          struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    struct sql sql;
    store_sqlite_sql_init(&sql, entity);
    bool served = !tx->tx.writer && counts_serve(entity, filter) && counts_column(field);
    buf_printf(&sql.text, "SELECT %s,%s FROM %s", field->column, served ? "sum(n)" : "count(*)",
               counted_table(entity, served));
    store_sqlite_where(&sql, filter);
    buf_printf(&sql.text, " GROUP BY %s%s ORDER BY %s", field->column,
               served ? " HAVING sum(n)>0" : "", field->column);
    sqlite3_stmt *statement = store_sqlite_sql_prepare(tx, &sql, err);
    int failed = statement ? 0 : -1, rc = SQLITE_DONE;
    while (statement && (rc = sqlite3_step(statement)) == SQLITE_ROW)
        each(arg, store_sqlite_text(statement, 0), sqlite3_column_int64(statement, 1));
    if (rc != SQLITE_DONE)
        failed = store_sqlite_err(tx, "counting by group", err);
    if (statement)
        store_sqlite_release(tx, statement);
    store_sqlite_sql_deinit(&sql);
    return failed;
}
