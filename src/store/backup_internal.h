// SPDX-License-Identifier: Apache-2.0
// What backup.c and restore.c share: the names inside an archive, and hashes.
#ifndef DROVER_STORE_BACKUP_INTERNAL_H
#define DROVER_STORE_BACKUP_INTERNAL_H

#include <sodium.h>
#include <sqlite3.h>

#include "store/backup.h"
#include "store/blob.h"

#define BACKUP_FORMAT   1
#define BACKUP_HEAD     "drover-backup.json"
#define BACKUP_MANIFEST "manifest.json"
#define BACKUP_ROWS     "drover.db"
#define BACKUP_PATH     4096
#define BACKUP_BLOCK    (256 << 10)

enum backup_kind { BACKUP_OTHER, BACKUP_IS_ROWS, BACKUP_IS_LOGS, BACKUP_IS_KEY };

// What a file of the data folder is, by its name.
enum backup_kind backup_kind_of(const char *name);
// The same in a folder below it: "" or "logs", which holds log databases only.
enum backup_kind backup_kind_in(const char *folder, const char *name);

void backup_hex(crypto_hash_sha256_state *state, char out[BLOB_NAME_LEN + 1]);

// ERR_INTERNAL with SQLite's words when `pragma` (integrity_check, quick_check) finds damage.
MUST_CHECK int backup_check(sqlite3 *sql, const char *pragma, const char *path, struct err *err);

// Calls each for every blob that the rows refer to, in order; stops when it returns -1.
MUST_CHECK int backup_each_blob(sqlite3 *sql,
                                int (*each)(void *arg, const char *name, struct err *), void *arg,
                                struct err *err);

#endif
