// SPDX-License-Identifier: Apache-2.0
// api/listing: lists of packages, services and executions: what the caller may see, by a query in
// the body (/query/faas) or by parameters of the URL (GET).
#ifndef DROVER_API_LISTING_H
#define DROVER_API_LISTING_H

#include "api/page.h"

typedef int (*listing_complete_fn)(struct call *call, void *row, struct err *err);

// What of the entity the caller may see.
MUST_CHECK int listing_filter(struct call *call, const struct entity *entity, struct filter **out,
                              struct err *err);

// GET: pageOffset (a page number), pageSize, and `params` (names of fields, blanks between them)
// as equality terms; newest first.
MUST_CHECK int listing_get(struct call *call, const struct entity *entity, const char *params,
                           listing_complete_fn complete, struct err *err);

// What GET asks for, as the body of a page: its numbers, `params` as above, and the order (`sort`,
// a JSON object).
MUST_CHECK int listing_body(struct call *call, const char *sort, const char *params,
                            struct json *out, struct err *err);

// Adds what the parameter `after` asks for: a lastAt later than that time.
MUST_CHECK int listing_after(struct call *call, const struct entity *entity, struct filter **filter,
                             struct err *err);

// All kept revisions of a package or service as an array, newest first.
MUST_CHECK int listing_revisions(struct call *call, const struct entity *entity, struct str id,
                                 listing_complete_fn complete, struct err *err);

#endif
