// SPDX-License-Identifier: Apache-2.0
#include "operation/secret_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/mem.h"

static int write_all(int fd, struct str text)
{
    while (text.len) {
        ssize_t n = write(fd, text.at, text.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        text.at += n;
        text.len -= (size_t)n;
    }
    return 0;
}

static int sync_folder(const char *path, struct arena *arena)
{
    const char *slash = strrchr(path, '/');
    const char *folder = slash ? arena_cstr(arena, (struct str){path, (size_t)(slash - path)})
                               : ".";
    _cleanup_fd_ int fd = open(folder[0] ? folder : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 ? fsync(fd) : -1;
}

int secret_file_write(const char *path, struct str value, struct err *err)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    const char *beside = arena_printf(arena, "%s.new", path).at;
    unlink(beside);
    _cleanup_fd_ int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, ERR_INTERNAL, errno, "Cannot create %s", beside);
    if (write_all(fd, value) || write_all(fd, STR("\n")) || fsync(fd) || rename(beside, path)) {
        err_errno(err, ERR_INTERNAL, errno, "Cannot write %s", path);
        unlink(beside);
        return -1;
    }
    if (sync_folder(path, arena))
        return err_errno(err, ERR_INTERNAL, errno, "Cannot make %s durable", path);
    return 0;
}

int secret_file_read(const char *path, char *out, size_t size, size_t *len, struct err *err)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    if (fd < 0 || fstat(fd, &stat))
        return err_errno(err, ERR_INTERNAL, errno, "Cannot read %s", path);
    if (stat.st_mode & (S_IRWXG | S_IRWXO))
        return err_set(err, ERR_INTERNAL,
                       "%s may be read by others than its owner: chmod 600 it, and replace it if "
                       "others have seen it",
                       path);
    size_t got = 0;
    while (got < size) {
        ssize_t n = read(fd, out + got, size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_errno(err, ERR_INTERNAL, errno, "Cannot read %s", path);
        if (n == 0)
            break;
        got += (size_t)n;
    }
    if (got == size)
        return err_set(err, ERR_INTERNAL, "%s is longer than expected", path);
    struct str value = str_trim((struct str){out, got});
    memmove(out, value.at, value.len);
    out[value.len] = '\0';
    *len = value.len;
    return 0;
}
