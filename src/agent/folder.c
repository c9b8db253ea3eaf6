// SPDX-License-Identifier: Apache-2.0
#include "agent/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <fts.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

int folder_make(const char *path, struct err *err)
{
    _cleanup_free_ char *copy = mem_copy(path, strlen(path));
    for (char *at = copy + 1;; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char was = *at;
        *at = '\0';
        struct stat found;
        if (mkdir(copy, 0755) != 0 && (errno != EEXIST || stat(copy, &found) != 0))
            return err_errno(err, ERR_UNAVAILABLE, errno, "cannot make the folder %s", copy);
        *at = was;
        if (was == '\0')
            return 0;
    }
}

static FTS *walk(const char *path)
{
    _cleanup_free_ char *copy = mem_copy(path, strlen(path));
    char *roots[] = {copy, NULL};
    return fts_open(roots, FTS_PHYSICAL | FTS_NOCHDIR | FTS_XDEV, NULL);
}

static int remove_one(const FTSENT *entry)
{
    switch (entry->fts_info) {
    case FTS_D:  // on the way in: its entries can be removed only with write permission
        return chmod(entry->fts_accpath, 0700);
    case FTS_DP: return rmdir(entry->fts_accpath);
    case FTS_NS:
    case FTS_ERR:
    case FTS_DNR: errno = entry->fts_errno; return errno == ENOENT ? 0 : -1;
    default: return unlink(entry->fts_accpath);
    }
}

int folder_remove(const char *path, struct err *err)
{
    FTS *fts = walk(path);
    if (!fts)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot remove %s", path);
    int rc = 0;
    for (FTSENT *entry; rc == 0 && (entry = fts_read(fts));)
        if (remove_one(entry) != 0 && errno != ENOENT)
            rc = err_errno(err, ERR_UNAVAILABLE, errno, "cannot remove %s", entry->fts_path);
    fts_close(fts);
    return rc;
}

int folder_seal(const char *path, struct err *err)
{
    FTS *fts = walk(path);
    if (!fts)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot read %s", path);
    int rc = 0;
    for (FTSENT *entry; rc == 0 && (entry = fts_read(fts));) {
        bool folder = entry->fts_info == FTS_DP, file = entry->fts_info == FTS_F;
        if (!folder && !file)
            continue;
        mode_t mode = folder || (entry->fts_statp->st_mode & 0111) ? 0555 : 0444;
        if (chmod(entry->fts_accpath, mode) != 0)
            rc = err_errno(err, ERR_UNAVAILABLE, errno, "cannot change the mode of %s",
                           entry->fts_path);
    }
    fts_close(fts);
    return rc;
}

bool folder_exists(const char *path)
{
    struct stat found;
    return stat(path, &found) == 0 && S_ISDIR(found.st_mode);
}

int folder_lock(const char *path, struct err *err)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot open the lock file %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0)
        return fd;
    int why = errno;
    close(fd);
    if (why == EWOULDBLOCK)
        return err_set(err, ERR_BUSY, "%s is locked by another process", path);
    return err_errno(err, ERR_UNAVAILABLE, why, "cannot lock %s", path);
}
