// SPDX-License-Identifier: Apache-2.0
// Files: opened, written, synced, cut, renamed, removed.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "fault.h"

static bool writes(int flags) { return (flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT); }

static bool refused_open(const char *path, int flags)
{
    enum fault_call call = writes(flags) ? CALL_OPEN : CALL_OPEN_READ;
    return fault_hit(call, "open", path, -1);
}

static int opened(int fd, const char *path, int flags)
{
    if (fd >= 0 && record_on() && writes(flags) && fault_below(path)) {
        record_lock();
        record_add(RECORD_OPEN, path, 0, NULL, 0);
        if (flags & O_TRUNC)
            record_add(RECORD_TRUNCATE, path, 0, NULL, 0);
        record_unlock();
    }
    return fd;
}

#define OPEN(name)                                                                                 \
    int name(const char *path, int flags, ...)                                                     \
    {                                                                                              \
        REAL(name);                                                                                \
        va_list list;                                                                              \
        va_start(list, flags);                                                                     \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(list, mode_t) : 0;                    \
        va_end(list);                                                                              \
        if (refused_open(path, flags))                                                             \
            return -1;                                                                             \
        return opened(real(path, flags, mode), path, flags);                                       \
    }
OPEN(open)
OPEN(open64)

#define OPEN_2(name)                                                                               \
    int name(const char *path, int flags);                                                         \
    int name(const char *path, int flags)                                                          \
    {                                                                                              \
        REAL(name);                                                                                \
        return refused_open(path, flags) ? -1 : opened(real(path, flags), path, flags);            \
    }
OPEN_2(__open_2)
OPEN_2(__open64_2)

DIR *opendir(const char *path)
{
    REAL(opendir);
    return fault_hit(CALL_OPEN_READ, "opendir", path, -1) ? NULL : real(path);
}

// ── writing ──────────────────────────────────────────────────────────────────────────────────

// How much of it to write; 0: it fails.
static size_t allowed(const char *name, int fd, size_t len)
{
    if (!fault_hit(CALL_WRITE, name, NULL, fd))
        return len;
    return fault_page->short_write ? (len > 1 ? len / 2 : len) : 0;
}

ssize_t write(int fd, const void *at, size_t len)
{
    REAL(write);
    char path[512];
    size_t some = len ? allowed("write", fd, len) : 0;
    if (len && !some)
        return -1;
    if (!record_on() || !fault_path(fd, path, sizeof(path)))
        return real(fd, at, some);
    record_lock();
    off_t place = lseek(fd, 0, SEEK_CUR);
    ssize_t n = real(fd, at, some);
    if (n > 0)
        record_add(RECORD_WRITE, path, place, at, (size_t)n);
    record_unlock();
    return n;
}

#define PWRITE(name, offset_type)                                                                  \
    ssize_t name(int fd, const void *at, size_t len, offset_type offset)                           \
    {                                                                                              \
        REAL(name);                                                                                \
        char path[512];                                                                            \
        size_t some = len ? allowed(#name, fd, len) : 0;                                           \
        if (len && !some)                                                                          \
            return -1;                                                                             \
        if (!record_on() || !fault_path(fd, path, sizeof(path)))                                   \
            return real(fd, at, some, offset);                                                     \
        record_lock();                                                                             \
        ssize_t n = real(fd, at, some, offset);                                                    \
        if (n > 0)                                                                                 \
            record_add(RECORD_WRITE, path, offset, at, (size_t)n);                                 \
        record_unlock();                                                                           \
        return n;                                                                                  \
    }
PWRITE(pwrite, off_t)
PWRITE(pwrite64, off64_t)

static int synced(int fd, int (*real)(int), const char *name)
{
    char path[512];
    if (!fault_page)
        return real(fd);
    bool ours = fault_path(fd, path, sizeof(path));
    if (ours) {
        atomic_fetch_add(&fault_page->syncs, 1);
        if (fault_page->sync_us > 0)
            usleep((useconds_t)fault_page->sync_us);
    }
    if (fault_hit(CALL_FSYNC, name, NULL, fd))
        return -1;
    bool record = ours && record_on();
    if (record) {
        record_lock();
        record_add(RECORD_SYNC_BEGIN, path, fd, NULL, 0);
        record_unlock();
    }
    int rc = real(fd);
    if (record && rc == 0) {
        record_lock();
        record_add(RECORD_SYNC_END, path, fd, NULL, 0);
        record_unlock();
    }
    return rc;
}

int fsync(int fd)
{
    REAL(fsync);
    return synced(fd, real, "fsync");
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    return synced(fd, real, "fdatasync");
}

#define TRUNCATE(name, offset_type)                                                                \
    int name(int fd, offset_type size)                                                             \
    {                                                                                              \
        REAL(name);                                                                                \
        char path[512];                                                                            \
        if (fault_hit(CALL_TRUNCATE, #name, NULL, fd))                                             \
            return -1;                                                                             \
        if (!record_on() || !fault_path(fd, path, sizeof(path)))                                   \
            return real(fd, size);                                                                 \
        record_lock();                                                                             \
        int rc = real(fd, size);                                                                   \
        if (rc == 0)                                                                               \
            record_add(RECORD_TRUNCATE, path, size, NULL, 0);                                      \
        record_unlock();                                                                           \
        return rc;                                                                                 \
    }
TRUNCATE(ftruncate, off_t)
TRUNCATE(ftruncate64, off64_t)

// ── names ────────────────────────────────────────────────────────────────────────────────────

int rename(const char *from, const char *to)
{
    REAL(rename);
    if (fault_hit(CALL_RENAME, "rename", to, -1))
        return -1;
    if (!record_on() || !fault_below(from))
        return real(from, to);
    record_lock();
    int rc = real(from, to);
    if (rc == 0)
        record_add(RECORD_RENAME, from, 0, to, strlen(to));
    record_unlock();
    return rc;
}

int unlink(const char *path)
{
    REAL(unlink);
    if (fault_hit(CALL_UNLINK, "unlink", path, -1))
        return -1;
    if (!record_on() || !fault_below(path))
        return real(path);
    record_lock();
    int rc = real(path);
    if (rc == 0)
        record_add(RECORD_UNLINK, path, 0, NULL, 0);
    record_unlock();
    return rc;
}

int mkdir(const char *path, mode_t mode)
{
    REAL(mkdir);
    return fault_hit(CALL_MKDIR, "mkdir", path, -1) ? -1 : real(path, mode);
}

// ── reading ──────────────────────────────────────────────────────────────────────────────────

ssize_t read(int fd, void *at, size_t len)
{
    REAL(read);
    return fault_hit(CALL_READ, "read", NULL, fd) ? -1 : real(fd, at, len);
}

ssize_t pread(int fd, void *at, size_t len, off_t offset)
{
    REAL(pread);
    return fault_hit(CALL_READ, "pread", NULL, fd) ? -1 : real(fd, at, len, offset);
}

ssize_t pread64(int fd, void *at, size_t len, off64_t offset)
{
    REAL(pread64);
    return fault_hit(CALL_READ, "pread64", NULL, fd) ? -1 : real(fd, at, len, offset);
}

int fstat(int fd, struct stat *out)
{
    REAL(fstat);
    return fault_hit(CALL_STAT, "fstat", NULL, fd) ? -1 : real(fd, out);
}

int stat(const char *path, struct stat *out)
{
    REAL(stat);
    return fault_hit(CALL_STAT, "stat", path, -1) ? -1 : real(path, out);
}
