// SPDX-License-Identifier: Apache-2.0
// The data folder: made, locked, synced.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/store_internal.h"

int store_folder_make(const char *path, struct err *err)
{
    if (!path || !*path)
        return err_set(err, ERR_BAD_INPUT, "the data folder's path is empty");
    _cleanup_free_ char *part = mem_copy(path, strlen(path));
    for (char *slash = part + 1;; slash++) {
        if (*slash != '/' && *slash != '\0')
            continue;
        char end = *slash;
        *slash = '\0';
        if (mkdir(part, 0700) < 0 && errno != EEXIST)
            return err_errno(err, ERR_INTERNAL, errno, "making the folder %s", part);
        if (end == '\0')
            return 0;
        *slash = end;
    }
}

int store_folder_sync(const char *path, struct err *err)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "syncing the folder %s", path);
    return 0;
}

static int locked_by_other(int fd, const char *file, struct err *err)
{
    char pid[32] = "";
    ssize_t n = pread(fd, pid, sizeof(pid) - 1, 0);
    pid[n > 0 ? n : 0] = '\0';
    return err_set(err, ERR_CONFLICT,
                   "%s is held by another server (process " STR_FMT
                   "); stop it, or use another data folder",
                   file, STR_ARG(str_trim(str_of(pid))));
}

int store_folder_lock(const char *path, int *out, struct err *err)
{
    char file[4096];
    snprintf(file, sizeof(file), "%s/drover.lock", path);
    _cleanup_fd_ int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_errno(err, ERR_INTERNAL, errno, "opening %s", file);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno == EWOULDBLOCK)
            return locked_by_other(fd, file, err);
        return err_errno(err, ERR_INTERNAL, errno, "locking %s", file);
    }
    char pid[32];
    int len = snprintf(pid, sizeof(pid), "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) < 0 || pwrite(fd, pid, (size_t)len, 0) != len)
        return err_errno(err, ERR_INTERNAL, errno, "writing %s", file);
    *out = fd;
    fd = -1;
    return 0;
}
