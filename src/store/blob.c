// SPDX-License-Identifier: Apache-2.0
#include "store/blob.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "store/store_internal.h"

#define PATH_SIZE 4096
#define TEMP_LEN  24  // random hex digits of a temporary name

struct blobs {
    char *folder;            // "<data>/blobs"
    pthread_mutex_t naming;  // held while content is found to be there, or too old to stay
    atomic_bool failed;
    void (*on_fatal)(void *arg, const struct err *err);
    void *arg;
};

struct blob_writer {
    struct blobs *blobs;
    int fd;
    int64_t size;
    char path[PATH_SIZE];
    crypto_hash_sha256_state hash;
};

static int disk_err(struct err *err, int number, const char *doing, const char *path)
{
    enum err_kind kind = number == ENOSPC || number == EDQUOT || number == EIO || number == EFBIG
                             ? ERR_UNAVAILABLE
                             : ERR_INTERNAL;
    const char *hint = number == ENOSPC || number == EDQUOT ? " (disk full)" : "";
    return err_errno(err, kind, number, "%s %s%s", doing, path, hint);
}

static bool name_valid(struct str name)
{
    if (name.len != BLOB_NAME_LEN)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}

static void folder_of(const struct blobs *blobs, const char *name, char out[PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "%s/%.2s", blobs->folder, name);
}

static void path_of(const struct blobs *blobs, struct str name, char out[PATH_SIZE])
{
    snprintf(out, PATH_SIZE, "%s/%.2s/" STR_FMT, blobs->folder, name.at, STR_ARG(name));
}

// Temporary files of writers that were cut off.
static void remove_leftovers(const char *folder)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return;
    struct dirent *entry;
    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
}

// All of them at the start, so that a writer never has to make a name in the upper folder durable.
static int make_folders(const char *folder, struct err *err)
{
    char path[PATH_SIZE];
    for (unsigned i = 0; i <= 256; i++) {
        if (i < 256)
            snprintf(path, sizeof(path), "%s/%02x", folder, i);
        else
            snprintf(path, sizeof(path), "%s/tmp", folder);
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return disk_err(err, errno, "making", path);
    }
    return store_folder_sync(folder, err);
}

struct blobs *blobs_open(const char *folder, struct err *err)
{
    char temp[PATH_SIZE];
    if (sodium_init() < 0) {
        err_set(err, ERR_INTERNAL, "libsodium can not start");
        return NULL;
    }
    if (strlen(folder) + BLOB_NAME_LEN + 16 > PATH_SIZE) {
        err_set(err, ERR_BAD_INPUT, "the blob folder's path is too long");
        return NULL;
    }
    if (store_folder_make(folder, err) < 0 || make_folders(folder, err) < 0)
        return NULL;
    snprintf(temp, sizeof(temp), "%s/tmp", folder);
    remove_leftovers(temp);
    struct blobs *blobs = mem_alloc(sizeof(*blobs));
    pthread_mutex_init(&blobs->naming, NULL);
    blobs->folder = mem_copy(folder, strlen(folder));
    return blobs;
}

struct blobs *blobs_attach(const char *folder, struct err *err)
{
    struct stat st;
    if (sodium_init() < 0) {
        err_set(err, ERR_INTERNAL, "libsodium can not start");
        return NULL;
    }
    if (stat(folder, &st) < 0 || !S_ISDIR(st.st_mode)) {
        err_set(err, ERR_NOT_FOUND, "there is no folder %s", folder);
        return NULL;
    }
    struct blobs *blobs = mem_alloc(sizeof(*blobs));
    pthread_mutex_init(&blobs->naming, NULL);
    blobs->folder = mem_copy(folder, strlen(folder));
    return blobs;
}

int blobs_hold(struct blobs *blobs, bool keep, struct err *err)
{
    const char *path = blobs->folder;
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return disk_err(err, errno, "opening", path);
    int rc;
    do
        rc = flock(fd, keep ? LOCK_SH : LOCK_EX | LOCK_NB);
    while (rc < 0 && errno == EINTR);
    if (rc < 0 && errno == EWOULDBLOCK)
        return err_set(err, ERR_BUSY, "a backup is reading %s", blobs->folder);
    if (rc < 0)
        return disk_err(err, errno, "locking", path);
    int out = fd;
    fd = -1;
    return out;
}

void blobs_close(struct blobs *blobs)
{
    if (!blobs)
        return;
    pthread_mutex_destroy(&blobs->naming);
    mem_free(blobs->folder);
    mem_free(blobs);
}

void blobs_on_fatal(struct blobs *blobs, void (*fn)(void *arg, const struct err *err), void *arg)
{
    blobs->on_fatal = fn;
    blobs->arg = arg;
}

// ── writing ──────────────────────────────────────────────────────────────────────────────────

static int sync_failed(struct blobs *blobs, const struct err *err)
{
    if (!atomic_exchange(&blobs->failed, true) && blobs->on_fatal)
        blobs->on_fatal(blobs->arg, err);
    return -1;
}

static int refuse_after_failure(const struct blobs *blobs, struct err *err)
{
    return atomic_load(&blobs->failed)
               ? err_set(err, ERR_UNAVAILABLE,
                         "nothing is stored any more after a disk error; see the server's log")
               : 0;
}

struct blob_writer *blob_writer_new(struct blobs *blobs, struct err *err)
{
    if (refuse_after_failure(blobs, err) < 0)
        return NULL;
    unsigned char random[TEMP_LEN / 2];
    char hex[TEMP_LEN + 1];
    struct blob_writer *writer = mem_alloc(sizeof(*writer));
    randombytes_buf(random, sizeof(random));
    sodium_bin2hex(hex, sizeof(hex), random, sizeof(random));
    snprintf(writer->path, sizeof(writer->path), "%s/tmp/%s", blobs->folder, hex);
    writer->blobs = blobs;
    writer->fd = open(writer->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (writer->fd < 0) {
        disk_err(err, errno, "creating", writer->path);
        mem_free(writer);
        return NULL;
    }
    crypto_hash_sha256_init(&writer->hash);
    return writer;
}

int blob_writer_add(struct blob_writer *writer, struct str bytes, struct err *err)
{
    if (bytes.len == 0)
        return 0;
    crypto_hash_sha256_update(&writer->hash, (const unsigned char *)bytes.at, bytes.len);
    writer->size += (int64_t)bytes.len;
    while (bytes.len > 0) {
        ssize_t n = write(writer->fd, bytes.at, bytes.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return disk_err(err, errno, "writing", writer->path);
        bytes.at += n;
        bytes.len -= (size_t)n;
    }
    return 0;
}

void blob_writer_drop(struct blob_writer *writer)
{
    if (!writer)
        return;
    fd_close_at(&writer->fd);
    if (writer->path[0])
        unlink(writer->path);
    mem_free(writer);
}

// Equal content that is there already stays; it counts as touched just now.
static bool keep_existing(struct blobs *blobs, const char *path, int64_t size)
{
    struct stat st;
    pthread_mutex_lock(&blobs->naming);
    bool kept = stat(path, &st) == 0 && st.st_size == size &&
                utimensat(AT_FDCWD, path, NULL, 0) == 0;
    pthread_mutex_unlock(&blobs->naming);
    return kept;
}

// A folder that cannot be opened (too many open files) was not synced, and may be later.
static int sync_folder(struct blobs *blobs, const char *folder, struct err *err)
{
    _cleanup_fd_ int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "opening the folder %s", folder);
    if (fsync(fd) == 0)
        return 0;
    err_errno(err, ERR_UNAVAILABLE, errno, "syncing the folder %s", folder);
    return sync_failed(blobs, err);
}

static int put_in_place(struct blob_writer *writer, const char *name, struct err *err)
{
    char folder[PATH_SIZE], path[PATH_SIZE];
    folder_of(writer->blobs, name, folder);
    path_of(writer->blobs, str_of(name), path);
    if (refuse_after_failure(writer->blobs, err) < 0)
        return -1;
    if (keep_existing(writer->blobs, path,
                      writer->size))  // whoever put it there may not have come so far
        return sync_folder(writer->blobs, folder, err);
    if (fdatasync(writer->fd) < 0) {
        disk_err(err, errno, "syncing", writer->path);
        return sync_failed(writer->blobs, err);
    }
    if (rename(writer->path, path) < 0)
        return disk_err(err, errno, "naming", path);
    writer->path[0] = '\0';
    return sync_folder(writer->blobs, folder, err);
}

int blob_writer_finish(struct blob_writer *writer, char name[BLOB_NAME_LEN + 1], int64_t *size,
                       struct err *err)
{
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&writer->hash, digest);
    sodium_bin2hex(name, BLOB_NAME_LEN + 1, digest, sizeof(digest));
    *size = writer->size;
    int failed = put_in_place(writer, name, err);
    blob_writer_drop(writer);
    return failed;
}

// ── what is there ────────────────────────────────────────────────────────────────────────────

static int no_blob(struct str name, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no content named %.64s",
                   name.len == BLOB_NAME_LEN && name.at ? name.at : "so");
}

int blob_read_fd(struct blobs *blobs, struct str name, int64_t *size, struct err *err)
{
    char path[PATH_SIZE];
    if (!name_valid(name))
        return no_blob(name, err);
    path_of(blobs, name, path);
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? no_blob(name, err) : disk_err(err, errno, "opening", path);
    struct stat st;
    if (fstat(fd, &st) < 0)
        return disk_err(err, errno, "reading", path);
    *size = st.st_size;
    int out = fd;
    fd = -1;
    return out;
}

static int64_t touched_at(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

int blob_remove(struct blobs *blobs, struct str name, int64_t before_ms, struct err *err)
{
    char path[PATH_SIZE];
    struct stat st;
    if (!name_valid(name))
        return no_blob(name, err);
    path_of(blobs, name, path);
    pthread_mutex_lock(&blobs->naming);
    bool there = stat(path, &st) == 0;
    bool young = there && touched_at(&st) >= before_ms;
    int rc = there && !young ? unlink(path) : 0, cause = errno;
    pthread_mutex_unlock(&blobs->naming);
    if (!there)
        return no_blob(name, err);
    if (young)
        return err_set(err, ERR_CONFLICT, "the content %.64s was put again meanwhile", name.at);
    return rc < 0 ? disk_err(err, cause, "removing", path) : 0;
}

struct walk {
    int64_t before_ms;
    void (*each)(void *arg, struct str name, int64_t size);
    void *arg;
};

static int walk_folder(const char *folder, const struct walk *walk, struct err *err)
{
    DIR *dir = opendir(folder);
    if (!dir)
        return errno == ENOENT ? 0 : disk_err(err, errno, "reading", folder);
    struct dirent *entry;
    while ((entry = readdir(dir))) {
        struct stat st;
        if (!name_valid(str_of(entry->d_name)) ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISREG(st.st_mode))
            continue;
        if (touched_at(&st) < walk->before_ms)
            walk->each(walk->arg, str_of(entry->d_name), st.st_size);
    }
    closedir(dir);
    return 0;
}

int blob_each(struct blobs *blobs, int64_t before_ms,
              void (*each)(void *arg, struct str name, int64_t size), void *arg, struct err *err)
{
    struct walk walk = {before_ms, each, arg};
    for (unsigned i = 0; i < 256; i++) {
        char name[3], folder[PATH_SIZE];
        snprintf(name, sizeof(name), "%02x", i);
        folder_of(blobs, name, folder);
        if (walk_folder(folder, &walk, err) < 0)
            return -1;
    }
    return 0;
}
