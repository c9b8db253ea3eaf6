// SPDX-License-Identifier: Apache-2.0
#include "cli/page.h"

#define PAGE_MOST 1000

// Where the next page begins: behind the last object of the one before. A number of a page would
// shift when objects are made meanwhile, and cost more the further on it is.
struct place {
    struct str created_at, id;  // absent: at the beginning
};

struct walk {
    const struct page_query *query;
    bool (*each)(void *arg, struct json object);
    void *arg;
    struct place place;
    int64_t left, size;
    bool more;
};

// Objects of a project or service have an index by time, all of them together one by id; ids grow
// with time.
static bool by_time(const struct page_query *query)
{
    size_t at;
    return query->filter.at && (str_find(query->filter, STR("\"serviceId\":"), &at) ||
                                str_find(query->filter, STR("\"projectId\":"), &at));
}

static void write_bound(struct json_writer *w, const char *key, const char *operator,
                        struct str value)
{
    json_w_object(w);
    json_w_key(w, key);
    json_w_object(w);
    json_w_pair_str(w, operator, value);
    json_w_object_end(w);
    json_w_object_end(w);
}

static void write_filter(const struct walk *walk, struct json_writer *w)
{
    const struct page_query *query = walk->query;
    struct str filter = query->filter.at ? query->filter : STR("{}");
    bool plain = str_is(filter, "{}");
    if (!walk->place.id.at) {
        json_w_raw(w, filter);
        return;
    }
    json_w_object(w);
    json_w_key(w, "$and");
    json_w_array(w);
    if (!plain)
        json_w_raw(w, filter);
    if (by_time(query))
        write_bound(w, "createdAt", query->oldest_first ? "$gte" : "$lte", walk->place.created_at);
    write_bound(w, "id", query->oldest_first ? "$gt" : "$lt", walk->place.id);
    json_w_array_end(w);
    json_w_object_end(w);
}

static int ask(struct cli *cli, const struct walk *walk, int64_t size, struct json *out,
               struct err *err)
{
    const struct page_query *query = walk->query;
    _cleanup_buf_ struct buf body = BUF_INIT(query->filter.len + 4096);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    json_w_pair_str(&w, "resource", str_of(query->resource));
    json_w_key(&w, "filter");
    write_filter(walk, &w);
    json_w_key(&w, "sort");
    json_w_object(&w);
    json_w_pair_str(&w, by_time(query) ? "createdAt" : "id",
                    query->oldest_first ? STR("ascending") : STR("descending"));
    json_w_object_end(&w);
    json_w_pair_int(&w, "page", 0);
    json_w_pair_int(&w, "pageSize", size);
    json_w_object_end(&w);
    return cli_post(cli, "/query/faas", buf_str(&body), out, err);
}

static struct str text_of(struct json object, const char *key, struct arena *arena)
{
    struct json value;
    return json_get(object, key, &value) ? json_str(value, arena) : STR_NONE;
}

// A server may allow less in a page than is usual.
static int ask_what_fits(struct cli *cli, struct walk *walk, struct json *out, struct err *err)
{
    for (;;) {
        int64_t size = walk->left < walk->size ? walk->left : walk->size;
        if (ask(cli, walk, size, out, err) == 0)
            return 0;
        if (strcmp(err->field, "pageSize") != 0 || walk->size < 10)
            return -1;
        walk->size /= 10;
        *err = ERR_INIT;
    }
}

static int one_page(struct cli *cli, struct walk *walk, struct err *err)
{
    struct json answer, items = {0}, object, last = {0}, next = {0};
    struct str key;
    if (ask_what_fits(cli, walk, &answer, err))
        return -1;
    json_get(answer, "items", &items);
    walk->more = json_get(answer, "hasNextPage", &next) && next.type == JSON_TRUE;
    for (struct json_iter it = json_each(items); json_next(&it, &key, &object); last = object) {
        if (!walk->each(walk->arg, object) || --walk->left <= 0) {
            walk->more = false;
            return 0;
        }
    }
    walk->place.id = text_of(last, "id", cli->own_arena);
    walk->place.created_at = text_of(last, "createdAt", cli->own_arena);
    walk->more &= walk->place.id.at != NULL;
    return 0;
}

int page_each(struct cli *cli, const struct page_query *query,
              bool (*each)(void *arg, struct json object), void *arg, struct err *err)
{
    struct walk walk = {.query = query,
                        .each = each,
                        .arg = arg,
                        .size = PAGE_MOST,
                        .more = true,
                        .left = query->limit > 0 ? query->limit : INT64_MAX};
    struct arena *before = cli->arena, *own = query->stream ? arena_new() : NULL;
    int rc = 0;
    while (rc == 0 && walk.more) {
        if (own) {
            arena_reset(own);
            cli->arena = own;
        }
        rc = one_page(cli, &walk, err);
    }
    cli->arena = before;
    arena_free(own);
    return rc;
}

static bool list_one(void *arg, struct json object)
{
    listing_add(arg, object);
    return true;
}

int page_list(struct cli *cli, const struct page_query *query, int64_t limit,
              const struct listing_spec *spec, struct err *err)
{
    struct page_query limited = *query;
    struct listing_spec shown = *spec;
    limited.limit = limit > 0 ? limit : 0;
    if (limit == 0)
        shown.empty = NULL;  // nobody looked
    struct listing *listing = listing_begin(cli, &shown);
    if (limit != 0 && page_each(cli, &limited, list_one, listing, err))
        return -1;
    (void)listing_end(listing);
    return 0;
}

int page_count(struct cli *cli, const char *resource, struct str filter, int64_t *out,
               struct err *err)
{
    struct page_query query = {.resource = resource, .filter = filter};
    struct walk walk = {.query = &query};
    struct json answer, total;
    *out = 0;
    if (ask(cli, &walk, 0, &answer, err))
        return -1;
    if (json_get(answer, "totalItemsCount", &total))
        json_int(total, out);
    return 0;
}
