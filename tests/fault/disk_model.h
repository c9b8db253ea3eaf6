// SPDX-License-Identifier: Apache-2.0
// What a disk may hold after a power loss, from the ordered record of a server's writes and fsyncs
// (preload/record.c). A file's bytes are sure once an fsync of it that began after they were
// written has ended; a name, once its folder was synced so. Everything later may be there, or not,
// or torn.
#ifndef DROVER_TESTS_FAULT_DISK_MODEL_H
#define DROVER_TESTS_FAULT_DISK_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

struct record {
    uint32_t kind;  // enum record_kind
    struct str path, data;
    int64_t offset;
};

struct records {
    struct record *at;
    size_t count;
    char *bytes;
};

struct disk;

// Reads a whole record file; ends the program when it is torn.
void records_read(const char *file, struct records *out);
void records_free(struct records *records);

// `root`: the folder that was recorded; what lies elsewhere, and what no power loss has to keep
// (run/, SQLite's -shm), is left out.
struct disk *disk_new(const char *root);
void disk_free(struct disk *disk);
void disk_apply(struct disk *disk, const struct record *record, size_t number);

// What survives of the writes that are not sure.
enum survival {
    SURVIVE_NONE,
    SURVIVE_ALL,
    SURVIVE_PREFIX,   // of each file's writes, the last one torn at 512 or 4096 bytes
    SURVIVE_SOME,     // any of them, in any combination, each torn or whole
    SURVIVE_SECTORS,  // any 512 bytes of any of them
    SURVIVALS
};

// Writes the image to the folder, which is emptied before. `draw` gives random numbers.
void disk_image(const struct disk *disk, enum survival survival, uint64_t (*draw)(void),
                const char *folder);
size_t disk_unsure(const struct disk *disk);  // writes and names that are not sure

#endif
