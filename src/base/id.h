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

struct str id_new(int64_t now_ms, struct arena *arena);    // ID_LEN characters
struct str uuid_new(struct arena *arena);                  // RFC 4122 version 4, for projects
struct str secret_new(size_t bytes, struct arena *arena);  // 2 * bytes hex digits from getrandom
bool id_valid(struct str id);                              // form only
void random_fill(void *at, size_t len);                    // getrandom; never fails

#endif
