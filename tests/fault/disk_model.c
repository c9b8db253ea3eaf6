// SPDX-License-Identifier: Apache-2.0
#include "disk_model.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"
#include "preload/fault.h"

#define SECTOR 512

struct change {  // of a file's bytes
    bool cut;    // to `offset` bytes; else data at offset
    int64_t offset;
    struct str data;
    size_t number;  // of its record
};

struct bytes {
    char *at;
    size_t len, room;
};

struct file {
    struct bytes sure;
    struct change *changes;  // since
    size_t count, room;
    size_t sync_began;  // record number of the fsync under way
    struct file *next;  // of all
};

struct name {  // a name in the folder
    char *path;
    struct file *sure;  // NULL: not there
    struct name *next;
};

struct naming {          // a change of names that is not sure
    struct name *name;   // that is made or goes
    struct file *file;   // NULL: it goes
    struct name *other;  // of a rename: the name that goes with it
    size_t number;
};

struct folder {
    char *path;
    size_t sync_began;
};

struct disk {
    char *root;
    struct map *names;  // path → name
    struct map *now;    // path → file, as the server sees it
    struct map *folders;
    struct file *files;
    struct name *first;
    struct naming *namings;
    size_t count, room;
};

static _Noreturn void give_up(const char *what, const char *path)
{
    fprintf(stderr, "power: %s %s: %s\n", what, path, errno ? strerror(errno) : "");
    exit(2);
}

// ── the record ───────────────────────────────────────────────────────────────────────────────

void records_read(const char *file, struct records *out)
{
    _cleanup_fd_ int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        give_up("reading", file);
    *out = (struct records){.bytes = mem_alloc((size_t)st.st_size + 1)};
    size_t len = 0, room = 0;
    for (ssize_t n; (n = read(fd, out->bytes + len, (size_t)st.st_size - len)) > 0;)
        len += (size_t)n;
    for (size_t at = 0; at < len;) {
        struct {
            uint32_t kind, path_len;
            int64_t offset;
            uint64_t len;
        } head;
        if (at + sizeof(head) > len)
            break;  // the server was killed in the middle of it
        memcpy(&head, out->bytes + at, sizeof(head));
        at += sizeof(head);
        if (at + head.path_len + head.len > len)
            break;
        if (out->count == room) {
            room = room ? room * 2 : 1024;
            out->at = mem_resize(out->at, room * sizeof(*out->at));
        }
        struct record *record = &out->at[out->count++];
        record->kind = head.kind;
        record->offset = head.offset;
        record->path = (struct str){out->bytes + at, head.path_len};
        record->data = (struct str){out->bytes + at + head.path_len, head.len};
        at += head.path_len + head.len;
    }
}

void records_free(struct records *records)
{
    mem_free(records->at);
    mem_free(records->bytes);
}

// ── the model ────────────────────────────────────────────────────────────────────────────────

struct disk *disk_new(const char *root)
{
    struct disk *disk = mem_alloc(sizeof(*disk));
    disk->root = mem_copy(root, strlen(root));
    disk->names = map_new();
    disk->now = map_new();
    disk->folders = map_new();
    return disk;
}

void disk_free(struct disk *disk)
{
    size_t cursor = 0;
    struct str key;
    for (struct name *name; (name = map_next(disk->names, &cursor, &key));) {
        mem_free(name->path);
        mem_free(name);
    }
    cursor = 0;
    for (struct folder *folder; (folder = map_next(disk->folders, &cursor, &key));) {
        mem_free(folder->path);
        mem_free(folder);
    }
    for (struct file *file = disk->files, *next; file; file = next) {
        next = file->next;
        mem_free(file->sure.at);
        mem_free(file->changes);
        mem_free(file);
    }
    map_free(disk->names);
    map_free(disk->now);
    map_free(disk->folders);
    mem_free(disk->namings);
    mem_free(disk->root);
    mem_free(disk);
}

static bool kept(const struct disk *disk, struct str path)
{
    struct str root = str_of(disk->root);
    if (path.len <= root.len || memcmp(path.at, root.at, root.len) != 0)
        return path.len == root.len && memcmp(path.at, root.at, root.len) == 0;
    struct str rest = {path.at + root.len + 1, path.len - root.len - 1};
    return !str_starts(rest, STR("run")) && !str_ends(rest, STR("-shm"));
}

static struct name *name_of(struct disk *disk, struct str path)
{
    struct name *name = map_get(disk->names, path);
    if (name)
        return name;
    name = mem_alloc(sizeof(*name));
    name->path = mem_copy(path.at, path.len);
    name->next = disk->first;
    disk->first = name;
    map_put(disk->names, str_of(name->path), name);
    return name;
}

static struct folder *folder_of(struct disk *disk, struct str path)
{
    struct folder *folder = map_get(disk->folders, path);
    if (folder)
        return folder;
    folder = mem_alloc(sizeof(*folder));
    folder->path = mem_copy(path.at, path.len);
    map_put(disk->folders, str_of(folder->path), folder);
    return folder;
}

static void note_name(struct disk *disk, struct naming naming)
{
    if (disk->count == disk->room) {
        disk->room = disk->room ? disk->room * 2 : 64;
        disk->namings = mem_resize(disk->namings, disk->room * sizeof(*disk->namings));
    }
    disk->namings[disk->count++] = naming;
}

static void make(struct disk *disk, struct str path, size_t number)
{
    if (map_get(disk->now, path))
        return;
    struct name *name = name_of(disk, path);
    struct file *file = mem_alloc(sizeof(*file));
    file->next = disk->files;
    disk->files = file;
    map_put(disk->now, str_of(name->path), file);
    note_name(disk, (struct naming){.name = name, .file = file, .number = number});
}

static void change(struct disk *disk, struct str path, struct change change)
{
    struct file *file = map_get(disk->now, path);
    if (!file)
        return;  // written through a descriptor whose name is gone
    if (file->count == file->room) {
        file->room = file->room ? file->room * 2 : 16;
        file->changes = mem_resize(file->changes, file->room * sizeof(*file->changes));
    }
    file->changes[file->count++] = change;
}

static void put(struct bytes *bytes, int64_t offset, struct str data)
{
    size_t end = (size_t)offset + data.len;
    if (end > bytes->room) {
        bytes->room = end * 2 + 4096;
        bytes->at = mem_resize(bytes->at, bytes->room);
    }
    if (end > bytes->len) {
        if ((size_t)offset > bytes->len)
            memset(bytes->at + bytes->len, 0, (size_t)offset - bytes->len);
        bytes->len = end;
    }
    if (data.len > 0)
        memcpy(bytes->at + offset, data.at, data.len);
}

static void apply_change(struct bytes *bytes, const struct change *change)
{
    if (!change->cut)
        put(bytes, change->offset, change->data);
    else if ((size_t)change->offset <= bytes->len)
        bytes->len = (size_t)change->offset;
    else
        put(bytes, change->offset, STR(""));
}

static void file_synced(struct file *file)
{
    size_t done = 0;
    while (done < file->count && file->changes[done].number < file->sync_began)
        apply_change(&file->sure, &file->changes[done++]);
    if (done > 0)
        memmove(file->changes, file->changes + done, (file->count - done) * sizeof(*file->changes));
    file->count -= done;
}

static struct str parent_of(const char *path)
{
    return (struct str){path, (size_t)(strrchr(path, '/') - path)};
}

static void apply_naming(struct naming *naming)
{
    naming->name->sure = naming->file;
    if (naming->other)
        naming->other->sure = NULL;
}

static void folder_synced(struct disk *disk, const struct folder *folder)
{
    size_t left = 0;
    for (size_t i = 0; i < disk->count; i++) {
        struct naming *naming = &disk->namings[i];
        // A rename between two folders is one change of the file system's: one sync does.
        bool here = str_is(parent_of(naming->name->path), folder->path);
        if (here && naming->number < folder->sync_began)
            apply_naming(naming);
        else
            disk->namings[left++] = *naming;
    }
    disk->count = left;
}

static void rename_to(struct disk *disk, struct str from, struct str to, size_t number)
{
    struct file *file = map_remove(disk->now, from);
    if (!file)
        give_up("an unknown file was renamed:", from.at);
    struct name *name = name_of(disk, to);
    map_remove(disk->now, to);
    map_put(disk->now, str_of(name->path), file);
    note_name(disk,
              (struct naming){
                  .name = name, .file = file, .other = name_of(disk, from), .number = number});
}

static void synced(struct disk *disk, const struct record *record, size_t number)
{
    struct file *file = map_get(disk->now, record->path);
    struct folder *folder = file ? NULL : folder_of(disk, record->path);
    if (record->kind == RECORD_SYNC_BEGIN)
        *(file ? &file->sync_began : &folder->sync_began) = number;
    else if (file)
        file_synced(file);
    else
        folder_synced(disk, folder);
}

void disk_apply(struct disk *disk, const struct record *record, size_t number)
{
    if (record->kind == RECORD_SEND || !kept(disk, record->path))
        return;
    switch (record->kind) {
    case RECORD_OPEN: make(disk, record->path, number); break;
    case RECORD_WRITE:
        change(disk, record->path, (struct change){false, record->offset, record->data, number});
        break;
    case RECORD_TRUNCATE:
        change(disk, record->path, (struct change){true, record->offset, STR_NONE, number});
        break;
    case RECORD_SYNC_BEGIN:
    case RECORD_SYNC_END: synced(disk, record, number); break;
    case RECORD_RENAME: rename_to(disk, record->path, record->data, number); break;
    case RECORD_UNLINK:
        if (map_remove(disk->now, record->path))
            note_name(disk, (struct naming){.name = name_of(disk, record->path), .number = number});
        break;
    default: break;
    }
}

size_t disk_unsure(const struct disk *disk)
{
    size_t count = disk->count;
    for (const struct file *file = disk->files; file; file = file->next)
        count += file->count;
    return count;
}

// ── images ───────────────────────────────────────────────────────────────────────────────────

static size_t below(uint64_t (*draw)(void), size_t n) { return n ? (size_t)(draw() >> 33) % n : 0; }

// Cut at the end of a sector or a page of the file, as a disk would.
static struct change torn(const struct change *whole, uint64_t (*draw)(void))
{
    struct change part = *whole;
    size_t unit = draw() >> 40 & 1 ? SECTOR : 4096;
    if (part.cut || part.data.len <= unit)
        return part;
    part.data.len = unit * (1 + below(draw, part.data.len / unit));
    if (part.data.len > whole->data.len)
        part.data.len = whole->data.len;
    return part;
}

static void apply_sectors(struct bytes *bytes, const struct change *change, uint64_t (*draw)(void))
{
    if (change->cut && below(draw, 2))
        apply_change(bytes, change);
    for (size_t at = 0; at < change->data.len; at += SECTOR) {
        size_t len = change->data.len - at < SECTOR ? change->data.len - at : SECTOR;
        if (below(draw, 2))
            put(bytes, change->offset + (int64_t)at, (struct str){change->data.at + at, len});
    }
}

static void survive(struct bytes *out, const struct file *file, enum survival how,
                    uint64_t (*draw)(void))
{
    size_t some = how == SURVIVE_ALL      ? file->count
                  : how == SURVIVE_PREFIX ? below(draw, file->count + 1)
                                          : 0;
    put(out, 0, (struct str){file->sure.at, file->sure.len});
    for (size_t i = 0; i < some; i++) {
        bool last = how == SURVIVE_PREFIX && i + 1 == some;
        struct change change = last ? torn(&file->changes[i], draw) : file->changes[i];
        apply_change(out, &change);
    }
    for (size_t i = 0; how == SURVIVE_SOME && i < file->count; i++) {
        struct change change = below(draw, 4) ? file->changes[i] : torn(&file->changes[i], draw);
        if (below(draw, 2))
            apply_change(out, &change);
    }
    for (size_t i = 0; how == SURVIVE_SECTORS && i < file->count; i++)
        apply_sectors(out, &file->changes[i], draw);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    return ftw->level > 0 ? remove(path) : 0;
}

static void write_file(const char *folder, const char *path, const struct bytes *bytes)
{
    char whole[4096];
    snprintf(whole, sizeof(whole), "%s%s", folder, path);
    for (char *slash = whole + strlen(folder) + 1; (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        if (mkdir(whole, 0700) < 0 && errno != EEXIST)
            give_up("making", whole);
        *slash = '/';
    }
    _cleanup_fd_ int fd = open(whole, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, bytes->at, bytes->len) != (ssize_t)bytes->len)
        give_up("writing", whole);
}

void disk_image(const struct disk *disk, enum survival survival, uint64_t (*draw)(void),
                const char *folder)
{
    size_t cursor = 0, root = strlen(disk->root);
    struct str key;
    struct map *there = map_new();
    nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    for (struct name *name; (name = map_next(disk->names, &cursor, &key));)
        if (name->sure)
            map_put(there, str_of(name->path), name->sure);
    // Names are journalled: they survive in order.
    size_t names = survival == SURVIVE_NONE  ? 0
                   : survival == SURVIVE_ALL ? disk->count
                                             : below(draw, disk->count + 1);
    for (size_t i = 0; i < names; i++) {
        const struct naming *naming = &disk->namings[i];
        if (naming->file)
            map_put(there, str_of(naming->name->path), naming->file);
        else
            map_remove(there, str_of(naming->name->path));
        if (naming->other)
            map_remove(there, str_of(naming->other->path));
    }
    // In an order that does not hang on the maps', so that a seed gives the same images again.
    for (const struct name *name = disk->first; name; name = name->next) {
        struct bytes bytes = {0};
        const struct file *file = map_get(there, str_of(name->path));
        if (!file)
            continue;
        survive(&bytes, file, survival, draw);
        write_file(folder, name->path + root, &bytes);
        mem_free(bytes.at);
    }
    map_free(there);
}
