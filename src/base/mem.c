// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Noreturn void out_of_memory(size_t size)
{
    // The stack is all there is now: no stdio, one write.
    char line[80];
    int n = snprintf(line, sizeof(line), "drover: out of memory asking for %zu bytes\n", size);
    ssize_t ignored = write(STDERR_FILENO, line, (size_t)n);
    (void)ignored;
    abort();
}

void *mem_alloc(size_t size)
{
    void *at = size > PTRDIFF_MAX ? NULL : calloc(1, size ? size : 1);
    if (!at)
        out_of_memory(size);
    return at;
}

void *mem_resize(void *at, size_t size)
{
    void *moved = size > PTRDIFF_MAX ? NULL : realloc(at, size ? size : 1);
    if (!moved)
        out_of_memory(size);
    return moved;
}

void *mem_try_resize(void *at, size_t size)
{
    return size > PTRDIFF_MAX ? NULL : realloc(at, size ? size : 1);
}

char *mem_copy(const char *at, size_t len)
{
    char *copy = mem_resize(NULL, len < SIZE_MAX ? len + 1 : len);
    if (len > 0)
        memcpy(copy, at, len);
    copy[len] = '\0';
    return copy;
}

void mem_free(void *at) { free(at); }

void fd_fill_standard(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0)
            continue;
        // The lowest number that is free: this one.
        int opened = open("/dev/null", fd == STDIN_FILENO ? O_RDONLY : O_WRONLY);
        if (opened != fd)
            return;
    }
}

void fd_close_at(int *fd)
{
    if (*fd < 0)
        return;
    int saved = errno;
    close(*fd);
    errno = saved;
    *fd = -1;
}

void mem_trim(void)
{
#ifdef __GLIBC__
    malloc_trim(0);
#endif
}
