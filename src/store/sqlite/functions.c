// SPDX-License-Identifier: Apache-2.0
// What SQL can not say as filters mean it: globs, searches, and values inside JSON. A condition on
// JSON is the model's own filter_match over the one column, so repeated keys, escapes and big
// numbers mean the same everywhere.
#include "store/sqlite/sqlite_internal.h"

#define TERM_TYPE "drover.filter"

struct json_term {
    const struct filter *leaf;
    void *row;  // of which only the leaf's column is set
    struct arena *scratch;
};

static void free_scratch(void *scratch) { arena_free(scratch); }

static struct str value_text(sqlite3_value *value)
{
    const char *at = (const char *)sqlite3_value_text(value);
    return (struct str){at, at ? (size_t)sqlite3_value_bytes(value) : 0};
}

struct json_term *store_sqlite_json_term(const struct filter *leaf, struct arena *arena)
{
    struct json_term *term = arena_new_of(arena, struct json_term);
    term->leaf = leaf;
    term->row = arena_alloc(arena, leaf->field->offset + sizeof(struct str));
    return term;
}

// json_term(column, term)
static void json_term_function(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    struct json_term *term = sqlite3_value_pointer(values[1], TERM_TYPE);
    if (!term) {
        sqlite3_result_error(context, "json_term: not a filter", -1);
        return;
    }
    term->scratch = sqlite3_user_data(context);
    *field_text(term->leaf->field, term->row) = value_text(values[0]);
    sqlite3_result_int(context, filter_match(term->leaf, term->row, term->scratch));
    arena_reset(term->scratch);
}

// json_key(column, path): a value to sort by.
static void json_key_function(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    struct arena *scratch = sqlite3_user_data(context);
    struct store_value value = store_value_json(value_text(values[0]), value_text(values[1]),
                                                scratch);
    switch (value.kind) {
    case STORE_VALUE_NONE: sqlite3_result_null(context); break;
    case STORE_VALUE_INT: sqlite3_result_int64(context, value.integer); break;
    case STORE_VALUE_DOUBLE: sqlite3_result_double(context, value.number); break;
    case STORE_VALUE_TEXT:
        sqlite3_result_text64(context, value.text.at, value.text.len, SQLITE_TRANSIENT,
                              SQLITE_UTF8);
        break;
    }
    arena_reset(scratch);
}

// text_glob(pattern, text) and text_has(needle, text): NULL for an absent text.
static void glob_function(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    if (sqlite3_value_type(values[1]) != SQLITE_NULL)
        sqlite3_result_int(context, str_glob(value_text(values[0]), value_text(values[1])));
}

static void has_function(sqlite3_context *context, int count, sqlite3_value **values)
{
    (void)count;
    if (sqlite3_value_type(values[1]) != SQLITE_NULL)
        sqlite3_result_int(context, store_has_text(value_text(values[1]), value_text(values[0])));
}

int store_sqlite_functions(sqlite3 *sql)
{
    int flags = SQLITE_UTF8 | SQLITE_DIRECTONLY;
    int pure = flags | SQLITE_DETERMINISTIC;
    int rc = sqlite3_create_function_v2(sql, "text_glob", 2, pure, NULL, glob_function, NULL, NULL,
                                        NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function_v2(sql, "text_has", 2, pure, NULL, has_function, NULL, NULL,
                                        NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function_v2(sql, "json_term", 2, flags, arena_new(), json_term_function,
                                        NULL, NULL, free_scratch);
    if (rc == SQLITE_OK)
        rc = sqlite3_create_function_v2(sql, "json_key", 2, pure, arena_new(), json_key_function,
                                        NULL, NULL, free_scratch);
    return rc;
}
