// SPDX-License-Identifier: Apache-2.0
// store/logs_sqlite: the log database itself, without threads. A connection belongs to one thread
// at a time.
#ifndef DROVER_STORE_LOGS_SQLITE_H
#define DROVER_STORE_LOGS_SQLITE_H

#include "store/logs.h"

struct logs_db;

// path: the database file; NULL: in memory. A reader's connection refuses changes.
struct logs_db *logs_db_open(const char *path, bool writer, struct err *err);
void logs_db_close(struct logs_db *db);  // NULL does nothing

MUST_CHECK int logs_db_begin(struct logs_db *db, struct err *err);
MUST_CHECK int logs_db_commit(struct logs_db *db, struct err *err);  // rolled back when it fails
void logs_db_rollback(struct logs_db *db);

// Gives the line the next seq.
MUST_CHECK int logs_db_insert(struct logs_db *db, const struct log_line *line, struct err *err);
// Which lines: those of a service, else (absent) those of a project, else those before `at`.
struct logs_part {
    struct str service_id, project_id;
    int64_t at;
};
// Deletes at most `limit` lines.
MUST_CHECK int logs_db_delete(struct logs_db *db, const struct logs_part *part, int64_t limit,
                              int64_t *deleted, struct err *err);
MUST_CHECK int logs_db_read(struct logs_db *db, struct logs_read *read, struct err *err);
// Makes what was committed so far durable.
MUST_CHECK int logs_db_sync(struct logs_db *db, struct err *err);
// What failed so that nobody knows what the disk holds; NULL: nothing did.
const struct err *logs_db_broken(const struct logs_db *db);

#endif
