// SPDX-License-Identifier: Apache-2.0
// Names of AF_UNIX sockets: the kernel takes 107 bytes, data folders may be deeper.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "net/http_internal.h"

int http_unix_name(const char *path, char *name, size_t size, int *folder, struct err *err)
{
    char parent[4096];
    size_t len = strlen(path);
    *folder = -1;
    if (len == 0)
        return err_set(err, ERR_BAD_INPUT, "unix: needs a path, as in unix:/run/drover.sock");
    if (len < size) {
        memcpy(name, path, len + 1);
        return 0;
    }
    const char *slash = strrchr(path, '/');
    if (!slash || len >= sizeof(parent) ||
        strlen(slash) + sizeof("/proc/self/fd/2147483647") > size)
        return err_set(err, ERR_BAD_INPUT, "unix:%s: the name of the socket file is too long",
                       path);
    snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path + 1), path);
    *folder = open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (*folder < 0)
        return err_errno(err, ERR_BAD_INPUT, errno, "unix:%s: cannot open its folder", path);
    snprintf(name, size, "/proc/self/fd/%d%s", *folder, slash);
    return 0;
}
