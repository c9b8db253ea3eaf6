// SPDX-License-Identifier: Apache-2.0
// model/context: {"context":{"projects":[…],"datasets":[…]}} of a query, which narrows it as terms
// of its filter would. dtlpy sends it beside the filter.
#ifndef DROVER_MODEL_CONTEXT_H
#define DROVER_MODEL_CONTEXT_H

#include "model/filter.h"

// *out is NULL when the query has no context, or none of a kind that the entity knows.
MUST_CHECK int context_filter(struct json query, const struct entity *entity,
                              const struct limits *limits, struct filter **out, struct arena *arena,
                              struct err *err);

#endif
