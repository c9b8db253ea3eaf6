// SPDX-License-Identifier: Apache-2.0
// Settings, and the steps of an execution's life: one statement each.
#include "store/sqlite/sqlite_internal.h"

int store_sqlite_meta_get(struct tx *base, const char *key, struct arena *arena, struct str *value,
                          struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    sqlite3_stmt *statement = store_sqlite_fixed(tx, FIXED_META_GET, err);
    if (!statement)
        return -1;
    store_sqlite_bind_text(statement, 1, str_of(key));
    int rc = sqlite3_step(statement), failed = 0;
    if (rc == SQLITE_ROW)
        *value = arena_copy(arena, store_sqlite_text(statement, 0));
    else if (rc != SQLITE_DONE)
        failed = store_sqlite_err(tx, "reading a setting", err);
    sqlite3_reset(statement);
    return failed;
}

int store_sqlite_meta_set(struct tx *base, const char *key, struct str value, struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    sqlite3_stmt *statement = store_sqlite_fixed(tx, FIXED_META_SET, err);
    if (!statement)
        return -1;
    store_sqlite_bind_text(statement, 1, str_of(key));
    store_sqlite_bind_text(statement, 2, value);
    return store_sqlite_run(tx, statement, "writing a setting", err);
}

static int apply(struct sqlite_tx *tx, sqlite3_stmt *statement, const char *doing, bool *applied,
                 struct err *err)
{
    if (store_sqlite_run(tx, statement, doing, err) < 0)
        return -1;
    *applied = sqlite3_changes(tx->sql) > 0;
    return 0;
}

int store_sqlite_execution_start(struct tx *base, struct str id, int64_t fence,
                                 struct str replica_id, int64_t now, bool *applied, struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    sqlite3_stmt *statement = store_sqlite_fixed(tx, FIXED_EXECUTION_START, err);
    if (!statement)
        return -1;
    store_sqlite_bind_text(statement, 1, id);
    store_sqlite_bind_int(statement, 2, fence);
    store_sqlite_bind_text(statement, 3, replica_id);
    store_sqlite_bind_int(statement, 4, now);
    return apply(tx, statement, "recording an execution's start", applied, err);
}

int store_sqlite_execution_finish(struct tx *base, const struct execution_result *result,
                                  bool *applied, struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    sqlite3_stmt *statement = store_sqlite_fixed(tx, FIXED_EXECUTION_FINISH, err);
    if (!statement)
        return -1;
    store_sqlite_bind_text(statement, 1, result->id);
    store_sqlite_bind_text(statement, 2, result->status);
    store_sqlite_bind_text(statement, 3, result->message);
    store_sqlite_bind_text(statement, 4, result->output);
    store_sqlite_bind_text(statement, 5, result->error);
    store_sqlite_bind_text(statement, 6, result->replica_id);
    store_sqlite_bind_int(statement, 7, result->fence);
    store_sqlite_bind_int(statement, 8, result->started_at);
    store_sqlite_bind_int(statement, 9, result->ended_at);
    store_sqlite_bind_int(statement, 10, result->attempts);
    store_sqlite_bind_text(statement, 11, result->usage);
    return apply(tx, statement, "recording an execution's result", applied, err);
}

int store_sqlite_execution_requeue(struct tx *base, struct str id, int64_t fence, int64_t attempts,
                                   struct str message, bool *applied, struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    sqlite3_stmt *statement = store_sqlite_fixed(tx, FIXED_EXECUTION_REQUEUE, err);
    if (!statement)
        return -1;
    store_sqlite_bind_text(statement, 1, id);
    store_sqlite_bind_int(statement, 2, fence);
    store_sqlite_bind_int(statement, 3, attempts);
    store_sqlite_bind_text(statement, 4, message);
    return apply(tx, statement, "putting an execution back", applied, err);
}

int store_sqlite_execution_each_open(struct tx *base,
                                     void (*each)(void *arg, struct str id, struct str service_id,
                                                  struct str status, int64_t fence),
                                     void *arg, struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    sqlite3_stmt *statement = store_sqlite_fixed(tx, FIXED_EXECUTION_EACH_OPEN, err);
    if (!statement)
        return -1;
    int rc;
    while ((rc = sqlite3_step(statement)) == SQLITE_ROW)
        each(arg, store_sqlite_text(statement, 0), store_sqlite_text(statement, 1),
             store_sqlite_text(statement, 2), store_sqlite_int(statement, 3));
    int failed = rc == SQLITE_DONE ? 0 : store_sqlite_err(tx, "reading open executions", err);
    sqlite3_reset(statement);
    return failed;
}

int store_sqlite_blob_used(struct tx *base, struct str sha256, bool *used, struct err *err)
{
    struct sqlite_tx *tx = sqlite_of(base);
    sqlite3_stmt *statement = store_sqlite_fixed(tx, FIXED_BLOB_USED, err);
    if (!statement)
        return -1;
    store_sqlite_bind_text(statement, 1, sha256);
    int rc = sqlite3_step(statement), failed = 0;
    *used = rc == SQLITE_ROW;
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        failed = store_sqlite_err(tx, "looking for a blob's items", err);
    sqlite3_reset(statement);
    return failed;
}
