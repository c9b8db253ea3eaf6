// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/mem.h"
#include "store/memory/memory_internal.h"

struct match {  // a row with what it is sorted by
    const void *data;
    struct str id;
    struct store_value keys[SORT_KEYS_MAX];
};

struct found {
    struct match *matches;
    size_t count;
    struct arena *arena;
};

static struct found find_all(struct memory_tx *tx, const struct entity *entity,
                             const struct filter *filter)
{
    struct memory_table *table = store_memory_table(tx, entity);
    struct found found = {.arena = arena_new()};
    found.matches = arena_array_of(found.arena, struct match, table->count);
    struct arena *scratch = arena_new();
    for (size_t i = 0; i < table->count; i++) {
        const void *data = table->rows[i]->data;
        if (filter_match(filter, data, scratch))
            found.matches[found.count++] = (struct match){
                .data = data, .id = *field_text(&entity->fields[0], (void *)data)};
        arena_reset(scratch);
    }
    arena_free(scratch);
    return found;
}

static int compare_matches(const void *a, const void *b, void *arg)
{
    const struct match *left = a, *right = b;
    const struct query *query = arg;
    bool descending = false;
    for (size_t i = 0; i < query->sort_count; i++) {
        descending = query->sort[i].descending;
        int sign = store_value_cmp(left->keys[i], right->keys[i]);
        if (sign != 0)
            return descending ? -sign : sign;
    }
    int sign = str_cmp(left->id, right->id);
    return descending ? -sign : sign;
}

static void sort_matches(struct found *found, const struct query *query)
{
    for (size_t i = 0; i < found->count; i++)
        for (size_t k = 0; k < query->sort_count; k++)
            found->matches[i].keys[k] = store_value_field(query->sort[k].field, query->sort[k].path,
                                                          found->matches[i].data, found->arena);
    if (found->count > 1)
        qsort_r(found->matches, found->count, sizeof(*found->matches), compare_matches,
                (void *)query);
}

int store_memory_select(struct tx *base, const struct entity *entity, const struct query *query,
                        struct arena *arena, void **rows, size_t *count, struct err *err)
{
    (void)err;
    struct found found = find_all(memory_of(base), entity, query->filter);
    sort_matches(&found, query);
    size_t from = (uint64_t)query->offset < found.count ? (size_t)query->offset : found.count;
    size_t left = found.count - from;
    size_t take = (uint64_t)query->limit < left ? (size_t)query->limit : left;
    char *out = take > 0 ? arena_alloc(arena, take * entity->size) : NULL;
    for (size_t i = 0; i < take; i++)
        entity_copy(entity, found.matches[from + i].data, out + i * entity->size, arena);
    arena_free(found.arena);
    *rows = out;
    *count = take;
    return 0;
}

int store_memory_count(struct tx *base, const struct entity *entity, const struct filter *filter,
                       int64_t *count, struct err *err)
{
    (void)err;
    struct found found = find_all(memory_of(base), entity, filter);
    *count = (int64_t)found.count;
    arena_free(found.arena);
    return 0;
}

int store_memory_delete_where(struct tx *base, const struct entity *entity,
                              const struct filter *filter, int64_t limit, int64_t *deleted,
                              struct err *err)
{
    (void)err;
    struct memory_tx *tx = memory_of(base);
    struct memory_table *table = store_memory_table(tx, entity);
    struct found found = find_all(tx, entity, filter);
    while (*deleted < (int64_t)found.count && (limit <= 0 || *deleted < limit))
        store_memory_remove(tx, table, found.matches[(*deleted)++].id);
    arena_free(found.arena);
    return 0;
}

static int compare_groups(const void *a, const void *b, void *arg)
{
    const struct match *left = a, *right = b;
    (void)arg;
    return store_value_cmp(left->keys[0], right->keys[0]);
}

int store_memory_count_by(struct tx *base, const struct entity *entity, const struct filter *filter,
                          const struct field *field,
                          void (*each)(void *arg, struct str value, int64_t count), void *arg,
                          struct err *err)
{
    (void)err;
    struct found found = find_all(memory_of(base), entity, filter);
    for (size_t i = 0; i < found.count; i++)
        found.matches[i].keys[0] = store_value_field(field, STR(""), found.matches[i].data,
                                                     found.arena);
    if (found.count > 1)
        qsort_r(found.matches, found.count, sizeof(*found.matches), compare_groups, NULL);
    for (size_t i = 0, end; i < found.count; i = end) {
        for (end = i; end < found.count; end++)
            if (compare_groups(&found.matches[i], &found.matches[end], NULL) != 0)
                break;
        each(arg, *field_text(field, (void *)found.matches[i].data), (int64_t)(end - i));
    }
    arena_free(found.arena);
    return 0;
}
