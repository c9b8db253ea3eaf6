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

void *malloc(size_t size)
{
    return fault_hit(CALL_MEMORY, "malloc", NULL, -1) ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return fault_hit(CALL_MEMORY, "calloc", NULL, -1) ? NULL : __libc_calloc(count, size);
}

void *realloc(void *at, size_t size)
{
    return fault_hit(CALL_MEMORY, "realloc", NULL, -1) ? NULL : __libc_realloc(at, size);
}

int posix_memalign(void **out, size_t alignment, size_t size)
{
    if (fault_hit(CALL_MEMORY, "posix_memalign", NULL, -1))
        return ENOMEM;
    *out = __libc_memalign(alignment, size);
    return *out ? 0 : ENOMEM;
}
