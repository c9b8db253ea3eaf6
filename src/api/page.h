// SPDX-License-Identifier: Apache-2.0
// api/page: one page of a list, in the form that all lists have: items, totalItemsCount,
// totalPagesCount, hasNextPage. With pageSize 0 it is the total alone: no items, no pages.
#ifndef DROVER_API_PAGE_H
#define DROVER_API_PAGE_H

#include "api/call.h"

struct page {
    const struct entity *entity;
    struct json body;       // {"filter","sort","page","pageSize"}; absent: the first page
    int64_t size;           // when the body does not say; 0: 100
    struct filter *filter;  // and this; NULL: nothing more
    // Completes a row (names of related things) before it is written; NULL: as it is.
    int (*complete)(struct call *call, void *row, struct err *err);
};

// Reads the page and writes it to call->out.
MUST_CHECK int page_reply(struct call *call, const struct page *page, struct err *err);

// pageOffset (a page number) and pageSize of the URL, as the members of a page's body.
MUST_CHECK int page_params(struct call *call, struct json_writer *out, struct err *err);

// All matches of a filter as a plain JSON array, in the order of `sort` (a field's JSON name); when
// there is a body, only the page that it names.
MUST_CHECK int page_array(struct call *call, const struct page *page, const char *sort,
                          struct err *err);

#endif
