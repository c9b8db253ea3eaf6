// SPDX-License-Identifier: Apache-2.0
#include "store/log_scan.h"

#include "store/store_internal.h"

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX     10000
#define FILE_COST     200  // lines that could be looked at while a file is opened
#define BLOCK_COST    8    // while a block is found
#define PROBE_COST    2    // while the next line of one of several executions is found
#define SERVICES_MAX  64   // more are not merged: all lines are looked at

void log_scan_begin(struct log_scan *scan, struct logs_read *read, int64_t budget)
{
    const struct logs_query *query = &read->query;
    int64_t limit = query->limit <= 0 ? LIMIT_DEFAULT : query->limit;
    *scan = (struct log_scan){.read = read,
                              .limit = limit < LIMIT_MAX ? limit : LIMIT_MAX,
                              .budget = budget,
                              .first = 0,
                              .last = INT64_MAX};
    if (query->descending && query->before_seq != INT64_MAX)
        scan->last = query->before_seq - 1;
    if (!query->descending && query->after_seq >= 0)
        scan->first = query->after_seq == INT64_MAX ? INT64_MAX : query->after_seq + 1;
}

static int stop_at(struct log_scan *scan, int64_t reached)
{
    scan->read->more = true;
    scan->read->reached = reached;
    return 1;
}

bool log_scan_over(struct log_scan *scan, int64_t key)
{
    if (scan->budget > 0)
        return false;
    bool down = scan->read->query.descending;
    return stop_at(scan, down ? log_key_last(key) + 1 : log_key_first(key) - 1) == 1;
}

// ── one line ─────────────────────────────────────────────────────────────────────────────────

static int source_wanted(struct log_scan *scan, int64_t source, bool *wanted, struct err *err)
{
    const struct logs_query *query = &scan->read->query;
    *wanted = true;
    if (!query->function_name.at && !query->replica_id.at)
        return 0;
    size_t at = (size_t)source % (sizeof(scan->sources) / sizeof(scan->sources[0]));
    if (scan->sources[at].source != source) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct log_line line = {0};
        if (log_file_names(scan->file, source, arena, &line, err))
            return -1;
        scan->sources[at].source = source;
        scan->sources[at].wanted = (!query->function_name.at ||
                                    str_eq(query->function_name, line.function_name)) &&
                                   (!query->replica_id.at ||
                                    str_eq(query->replica_id, line.replica_id));
    }
    *wanted = scan->sources[at].wanted;
    return 0;
}

static bool service_wanted(const struct log_scan *scan, int64_t service)
{
    size_t low = 0, high = scan->service_count;
    while (scan->by_service && low < high) {
        size_t middle = low + (high - low) / 2;
        if (scan->services[middle] == service)
            return true;
        if (scan->services[middle] < service)
            low = middle + 1;
        else
            high = middle;
    }
    return !scan->by_service;
}

static bool execution_wanted(const struct logs_query *query, struct str id)
{
    if (query->execution_count == 0)
        return true;
    for (size_t i = 0; i < query->execution_count; i++)
        if (str_eq(query->executions[i], id))
            return true;
    return false;
}

static int matches(struct log_scan *scan, const struct log_row *row, bool *yes, struct err *err)
{
    const struct logs_query *query = &scan->read->query;
    *yes = row->at >= query->start && row->at <= query->end &&
           (query->level_min <= 0 || row->level >= query->level_min) &&
           (query->system || !row->system) && service_wanted(scan, row->service) &&
           execution_wanted(query, row->execution_id) &&
           (!query->text.at || (row->message.at && store_has_text(row->message, query->text)));
    return *yes ? source_wanted(scan, row->source, yes, err) : 0;
}

static int give(struct log_scan *scan, const struct log_row *row, struct err *err)
{
    struct logs_read *read = scan->read;
    if (read->count == scan->cap) {
        scan->cap = scan->cap ? scan->cap * 2 : 32;
        struct log_line *more = arena_array_of(read->arena, struct log_line, scan->cap);
        if (read->count > 0)
            memcpy(more, read->lines, read->count * sizeof(*more));
        read->lines = more;
    }
    struct log_line *line = &read->lines[read->count++];
    *line = (struct log_line){.seq = row->seq,
                              .at = row->at,
                              .level = row->level,
                              .system = row->system,
                              .execution_id = arena_copy(read->arena, row->execution_id),
                              .message = arena_copy(read->arena, row->message)};
    return log_file_names(scan->file, row->source, read->arena, line, err);
}

static int look(struct log_scan *scan, const struct log_row *row, struct err *err)
{
    bool yes;
    scan->budget--;
    if (matches(scan, row, &yes, err) || (yes && give(scan, row, err)))
        return -1;
    if (yes && (int64_t)scan->read->count >= scan->limit)
        return 1;
    return scan->budget > 0 ? 0 : stop_at(scan, row->seq);
}

// ── ranges of lines ──────────────────────────────────────────────────────────────────────────

static int walk_one(struct log_scan *scan, enum log_by by, int64_t service, struct str execution,
                    const struct log_range *range, struct err *err)
{
    struct log_row row;
    int rc = log_file_seek(scan->file, by, service, execution, range, err);
    while (rc == 0 && (rc = log_file_next(scan->file, by, &row, err)) == 1)
        if ((rc = look(scan, &row, err)) != 0)
            return rc;
    return rc;
}

struct cursor {  // of one of several executions or services
    int64_t service, seq;
    struct str execution;
    bool ended;
};

static int cursor_move(struct log_scan *scan, struct cursor *cursor, const struct log_range *range,
                       struct err *err)
{
    struct log_row row;
    enum log_by by = cursor->execution.at ? LOG_BY_EXECUTION : LOG_BY_SERVICE;
    if (log_file_seek(scan->file, by, cursor->service, cursor->execution, range, err))
        return -1;
    int rc = log_file_next(scan->file, by, &row, err);
    scan->budget -= PROBE_COST;
    cursor->ended = rc == 0;
    cursor->seq = rc == 1 ? row.seq : 0;
    return rc < 0 ? -1 : 0;
}

static struct cursor *next_cursor(struct cursor *cursors, size_t count, bool down)
{
    struct cursor *next = NULL;
    for (size_t i = 0; i < count; i++)
        if (!cursors[i].ended &&
            (!next || (down ? cursors[i].seq > next->seq : cursors[i].seq < next->seq)))
            next = &cursors[i];
    return next;
}

static int merge(struct log_scan *scan, struct cursor *cursors, size_t count,
                 const struct log_range *range, struct err *err)
{
    struct log_row row;
    struct log_range rest = *range;
    for (size_t i = 0; i < count; i++)
        if (cursor_move(scan, &cursors[i], range, err))
            return -1;
    for (struct cursor *c; (c = next_cursor(cursors, count, range->descending));) {
        struct log_range one = {c->seq, c->seq, false};
        int64_t at = c->seq;
        if (log_file_seek(scan->file, LOG_BY_NOTHING, 0, STR_NONE, &one, err))
            return -1;
        int rc = log_file_next(scan->file, LOG_BY_NOTHING, &row, err);
        if (rc == 1)
            rc = look(scan, &row, err);
        if (rc != 0)
            return rc;
        rest.first = range->descending ? range->first : at + 1;
        rest.last = range->descending ? at - 1 : range->last;
        if (cursor_move(scan, c, &rest, err))
            return -1;
    }
    return 0;
}

static int walk(struct log_scan *scan, const struct log_range *range, struct err *err)
{
    const struct logs_query *query = &scan->read->query;
    size_t executions = query->execution_count;
    if (range->first > range->last)
        return 0;
    if (executions == 1)
        return walk_one(scan, LOG_BY_EXECUTION, 0, query->executions[0], range, err);
    if (executions == 0 && scan->by_service && scan->service_count == 1)
        return walk_one(scan, LOG_BY_SERVICE, scan->services[0], STR_NONE, range, err);
    if (executions == 0 && (!scan->by_service || scan->service_count > SERVICES_MAX))
        return walk_one(scan, LOG_BY_NOTHING, 0, STR_NONE, range, err);
    size_t count = executions > 0 ? executions : scan->service_count;
    _cleanup_arena_ struct arena *arena = arena_new();
    struct cursor *cursors = arena_array_of(arena, struct cursor, count);
    for (size_t i = 0; i < count; i++) {
        if (executions > 0)
            cursors[i].execution = query->executions[i];
        else
            cursors[i].service = scan->services[i];
    }
    return merge(scan, cursors, count, range, err);
}

// ── ranges of blocks ─────────────────────────────────────────────────────────────────────────

static int walk_block(struct log_scan *scan, int64_t block, struct log_range *rest, struct err *err)
{
    int64_t first = block * LOG_BLOCK_LINES, last = first + LOG_BLOCK_LINES - 1;
    struct log_range part = {first > rest->first ? first : rest->first,
                             last < rest->last ? last : rest->last, rest->descending};
    scan->budget -= BLOCK_COST;
    int rc = walk(scan, &part, err);
    if (rc != 0)
        return rc;
    if (rest->descending)
        rest->last = part.first - 1;
    else
        rest->first = part.last + 1;
    if (scan->budget > 0)
        return 0;
    return stop_at(scan, rest->descending ? rest->last + 1 : rest->first - 1);
}

// What the index says about the range; where it fails, all lines are looked at.
static int walk_blocks(struct log_scan *scan, const struct log_range *range, struct err *err)
{
    struct err index_err = ERR_INIT;
    struct log_range rest = *range;
    int64_t block;
    if (range->first > range->last)
        return 0;
    int rc = log_index_seek(scan->index, scan->read->query.text, range->first / LOG_BLOCK_LINES,
                            range->last / LOG_BLOCK_LINES, range->descending, &index_err);
    while (rc == 0 && (rc = log_index_next(scan->index, &block, &index_err)) == 1)
        if ((rc = walk_block(scan, block, &rest, err)) != 0)
            return rc;
    if (rc == 0)
        return 0;
    scan->index_failed = true;
    return walk(scan, &rest, err);
}

static int in_order(struct log_scan *scan, const struct log_range *low,
                    int (*walk_low)(struct log_scan *, const struct log_range *, struct err *),
                    const struct log_range *high,
                    int (*walk_high)(struct log_scan *, const struct log_range *, struct err *),
                    struct err *err)
{
    if (scan->read->query.descending) {
        int rc = walk_high(scan, high, err);
        return rc ? rc : walk_low(scan, low, err);
    }
    int rc = walk_low(scan, low, err);
    return rc ? rc : walk_high(scan, high, err);
}

// An execution's own lines are few: only other searches use the index, and behind it look at all.
static int search(struct log_scan *scan, const struct log_range *range, struct err *err)
{
    const struct logs_query *query = &scan->read->query;
    struct err index_err = ERR_INIT;
    int64_t indexed;
    if (range->first > range->last)
        return 0;
    if (!query->text.at || query->execution_count > 0 || !scan->index ||
        !log_index_can_find(query->text))
        return walk(scan, range, err);
    if (log_index_end(scan->index, range->first, &indexed, &index_err)) {
        scan->index_failed = true;
        return walk(scan, range, err);
    }
    struct log_range low = *range, high = *range;
    low.last = range->last < indexed ? range->last : indexed - 1;
    high.first = range->first > indexed ? range->first : indexed;
    return in_order(scan, &low, walk_blocks, &high, walk, err);
}

// ── a file ───────────────────────────────────────────────────────────────────────────────────

static int search_times(struct log_scan *scan, const struct log_range *range, struct err *err)
{
    const struct logs_query *query = &scan->read->query;
    struct log_range narrow = *range;
    if (range->first > range->last)
        return 0;
    return log_file_narrow(scan->file, query->start, query->end, &narrow, err)
               ? -1
               : search(scan, &narrow, err);
}

int log_scan_file(struct log_scan *scan, struct log_file *file, int64_t key,
                  struct log_index *index, struct err *err)
{
    const struct logs_query *query = &scan->read->query;
    int64_t first = log_key_first(key), last = log_key_last(key), covered;
    struct log_range range = {first > scan->first ? first : scan->first,
                              last < scan->last ? last : scan->last, query->descending};
    scan->file = file;
    scan->index = index;
    scan->index_failed = false;
    scan->budget -= FILE_COST;
    memset(scan->sources, 0, sizeof(scan->sources));
    scan->by_service = query->service_id.at || query->project_id.at;
    if (range.first > range.last)
        return 0;
    if (scan->by_service) {
        if (log_file_services(file, query->service_id, query->project_id, scan->read->arena,
                              &scan->services, &scan->service_count, err))
            return -1;
        if (scan->service_count == 0)
            return 0;
    }
    if (query->start == INT64_MIN && query->end == INT64_MAX)
        return search(scan, &range, err);
    if (log_file_covered(file, &covered, err))
        return -1;
    struct log_range low = range, high = range;
    low.last = range.last < covered ? range.last : covered;
    high.first = range.first > covered ? range.first : covered + 1;
    return in_order(scan, &low, search_times, &high, search, err);
}
