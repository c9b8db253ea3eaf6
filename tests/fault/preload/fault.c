// SPDX-License-Identifier: Apache-2.0
#include "fault.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

struct fault_control *fault_page;

// By system calls: the functions of the C library are those that are replaced.
__attribute__((constructor)) static void attach(void)
{
    const char *path = getenv("FAULT_CONTROL");
    int fd = path ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *at = (void *)syscall(SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    syscall(SYS_close, fd);
    if (at != MAP_FAILED)
        fault_page = at;
}

void *fault_real(const char *name)
{
    void *found = dlsym(RTLD_NEXT, name);
    if (!found)
        abort();
    return found;
}

bool fault_wants(enum fault_call call)
{
    const struct fault_control *page = fault_page;
    return page && page->armed && (page->calls & UINT64_C(1) << call);
}

bool fault_below(const char *path)
{
    size_t len = strlen(fault_page->root);
    return len > 0 && strncmp(path, fault_page->root, len) == 0 &&
           (path[len] == '/' || path[len] == '\0');
}

bool fault_path(int fd, char *out, size_t size)
{
    char link[40];
    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t len = syscall(SYS_readlinkat, AT_FDCWD, link, out, size - 1);
    out[len > 0 ? len : 0] = '\0';
    return len > 0 && fault_below(out);
}

// "drover.db$" is the end of the path.
static bool ends_so(const char *path, const char *part)
{
    size_t len = strlen(path), end = strlen(part);
    return end > 1 && part[end - 1] == '$' && len >= end - 1 &&
           strncmp(path + len - (end - 1), part, end - 1) == 0;
}

static bool matches(const char *path)
{
    const char *part = fault_page->match;
    if (!fault_below(path))
        return false;
    if (!*part)
        return true;
    for (;;) {
        char one[256];
        size_t len = strcspn(part, "|");
        snprintf(one, sizeof(one), "%.*s", (int)len, part);
        if (ends_so(path, one) || strstr(path, one))
            return true;
        if (part[len] == '\0')
            return false;
        part += len + 1;
    }
}

static bool on_files(enum fault_call call) { return call <= CALL_READ; }

bool fault_hit(enum fault_call call, const char *name, const char *path, int fd)
{
    struct fault_control *page = fault_page;
    char found[512];
    if (!fault_wants(call) || (page->only_pid && page->only_pid != (uint32_t)getpid()))
        return false;
    int saved = errno;
    bool match = true;
    if (on_files(call) && page->root[0]) {
        if (!path)
            path = fault_path(fd, found, sizeof(found)) ? found : "";
        match = matches(path);
    }
    errno = saved;
    if (!match)
        return false;
    uint64_t number = atomic_fetch_add(&page->seen, 1) + 1;
    if (number < page->from || (page->count && number >= page->from + page->count))
        return false;
    atomic_fetch_add(&page->failed, 1);
    snprintf(page->last, sizeof(page->last), "%s %.200s", name, path ? path : "");
    errno = (int)page->error;
    return page->error != 0 || page->short_write;
}
