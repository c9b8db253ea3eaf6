// SPDX-License-Identifier: Apache-2.0
// store/backup: one archive (tar) of a data folder, made while a server writes to it, and the way
// back. It holds the rows as of one moment (drover.db), the log lines (logs*), every blob that
// those rows refer to, with its hash verified, on request the keys; last manifest.json, which says
// that it is whole. Replicas and caches are not in it.
//
// Both directions block on the disk for as long as the data is large: for a thread of their own or
// a program of their own, never for the loop. They use connections of their own and no store.
#ifndef DROVER_STORE_BACKUP_H
#define DROVER_STORE_BACKUP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct backup_config {
    const char *data;         // the data folder, whether a server has it or not
    const char *work;         // where the copies of the databases lie meanwhile
    const char *version;      // of the program: told in the archive
    bool keys;                // with *-key and admin-password
    const atomic_bool *stop;  // ends it early (ERR_UNAVAILABLE); NULL: never
    // What is under way, in bytes; NULL: not wanted.
    void (*on_progress)(void *arg, const char *what, int64_t done, int64_t total);
    // A blob that is left out: missing, or not what its name says; NULL: not wanted.
    void (*on_damage)(void *arg, const char *blob, const char *why);
    void *arg;
};

struct backup_report {
    int64_t files, blobs, bytes;  // in the archive
    int64_t damaged;              // blobs that were left out or, when restoring, are missing
    int64_t created_at;           // ms
    bool keys;
};

// Writes the archive to fd, in order: a pipe will do. Neither readers nor the writer of a running
// server wait for it; its files that nothing refers to are not collected meanwhile. ERR_NOT_FOUND
// when there is no drover.db, ERR_INTERNAL when the copy of the rows is damaged.
MUST_CHECK int backup_write(const struct backup_config *config, int fd,
                            struct backup_report *report, struct err *err);

// What the archive says of itself; its contents are not checked. ERR_BAD_INPUT when it is cut off.
MUST_CHECK int backup_look(int fd, struct backup_report *report, struct err *err);

// Reads all that is kept in a data folder, whether a server has it or not: the databases'
// integrity, and the bytes of every blob that the rows refer to (on_damage, `damaged`).
// ERR_INTERNAL names the database that is damaged.
MUST_CHECK int backup_inspect(const struct backup_config *config, struct backup_report *report,
                              struct err *err);

struct restore_config {
    const char *data;         // is made; an empty folder may be there
    const atomic_bool *stop;  // ends it early (ERR_UNAVAILABLE); NULL: never
    // Called ten times a second and more while it works or waits for the archive; NULL: not wanted.
    void (*on_progress)(void *arg, const char *what, int64_t done, int64_t total);
    void (*on_damage)(void *arg, const char *blob, const char *why);
    void *arg;
};

// Reads an archive from fd into a folder beside `data`, verifies all of it (hashes, the databases'
// integrity, that every blob is there), gives it an epoch that is higher than any that the old
// server can have reached, and only then names it `data`. When it fails nothing is left behind;
// what one that was killed left behind the next one removes. ERR_CONFLICT: `data` is in use or not
// empty. ERR_BAD_INPUT: the archive is not whole, or not one.
MUST_CHECK int backup_restore(const struct restore_config *config, int fd,
                              struct backup_report *report, struct err *err);

#endif
