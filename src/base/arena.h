// SPDX-License-Identifier: Apache-2.0
// base/arena: memory that is freed all at once: one per request, per message, per controller step.
// Not for two threads at the same time; it may move between threads with the work it belongs to.
#ifndef DROVER_BASE_ARENA_H
#define DROVER_BASE_ARENA_H

#include <stdarg.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct arena;

struct arena *arena_new(void);
void arena_free(struct arena *arena);   // NULL does nothing
void arena_reset(struct arena *arena);  // frees what was allocated, keeps the first block

void *arena_alloc(struct arena *arena, size_t size);  // zeroed, aligned for any type
#define arena_new_of(arena, type)          ((type *)arena_alloc((arena), sizeof(type)))
#define arena_array_of(arena, type, count) ((type *)arena_alloc((arena), sizeof(type) * (count)))

struct str arena_copy(struct arena *arena,
                      struct str s);                  // also NUL-terminated; absent stays absent
char *arena_cstr(struct arena *arena, struct str s);  // NUL-terminated copy, never NULL
struct str arena_printf(struct arena *arena, const char *fmt, ...) PRINTF_LIKE(2, 3);
size_t arena_used(const struct arena *arena);  // bytes handed out since reset

static inline void arena_free_at(struct arena **slot) { arena_free(*slot); }
#define _cleanup_arena_ __attribute__((cleanup(arena_free_at)))

#endif
