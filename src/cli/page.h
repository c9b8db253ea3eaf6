// SPDX-License-Identifier: Apache-2.0
// cli/page: whole lists of the API, read a page at a time.
#ifndef DROVER_CLI_PAGE_H
#define DROVER_CLI_PAGE_H

#include "cli/listing.h"

// Calls `each` for every object of POST /query/faas: resource is "services", "packages" or
// "executions", filter a JSON object, newest first; at most `limit` (0: all). Stops when `each`
// returns false. Objects live in cli->arena, with `stream` only until `each` returns.
struct page_query {
    const char *resource;
    struct str filter;
    int64_t limit;
    bool oldest_first, stream;
};
MUST_CHECK int page_each(struct cli *cli, const struct page_query *query,
                         bool (*each)(void *arg, struct json object), void *arg, struct err *err);

// Lists them as -o asks for. The verb's --limit takes the place of the query's: -1: all, 0: none.
MUST_CHECK int page_list(struct cli *cli, const struct page_query *query, int64_t limit,
                         const struct listing_spec *spec, struct err *err);

// How many match.
MUST_CHECK int page_count(struct cli *cli, const char *resource, struct str filter, int64_t *out,
                          struct err *err);

#endif
