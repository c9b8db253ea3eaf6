// SPDX-License-Identifier: Apache-2.0
// Rows by id: the statements are written from the entity's field table.
#include "store/sqlite/sqlite_internal.h"

#define SQL_MAX ((size_t)64 * 1024)

void store_sqlite_columns(const struct entity *entity, struct buf *out)
{
    bool more = false;
    for (size_t i = 0; i < entity->count; i++) {
        if (!store_column(&entity->fields[i]))
            continue;
        if (more)
            buf_add_char(out, ',');
        buf_add_cstr(out, entity->fields[i].column);
        more = true;
    }
}

static void bind_field(sqlite3_stmt *statement, int at, const struct field *field, const void *row)
{
    void *member = (void *)row;
    switch (field->type) {
    case FIELD_TEXT:
    case FIELD_JSON: store_sqlite_bind_text(statement, at, *field_text(field, member)); break;
    case FIELD_INT:
    case FIELD_TIME: store_sqlite_bind_int(statement, at, *field_int(field, member)); break;
    case FIELD_DOUBLE:
        sqlite3_bind_double(statement, at, *field_double(field, member));  // NaN becomes NULL
        break;
    case FIELD_BOOL: sqlite3_bind_int(statement, at, *field_bool(field, member)); break;
    }
}

static void bind_row(sqlite3_stmt *statement, const struct entity *entity, const void *row)
{
    int at = 1;
    for (size_t i = 0; i < entity->count; i++)
        if (store_column(&entity->fields[i]))
            bind_field(statement, at++, &entity->fields[i], row);
}

static void read_field(sqlite3_stmt *statement, int column, const struct field *field, void *row,
                       struct arena *arena)
{
    switch (field->type) {
    case FIELD_TEXT:
    case FIELD_JSON:
        *field_text(field, row) = arena_copy(arena, store_sqlite_text(statement, column));
        break;
    case FIELD_INT:
    case FIELD_TIME: *field_int(field, row) = store_sqlite_int(statement, column); break;
    case FIELD_DOUBLE:
        *field_double(field, row) = sqlite3_column_type(statement, column) == SQLITE_NULL
                                        ? NAN
                                        : sqlite3_column_double(statement, column);
        break;
    case FIELD_BOOL: *field_bool(field, row) = sqlite3_column_int(statement, column) != 0; break;
    }
}

void store_sqlite_read_row(sqlite3_stmt *statement, const struct entity *entity, void *row,
                           struct arena *arena)
{
    entity_clear(entity, row);
    int column = 0;
    for (size_t i = 0; i < entity->count; i++)
        if (store_column(&entity->fields[i]))
            read_field(statement, column++, &entity->fields[i], row, arena);
}

static sqlite3_stmt *prepare_buf(struct sqlite_tx *tx, struct buf *text, struct err *err)
{
    return store_sqlite_prepare(tx, buf_str(text), err);
}

static sqlite3_stmt *get_statement(struct sqlite_tx *tx, const struct entity *entity,
                                   struct err *err)
{
    struct table *table = store_sqlite_table(tx, entity, err);
    if (!table || table->get)
        return table ? table->get : NULL;
    _cleanup_buf_ struct buf text = BUF_INIT(SQL_MAX);
    buf_add_cstr(&text, "SELECT ");
    store_sqlite_columns(entity, &text);
    buf_printf(&text, " FROM %s WHERE id=?1", entity->table);
    return table->get = prepare_buf(tx, &text, err);
}

static sqlite3_stmt *insert_statement(struct sqlite_tx *tx, const struct entity *entity,
                                      struct err *err)
{
    struct table *table = store_sqlite_table(tx, entity, err);
    if (!table || table->insert)
        return table ? table->insert : NULL;
    _cleanup_buf_ struct buf text = BUF_INIT(SQL_MAX);
    buf_printf(&text, "INSERT INTO %s(", entity->table);
    store_sqlite_columns(entity, &text);
    buf_add_cstr(&text, ") VALUES(");
    bool more = false;
    for (size_t i = 0; i < entity->count; i++) {
        if (!store_column(&entity->fields[i]))
            continue;
        buf_add_cstr(&text, more ? ",?" : "?");
        more = true;
    }
    buf_add_char(&text, ')');
    return table->insert = prepare_buf(tx, &text, err);
}

// The id is the first column, so it is parameter 1; setting it to itself would touch its index.
static sqlite3_stmt *update_statement(struct sqlite_tx *tx, const struct entity *entity,
                                      struct err *err)
{
    struct table *table = store_sqlite_table(tx, entity, err);
    if (!table || table->update)
        return table ? table->update : NULL;
    _cleanup_buf_ struct buf text = BUF_INIT(SQL_MAX);
    buf_printf(&text, "UPDATE %s SET ", entity->table);
    int at = 1;
    for (size_t i = 1; i < entity->count; i++) {
        if (!store_column(&entity->fields[i]))
            continue;
        buf_printf(&text, "%s%s=?%d", at > 1 ? "," : "", entity->fields[i].column, at + 1);
        at++;
    }
    buf_add_cstr(&text, " WHERE id=?1");
    return table->update = prepare_buf(tx, &text, err);
}

static sqlite3_stmt *delete_statement(struct sqlite_tx *tx, const struct entity *entity,
                                      struct err *err)
{
    struct table *table = store_sqlite_table(tx, entity, err);
    if (!table || table->delete_row)
        return table ? table->delete_row : NULL;
    _cleanup_buf_ struct buf text = BUF_INIT(SQL_MAX);
    buf_printf(&text, "DELETE FROM %s WHERE id=?1", entity->table);
    return table->delete_row = prepare_buf(tx, &text, err);
}

static int read_by_id(struct sqlite_tx *tx, const struct entity *entity, struct str id, void *row,
                      struct arena *arena, struct err *err)
{
    sqlite3_stmt *statement = get_statement(tx, entity, err);
    if (!statement)
        return -1;
    store_sqlite_bind_text(statement, 1, id);
    int rc = sqlite3_step(statement);
    int failed = 0;
    if (rc == SQLITE_ROW)
        store_sqlite_read_row(statement, entity, row, arena);
    else if (rc == SQLITE_DONE)
        failed = store_not_found(entity, id, err);
    else
        failed = store_sqlite_err(tx, "reading a row", err);
    sqlite3_reset(statement);
    return failed;
}

int store_sqlite_get(struct tx *base, const struct entity *entity, struct str id, void *row,
                     struct arena *arena, struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    if (!tx->rows || !entity->hot || !id.at)
        return read_by_id(tx, entity, id, row, arena, err);
    switch (row_cache_get(tx->rows, entity, id, row, arena)) {
    case ROW_FOUND: return 0;
    case ROW_ABSENT: return store_not_found(entity, id, err);
    case ROW_UNKNOWN: break;
    }
    int rc = read_by_id(tx, entity, id, row, arena, err);
    if (rc == 0 || err->kind == ERR_NOT_FOUND)
        row_cache_put(tx->rows, entity, id, rc == 0 ? row : NULL);
    return rc;
}

static void forget(struct sqlite_tx *tx, const struct entity *entity, struct str id)
{
    if (entity->hot && id.at)
        row_cache_forget(tx->rows, entity, id);
}

// Steps an insert or update; a taken id or unique value is a conflict.
static int step_change(struct sqlite_tx *tx, sqlite3_stmt *statement, const struct entity *entity,
                       const void *row, struct err *err)
{
    forget(tx, entity, *field_text(&entity->fields[0], (void *)row));
    int rc = sqlite3_step(statement);
    int failed = 0;
    if (rc != SQLITE_DONE) {
        int code = sqlite3_extended_errcode(tx->sql);
        if (code == SQLITE_CONSTRAINT_PRIMARYKEY)
            failed = store_conflict_id(entity, *field_text(&entity->fields[0], (void *)row), err);
        else if (code == SQLITE_CONSTRAINT_UNIQUE && entity->unique)
            failed = store_conflict_unique(entity, row, err);
        else
            failed = store_sqlite_err(tx, "writing a row", err);
    }
    sqlite3_reset(statement);
    return failed;
}

int store_sqlite_insert(struct tx *base, const struct entity *entity, const void *row,
                        struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    sqlite3_stmt *statement = insert_statement(tx, entity, err);
    if (!statement)
        return -1;
    bind_row(statement, entity, row);
    return step_change(tx, statement, entity, row, err);
}

int store_sqlite_update(struct tx *base, const struct entity *entity, const void *row,
                        struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    sqlite3_stmt *statement = update_statement(tx, entity, err);
    if (!statement)
        return -1;
    bind_row(statement, entity, row);
    if (step_change(tx, statement, entity, row, err) < 0)
        return -1;
    if (sqlite3_changes(tx->sql) == 0)
        return store_not_found(entity, *field_text(&entity->fields[0], (void *)row), err);
    return 0;
}

int store_sqlite_delete(struct tx *base, const struct entity *entity, struct str id,
                        struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    sqlite3_stmt *statement = delete_statement(tx, entity, err);
    if (!statement)
        return -1;
    forget(tx, entity, id);
    store_sqlite_bind_text(statement, 1, id);
    if (store_sqlite_run(tx, statement, "deleting a row", err) < 0)
        return -1;
    return sqlite3_changes(tx->sql) > 0 ? 0 : store_not_found(entity, id, err);
}
