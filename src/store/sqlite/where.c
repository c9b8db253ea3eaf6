// SPDX-License-Identifier: Apache-2.0
// A filter as SQL. In a condition without NOT, SQL's NULL can stand for false; under NOT it is
// made false first, so that absent values match $ne and $nin. A value of another kind than the
// column's is decided here: SQLite would convert it.
#include "model/status.h"
#include "store/sqlite/sqlite_internal.h"

#define SQL_MAX   ((size_t)1024 * 1024)
#define CHAIN_MAX 32  // terms written without parentheses in between

void store_sqlite_sql_init(struct sql *sql, const struct entity *entity)
{
    *sql = (struct sql){.entity = entity, .text = BUF_INIT(SQL_MAX), .arena = arena_new()};
}

void store_sqlite_sql_deinit(struct sql *sql)
{
    buf_deinit(&sql->text);
    arena_free(sql->arena);
}

void store_sqlite_add_bind(struct sql *sql, struct bind bind)
{
    if (sql->count == sql->cap) {
        size_t cap = sql->cap ? sql->cap * 2 : 16;
        struct bind *more = arena_array_of(sql->arena, struct bind, cap);
        if (sql->count > 0)
            memcpy(more, sql->binds, sql->count * sizeof(*more));
        sql->binds = more;
        sql->cap = cap;
    }
    sql->binds[sql->count++] = bind;
    buf_add_char(&sql->text, '?');
}

static void add(struct sql *sql, const char *text) { buf_add_cstr(&sql->text, text); }

static void add_text(struct sql *sql, struct str text)
{
    store_sqlite_add_bind(sql, (struct bind){.kind = BIND_TEXT, .text = text});
}

// The value as a parameter of the column's kind; false when it is of another kind.
static bool operand(const struct field *field, const struct filter_value *value, struct bind *out)
{
    *out = (struct bind){0};
    if (field->type == FIELD_TEXT && value->kind == VALUE_TEXT) {
        *out = (struct bind){.kind = BIND_TEXT, .text = value->text};
        return true;
    }
    if (field->type == FIELD_BOOL && value->kind == VALUE_BOOL) {
        *out = (struct bind){.kind = BIND_INT, .integer = value->boolean};
        return true;
    }
    bool numeric = field->type == FIELD_INT || field->type == FIELD_DOUBLE ||
                   field->type == FIELD_TIME;
    if (!numeric || value->kind != VALUE_NUMBER)
        return false;
    out->kind = value->exact ? BIND_INT : BIND_DOUBLE;
    out->integer = value->integer;
    out->number = value->number;
    return true;
}

static void add_absent(struct sql *sql, const struct field *field, bool absent)
{
    if (field->type == FIELD_BOOL)  // never absent
        add(sql, absent ? "0" : "1");
    else
        buf_printf(&sql->text, "%s IS %sNULL", field->column, absent ? "" : "NOT ");
}

static void add_compare(struct sql *sql, const struct filter *leaf, const char *op)
{
    struct bind bind;
    if (!operand(leaf->field, &leaf->values[0], &bind)) {
        add(sql, "0");
        return;
    }
    buf_printf(&sql->text, "%s%s", leaf->field->column, op);
    store_sqlite_add_bind(sql, bind);
}

static void add_in(struct sql *sql, const struct filter *leaf)
{
    bool null = false, more = false;
    struct bind bind;
    add(sql, "(");
    for (size_t i = 0; i < leaf->value_count; i++) {
        null |= leaf->values[i].kind == VALUE_NULL;
        if (!operand(leaf->field, &leaf->values[i], &bind))
            continue;
        if (!more)
            buf_printf(&sql->text, "%s IN (", leaf->field->column);
        else
            add(sql, ",");
        store_sqlite_add_bind(sql, bind);
        more = true;
    }
    add(sql, more ? ")" : "0");
    if (null) {
        add(sql, " OR ");
        add_absent(sql, leaf->field, true);
    }
    add(sql, ")");
}

// The prefix before the first '*' narrows the search to a range of an index.
static void add_glob(struct sql *sql, const struct filter *leaf)
{
    const char *column = leaf->field->column;
    struct str pattern = leaf->values[0].text;
    size_t fixed = 0;
    while (fixed < pattern.len && pattern.at[fixed] != '*')
        fixed++;
    add(sql, "(");
    if (fixed > 0 && (unsigned char)pattern.at[fixed - 1] < 0xff) {
        char *end = arena_cstr(sql->arena, (struct str){pattern.at, fixed});
        end[fixed - 1]++;
        buf_printf(&sql->text, "%s>=", column);
        add_text(sql, (struct str){pattern.at, fixed});
        buf_printf(&sql->text, " AND %s<", column);
        add_text(sql, (struct str){end, fixed});
        add(sql, " AND ");
    }
    add(sql, "text_glob(");
    add_text(sql, pattern);
    buf_printf(&sql->text, ",%s))", column);
}

static void add_search(struct sql *sql, const struct filter *leaf)
{
    if (leaf->field->type != FIELD_TEXT || leaf->values[0].kind != VALUE_TEXT) {
        add(sql, "0");
    } else if (leaf->op == FILTER_GLOB) {
        add_glob(sql, leaf);
    } else {
        add(sql, "text_has(");
        add_text(sql, leaf->values[0].text);
        buf_printf(&sql->text, ",%s)", leaf->field->column);
    }
}

// The condition of the partial index that holds all executions of these statuses, word for word as
// the index has it, so that SQLite may use it; NULL: there is none.
static const char *index_of_statuses(const struct filter *leaf)
{
    bool open = true, bad = true;
    for (size_t i = 0; i < leaf->value_count; i++) {
        enum status status = leaf->values[i].kind == VALUE_TEXT ? status_parse(leaf->values[i].text)
                                                                : STATUS_NONE;
        bool known = status != STATUS_NONE && str_is(leaf->values[i].text, status_word(status));
        open &= known && !status_final(status);
        bad &= known && status_final(status) && status != STATUS_SUCCESS;
    }
    return open ? OPEN_STATES : bad ? BAD_STATES : NULL;
}

static void add_plain_leaf(struct sql *sql, const struct filter *leaf)
{
    switch (leaf->op) {
    case FILTER_EQ:
        if (leaf->values[0].kind == VALUE_NULL)
            add_absent(sql, leaf->field, true);
        else
            add_compare(sql, leaf, "=");
        break;
    case FILTER_IN: add_in(sql, leaf); break;
    case FILTER_GT: add_compare(sql, leaf, ">"); break;
    case FILTER_GTE: add_compare(sql, leaf, ">="); break;
    case FILTER_LT: add_compare(sql, leaf, "<"); break;
    case FILTER_LTE: add_compare(sql, leaf, "<="); break;
    case FILTER_EXISTS: add_absent(sql, leaf->field, false); break;
    case FILTER_GLOB:
    case FILTER_SUBSTRING: add_search(sql, leaf); break;
    case FILTER_ALL:
    case FILTER_ANY:
    case FILTER_NOT: break;
    }
}

static void add_leaf(struct sql *sql, const struct filter *leaf)
{
    if (leaf->field->type == FIELD_JSON) {
        struct json_term *term = store_sqlite_json_term(leaf, sql->arena);
        buf_printf(&sql->text, "json_term(%s,", leaf->field->column);
        store_sqlite_add_bind(sql, (struct bind){.kind = BIND_TERM, .term = term});
        add(sql, ")");
        return;
    }
    if (leaf->path.len > 0) {  // nothing lies below a plain value: it is absent
        bool null = leaf->op == FILTER_EQ && leaf->values[0].kind == VALUE_NULL;
        for (size_t i = 0; leaf->op == FILTER_IN && i < leaf->value_count; i++)
            null |= leaf->values[i].kind == VALUE_NULL;
        add(sql, null ? "1" : "0");
        return;
    }
    const char *index = NULL;
    if (sql->entity == &execution_entity && strcmp(leaf->field->column, "status") == 0 &&
        (leaf->op == FILTER_EQ || leaf->op == FILTER_IN))
        index = index_of_statuses(leaf);
    if (index)
        buf_printf(&sql->text, "(%s AND ", index);
    add_plain_leaf(sql, leaf);
    if (index)
        add(sql, ")");
}

static void add_filter(struct sql *sql, const struct filter *filter);

// Long lists are written as balanced halves: SQLite limits the depth of an expression.
static void add_children(struct sql *sql, const struct filter *filter, size_t from, size_t to)
{
    const char *joint = filter->op == FILTER_ALL ? " AND " : " OR ";
    add(sql, "(");
    if (to - from > CHAIN_MAX) {
        size_t middle = from + (to - from) / 2;
        add_children(sql, filter, from, middle);
        add(sql, joint);
        add_children(sql, filter, middle, to);
    }
    for (size_t i = from; to - from <= CHAIN_MAX && i < to; i++) {
        if (i > from)
            add(sql, joint);
        add_filter(sql, filter->children[i]);
    }
    add(sql, ")");
}

static void add_filter(struct sql *sql, const struct filter *filter)
{
    if (filter->op == FILTER_NOT) {
        add(sql, "NOT coalesce(");
        add_filter(sql, filter->children[0]);
        add(sql, ",0)");
        return;
    }
    if (filter->op != FILTER_ALL && filter->op != FILTER_ANY) {
        add_leaf(sql, filter);
        return;
    }
    if (filter->child_count == 0) {
        add(sql, filter->op == FILTER_ALL ? "1" : "0");
        return;
    }
    add_children(sql, filter, 0, filter->child_count);
}

void store_sqlite_where(struct sql *sql, const struct filter *filter)
{
    if (!filter || (filter->op == FILTER_ALL && filter->child_count == 0))
        return;
    add(sql, " WHERE ");
    add_filter(sql, filter);
}

// Whether SQLite refused a statement for its size, which only a caller's filter can bring about.
static bool is_limit(const char *message)
{
    return strstr(message, "too large") || strstr(message, "overflow") ||
           strstr(message, "too many");
}

sqlite3_stmt *store_sqlite_sql_prepare(struct sqlite_tx *tx, struct sql *sql, struct err *err)
{
    if (sql->text.over) {
        err_set(err, ERR_TOO_LARGE, "the filter is too large");
        return NULL;
    }
    buf_add_char(&sql->text, '\0');
    struct str text = {sql->text.at, sql->text.len - 1};
    sqlite3_stmt *statement = store_sqlite_cached(tx, text, err);
    if (!statement) {
        if (is_limit(sqlite3_errmsg(tx->sql)))
            err_set(err, ERR_BAD_INPUT, "the filter is nested too deep or has too many terms");
        return NULL;
    }
    for (size_t i = 0; i < sql->count; i++) {
        const struct bind *bind = &sql->binds[i];
        int at = (int)i + 1;
        switch (bind->kind) {
        case BIND_TEXT: store_sqlite_bind_text(statement, at, bind->text); break;
        case BIND_INT: sqlite3_bind_int64(statement, at, bind->integer); break;
        case BIND_DOUBLE: sqlite3_bind_double(statement, at, bind->number); break;
        case BIND_TERM:
            sqlite3_bind_pointer(statement, at, bind->term, "drover.filter", NULL);
            break;
        }
    }
    return statement;
}
