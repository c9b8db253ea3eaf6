// SPDX-License-Identifier: Apache-2.0
// SQLite writes each page of the write-ahead log with two system calls. Under this VFS they are
// gathered, and reach the file in one call when SQLite syncs it, which with synchronous=FULL comes
// before anybody is told of the commit; or earlier, when something else is asked of the file.
#include <stdio.h>

#include "base/mem.h"
#include "store/sqlite/sqlite_internal.h"

#define GATHER_BYTES (128 * 1024)

struct wal_file {  // the real VFS's file lies behind it
    sqlite3_file base;
    char *gathered;
    sqlite3_int64 at;  // where in the file they belong
    int len;
};

static struct wal_file *wal_of(sqlite3_file *file) { return (struct wal_file *)(void *)file; }

static sqlite3_file *real_of(sqlite3_file *file)
{
    return (sqlite3_file *)(void *)((char *)file + sizeof(struct wal_file));
}

// What could not be written is gone: SQLite gives the transaction up.
static int flush(sqlite3_file *file)
{
    struct wal_file *wal = wal_of(file);
    int len = wal->len;
    wal->len = 0;
    return len > 0 ? real_of(file)->pMethods->xWrite(real_of(file), wal->gathered, len, wal->at)
                   : SQLITE_OK;
}

// Runs a method of the real file, whose answer may depend on what is gathered.
#define AFTER_FLUSH(file, method, ...)                                                             \
    int rc = flush(file);                                                                          \
    return rc == SQLITE_OK ? real_of(file)->pMethods->method(real_of(file), ##__VA_ARGS__) : rc

static int wal_write(sqlite3_file *file, const void *bytes, int len, sqlite3_int64 at)
{
    struct wal_file *wal = wal_of(file);
    if (wal->len > 0 && (at != wal->at + wal->len || len > GATHER_BYTES - wal->len)) {
        int rc = flush(file);
        if (rc != SQLITE_OK)
            return rc;
    }
    if (len > GATHER_BYTES)
        return real_of(file)->pMethods->xWrite(real_of(file), bytes, len, at);
    if (wal->len == 0)
        wal->at = at;
    memcpy(wal->gathered + wal->len, bytes, (size_t)len);
    wal->len += len;
    return SQLITE_OK;
}

static int wal_read(sqlite3_file *file, void *bytes, int len, sqlite3_int64 at)
{
    AFTER_FLUSH(file, xRead, bytes, len, at);
}

static int wal_sync(sqlite3_file *file, int flags) { AFTER_FLUSH(file, xSync, flags); }
static int wal_truncate(sqlite3_file *file, sqlite3_int64 len)
{
    AFTER_FLUSH(file, xTruncate, len);
}
static int wal_size(sqlite3_file *file, sqlite3_int64 *len) { AFTER_FLUSH(file, xFileSize, len); }

static int wal_close(sqlite3_file *file)
{
    mem_free(wal_of(file)->gathered);  // of no commit: those were synced
    return real_of(file)->pMethods->xClose(real_of(file));
}

static int wal_lock(sqlite3_file *file, int kind)
{
    return real_of(file)->pMethods->xLock(real_of(file), kind);
}

static int wal_unlock(sqlite3_file *file, int kind)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), kind);
}

static int wal_reserved(sqlite3_file *file, int *out)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int wal_control(sqlite3_file *file, int op, void *arg)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), op, arg);
}

static int wal_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int wal_traits(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static const sqlite3_io_methods wal_methods = {
    .iVersion = 1,
    .xClose = wal_close,
    .xRead = wal_read,
    .xWrite = wal_write,
    .xTruncate = wal_truncate,
    .xSync = wal_sync,
    .xFileSize = wal_size,
    .xLock = wal_lock,
    .xUnlock = wal_unlock,
    .xCheckReservedLock = wal_reserved,
    .xFileControl = wal_control,
    .xSectorSize = wal_sector,
    .xDeviceCharacteristics = wal_traits,
};

static sqlite3_vfs *real_vfs(sqlite3_vfs *vfs) { return vfs->pAppData; }

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags,
                    int *out_flags)
{
    sqlite3_vfs *real = real_vfs(vfs);
    if (!(flags & SQLITE_OPEN_WAL))
        return real->xOpen(real, name, file, flags, out_flags);
    memset(file, 0, sizeof(struct wal_file));
    int rc = real->xOpen(real, name, real_of(file), flags, out_flags);
    if (rc != SQLITE_OK)
        return rc;
    wal_of(file)->gathered = mem_alloc(GATHER_BYTES);
    file->pMethods = &wal_methods;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    return real_vfs(vfs)->xDelete(real_vfs(vfs), name, sync);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *out)
{
    return real_vfs(vfs)->xAccess(real_vfs(vfs), name, flags, out);
}

static int vfs_path(sqlite3_vfs *vfs, const char *name, int size, char *out)
{
    return real_vfs(vfs)->xFullPathname(real_vfs(vfs), name, size, out);
}

// The methods that are not about files take no notice of the VFS that they are called with.
void wal_writes_register(sqlite3_vfs *vfs, char name[WAL_WRITES_NAME])
{
    sqlite3_vfs *real = sqlite3_vfs_find(NULL);
    snprintf(name, WAL_WRITES_NAME, "drover-%p", (void *)vfs);
    *vfs = *real;
    vfs->szOsFile += (int)sizeof(struct wal_file);
    vfs->pNext = NULL;
    vfs->zName = name;
    vfs->pAppData = real;
    vfs->xOpen = vfs_open;
    vfs->xDelete = vfs_delete;
    vfs->xAccess = vfs_access;
    vfs->xFullPathname = vfs_path;
    sqlite3_vfs_register(vfs, 0);
}
