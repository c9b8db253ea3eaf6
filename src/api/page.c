// SPDX-License-Identifier: Apache-2.0
#include "api/page.h"

#include "model/describe.h"

#define SIZE_DEFAULT 100
#define DEEP_OFFSET  10000  // from here on it matters at which end the walk starts

static int number_param(struct call *call, const char *name, struct json_writer *out,
                        const char *key, struct err *err)
{
    struct str text = call_query(call, name);
    int64_t n;
    if (!text.at)
        return 0;
    if (!str_int(text, &n) || n < 0) {
        struct str shown = describe_clip(text, 40);
        return err_field(err, name, "%s must be a whole number from 0 on, not \"" STR_FMT "\"",
                         name, STR_ARG(shown));
    }
    json_w_pair_int(out, key, n);
    return 0;
}

int page_params(struct call *call, struct json_writer *out, struct err *err)
{
    return number_param(call, "pageOffset", out, "page", err) ||
                   number_param(call, "pageSize", out, "pageSize", err)
               ? -1
               : 0;
}

static int write_rows(struct call *call, const struct page *page, void *rows, size_t count,
                      bool backwards, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        void *row = (char *)rows + (backwards ? count - 1 - i : i) * page->entity->size;
        if (page->complete && page->complete(call, row, err))
            return -1;
        entity_encode(page->entity, row, &call->out);
    }
    return 0;
}

static int read_query(struct call *call, const struct page *page, struct query *out,
                      struct err *err)
{
    struct json body = page->body.type == JSON_OBJECT ? page->body : json_of(STR("{}"));
    if (query_parse(body, page->entity, page->size ? page->size : SIZE_DEFAULT,
                    op_limits(&call->op), call->op.arena, out, err))
        return -1;
    out->filter = filter_and(out->filter, page->filter, call->op.arena);
    return 0;
}

// The page in pieces of what the store gives at once.
static int write_selected(struct call *call, const struct page *page, struct query query,
                          size_t *count, struct err *err)
{
    int64_t left = query.limit;
    size_t got;
    *count = 0;
    if (query.count_only)
        return 0;
    do {
        void *rows;
        query.limit = left < QUERY_LIMIT_MAX ? left : QUERY_LIMIT_MAX;
        if (tx_select(call->op.tx, page->entity, &query, call->op.arena, &rows, &got, err) ||
            write_rows(call, page, rows, got, false, err))
            return -1;
        *count += got;
        query.offset += (int64_t)got;
        left -= (int64_t)got;
    } while (left > 0 && (int64_t)got == query.limit && !call->reply.over);
    return 0;
}

static void turn_round(const struct entity *entity, struct query *query)
{
    if (query->sort_count == 0)
        query->sort[query->sort_count++] = (struct sort_key){
            .field = entity_field(entity, STR("id")), .path = STR("")};
    for (size_t i = 0; i < query->sort_count; i++)
        query->sort[i].descending = !query->sort[i].descending;
}

// The same page, walked to from the end of the list, which is nearer.
static int write_from_end(struct call *call, const struct page *page, struct query query,
                          int64_t total, size_t *count, struct err *err)
{
    int64_t at = query.offset, end = at + query.limit < total ? at + query.limit : total;
    turn_round(page->entity, &query);
    for (*count = 0; at < end && !call->reply.over; at += query.limit) {
        void *rows;
        size_t got;
        query.limit = end - at < QUERY_LIMIT_MAX ? end - at : QUERY_LIMIT_MAX;
        query.offset = total - at - query.limit;
        if (tx_select(call->op.tx, page->entity, &query, call->op.arena, &rows, &got, err) ||
            write_rows(call, page, rows, got, true, err))
            return -1;
        *count += got;
    }
    return 0;
}

// total is counted before the rows of a deep page are read, and -1 otherwise.
static int write_items(struct call *call, const struct page *page, const struct query *query,
                       int64_t *total, size_t *count, struct err *err)
{
    *total = -1;
    if (!query->count_only && query->offset >= DEEP_OFFSET &&
        tx_count(call->op.tx, page->entity, query->filter, total, err))
        return -1;
    return query->offset > *total / 2 && *total >= 0
               ? write_from_end(call, page, *query, *total, count, err)
               : write_selected(call, page, *query, count, err);
}

int page_reply(struct call *call, const struct page *page, struct err *err)
{
    struct op *op = &call->op;
    struct query query;
    int64_t total, pages = 0;
    size_t count;
    if (read_query(call, page, &query, err))
        return -1;
    json_w_object(&call->out);
    json_w_key(&call->out, "items");
    json_w_array(&call->out);
    if (write_items(call, page, &query, &total, &count, err))
        return -1;
    json_w_array_end(&call->out);
    bool whole = !query.count_only && query.offset == 0 && (int64_t)count < query.limit;
    if (whole)
        total = (int64_t)count;
    else if (total < 0 && tx_count(op->tx, page->entity, query.filter, &total, err))
        return -1;
    if (!query.count_only)
        pages = (total + query.limit - 1) / query.limit;
    json_w_pair_int(&call->out, "totalItemsCount", total);
    json_w_pair_int(&call->out, "totalPagesCount", pages);
    json_w_pair_bool(&call->out, "hasNextPage",
                     !query.count_only && query.offset + (int64_t)count < total);
    json_w_object_end(&call->out);
    return 0;
}

int page_array(struct call *call, const struct page *page, const char *sort, struct err *err)
{
    struct query query = {.filter = page->filter, .limit = INT64_MAX};
    size_t count;
    if (page->body.type == JSON_OBJECT && read_query(call, page, &query, err))
        return -1;
    query.sort_count = 1;
    query.sort[0] = (struct sort_key){.field = entity_field(page->entity, str_of(sort)),
                                      .path = STR("")};
    json_w_array(&call->out);
    if (write_selected(call, page, query, &count, err))
        return -1;
    json_w_array_end(&call->out);
    return 0;
}
