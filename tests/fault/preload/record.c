// SPDX-License-Identifier: Apache-2.0
// The ordered log of what reached the disk and the network, for images of a power loss.
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fault.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int file = -1;

bool record_on(void) { return fault_page && fault_page->recording; }
void record_lock(void) { pthread_mutex_lock(&lock); }
void record_unlock(void) { pthread_mutex_unlock(&lock); }

void record_add(enum record_kind kind, const char *path, int64_t offset, const void *data,
                size_t len)
{
    const char *name = getenv("FAULT_RECORD");
    if (file < 0 && name)
        file = (int)syscall(SYS_openat, AT_FDCWD, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC,
                            0600);
    struct {
        uint32_t kind, path_len;
        int64_t offset;
        uint64_t len;
    } head = {kind, (uint32_t)strlen(path), offset, len};
    struct iovec parts[] = {
        {&head, sizeof(head)}, {(void *)path, head.path_len}, {(void *)data, len}};
    if (file < 0 ||
        syscall(SYS_writev, file, parts, 3) != (long)(sizeof(head) + head.path_len + len))
        abort();
}
