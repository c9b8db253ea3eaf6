// SPDX-License-Identifier: Apache-2.0
#include "api/page.h"

#define SIZE_DEFAULT 100

static int write_rows(struct call *call, const struct page *page, void *rows, size_t count,
                      struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        void *row = (char *)rows + i * page->entity->size;
        if (page->complete && page->complete(call, row, err))
            return -1;
        entity_encode(page->entity, row, &call->out);
    }
    return 0;
}

// The page in pieces of what the store gives at once.
static int write_selected(struct call *call, const struct page *page, struct query query,
                          size_t *count, struct err *err)
{
    int64_t left = query.limit;
    size_t got;
    *count = 0;
    do {
        void *rows;
        query.limit = left < QUERY_LIMIT_MAX ? left : QUERY_LIMIT_MAX;
        if (tx_select(call->op.tx, page->entity, &query, call->op.arena, &rows, &got, err) ||
            write_rows(call, page, rows, got, err))
            return -1;
        *count += got;
        query.offset += (int64_t)got;
        left -= (int64_t)got;
    } while (left > 0 && (int64_t)got == query.limit && !call->reply.over);
    return 0;
}

int page_reply(struct call *call, const struct page *page, struct err *err)
{
    struct op *op = &call->op;
    struct query query = {0};
    struct json body = page->body.type == JSON_OBJECT ? page->body : json_of(STR("{}"));
    int64_t total;
    size_t count;
    if (query_parse(body, page->entity, page->size ? page->size : SIZE_DEFAULT, op_limits(op),
                    op->arena, &query, err))
        return -1;
    query.filter = filter_and(query.filter, page->filter, op->arena);
    json_w_object(&call->out);
    json_w_key(&call->out, "items");
    json_w_array(&call->out);
    if (write_selected(call, page, query, &count, err))
        return -1;
    json_w_array_end(&call->out);
    bool whole = query.offset == 0 && (int64_t)count < query.limit;
    total = (int64_t)count;
    if (!whole && tx_count(op->tx, page->entity, query.filter, &total, err))
        return -1;
    json_w_pair_int(&call->out, "totalItemsCount", total);
    json_w_pair_int(&call->out, "totalPagesCount", (total + query.limit - 1) / query.limit);
    json_w_pair_bool(&call->out, "hasNextPage", query.offset + (int64_t)count < total);
    json_w_object_end(&call->out);
    return 0;
}

int page_array(struct call *call, const struct page *page, const char *sort, struct err *err)
{
    struct op *op = &call->op;
    struct query query = {.filter = page->filter, .limit = QUERY_LIMIT_MAX, .sort_count = 1};
    size_t count;
    query.sort[0] = (struct sort_key){.field = entity_field(page->entity, str_of(sort)),
                                      .path = STR("")};
    json_w_array(&call->out);
    do {
        void *rows;
        if (tx_select(op->tx, page->entity, &query, op->arena, &rows, &count, err) ||
            write_rows(call, page, rows, count, err))
            return -1;
        query.offset += (int64_t)count;
    } while (count == QUERY_LIMIT_MAX && !call->reply.over);
    json_w_array_end(&call->out);
    return 0;
}
