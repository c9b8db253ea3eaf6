// SPDX-License-Identifier: Apache-2.0
// Archives: "r" and the bytes of a zip or tar; or "t" and lines that say what a tar holds, a letter
// for the kind, then the name: "f name", "d name", "l name target", "h name target", "p name" (a
// pipe), "x name" (a big file). Nothing is written outside the folder, limits hold, and only files,
// folders and inward links are made.
#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

#include "agent/folder.h"
#include "agent/unpack.h"
#include "fuzz.h"

#define BLOCK 512
#define BIG   (96 * 1024)

static const struct unpack_limits limits = {64 * 1024, 12, 20};

static int64_t bytes, entries;
static char out_real[PATH_MAX];

// ── the tar that lines describe ──────────────────────────────────────────────────────────────

static void add_entry(struct buf *tar, char kind, struct str name, struct str target, size_t size)
{
    char head[BLOCK] = {0};
    static const char kinds[] = "fdlhpx", types[] = "052160";
    const char *known = kind ? strchr(kinds, kind) : NULL;
    memcpy(head, name.at, name.len < 100 ? name.len : 100);
    snprintf(head + 100, 8, "%07o", 0755u);
    snprintf(head + 124, 12, "%011zo", size);
    snprintf(head + 136, 12, "%011o", 0u);
    head[156] = known ? types[known - kinds] : kind;
    memcpy(head + 157, target.at, target.len < 100 ? target.len : 100);
    snprintf(head + 257, 8, "ustar  ");
    memset(head + 148, ' ', 8);
    unsigned sum = 0;
    for (size_t i = 0; i < BLOCK; i++)
        sum += (unsigned char)head[i];
    snprintf(head + 148, 8, "%06o", sum);
    buf_add(tar, head, BLOCK);
    char zero[BLOCK] = {0};
    for (size_t i = 0; i < size; i += BLOCK)
        buf_add(tar, zero, BLOCK);
}

static void make_tar(struct input *in, struct buf *tar)
{
    char zero[2 * BLOCK] = {0};
    for (int n = 0; in->len > 0 && n < 40; n++) {
        struct str line = input_line(in), rest = line;
        char kind = line.len ? line.at[0] : 'f';
        str_cut(&rest, ' ');
        struct str name = rest.at ? str_cut(&rest, ' ') : STR("");
        add_entry(tar, kind, name, rest.at ? rest : STR(""),
                  kind == 'x'   ? BIG
                  : kind == 'f' ? name.len * 100
                                : 0);
    }
    buf_add(tar, zero, sizeof(zero));
}

// ── what became of it ────────────────────────────────────────────────────────────────────────

static int look(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    char real[PATH_MAX];
    (void)flag;
    if (ftw->level == 0)
        return 0;
    entries++;
    HOLDS(S_ISREG(st->st_mode) || S_ISDIR(st->st_mode) || S_ISLNK(st->st_mode), "%s has mode %o",
          path, st->st_mode);
    HOLDS((st->st_mode & 07000) == 0 || S_ISLNK(st->st_mode), "%s has mode %o", path, st->st_mode);
    if (S_ISREG(st->st_mode)) {
        bytes += st->st_size;
        HOLDS(st->st_nlink == 1, "%s is a hard link", path);
    }
    if (S_ISLNK(st->st_mode) && realpath(path, real)) {
        size_t len = strlen(out_real);
        HOLDS(strncmp(real, out_real, len) == 0 && (real[len] == '/' || !real[len]),
              "%s leads to %s", path, real);
    }
    return 0;
}

static int count_root(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag;
    if (ftw->level == 1)
        HOLDS(strcmp(path + ftw->base, "out") == 0 || strcmp(path + ftw->base, "archive") == 0 ||
                  strcmp(path + ftw->base, "beside") == 0,
              "%s was made outside", path);
    return ftw->level == 1 ? FTW_SKIP_SUBTREE : FTW_CONTINUE;
}

static void check(const char *root, const char *out, bool done)
{
    struct stat st;
    char beside[96];
    bytes = entries = 0;
    HOLDS(realpath(out, out_real), "the folder is gone");
    nftw(out, look, 16, FTW_PHYS);
    // Folders that an entry's name needs count as well: none is deeper than its name allows.
    HOLDS(!done || entries <= limits.entries * 60, "%lld entries", (long long)entries);
    HOLDS(bytes <= limits.bytes, "%lld bytes", (long long)bytes);
    nftw(root, count_root, 16, FTW_PHYS | FTW_ACTIONRETVAL);
    snprintf(beside, sizeof(beside), "%s/beside", root);
    HOLDS(stat(beside, &st) == 0 && st.st_size == 0 && st.st_nlink == 1, "beside was changed");
}

static void write_file(const char *path, struct str text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text.at, text.len) != (ssize_t)text.len)
        abort();
    close(fd);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = input_of(data, size);
    char archive[96], out[96], beside[96];
    const char *root = fuzz_folder();
    _cleanup_buf_ struct buf tar = BUF_INIT(16 << 20);
    if (input_byte(&in) == 't')
        make_tar(&in, &tar);
    else
        buf_add(&tar, in.at, in.len);
    snprintf(archive, sizeof(archive), "%s/archive", root);
    snprintf(out, sizeof(out), "%s/out", root);
    snprintf(beside, sizeof(beside), "%s/beside", root);
    write_file(archive, buf_str(&tar));
    write_file(beside, STR(""));
    struct err err = ERR_INIT;
    if (folder_make(out, &err) < 0)
        abort();
    atomic_bool stop = false;
    int rc = unpack_archive(archive, out, &limits, &stop, &err);
    if (rc != 0)
        fuzz_error(&err);
    check(root, out, rc == 0);
    if (rc == 0)
        HOLDS(folder_seal(out, &err) == 0, "%s", err.message);
    HOLDS(folder_remove(out, &err) == 0, "%s", err.message);
    return 0;
}
