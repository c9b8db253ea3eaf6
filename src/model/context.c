// SPDX-License-Identifier: Apache-2.0
#include "model/context.h"

#include "model/take.h"

static const struct {
    const char *key, *field;
} kinds[] = {{"projects", "projectId"}, {"datasets", "datasetId"}};

static int check_count(const char *key, size_t count, const struct limits *limits, struct err *err)
{
    int64_t most = limits_most(limits, LIMIT_FILTER_TERMS);
    if (count <= (uint64_t)most)
        return 0;
    return err_field(err, key, "%s has %zu entries; %s allows %lld", key, count,
                     limits_option(LIMIT_FILTER_TERMS), (long long)most);
}

int context_filter(struct json query, const struct entity *entity, const struct limits *limits,
                   struct filter **out, struct arena *arena, struct err *err)
{
    struct json context;
    struct take_names ids;
    *out = NULL;
    if (take_object(query, "context", &context, err))
        return -1;
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        if (take_names(context, kinds[i].key, &ids, arena, err) ||
            check_count(kinds[i].key, ids.count, limits, err))
            return err_under(err, "context");
        if (ids.at && entity_field(entity, str_of(kinds[i].field)))
            *out = filter_and(
                *out, filter_in_text(entity, kinds[i].field, ids.at, ids.count, arena), arena);
    }
    return 0;
}
