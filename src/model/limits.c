// SPDX-License-Identifier: Apache-2.0
#include "model/limits.h"

const struct limits limits_default = {
    .name = 256,
    .field = 1024 * 1024,
    .filter_terms = 10000,
    .filter_depth = 16,
    .page_size = 1000,
    .functions = 256,
    .requirements = 512,
    .replicas = 1000,
    .concurrency = 1000,
};

static const struct {
    const char *option;
    size_t offset;
} table[LIMIT_COUNT] = {
    [LIMIT_NAME] = {"--max-name", offsetof(struct limits, name)},
    [LIMIT_FIELD] = {"--max-field", offsetof(struct limits, field)},
    [LIMIT_FILTER_TERMS] = {"--max-filter-terms", offsetof(struct limits, filter_terms)},
    [LIMIT_FILTER_DEPTH] = {"--max-filter-depth", offsetof(struct limits, filter_depth)},
    [LIMIT_PAGE_SIZE] = {"--max-page-size", offsetof(struct limits, page_size)},
    [LIMIT_FUNCTIONS] = {"--max-functions", offsetof(struct limits, functions)},
    [LIMIT_REQUIREMENTS] = {"--max-requirements", offsetof(struct limits, requirements)},
    [LIMIT_REPLICAS] = {"--max-replicas", offsetof(struct limits, replicas)},
    [LIMIT_CONCURRENCY] = {"--max-concurrency", offsetof(struct limits, concurrency)},
};

const char *limits_option(enum limit limit) { return table[limit].option; }

size_t limits_offset(enum limit limit) { return table[limit].offset; }

int64_t limits_most(const struct limits *limits, enum limit limit)
{
    if (!limits || limit == LIMIT_NONE)
        return INT64_MAX;
    return *(const int64_t *)(const void *)((const char *)limits + table[limit].offset);
}

int limits_bytes(const struct limits *limits, enum limit limit, const char *field, size_t len,
                 struct err *err)
{
    int64_t most = limits_most(limits, limit);
    if (len <= (uint64_t)most)
        return 0;
    return err_field(err, field, "%s has %zu bytes; %s allows %lld", field, len,
                     limits_option(limit), (long long)most);
}
