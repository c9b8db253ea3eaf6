// SPDX-License-Identifier: Apache-2.0
// Linear probing over a power of two of slots. A removed entry leaves a mark while a probe may
// still have to pass it; marks go when the table is rebuilt.
#include "base/map.h"

#include <sodium.h>

#include "base/id.h"
#include "base/mem.h"

#define FIRST_SLOTS 16

struct slot {
    uint64_t hash;
    struct str key;
    void *value;  // NULL: never used since the last rebuild; &removed_mark: removed
};

struct map {
    unsigned char secret[crypto_shorthash_KEYBYTES];
    struct slot *slots;
    size_t mask;    // slots - 1
    size_t count;   // entries
    size_t filled;  // entries and marks
};

static const char removed_mark;

static bool is_entry(const struct slot *slot)
{
    return slot->value && slot->value != (const void *)&removed_mark;
}

struct map *map_new(void)
{
    struct map *map = mem_alloc(sizeof(*map));
    random_fill(map->secret, sizeof(map->secret));
    map->slots = mem_alloc(FIRST_SLOTS * sizeof(*map->slots));
    map->mask = FIRST_SLOTS - 1;
    return map;
}

void map_free(struct map *map)
{
    if (!map)
        return;
    mem_free(map->slots);
    mem_free(map);
}

static uint64_t hash_of(const struct map *map, struct str key)
{
    unsigned char out[crypto_shorthash_BYTES];
    crypto_shorthash(out, (const unsigned char *)(key.at ? key.at : ""), key.len, map->secret);
    uint64_t hash;
    memcpy(&hash, out, sizeof(hash));
    return hash;
}

// The slot of key, or NULL.
static struct slot *find(const struct map *map, uint64_t hash, struct str key)
{
    for (size_t i = hash & map->mask;; i = (i + 1) & map->mask) {
        struct slot *slot = &map->slots[i];
        if (!slot->value)
            return NULL;
        if (slot->hash == hash && is_entry(slot) && str_eq(slot->key, key))
            return slot;
    }
}

static void insert(struct map *map, const struct slot *entry)
{
    size_t i = entry->hash & map->mask;
    while (map->slots[i].value)
        i = (i + 1) & map->mask;
    map->slots[i] = *entry;
    map->count++;
    map->filled++;
}

static void rebuild(struct map *map, size_t slots)
{
    struct slot *old = map->slots;
    size_t old_slots = map->mask + 1;
    map->slots = mem_alloc(slots * sizeof(*map->slots));
    map->mask = slots - 1;
    map->count = map->filled = 0;
    for (size_t i = 0; i < old_slots; i++)
        if (is_entry(&old[i]))
            insert(map, &old[i]);
    mem_free(old);
}

void *map_get(const struct map *map, struct str key)
{
    if (map->count == 0)
        return NULL;
    struct slot *slot = find(map, hash_of(map, key), key);
    return slot ? slot->value : NULL;
}

void *map_put(struct map *map, struct str key, void *value)
{
    uint64_t hash = hash_of(map, key);
    struct slot *slot = find(map, hash, key);
    if (slot) {
        void *replaced = slot->value;
        slot->key = key;
        slot->value = value;
        return replaced;
    }
    size_t slots = map->mask + 1;
    if ((map->filled + 1) * 4 > slots * 3)
        rebuild(map, (map->count + 1) * 2 > slots ? slots * 2 : slots);
    insert(map, &(struct slot){hash, key, value});
    return NULL;
}

void *map_remove(struct map *map, struct str key)
{
    struct slot *slot = find(map, hash_of(map, key), key);
    if (!slot)
        return NULL;
    void *value = slot->value;
    slot->key = STR_NONE;
    slot->value = (void *)(uintptr_t)&removed_mark;
    map->count--;
    // Before an empty slot no probe needs the mark, nor the marks in front of it.
    size_t i = (size_t)(slot - map->slots);
    if (!map->slots[(i + 1) & map->mask].value)
        for (; map->slots[i].value == (const void *)&removed_mark; i = (i - 1) & map->mask) {
            map->slots[i].value = NULL;
            map->filled--;
        }
    return value;
}

size_t map_count(const struct map *map) { return map->count; }

void *map_next(const struct map *map, size_t *cursor, struct str *key)
{
    while (*cursor <= map->mask) {
        const struct slot *slot = &map->slots[(*cursor)++];
        if (!is_entry(slot))
            continue;
        if (key)
            *key = slot->key;
        return slot->value;
    }
    return NULL;
}
