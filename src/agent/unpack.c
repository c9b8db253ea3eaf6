// SPDX-License-Identifier: Apache-2.0
#include "agent/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

#define PATH_LONGEST    1024         // bytes of an entry's name
#define DEPTH_MOST      64           // folders in each other
#define RATIO_FREE      (1ll << 20)  // small archives may compress as well as they like
#define NAME_BYTES_TAR  10240
#define ZIP_END_BYTES   22                        // the end-of-central-directory record
#define ZIP_END_LONGEST (ZIP_END_BYTES + 0xFFFF)  // with its comment

struct unpack {
    struct archive *archive;
    int root;  // the folder, open
    struct unpack_limits limits;
    const atomic_bool *stop;
    int64_t packed, bytes, entries;
};

static void close_archive(struct archive **archive)
{
    if (*archive)
        archive_read_free(*archive);
}

// Names are bytes for the kernel, but Python and the messages about them want UTF-8.
static int check_utf8(const char *name, int64_t entry, struct err *err)
{
    char shown[3 * 100 + 1];
    struct str text = name ? str_of(name) : STR("?");
    if (name && str_utf8_valid(text))
        return 0;
    text.len = text.len < 100 ? text.len : 100;
    shown[str_utf8_clean(text, shown)] = '\0';
    return err_set(err, ERR_BAD_INPUT,
                   "the archive's entry %lld has a name or a link's target that is not UTF-8 "
                   "(\"%s\"): rename it, or pack it with a tool that writes UTF-8",
                   (long long)entry, shown);
}

// Cleans an entry's name in place of trust: 0 and the name without "./", or an error. An empty name
// is the folder itself.
static int check_name(const char *raw, char clean[PATH_LONGEST + 1], struct err *err)
{
    if (strlen(raw) > PATH_LONGEST)
        return err_set(err, ERR_BAD_INPUT,
                       "the archive's entry \"%.200s…\" has a path over %d bytes", raw,
                       PATH_LONGEST);
    if (raw[0] == '/' || strchr(raw, '\\'))
        return err_set(err, ERR_BAD_INPUT,
                       "the archive's entry \"%.200s\" has an absolute path or a backslash", raw);
    struct str rest = str_of(raw);
    size_t len = 0;
    int depth = 0;
    while (rest.at) {
        struct str part = str_cut(&rest, '/');
        if (part.len == 0 || str_is(part, "."))
            continue;
        if (str_is(part, ".."))
            return err_set(err, ERR_BAD_INPUT,
                           "the archive's entry \"%.200s\" leads out of its folder (\"..\")", raw);
        if (part.len > NAME_MAX)
            return err_set(err, ERR_BAD_INPUT,
                           "the archive's entry \"%.200s…\" has a name over %d bytes", raw,
                           NAME_MAX);
        if (++depth > DEPTH_MOST)
            return err_set(err, ERR_TOO_LARGE,
                           "the archive's entry \"%.200s\" lies more than %d folders deep", raw,
                           DEPTH_MOST);
        if (len > 0)
            clean[len++] = '/';
        memcpy(clean + len, part.at, part.len);
        len += part.len;
    }
    clean[len] = '\0';
    return 0;
}

// A link may point only inside: relative, never above the root, and with ".." only at its start:
// after another part, which may be a link itself, ".." need not lead back.
static int check_link(const char *name, const char *target, struct err *err)
{
    int depth = 0;
    for (const char *at = name; *at; at++)
        depth += *at == '/';
    struct str rest = str_of(target);
    bool down = false;
    bool inside = target && target[0] && target[0] != '/' && rest.len <= PATH_LONGEST;
    while (inside && rest.at) {
        struct str part = str_cut(&rest, '/');
        if (part.len == 0 || str_is(part, "."))
            continue;
        if (!str_is(part, ".."))
            down = true;
        else
            inside = !down && --depth >= 0;
    }
    if (inside)
        return 0;
    return err_set(err, ERR_BAD_INPUT,
                   "the archive's link \"%.200s\" points outside its folder, to \"%.200s\"", name,
                   target ? target : "");
}

// Opens (making what is missing) the folder that `name` lies in, never following a link. Gives the
// descriptor and the last part of the name.
static int open_parent(struct unpack *unpack, char *name, const char **last, struct err *err)
{
    int at = dup(unpack->root);
    char *part = name;
    for (char *slash; at >= 0 && (slash = strchr(part, '/')); part = slash + 1) {
        *slash = '\0';
        if (mkdirat(at, part, 0755) != 0 && errno != EEXIST) {
            err_errno(err, ERR_UNAVAILABLE, errno, "cannot make the folder \"%.200s\"", part);
            close(at);
            return -1;
        }
        int next = openat(at, part, O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        int why = errno;
        close(at);
        at = next;
        if (at < 0)
            return err_errno(err, ERR_BAD_INPUT, why,
                             "the archive uses \"%.200s\" both as a folder and as something else",
                             part);
        *slash = '/';
    }
    *last = part;
    if (at < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot open the folder to unpack into");
    return at;
}

static int count_bytes(struct unpack *unpack, int64_t more, struct err *err)
{
    unpack->bytes += more;
    if (unpack->bytes > unpack->limits.bytes)
        return err_set(err, ERR_TOO_LARGE,
                       "the archive unpacks to more than %lld bytes (--max-archive)",
                       (long long)unpack->limits.bytes);
    if (unpack->bytes > RATIO_FREE && unpack->bytes / unpack->limits.ratio > unpack->packed)
        return err_set(err, ERR_TOO_LARGE,
                       "the archive unpacks to more than %lld times its size of %lld bytes",
                       (long long)unpack->limits.ratio, (long long)unpack->packed);
    return 0;
}

static int write_all(int fd, const char *at, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, at, len);
        if (n < 0 && errno != EINTR)
            return -1;
        at += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static const char *why(const struct unpack *unpack)
{
    const char *text = archive_error_string(unpack->archive);
    return text ? text : "it ends too early";
}

static int copy_data(struct unpack *unpack, int fd, const char *name, struct err *err)
{
    char chunk[32768];
    for (;;) {
        if (atomic_load(unpack->stop))
            return err_set(err, ERR_UNAVAILABLE, "unpacking was stopped");
        la_ssize_t got = archive_read_data(unpack->archive, chunk, sizeof(chunk));
        if (got == 0)
            return 0;
        if (got < 0)
            return err_set(err, ERR_BAD_INPUT, "the archive is damaged at \"%.200s\": %.200s", name,
                           why(unpack));
        if (count_bytes(unpack, got, err))
            return -1;
        if (write_all(fd, chunk, (size_t)got))
            return err_errno(err, ERR_UNAVAILABLE, errno, "cannot write \"%.200s\"", name);
    }
}

static int make_file(struct unpack *unpack, int parent, const char *last, mode_t mode,
                     struct err *err)
{
    // A name that comes twice replaces the first, whatever it was; never through a link.
    if (unlinkat(parent, last, 0) != 0 && errno != ENOENT)
        return err_errno(err, ERR_BAD_INPUT, errno,
                         "the archive uses \"%.200s\" both as a folder and as a file", last);
    mode_t bits = mode & 0111 ? 0755 : 0644;  // nothing else of the mode counts
    _cleanup_fd_ int fd = openat(parent, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                                 bits);
    if (fd < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot make the file \"%.200s\"", last);
    return copy_data(unpack, fd, last, err);
}

static int make_folder(int parent, const char *last, struct err *err)
{
    if (mkdirat(parent, last, 0755) == 0)
        return 0;
    struct stat found;
    if (errno == EEXIST && fstatat(parent, last, &found, AT_SYMLINK_NOFOLLOW) == 0 &&
        S_ISDIR(found.st_mode))
        return 0;
    return err_set(err, ERR_BAD_INPUT,
                   "the archive uses \"%.200s\" both as a folder and as something else", last);
}

static int make_link(int parent, const char *name, const char *last, const char *target,
                     struct err *err)
{
    if (check_link(name, target, err))
        return -1;
    if (unlinkat(parent, last, 0) != 0 && errno != ENOENT)
        return err_errno(err, ERR_BAD_INPUT, errno,
                         "the archive uses \"%.200s\" both as a folder and as a link", last);
    if (symlinkat(target, parent, last) != 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot make the link \"%.200s\"", last);
    return 0;
}

static int take_entry(struct unpack *unpack, struct archive_entry *entry, struct err *err)
{
    char name[PATH_LONGEST + 1];
    const char *raw = archive_entry_pathname(entry);
    if (check_utf8(raw, unpack->entries + 1, err) || check_name(raw, name, err))
        return -1;
    if (++unpack->entries > unpack->limits.entries)
        return err_set(err, ERR_TOO_LARGE,
                       "the archive has more than %lld entries (--max-archive-entries)",
                       (long long)unpack->limits.entries);
    if (!name[0])
        return 0;
    mode_t type = archive_entry_filetype(entry);
    if (archive_entry_hardlink(entry) || (type != AE_IFREG && type != AE_IFDIR && type != AE_IFLNK))
        return err_set(err, ERR_BAD_INPUT,
                       "the archive's entry \"%.200s\" is a %s; only files, folders and symbolic "
                       "links inside the archive are taken",
                       name,
                       archive_entry_hardlink(entry) ? "hard link" : "device, pipe or socket");
    const char *last = "";
    _cleanup_fd_ int parent = open_parent(unpack, name, &last, err);
    if (parent < 0)
        return -1;
    if (type == AE_IFDIR)
        return make_folder(parent, last, err);
    if (type == AE_IFLNK) {
        const char *target = archive_entry_symlink(entry);
        if (check_utf8(target, unpack->entries, err))
            return -1;
        return make_link(parent, name, last, target, err);
    }
    return make_file(unpack, parent, last, archive_entry_mode(entry), err);
}

// ── the end of a zip ─────────────────────────────────────────────────────────────────────────

static uint32_t little_endian(const unsigned char *at)
{
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

// Whether the record at `at`, found at `offset` of the file, ends the zip in `fd`, and not one that
// was packed into it.
static bool is_zip_end(int fd, const unsigned char *at, int64_t offset)
{
    char start[4];
    if (memcmp(at, "PK\5\6", 4) != 0)
        return false;
    uint32_t list_bytes = little_endian(at + 12), list_at = little_endian(at + 16);
    if (list_at == UINT32_MAX)  // zip64: another record has the place
        return true;
    return (int64_t)list_at + list_bytes <= offset &&
           (list_bytes == 0 ||
            (pread(fd, start, 4, list_at) == 4 && memcmp(start, "PK\1\2", 4) == 0));
}

// A zip that was cut off loses its list of files first. libarchive then reads it as a stream and
// takes it for whole when the cut lies between two entries or in the list.
static int check_zip_end(const char *path, int64_t size, struct err *err)
{
    char start[4];
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || pread(fd, start, 4, 0) != 4 || memcmp(start, "PK\3\4", 4) != 0)
        return 0;
    int64_t most = size < ZIP_END_LONGEST ? size : ZIP_END_LONGEST;
    _cleanup_free_ unsigned char *tail = mem_alloc((size_t)most);
    ssize_t len = pread(fd, tail, (size_t)most, size - most);
    for (ssize_t at = len - ZIP_END_BYTES; at >= 0; at--)
        if (is_zip_end(fd, tail + at, size - most + at))
            return 0;
    return err_set(err, ERR_BAD_INPUT,
                   "the code is a zip archive that was cut off: its end, with the list of its "
                   "files, is missing; upload it again");
}

static int open_archive(struct unpack *unpack, const char *path, struct err *err)
{
    unpack->archive = archive_read_new();
    if (!unpack->archive)
        return err_set(err, ERR_UNAVAILABLE, "no memory to read the archive");
    archive_read_support_format_zip(unpack->archive);
    archive_read_support_format_tar(unpack->archive);
    archive_read_support_filter_gzip(unpack->archive);
    archive_read_support_filter_bzip2(unpack->archive);
    archive_read_support_filter_xz(unpack->archive);
    archive_read_support_filter_zstd(unpack->archive);
    struct stat found;
    if (stat(path, &found) != 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot read the archive");
    unpack->packed = found.st_size;
    if (check_zip_end(path, found.st_size, err))
        return -1;
    if (archive_read_open_filename(unpack->archive, path, NAME_BYTES_TAR) != ARCHIVE_OK)
        return err_set(err, ERR_BAD_INPUT, "the code is not a zip or tar archive: %.200s",
                       why(unpack));
    return 0;
}

static int unpack_entries(struct unpack *unpack, const char *path, struct err *err)
{
    int rc = open_archive(unpack, path, err);
    while (rc == 0) {
        struct archive_entry *entry;
        int got = archive_read_next_header(unpack->archive, &entry);
        if (got == ARCHIVE_EOF)
            break;
        if (got != ARCHIVE_OK && got != ARCHIVE_WARN)
            rc = err_set(err, ERR_BAD_INPUT, "the code is not a readable archive: %.200s",
                         why(unpack));
        else if (atomic_load(unpack->stop))
            rc = err_set(err, ERR_UNAVAILABLE, "unpacking was stopped");
        else
            rc = take_entry(unpack, entry, err);
    }
    return rc;
}

int unpack_archive(const char *archive, const char *folder, const struct unpack_limits *limits,
                   const atomic_bool *stop, struct err *err)
{
    _cleanup_fd_ int root = open(folder, O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot open %s", folder);
    struct unpack unpack = {.root = root, .limits = *limits, .stop = stop};
    // libarchive gives names in this thread's locale, and none that the locale cannot spell.
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
    int rc = unpack_entries(&unpack, archive, err);
    close_archive(&unpack.archive);
    if (utf8) {
        uselocale(before);
        freelocale(utf8);
    }
    return rc;
}
