// SPDX-License-Identifier: Apache-2.0
// Blocks from the heap, used up from the front; what does not fit starts a larger block.
#include "base/arena.h"

#include <stdint.h>
#include <stdio.h>

#include "base/mem.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(at, size)   ASAN_POISON_MEMORY_REGION((at), (size))
#define UNPOISON(at, size) ASAN_UNPOISON_MEMORY_REGION((at), (size))
#define RED_ZONE           1  // at least one poisoned byte after each allocation
#else
#define POISON(at, size)   ((void)(at), (void)(size))
#define UNPOISON(at, size) ((void)(at), (void)(size))
#define RED_ZONE           0
#endif

#define ALIGNMENT   _Alignof(max_align_t)
#define FIRST_BLOCK ((size_t)4 * 1024)
#define LARGE_BLOCK ((size_t)256 * 1024)  // growth by doubling stops here

struct block {
    struct block *next;
    size_t size, used;
    _Alignas(max_align_t) char bytes[];
};

struct arena {
    struct block *newest;  // the list of all starts here
    struct block *first;
    size_t handed_out;
};

static struct block *block_new(size_t size, struct block *next)
{
    struct block *block = mem_resize(NULL, sizeof(*block) + size);
    block->next = next;
    block->size = size;
    block->used = 0;
    POISON(block->bytes, size);
    return block;
}

static void block_free(struct block *block)
{
    UNPOISON(block->bytes, block->size);
    mem_free(block);
}

struct arena *arena_new(void)
{
    struct arena *arena = mem_alloc(sizeof(*arena));
    arena->first = arena->newest = block_new(FIRST_BLOCK, NULL);
    return arena;
}

void arena_reset(struct arena *arena)
{
    for (struct block *block = arena->newest, *next; block; block = next) {
        next = block->next;
        if (block != arena->first)
            block_free(block);
    }
    arena->newest = arena->first;
    arena->first->next = NULL;
    POISON(arena->first->bytes, arena->first->size);
    arena->first->used = 0;
    arena->handed_out = 0;
}

void arena_free(struct arena *arena)
{
    if (!arena)
        return;
    arena_reset(arena);
    block_free(arena->first);
    mem_free(arena);
}

// A block with at least `room` bytes. A big piece gets one of its own, behind the newest, so that
// what is left in the newest stays in use.
static struct block *block_add(struct arena *arena, size_t room)
{
    size_t size = arena->newest->size * 2;
    if (size > LARGE_BLOCK)
        size = LARGE_BLOCK;
    if (room > size / 4) {
        arena->newest->next = block_new(room, arena->newest->next);
        return arena->newest->next;
    }
    arena->newest = block_new(size, arena->newest);
    return arena->newest;
}

// Bytes that are not zeroed yet.
static void *take(struct arena *arena, size_t size)
{
    if (size > PTRDIFF_MAX / 2)
        return mem_alloc(SIZE_MAX);  // ends the process with the usual line
    size_t room = (size + RED_ZONE + ALIGNMENT - 1) & ~(ALIGNMENT - 1);
    struct block *block = arena->newest;
    if (room > block->size - block->used)
        block = block_add(arena, room);
    void *at = block->bytes + block->used;
    block->used += room;
    arena->handed_out += size;
    UNPOISON(at, size);
    return at;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    void *at = take(arena, size);
    memset(at, 0, size);
    return at;
}

char *arena_cstr(struct arena *arena, struct str s)
{
    char *copy = take(arena, s.len + 1);
    if (s.len > 0)
        memcpy(copy, s.at, s.len);
    copy[s.len] = '\0';
    return copy;
}

struct str arena_copy(struct arena *arena, struct str s)
{
    return s.at ? (struct str){arena_cstr(arena, s), s.len} : STR_NONE;
}

struct str arena_printf(struct arena *arena, const char *fmt, ...)
{
    char small[256];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    size_t len = n > 0 ? (size_t)n : 0;
    char *out = take(arena, len + 1);
    if (len < sizeof(small))
        memcpy(out, small, len);
    else
        vsnprintf(out, len + 1, fmt, again);
    va_end(again);
    out[len] = '\0';
    return (struct str){out, len};
}

size_t arena_used(const struct arena *arena) { return arena->handed_out; }
