// SPDX-License-Identifier: Apache-2.0
// A folder of code as a zip. The same files give the same bytes: names in order, no times, no
// users.
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "cli/manifest.h"
#include "cli/step.h"

#define FILES_MAX  100000
#define DEPTH_MAX  64
#define IGNORE     ".droverignore"
#define IGNORE_MAX ((size_t)1 << 20)
#define TIME_1980  315532800  // the first time that a zip can say

struct making {
    struct cli *cli;
    struct archive *archive;
    struct archive_made *out;
    struct str ignored;  // lines of globs
    size_t skip;         // bytes of a path before what the archive calls it
    int64_t bytes;
};

static bool never_code(const char *name)
{
    static const char *const names[] = {
        ".git",          ".hg",          ".svn",      "__pycache__", ".venv",
        "venv",          "node_modules", ".dataloop", "drover-data", ".mypy_cache",
        ".pytest_cache", ".DS_Store",    IGNORE};
    struct str text = str_of(name);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (strcmp(name, names[i]) == 0)
            return true;
    return str_ends(text, STR(".pyc"));
}

// Each line of .droverignore is a glob of paths, or of names when it has no slash.
static bool is_ignored(const struct making *making, const char *path, const char *name)
{
    if (never_code(name))
        return true;
    for (struct str rest = making->ignored; rest.at;) {
        struct str line = str_trim(str_cut(&rest, '\n'));
        if (line.len == 0 || line.at[0] == '#')
            continue;
        if (line.at[line.len - 1] == '/')
            line.len--;
        bool whole = memchr(line.at, '/', line.len) != NULL;
        if (str_glob(line, str_of(whole ? path + making->skip : name)))
            return true;
    }
    return false;
}

static int archive_err(const struct making *making, const char *path, struct err *err)
{
    return err_set(err, ERR_INTERNAL, "Cannot pack %s: %s", path,
                   archive_error_string(making->archive));
}

static int add_file(struct making *making, const char *path, const struct stat *stat,
                    struct err *err)
{
    char part[65536];
    ssize_t n = 0;
    int64_t left = stat->st_size;
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, ERR_BAD_INPUT, errno, "Cannot open %s", path);
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname_utf8(entry, path + making->skip);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, stat->st_mode & 0100 ? 0755 : 0644);
    archive_entry_set_size(entry, stat->st_size);
    archive_entry_set_mtime(entry, TIME_1980, 0);
    int rc = archive_write_header(making->archive, entry);
    archive_entry_free(entry);
    if (rc != ARCHIVE_OK)
        return archive_err(making, path, err);
    while (left > 0 && (n = read(fd, part, sizeof(part))) > 0) {
        if (n > left)
            n = (ssize_t)left;
        left -= n;
        if (archive_write_data(making->archive, part, (size_t)n) < 0)
            return archive_err(making, path, err);
        cli_tick(making->cli);
        if (making->cli->interrupted)
            return err_set(err, ERR_TIMEOUT, "interrupted");
    }
    if (left > 0)
        return err_set(err, ERR_BAD_INPUT, "%s changed while it was packed", path);
    making->bytes += stat->st_size;
    return ++making->out->files > FILES_MAX
               ? err_set(err, ERR_BAD_INPUT,
                         "%s holds more than %d files: name what is no code in " IGNORE, path,
                         FILES_MAX)
               : 0;
}

static int add_folder(struct making *making, const char *folder, int depth, struct err *err);

static int add(struct making *making, const char *folder, const char *name, int depth,
               struct err *err)
{
    struct stat stat_of;
    const char *path = arena_printf(making->cli->arena, "%s/%s", folder, name).at;
    if (is_ignored(making, path, name))
        return 0;
    if (!str_utf8_valid(str_of(path)))
        return err_set(err, ERR_BAD_INPUT, "%s: the name of a file must be UTF-8", path);
    if (lstat(path, &stat_of))
        return err_errno(err, ERR_BAD_INPUT, errno, "Cannot read %s", path);
    if (S_ISDIR(stat_of.st_mode))
        return add_folder(making, path, depth + 1, err);
    // A link to a file is the file; one to a folder could lead anywhere.
    if (S_ISLNK(stat_of.st_mode) && stat(path, &stat_of))
        return err_errno(err, ERR_BAD_INPUT, errno, "%s is a link that leads nowhere", path);
    return S_ISREG(stat_of.st_mode) ? add_file(making, path, &stat_of, err) : 0;
}

// By bytes, whatever the locale.
static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_folder(struct making *making, const char *folder, int depth, struct err *err)
{
    struct dirent **names = NULL;
    int rc = 0;
    if (depth > DEPTH_MAX)
        return err_set(err, ERR_BAD_INPUT, "%s lies more than %d folders deep", folder, DEPTH_MAX);
    int count = scandir(folder, &names, NULL, by_name);
    if (count < 0)
        return err_errno(err, ERR_BAD_INPUT, errno, "Cannot read the folder %s", folder);
    for (int i = 0; i < count; i++) {
        const char *name = names[i]->d_name;
        if (rc == 0 && strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            rc = add(making, folder, name, depth, err);
        free(names[i]);
    }
    free(names);
    return rc;
}

static int hash(struct archive_made *out, struct err *err)
{
    static const char digits[] = "0123456789abcdef";
    crypto_hash_sha256_state state;
    unsigned char part[65536], sum[crypto_hash_sha256_BYTES];
    ssize_t n;
    crypto_hash_sha256_init(&state);
    for (off_t at = 0; (n = pread(out->fd, part, sizeof(part), at)) > 0; at += n)
        crypto_hash_sha256_update(&state, part, (unsigned long long)n);
    if (n < 0)
        return err_errno(err, ERR_INTERNAL, errno, "Cannot read the packed code");
    crypto_hash_sha256_final(&state, sum);
    for (size_t i = 0; i < sizeof(sum); i++) {
        out->sha256[2 * i] = digits[sum[i] >> 4];
        out->sha256[2 * i + 1] = digits[sum[i] & 15];
    }
    out->sha256[64] = '\0';
    return 0;
}

static int open_temporary(struct err *err)
{
    const char *folder = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof(path), "%s/drover-XXXXXX", folder && *folder ? folder : "/tmp");
    int fd = mkostemp(path, O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, ERR_INTERNAL, errno, "Cannot make a temporary file %s", path);
    unlink(path);
    return fd;
}

static int read_ignored(struct making *making, const char *folder, struct err *err)
{
    const char *path = arena_printf(making->cli->arena, "%s/" IGNORE, folder).at;
    if (access(path, F_OK))
        return 0;
    return cli_read(making->cli, path, IGNORE_MAX, &making->ignored, err);
}

int archive_make(struct cli *cli, const char *folder, struct archive_made *out, struct err *err)
{
    struct making making = {.cli = cli, .out = out, .skip = strlen(folder) + 1};
    struct stat stat;
    *out = (struct archive_made){.fd = -1};
    if (read_ignored(&making, folder, err) || (out->fd = open_temporary(err)) < 0)
        return -1;
    making.archive = archive_write_new();
    archive_write_set_format_zip(making.archive);
    archive_write_add_filter_none(making.archive);
    int rc = archive_write_open_fd(making.archive, out->fd) == ARCHIVE_OK
                 ? add_folder(&making, folder, 0, err)
                 : archive_err(&making, folder, err);
    if (rc == 0 && archive_write_close(making.archive) != ARCHIVE_OK)
        rc = archive_err(&making, folder, err);
    archive_write_free(making.archive);
    if (rc == 0 && fstat(out->fd, &stat))
        rc = err_errno(err, ERR_INTERNAL, errno, "Cannot read the packed code");
    if (rc == 0)
        rc = hash(out, err);
    if (rc == 0)
        out->size = stat.st_size;
    else
        fd_close_at(&out->fd);
    return rc;
}
