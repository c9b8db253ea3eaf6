// SPDX-License-Identifier: Apache-2.0
// base/map: hash map from byte strings to pointers (open addressing, SipHash with a random key, so
// that callers from outside cannot aim for collisions). Keys and values are borrowed: a key must
// live as long as its entry.
#ifndef DROVER_BASE_MAP_H
#define DROVER_BASE_MAP_H

#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

struct map;

struct map *map_new(void);
void map_free(struct map *map);                        // not the values
void *map_get(const struct map *map, struct str key);  // NULL when absent
void *map_put(struct map *map, struct str key,
              void *value);                         // value not NULL; returns the one replaced
void *map_remove(struct map *map, struct str key);  // the value removed, or NULL
size_t map_count(const struct map *map);

// for (size_t i = 0; (value = map_next(map, &i, &key));) — no changes while walking but removal of
// the entry just returned.
void *map_next(const struct map *map, size_t *cursor, struct str *key);

#endif
