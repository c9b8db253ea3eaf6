// SPDX-License-Identifier: Apache-2.0
// Memory that runs out. A library of its own: it cannot stand before a sanitizer's allocator.
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

#include "fault.h"

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *at, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static bool fails(const char *name, size_t size)
{
    return fault_page && size >= fault_page->min_size && fault_hit(CALL_MEMORY, name, NULL, -1);
}

void *malloc(size_t size) { return fails("malloc", size) ? NULL : __libc_malloc(size); }

void *calloc(size_t count, size_t size)
{
    return fails("calloc", count * size) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *at, size_t size)
{
    return fails("realloc", size) ? NULL : __libc_realloc(at, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (fails("posix_memalign", size))
        return ENOMEM;
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}
