// SPDX-License-Identifier: Apache-2.0
// api/router: finds the route of a request by its path, segment by segment; a literal segment wins
// over a parameter. Made once at start, read-only afterwards.
#ifndef DROVER_API_ROUTER_H
#define DROVER_API_ROUTER_H

#include "api/call.h"

#define ROUTE_PARAMS_MAX 3

struct router;

// Aborts on a table that names one method and path twice: that is a programmer's mistake.
struct router *router_new(const struct route_list *const *lists, size_t count);
void router_free(struct router *router);

struct route_match {
    const struct route *route;
    struct str params[ROUTE_PARAMS_MAX];  // decoded, in the arena
    struct str allow;                     // with ERR_METHOD: "GET, POST"
};
// HEAD finds GET's route. ERR_NOT_FOUND, ERR_METHOD, or ERR_BAD_INPUT (broken %XX, not UTF-8).
MUST_CHECK int router_match(const struct router *router, struct str method, struct str raw_path,
                            struct route_match *out, struct arena *arena, struct err *err);

#endif
