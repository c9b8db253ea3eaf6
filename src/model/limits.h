// SPDX-License-Identifier: Apache-2.0
// model/limits: how much a caller may ask for. The options of `drover server` set it
// (operation/settings.c), and an error that a limit causes names its option. Where a function takes
// `const struct limits *`, NULL means that what it reads was accepted before: no limit holds.
#ifndef DROVER_MODEL_LIMITS_H
#define DROVER_MODEL_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct limits {
    int64_t name;          // bytes of a name: --max-name
    int64_t field;         // bytes of the text or JSON of one field: --max-field
    int64_t filter_terms;  // terms and values of one filter: --max-filter-terms
    int64_t filter_depth;  // levels of one filter: --max-filter-depth
    int64_t page_size;     // rows of one page of a list: --max-page-size
    int64_t functions;     // entries of each list in a package's modules: --max-functions
    int64_t requirements;  // entries of a package's requirements: --max-requirements
    int64_t replicas;      // replicas of a service: --max-replicas
    int64_t concurrency;   // executions at the same time in a replica: --max-concurrency
};

extern const struct limits limits_default;

// A limit by its name, for tables.
enum limit {
    LIMIT_NONE,
    LIMIT_NAME,
    LIMIT_FIELD,
    LIMIT_FILTER_TERMS,
    LIMIT_FILTER_DEPTH,
    LIMIT_PAGE_SIZE,
    LIMIT_FUNCTIONS,
    LIMIT_REQUIREMENTS,
    LIMIT_REPLICAS,
    LIMIT_CONCURRENCY,
    LIMIT_COUNT
};

// INT64_MAX without limits, and for LIMIT_NONE.
int64_t limits_most(const struct limits *limits, enum limit limit);

const char *limits_option(enum limit limit);  // "--max-name"
size_t limits_offset(enum limit limit);       // of the member in struct limits

// ERR_BAD_INPUT when len bytes are too many: "name has 300 bytes; --max-name allows 256".
MUST_CHECK int limits_bytes(const struct limits *limits, enum limit limit, const char *field,
                            size_t len, struct err *err);

#endif
