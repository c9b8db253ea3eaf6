// SPDX-License-Identifier: Apache-2.0
// base/id: identifiers. 24 lower-case hex digits: 48 bits of wall time (ms), 48 random bits, so ids
// sort by age as strings (keyset paging) and cannot be guessed from one another in bulk.
#ifndef DROVER_BASE_ID_H
#define DROVER_BASE_ID_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

#define ID_LEN   24
#define UUID_LEN 36

struct str id_new(int64_t now_ms, struct arena *arena);  // ID_LEN characters

// Ids that always grow, within a millisecond and also when the clock steps back: they take the
// newest time seen then, and random bits larger than the last by a random step of up to 2^24. Any
// thread.
struct id_source;
struct id_source *id_source_new(void);
void id_source_free(struct id_source *source);
struct str id_next(struct id_source *source, int64_t now_ms, struct arena *arena);
void id_source_seen(struct id_source *source, struct str id);  // one made before: later ones follow

struct str uuid_new(struct arena *arena);                  // RFC 4122 version 4, for projects
struct str secret_new(size_t bytes, struct arena *arena);  // 2 * bytes hex digits from getrandom
bool id_valid(struct str id);                              // form only
int64_t id_time(struct str id);  // the wall time (ms) that an id_new was given; -1: it is none
void random_fill(void *at, size_t len);  // getrandom; never fails

#endif
