// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "driver/process/process.h"
#include "net/loop.h"

#define READ_MAX ((size_t)64 << 10)

char *driver_process_path(const struct driver_process *self, const char *id, const char *file)
{
    struct buf path = BUF_INIT(1 << 16);
    buf_add_cstr(&path, self->config.folder);
    buf_add_char(&path, '/');
    buf_add_cstr(&path, id);
    if (file) {
        buf_add_char(&path, '/');
        buf_add_cstr(&path, file);
    }
    char *text = mem_copy(path.at, path.len);
    buf_deinit(&path);
    return text;
}

static int write_file(const char *path, struct str text)
{
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -1;
    while (text.len > 0) {
        ssize_t wrote = write(fd, text.at, text.len);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return -1;
        text.at += wrote;
        text.len -= (size_t)wrote;
    }
    return 0;
}

// Not synced: after a power failure no agent is left that the file could tell of.
int driver_process_put(const struct driver_process *self, const char *id, const char *file,
                       struct str text, struct err *err)
{
    _cleanup_free_ char *path = driver_process_path(self, id, file);
    _cleanup_free_ char *temporary = driver_process_path(self, id, ".tmp");
    if (write_file(temporary, text) == 0 && rename(temporary, path) == 0)
        return 0;
    int cause = errno;
    unlink(temporary);
    return err_errno(err, ERR_UNAVAILABLE, cause, "cannot write %s", path);
}

struct str driver_process_read(const struct driver_process *self, const char *id, const char *file,
                               struct arena *arena)
{
    _cleanup_free_ char *path = driver_process_path(self, id, file);
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat about;
    if (fd < 0 || fstat(fd, &about) != 0 || !S_ISREG(about.st_mode))
        return STR_NONE;
    char *at = arena_alloc(arena, READ_MAX);
    size_t len = 0;
    ssize_t got;
    while (len < READ_MAX && (got = read(fd, at + len, READ_MAX - len)) != 0) {
        if (got < 0 && errno != EINTR)
            return STR_NONE;
        len += got > 0 ? (size_t)got : 0;
    }
    return (struct str){at, len};
}

bool driver_process_read_json(const struct driver_process *self, const char *id, const char *file,
                              struct arena *arena, struct json *out)
{
    struct err err = ERR_INIT;
    struct str text = driver_process_read(self, id, file, arena);
    return text.at && json_parse(text, 0, out, &err) == 0 && json_is(*out, JSON_OBJECT);
}

int driver_process_make_folder(const struct driver_process *self, const char *id, struct err *err)
{
    static const char *const folders[] = {NULL, "home", "tmp"};
    for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
        _cleanup_free_ char *path = driver_process_path(self, id, folders[i]);
        if (mkdir(path, 0700) != 0 && errno != EEXIST)
            return err_errno(err, ERR_UNAVAILABLE, errno, "cannot make the folder %s", path);
    }
    return 0;
}

void driver_process_unlink(const struct driver_process *self, const char *id, const char *file)
{
    _cleanup_free_ char *path = driver_process_path(self, id, file);
    unlink(path);
}

// What users' code left there may be anything; folders are made accessible before they are read.
static int remove_one(const char *path, const struct stat *about, int type, struct FTW *where)
{
    (void)about;
    (void)where;
    if (type == FTW_DP || type == FTW_D || type == FTW_DNR)
        rmdir(path);
    else
        unlink(path);
    return 0;
}

static int open_up(const char *path, const struct stat *about, int type, struct FTW *where)
{
    (void)about;
    (void)where;
    if (type == FTW_D || type == FTW_DNR)
        chmod(path, 0700);
    return 0;
}

static void delete_folder(void *arg)
{
    nftw(arg, open_up, 32, FTW_PHYS | FTW_MOUNT);
    nftw(arg, remove_one, 32, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

void driver_process_remove_folder(const struct driver_process *self, const char *id)
{
    char name[128];
    snprintf(name, sizeof(name), "%s%s", id[0] == '.' ? "" : ".gone-", id);
    char *trash = driver_process_path(self, name, NULL);
    _cleanup_free_ char *path = driver_process_path(self, id, NULL);
    if (id[0] != '.' && rename(path, trash) != 0) {
        if (errno != ENOENT)
            log_warn(self->config.log, "driver", "cannot remove %s", path);
        mem_free(trash);
        return;
    }
    loop_work(self->config.loop, delete_folder, mem_free, trash);
}

int driver_process_lock(const struct driver_process *self, const char *id)
{
    _cleanup_free_ char *path = driver_process_path(self, id, "lock");
    _cleanup_fd_ int low = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    // Above what the supervisor's own descriptors will be (driver_process_spawn).
    int fd = low < 0 ? -1 : fcntl(low, F_DUPFD_CLOEXEC, 4);
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int cause = errno;
        close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}
