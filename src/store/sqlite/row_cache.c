// SPDX-License-Identifier: Apache-2.0
// Rows that every request needs (entity.hot), kept by the writer, who alone changes them: what it
// writes is forgotten first, and what it undoes is forgotten altogether.
#include "base/mem.h"
#include "store/sqlite/sqlite_internal.h"

#define SLOTS   256          // direct-mapped; a power of two
#define ROW_MAX (64u << 10)  // bytes of a row's texts; larger ones are read each time

struct slot {
    const struct entity *entity;  // NULL: free
    struct str id;
    void *row;  // NULL: there is no such row
    struct arena *arena;
};

struct row_cache {
    struct slot slots[SLOTS];
};

struct row_cache *row_cache_new(void) { return mem_alloc(sizeof(struct row_cache)); }

void row_cache_free(struct row_cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < SLOTS; i++)
        arena_free(cache->slots[i].arena);
    mem_free(cache);
}

static struct slot *slot_of(struct row_cache *cache, const struct entity *entity, struct str id)
{
    uint64_t hash = str_hash(id) ^ ((uintptr_t)entity >> 4);
    return &cache->slots[hash & (SLOTS - 1)];
}

static bool holds(const struct slot *slot, const struct entity *entity, struct str id)
{
    return slot->entity == entity && str_eq(slot->id, id);
}

enum row_cached row_cache_get(struct row_cache *cache, const struct entity *entity, struct str id,
                              void *row, struct arena *arena)
{
    const struct slot *slot = slot_of(cache, entity, id);
    if (!holds(slot, entity, id))
        return ROW_UNKNOWN;
    if (!slot->row)
        return ROW_ABSENT;
    entity_copy(entity, slot->row, row, arena);
    return ROW_FOUND;
}

void row_cache_put(struct row_cache *cache, const struct entity *entity, struct str id,
                   const void *row)
{
    struct slot *slot = slot_of(cache, entity, id);
    if (!slot->arena)
        slot->arena = arena_new();
    arena_reset(slot->arena);
    slot->id = arena_copy(slot->arena, id);
    slot->row = row ? arena_alloc(slot->arena, entity->size) : NULL;
    if (row)
        entity_copy(entity, row, slot->row, slot->arena);
    slot->entity = entity;
    if (arena_used(slot->arena) <= ROW_MAX)
        return;
    slot->entity = NULL;
    arena_free(slot->arena);
    slot->arena = NULL;
}

void row_cache_forget(struct row_cache *cache, const struct entity *entity, struct str id)
{
    struct slot *slot = slot_of(cache, entity, id);
    if (holds(slot, entity, id))
        slot->entity = NULL;
}

void row_cache_clear(struct row_cache *cache)
{
    for (size_t i = 0; i < SLOTS; i++)
        cache->slots[i].entity = NULL;
}
