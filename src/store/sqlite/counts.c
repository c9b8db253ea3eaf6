// SPDX-License-Identifier: Apache-2.0
// How many executions there are, by project, service, function and status: kept in a table, so that
// a count of ten million reads a few rows. A hook of the writer's connection sees every change of
// the executions and notes it here; the sums are written with the commit. The changes of a job that
// is undone are taken back. (Triggers would do, but a statement with triggers keeps a journal of
// its own, which costs more than the insert.)
#include "base/map.h"
#include "base/mem.h"
#include "store/sqlite/sqlite_internal.h"

struct change {
    struct str service_id, function_name, status, project_id, key;
    int64_t by;
};

static const char *const columns[] = {"service_id", "function_name", "status", "project_id"};
#define COLUMNS (sizeof(columns) / sizeof(columns[0]))

struct counts {
    struct arena *arena;  // of the open transaction
    struct map *index;    // struct change, by its key
    struct buf key;       // being looked up
    int at[COLUMNS];      // of `columns`, in the table
    int created_at;       // the same of that column
    struct spans *spans;
    struct change **changes;
    size_t count, cap;
    // What the present job did, newest last: which change, and by how much.
    struct noted {
        struct change *change;
        int64_t by;
    } * noted;
    size_t noted_count, noted_cap;
};

static struct change *change_of(struct counts *counts, const struct str texts[COLUMNS])
{
    buf_clear(&counts->key);
    for (size_t i = 0; i < COLUMNS; i++) {
        buf_add_str(&counts->key, texts[i]);
        buf_add_char(&counts->key, '\0');
    }
    struct change *change = map_get(counts->index, buf_str(&counts->key));
    if (change)
        return change;
    change = arena_new_of(counts->arena, struct change);
    change->service_id = arena_copy(counts->arena, texts[0]);
    change->function_name = arena_copy(counts->arena, texts[1]);
    change->status = arena_copy(counts->arena, texts[2]);
    change->project_id = arena_copy(counts->arena, texts[3]);
    change->key = arena_copy(counts->arena, buf_str(&counts->key));
    if (counts->count == counts->cap) {
        counts->cap = counts->cap ? counts->cap * 2 : 16;
        counts->changes = mem_resize(counts->changes, counts->cap * sizeof(struct change *));
    }
    counts->changes[counts->count++] = change;
    map_put(counts->index, change->key, change);
    return change;
}

static void note(struct counts *counts, const struct str texts[COLUMNS], int64_t by)
{
    struct change *change = change_of(counts, texts);
    if (counts->noted_count == counts->noted_cap) {
        counts->noted_cap = counts->noted_cap ? counts->noted_cap * 2 : 64;
        counts->noted = mem_resize(counts->noted, counts->noted_cap * sizeof(*counts->noted));
    }
    change->by += by;
    counts->noted[counts->noted_count++] = (struct noted){change, by};
}

// The texts of the row before or after the change; an absent one counts as the empty one. False:
// SQLite has no memory, and fails the statement itself.
static bool read_texts(struct counts *counts, sqlite3 *sql,
                       int (*read)(sqlite3 *, int, sqlite3_value **), struct str texts[COLUMNS])
{
    for (size_t i = 0; i < COLUMNS; i++) {
        sqlite3_value *value;
        if (read(sql, counts->at[i], &value) != SQLITE_OK)
            return false;
        const char *at = (const char *)sqlite3_value_text(value);
        texts[i] = (struct str){at ? at : "", at ? (size_t)sqlite3_value_bytes(value) : 0};
    }
    return true;
}

static bool same_texts(const struct str a[COLUMNS], const struct str b[COLUMNS])
{
    for (size_t i = 0; i < COLUMNS; i++)
        if (!str_eq(a[i], b[i]))
            return false;
    return true;
}

static void note_time(struct counts *counts, sqlite3 *sql,
                      int (*read)(sqlite3 *, int, sqlite3_value **), struct str texts[COLUMNS],
                      int by)
{
    sqlite3_value *at;
    if (read(sql, counts->created_at, &at) == SQLITE_OK)
        spans_note(counts->spans, texts[3], texts[0], sqlite3_value_int64(at), by);
}

static void row_changes(void *arg, sqlite3 *sql, int op, const char *database, const char *table,
                        sqlite3_int64 old_row, sqlite3_int64 new_row)
{
    struct counts *counts = arg;
    struct str before[COLUMNS], after[COLUMNS];
    (void)database;
    (void)old_row;
    (void)new_row;
    if (strcmp(table, "executions") != 0)
        return;
    bool was = op != SQLITE_INSERT && read_texts(counts, sql, sqlite3_preupdate_old, before);
    bool is = op != SQLITE_DELETE && read_texts(counts, sql, sqlite3_preupdate_new, after);
    if (was && is && same_texts(before, after))
        return;
    if (was)
        note(counts, before, -1);
    if (is)
        note(counts, after, 1);
    if (was && is && str_eq(before[0], after[0]) && str_eq(before[3], after[3]))
        return;
    if (was)
        note_time(counts, sql, sqlite3_preupdate_old, before, -1);
    if (is)
        note_time(counts, sql, sqlite3_preupdate_new, after, 1);
}

// Where the table has the columns that count.
static bool find_columns(struct counts *counts, sqlite3 *sql)
{
    sqlite3_stmt *statement;
    size_t found = 0;
    if (sqlite3_prepare_v2(sql, "SELECT cid,name FROM pragma_table_info('executions')", -1,
                           &statement, NULL) != SQLITE_OK)
        return false;
    while (sqlite3_step(statement) == SQLITE_ROW) {
        int at = sqlite3_column_int(statement, 0);
        struct str name = store_sqlite_text(statement, 1);
        for (size_t i = 0; i < COLUMNS; i++)
            if (str_is(name, columns[i])) {
                counts->at[i] = at;
                found++;
            }
        if (str_is(name, "created_at")) {
            counts->created_at = at;
            found++;
        }
    }
    return sqlite3_finalize(statement) == SQLITE_OK && found == COLUMNS + 1;
}

struct counts *counts_open(sqlite3 *sql)
{
    struct counts *counts = mem_alloc(sizeof(*counts));
    counts->arena = arena_new();
    counts->index = map_new();
    counts->key = BUF_INIT(SIZE_MAX);
    counts->spans = spans_new();
    if (find_columns(counts, sql) &&
        sqlite3_exec(sql, "DELETE FROM execution_counts WHERE n=0", NULL, NULL, NULL) ==
            SQLITE_OK &&
        sqlite3_exec(sql, "DELETE FROM execution_spans WHERE n=0", NULL, NULL, NULL) == SQLITE_OK) {
        sqlite3_preupdate_hook(sql, row_changes, counts);
        return counts;
    }
    counts_close(counts);
    return NULL;
}

void counts_close(struct counts *counts)
{
    if (!counts)
        return;
    map_free(counts->index);
    buf_deinit(&counts->key);
    arena_free(counts->arena);
    spans_free(counts->spans);
    mem_free(counts->changes);
    mem_free(counts->noted);
    mem_free(counts);
}

void counts_mark(struct counts *counts)
{
    counts->noted_count = 0;
    spans_mark(counts->spans);
}

void counts_undo(struct counts *counts)
{
    for (size_t i = 0; i < counts->noted_count; i++)
        counts->noted[i].change->by -= counts->noted[i].by;
    counts->noted_count = 0;
    spans_undo(counts->spans);
}

void counts_clear(struct counts *counts)
{
    for (size_t i = 0; i < counts->count; i++)
        map_remove(counts->index, counts->changes[i]->key);
    counts->count = counts->noted_count = 0;
    arena_reset(counts->arena);
    spans_begin(counts->spans);
}

int counts_write(struct sqlite_tx *tx, struct err *err)
{
    struct counts *counts = tx->counts;
    for (size_t i = 0; i < counts->count; i++) {
        const struct change *change = counts->changes[i];
        if (change->by == 0)
            continue;
        sqlite3_stmt *statement = store_sqlite_fixed(tx, FIXED_COUNT_CHANGE, err);
        if (!statement)
            return -1;
        store_sqlite_bind_text(statement, 1, change->service_id);
        store_sqlite_bind_text(statement, 2, change->function_name);
        store_sqlite_bind_text(statement, 3, change->status);
        store_sqlite_bind_text(statement, 4, change->project_id);
        sqlite3_bind_int64(statement, 5, change->by);
        if (store_sqlite_run(tx, statement, "counting executions", err) < 0)
            return -1;
    }
    return spans_write(tx, counts->spans, err);
}

void counts_committed(struct counts *counts) { spans_committed(counts->spans); }

bool counts_column(const struct field *field)
{
    for (size_t i = 0; i < COLUMNS; i++)
        if (field->column && strcmp(field->column, columns[i]) == 0)
            return true;
    return false;
}

// Equality with texts only: what else a condition may say, it may say of an absent text.
bool counts_serve(const struct entity *entity, const struct filter *filter)
{
    if (entity != &execution_entity)
        return false;
    if (!filter)
        return true;
    if (filter->op == FILTER_ALL || filter->op == FILTER_ANY || filter->op == FILTER_NOT) {
        for (size_t i = 0; i < filter->child_count; i++)
            if (!counts_serve(entity, filter->children[i]))
                return false;
        return true;
    }
    if ((filter->op != FILTER_EQ && filter->op != FILTER_IN) || !counts_column(filter->field) ||
        filter->path.len > 0)
        return false;
    for (size_t i = 0; i < filter->value_count; i++)
        if (filter->values[i].kind != VALUE_TEXT || filter->values[i].text.len == 0)
            return false;
    return true;
}

int64_t counts_pending(const struct sqlite_tx *tx, const struct filter *filter)
{
    int64_t sum = 0;
    if (!tx->counts)
        return 0;
    _cleanup_arena_ struct arena *scratch = arena_new();
    for (size_t i = 0; i < tx->counts->count; i++) {
        const struct change *change = tx->counts->changes[i];
        struct execution row;
        entity_clear(&execution_entity, &row);
        row.service_id = change->service_id;
        row.function_name = change->function_name;
        row.status = change->status;
        row.project_id = change->project_id;
        if (!filter || filter_match(filter, &row, scratch))
            sum += change->by;
    }
    return sum;
}
