// SPDX-License-Identifier: Apache-2.0
// Shared by log_file.c and log_file_read.c.
#ifndef DROVER_STORE_LOG_FILE_INTERNAL_H
#define DROVER_STORE_LOG_FILE_INTERNAL_H

#include <sqlite3.h>

#include "base/map.h"
#include "store/log_file.h"

enum log_statement {
    BEGIN,
    COMMIT,
    ROLLBACK,
    INSERT,
    SAVE_STATE,
    SAVE_SPAN,
    FIND_SERVICE,
    ADD_SERVICE,
    FIND_SOURCE,
    ADD_SOURCE,
    DELETE_LINES,
    DELETE_SOURCES,
    DELETE_SERVICE,
    OF_SERVICE,
    OF_PROJECT,
    ANY_LINE,
    READ_STATE,
    FIRST_SPAN,
    LAST_SPAN,
    SPAN_BEFORE,
    COVERED,
    NAMES,
    WALK_UP,
    WALK_DOWN = WALK_UP + LOG_BYS,
    STATEMENTS = WALK_DOWN + LOG_BYS
};

struct log_source {
    int64_t service, source;
};

struct log_span {
    int64_t first, min_at, max_at, count;
};

struct log_file {
    sqlite3 *sql;
    char *path;  // NULL in memory
    int64_t key;
    bool damaged;
    bool bare;                             // made, and ended before it had a table: it has no lines
    sqlite3_stmt *statements[STATEMENTS];  // prepared when first used
    sqlite3_stmt *walks[LOG_BYS];          // of those, the ones that are being stepped
    bool broken;                           // an fsync failed
    struct err broken_by;
    int wal_pages;  // after the last commit
    int wal_fd;     // for log_file_sync

    // the writer's
    struct log_bounds now, saved;  // saved: as committed
    struct log_span span;          // that is being filled
    struct map *names;             // of sources → struct named_source
    struct log_source last;
    char last_key[4096];
    size_t last_key_len;
};

// NULL when it cannot be prepared.
sqlite3_stmt *log_file_statement(struct log_file *file, enum log_statement which, struct err *err);
int log_file_fail(struct log_file *file, const char *doing, struct err *err);  // -1
void log_file_bind(sqlite3_stmt *statement, int at, struct str text);

#endif
