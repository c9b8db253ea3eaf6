// SPDX-License-Identifier: Apache-2.0
// How many executions of a project, and of a service, were created in which span of time: so that a
// list passes over the millions before a page by their sums. A span ends where the next begins; the
// newest is followed by another one when it is full. created_at never changes. The sums are written
// with the commit, as those of counts.c.
#include "base/map.h"
#include "base/mem.h"
#include "store/sqlite/sqlite_internal.h"

#define SPAN_ROWS  8192
#define SCOPES_MAX 4096  // more are forgotten, and read again
#define WORTH_ROWS 1024  // a shorter way is walked

struct span {
    int64_t start, end;  // ms, of created_at: start <= … < end
    int64_t by;          // what is not written yet
    bool known;
};

struct scope {  // a project or a service
    char *id;
    const char *column;
    bool read;              // what follows is known
    struct span newest;     // its end is INT64_MAX
    struct span other;      // one before it, the last that was changed
    int64_t count, latest;  // of the newest: rows, and the time of the latest one
    bool touched;
};

struct spans {
    struct map *scopes;  // struct scope, by its id
    struct spans_change {
        struct scope *scope;
        int64_t at;
        int by;
    } * changes;  // of the open transaction, in order
    size_t count, cap, marked;
    bool unsure;  // scopes are as the open transaction leaves them, should it be kept
};

struct spans *spans_new(void)
{
    struct spans *spans = mem_alloc(sizeof(*spans));
    spans->scopes = map_new();
    return spans;
}

static void scope_free(struct scope *scope)
{
    mem_free(scope->id);
    mem_free(scope);
}

static void forget_scopes(struct spans *spans)
{
    struct str id;
    size_t at = 0;
    for (struct scope *scope; (scope = map_next(spans->scopes, &at, &id));)
        scope_free(scope);
    map_free(spans->scopes);
    spans->scopes = map_new();
}

void spans_free(struct spans *spans)
{
    if (!spans)
        return;
    forget_scopes(spans);
    map_free(spans->scopes);
    mem_free(spans->changes);
    mem_free(spans);
}

void spans_mark(struct spans *spans) { spans->marked = spans->count; }
void spans_undo(struct spans *spans) { spans->count = spans->marked; }

void spans_begin(struct spans *spans)
{
    spans->count = spans->marked = 0;
    if (spans->unsure || map_count(spans->scopes) > SCOPES_MAX)
        forget_scopes(spans);
    spans->unsure = false;
}

void spans_committed(struct spans *spans) { spans->unsure = false; }

static struct scope *scope_of(struct spans *spans, struct str id, const char *column)
{
    struct scope *scope = map_get(spans->scopes, id);
    if (scope)
        return scope;
    scope = mem_alloc(sizeof(*scope));
    scope->id = mem_copy(id.at, id.len);
    scope->column = column;
    map_put(spans->scopes, str_of(scope->id), scope);
    return scope;
}

static void note(struct spans *spans, struct str id, const char *column, int64_t at, int by)
{
    if (id.len == 0)
        return;
    if (spans->count == spans->cap) {
        spans->cap = spans->cap ? spans->cap * 2 : 64;
        spans->changes = mem_resize(spans->changes, spans->cap * sizeof(*spans->changes));
    }
    spans->changes[spans->count++] = (struct spans_change){scope_of(spans, id, column), at, by};
}

void spans_note(struct spans *spans, struct str project_id, struct str service_id, int64_t at,
                int by)
{
    at = at < 0 ? 0 : at;
    note(spans, project_id, "project_id", at, by);
    note(spans, service_id, "service_id", at, by);
}

// ── writing ──────────────────────────────────────────────────────────────────────────────────

// Two numbers; 0 for what is not there.
static int read_pair(struct sqlite_tx *tx, enum fixed_statement which, struct str scope, int64_t at,
                     int64_t pair[2], struct err *err)
{
    sqlite3_stmt *statement = store_sqlite_fixed(tx, which, err);
    if (!statement)
        return -1;
    store_sqlite_bind_text(statement, 1, scope);
    if (sqlite3_bind_parameter_count(statement) > 1)
        sqlite3_bind_int64(statement, 2, at);
    int rc = sqlite3_step(statement);
    for (int i = 0; i < 2; i++)
        pair[i] = rc == SQLITE_ROW ? sqlite3_column_int64(statement, i) : 0;
    int failed = rc == SQLITE_ROW || rc == SQLITE_DONE
                     ? 0
                     : store_sqlite_err(tx, "reading spans of executions", err);
    sqlite3_reset(statement);
    return failed;
}

static int write_span(struct sqlite_tx *tx, const struct scope *scope, struct span *span,
                      struct err *err)
{
    if (!span->known || span->by == 0)
        return 0;
    sqlite3_stmt *statement = store_sqlite_fixed(tx, FIXED_SPAN_CHANGE, err);
    if (!statement)
        return -1;
    store_sqlite_bind_text(statement, 1, str_of(scope->id));
    sqlite3_bind_int64(statement, 2, span->start);
    sqlite3_bind_int64(statement, 3, span->by);
    span->by = 0;
    return store_sqlite_run(tx, statement, "counting executions by time", err);
}

// The newest span as the table has it, and the time of the latest execution: what the open
// transaction made is among those, which only puts the next span off.
static int read_scope(struct sqlite_tx *tx, struct scope *scope, struct err *err)
{
    int64_t newest[2], latest[2];
    bool service = scope->column[0] == 's';
    struct str id = str_of(scope->id);
    if (scope->read)
        return 0;
    if (read_pair(tx, FIXED_SPAN_NEWEST, id, 0, newest, err) ||
        read_pair(tx, service ? FIXED_LATEST_OF_SERVICE : FIXED_LATEST_OF_PROJECT, id, 0, latest,
                  err))
        return -1;
    scope->newest = (struct span){.start = newest[0], .end = INT64_MAX, .known = true};
    scope->count = newest[1];
    scope->latest = latest[0];
    scope->read = true;
    return 0;
}

// Makes `other` the span of that time.
static int find_other(struct sqlite_tx *tx, struct scope *scope, int64_t at, struct err *err)
{
    int64_t bounds[2];
    struct span *other = &scope->other;
    if (other->known && at >= other->start && at < other->end)
        return 0;
    if (write_span(tx, scope, other, err) ||
        read_pair(tx, FIXED_SPAN_OF, str_of(scope->id), at, bounds, err))
        return -1;
    *other = (struct span){.start = bounds[0], .end = bounds[1], .known = true};
    return 0;
}

// The present newest span is full, and the new row is later than all of its rows.
static int begin_span(struct sqlite_tx *tx, struct scope *scope, int64_t at, struct err *err)
{
    if (write_span(tx, scope, &scope->newest, err))
        return -1;
    scope->newest.start = at;
    scope->count = 0;
    return 0;
}

static int apply(struct sqlite_tx *tx, const struct spans_change *change, struct err *err)
{
    struct scope *scope = change->scope;
    if (read_scope(tx, scope, err))
        return -1;
    scope->touched = true;
    if (change->at < scope->newest.start) {
        if (find_other(tx, scope, change->at, err))
            return -1;
        scope->other.by += change->by;
        return 0;
    }
    if (change->by > 0 && scope->count >= SPAN_ROWS && change->at > scope->latest &&
        begin_span(tx, scope, change->at, err))
        return -1;
    scope->newest.by += change->by;
    scope->count += change->by;
    if (change->at > scope->latest)
        scope->latest = change->at;
    return 0;
}

int spans_write(struct sqlite_tx *tx, struct spans *spans, struct err *err)
{
    spans->unsure = spans->count > 0;
    for (size_t i = 0; i < spans->count; i++)
        if (apply(tx, &spans->changes[i], err))
            return -1;
    for (size_t i = 0; i < spans->count; i++) {
        struct scope *scope = spans->changes[i].scope;
        if (scope->touched && (write_span(tx, scope, &scope->newest, err) ||
                               write_span(tx, scope, &scope->other, err)))
            return -1;
        scope->touched = false;
    }
    return 0;
}

// ── reading ──────────────────────────────────────────────────────────────────────────────────

static bool equals_text(const struct filter *filter, const char *column, struct str *value)
{
    if ((filter->op != FILTER_EQ && filter->op != FILTER_IN) || filter->path.len > 0 ||
        filter->value_count != 1 || filter->values[0].kind != VALUE_TEXT ||
        !filter->field->column || strcmp(filter->field->column, column) != 0)
        return false;
    *value = filter->values[0].text;
    return true;
}

// Of one project or one service; of both, the service: all of its executions are of one project.
static bool scope_of_filter(const struct filter *filter, struct str *project, struct str *service)
{
    if (!filter)
        return false;
    if (filter->op == FILTER_ALL) {
        for (size_t i = 0; i < filter->child_count; i++)
            if (!scope_of_filter(filter->children[i], project, service))
                return false;
        return filter->child_count > 0;
    }
    struct str value;
    struct str *known = equals_text(filter, "project_id", &value)   ? project
                        : equals_text(filter, "service_id", &value) ? service
                                                                    : NULL;
    if (!known || (known->at && !str_eq(*known, value)))
        return false;
    *known = value;
    return value.len > 0;
}

static bool by_time(const struct query *query)
{
    const struct sort_key *sort = query->sort;
    if (query->sort_count == 0 || strcmp(sort[0].field->column, "created_at") != 0)
        return false;
    return query->sort_count == 1 ||
           (strcmp(sort[1].field->column, "id") == 0 && sort[1].descending == sort[0].descending);
}

bool spans_serve(const struct sqlite_tx *tx, const struct entity *entity, const struct query *query,
                 struct str *scope)
{
    struct str project = STR_NONE, service = STR_NONE;
    if (tx->tx.writer || entity != &execution_entity || query->offset < WORTH_ROWS ||
        !by_time(query) || !scope_of_filter(query->filter, &project, &service))
        return false;
    *scope = service.at ? service : project;
    return true;
}

int spans_skip(struct sqlite_tx *tx, struct str scope, bool descending, int64_t *offset,
               int64_t *bound, struct err *err)
{
    sqlite3_stmt *statement = store_sqlite_fixed(tx, descending ? FIXED_SPANS_DOWN : FIXED_SPANS_UP,
                                                 err);
    int rc;
    if (!statement)
        return -1;
    store_sqlite_bind_text(statement, 1, scope);
    *bound = descending ? INT64_MAX : 0;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW) {
        int64_t start = sqlite3_column_int64(statement, 0), n = sqlite3_column_int64(statement, 1);
        if (!descending)
            *bound = start;
        if (n > *offset)
            break;
        *offset -= n;
        *bound = descending ? start : INT64_MAX;
    }
    int failed = rc == SQLITE_ROW || rc == SQLITE_DONE
                     ? 0
                     : store_sqlite_err(tx, "reading spans of executions", err);
    sqlite3_reset(statement);
    return failed;
}
