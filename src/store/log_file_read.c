// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"
#include "store/log_file_internal.h"

// The statement's first column, or `fallback` when it gives no row or NULL.
static int number_of(struct log_file *file, sqlite3_stmt *statement, int64_t fallback, int64_t *out,
                     struct err *err)
{
    int rc = sqlite3_step(statement);
    bool found = rc == SQLITE_ROW && sqlite3_column_type(statement, 0) != SQLITE_NULL;
    *out = found ? sqlite3_column_int64(statement, 0) : fallback;
    int failed = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : log_file_fail(file, "reading", err);
    sqlite3_reset(statement);
    return failed;
}

int log_file_bounds(struct log_file *file, struct log_bounds *out, struct err *err)
{
    *out = (struct log_bounds){log_key_first(file->key), INT64_MAX, INT64_MIN};
    if (file->bare)
        return 0;
    sqlite3_stmt *statement = log_file_statement(file, READ_STATE, err);
    if (!statement)
        return -1;
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *out = (struct log_bounds){sqlite3_column_int64(statement, 0),
                                   sqlite3_column_int64(statement, 1),
                                   sqlite3_column_int64(statement, 2)};
    int failed = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : log_file_fail(file, "reading", err);
    sqlite3_reset(statement);
    return failed;
}

static int span_number(struct log_file *file, enum log_statement which, int64_t seq, int64_t at,
                       int64_t fallback, int64_t *out, struct err *err)
{
    sqlite3_stmt *statement = log_file_statement(file, which, err);
    if (!statement)
        return -1;
    if (sqlite3_bind_parameter_count(statement) > 0)
        sqlite3_bind_int64(statement, 1, seq);
    if (sqlite3_bind_parameter_count(statement) > 1)
        sqlite3_bind_int64(statement, 2, at);
    return number_of(file, statement, fallback, out, err);
}

int log_file_covered(struct log_file *file, int64_t *last, struct err *err)
{
    int64_t none = log_key_first(file->key) - 1;
    *last = none;
    return file->bare ? 0 : span_number(file, COVERED, 0, 0, none, last, err);
}

int log_file_narrow(struct log_file *file, int64_t start, int64_t end, struct log_range *range,
                    struct err *err)
{
    int64_t begun, first, last;
    if (span_number(file, SPAN_BEFORE, range->first, 0, range->first, &begun, err) ||
        span_number(file, FIRST_SPAN, begun, start, range->last + 1, &first, err) ||
        span_number(file, LAST_SPAN, range->last, end, range->first - 1, &last, err))
        return -1;
    range->first = first > range->first ? first : range->first;
    range->last = last < range->last ? last : range->last;
    return 0;
}

static struct str text_at(sqlite3_stmt *statement, int column)
{
    const char *at = (const char *)sqlite3_column_text(statement, column);
    return (struct str){at, at ? (size_t)sqlite3_column_bytes(statement, column) : 0};
}

int log_file_services(struct log_file *file, struct str service_id, struct str project_id,
                      struct arena *arena, int64_t **out, size_t *count, struct err *err)
{
    size_t cap = 0;
    int rc;
    *out = NULL;
    *count = 0;
    if (file->bare)
        return 0;
    sqlite3_stmt *statement = log_file_statement(file, service_id.at ? OF_SERVICE : OF_PROJECT,
                                                 err);
    if (!statement)
        return -1;
    log_file_bind(statement, 1, service_id.at ? service_id : project_id);
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        if (project_id.at && !str_eq(text_at(statement, 1), project_id))
            continue;
        if (*count == cap) {
            cap = cap ? cap * 2 : 8;
            int64_t *more = arena_array_of(arena, int64_t, cap);
            if (*count > 0)
                memcpy(more, *out, *count * sizeof(*more));
            *out = more;
        }
        (*out)[(*count)++] = sqlite3_column_int64(statement, 0);
    }
    int failed = rc == SQLITE_DONE ? 0 : log_file_fail(file, "reading services", err);
    sqlite3_reset(statement);
    return failed;
}

int log_file_seek(struct log_file *file, enum log_by by, int64_t service, struct str execution_id,
                  const struct log_range *range, struct err *err)
{
    if (file->walks[by])
        sqlite3_reset(file->walks[by]);
    file->walks[by] = NULL;
    if (file->bare)
        return 0;
    sqlite3_stmt *statement = log_file_statement(
        file, (range->descending ? WALK_DOWN : WALK_UP) + (unsigned)by, err);
    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, range->first);
    sqlite3_bind_int64(statement, 2, range->last);
    if (by == LOG_BY_SERVICE)
        sqlite3_bind_int64(statement, 3, service);
    else if (by == LOG_BY_EXECUTION)
        log_file_bind(statement, 3, execution_id);
    file->walks[by] = statement;
    return 0;
}

int log_file_next(struct log_file *file, enum log_by by, struct log_row *row, struct err *err)
{
    sqlite3_stmt *s = file->walks[by];
    int rc = s ? sqlite3_step(s) : SQLITE_DONE;
    if (rc == SQLITE_ROW) {
        *row = (struct log_row){.seq = sqlite3_column_int64(s, 0),
                                .at = sqlite3_column_int64(s, 1),
                                .level = sqlite3_column_int(s, 2),
                                .system = sqlite3_column_int(s, 3) != 0,
                                .service = sqlite3_column_int64(s, 4),
                                .source = sqlite3_column_int64(s, 5),
                                .execution_id = text_at(s, 6),
                                .message = text_at(s, 7)};
        return 1;
    }
    int failed = rc == SQLITE_DONE ? 0 : log_file_fail(file, "reading lines", err);
    if (s)
        sqlite3_reset(s);
    file->walks[by] = NULL;
    return failed;
}

void log_file_rest(struct log_file *file)
{
    for (size_t i = 0; i < LOG_BYS; i++) {
        if (file->walks[i])
            sqlite3_reset(file->walks[i]);
        file->walks[i] = NULL;
    }
}

int log_file_names(struct log_file *file, int64_t source, struct arena *arena,
                   struct log_line *line, struct err *err)
{
    sqlite3_stmt *statement = log_file_statement(file, NAMES, err);
    if (!statement)
        return -1;
    sqlite3_bind_int64(statement, 1, source);
    int rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW) {
        line->service_id = arena_copy(arena, text_at(statement, 0));
        line->project_id = arena_copy(arena, text_at(statement, 1));
        line->function_name = arena_copy(arena, text_at(statement, 2));
        line->replica_id = arena_copy(arena, text_at(statement, 3));
    }
    int failed = rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : log_file_fail(file, "reading", err);
    sqlite3_reset(statement);
    return failed;
}
