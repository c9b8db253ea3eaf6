// SPDX-License-Identifier: Apache-2.0
#include "cli/page.h"

#define PAGE_SIZE 500

static int ask(struct cli *cli, const struct page_query *query, int64_t page, int64_t size,
               struct json *out, struct err *err)
{
    _cleanup_buf_ struct buf body = BUF_INIT(query->filter.len + 4096);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    json_w_pair_str(&w, "resource", str_of(query->resource));
    json_w_pair_raw(&w, "filter", query->filter.at ? query->filter : STR("{}"));
    json_w_pair_raw(&w, "sort",
                    query->oldest_first ? STR("{\"createdAt\":\"ascending\"}")
                                        : STR("{\"createdAt\":\"descending\"}"));
    json_w_pair_int(&w, "page", page);
    json_w_pair_int(&w, "pageSize", size);
    json_w_object_end(&w);
    return cli_post(cli, "/query/faas", buf_str(&body), out, err);
}

struct walk {
    bool (*each)(void *arg, struct json object);
    void *arg;
    int64_t left;
    bool more;
};

static int one_page(struct cli *cli, const struct page_query *query, int64_t page,
                    struct walk *walk, struct err *err)
{
    struct json answer, items = {0}, object, next = {0};
    struct str key;
    if (ask(cli, query, page, walk->left < PAGE_SIZE ? walk->left : PAGE_SIZE, &answer, err))
        return -1;
    json_get(answer, "items", &items);
    walk->more = json_get(answer, "hasNextPage", &next) && next.type == JSON_TRUE;
    for (struct json_iter it = json_each(items); json_next(&it, &key, &object);) {
        if (!walk->each(walk->arg, object) || --walk->left <= 0) {
            walk->more = false;
            break;
        }
    }
    return 0;
}

int page_each(struct cli *cli, const struct page_query *query,
              bool (*each)(void *arg, struct json object), void *arg, struct err *err)
{
    struct walk walk = {each, arg, query->limit > 0 ? query->limit : INT64_MAX, true};
    struct arena *before = cli->arena, *own = query->stream ? arena_new() : NULL;
    int rc = 0;
    for (int64_t page = 0; rc == 0 && walk.more; page++) {
        if (own) {
            arena_reset(own);
            cli->arena = own;
        }
        rc = one_page(cli, query, page, &walk, err);
    }
    cli->arena = before;
    arena_free(own);
    return rc;
}

int page_count(struct cli *cli, const char *resource, struct str filter, int64_t *out,
               struct err *err)
{
    struct page_query query = {.resource = resource, .filter = filter};
    struct json answer, total;
    *out = 0;
    if (ask(cli, &query, 0, 0, &answer, err))
        return -1;
    if (json_get(answer, "totalItemsCount", &total))
        json_int(total, out);
    return 0;
}
