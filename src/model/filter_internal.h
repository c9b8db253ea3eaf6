// SPDX-License-Identifier: Apache-2.0
// What filter.c and query.c share.
#ifndef DROVER_MODEL_FILTER_INTERNAL_H
#define DROVER_MODEL_FILTER_INTERNAL_H

#include "model/filter.h"

struct filter_place {  // a column, and the dotted path below it
    const struct field *field;
    struct str path;
};

// Finds what a caller's dotted name stands for. ERR_BAD_INPUT names an unknown one.
MUST_CHECK int filter_resolve(const struct entity *entity, struct str name,
                              struct filter_place *out, struct err *err);

// filter_parse for lists: {"projectId": null} and an empty $or are no constraint.
MUST_CHECK int filter_parse_list(struct json json, const struct entity *entity,
                                 const struct limits *limits, struct arena *arena,
                                 struct filter **out, struct err *err);

#endif
