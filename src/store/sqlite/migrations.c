// SPDX-License-Identifier: Apache-2.0
#include "store/sqlite/migrations.h"

#include <stdio.h>
#include <string.h>

static int read_number(sqlite3 *sql, const char *query, const char *doing, int64_t *out,
                       struct err *err)
{
    sqlite3_stmt *statement = NULL;
    int rc = sqlite3_prepare_v2(sql, query, -1, &statement, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(statement);
    if (rc == SQLITE_ROW)
        *out = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return rc == SQLITE_ROW
               ? 0
               : err_set(err, ERR_INTERNAL, "store: %s: %s", doing, sqlite3_errmsg(sql));
}

int store_sqlite_version(sqlite3 *sql, int *version, struct err *err)
{
    int64_t number;
    if (read_number(sql, "PRAGMA user_version", "reading the schema's version", &number, err) < 0)
        return -1;
    *version = (int)number;
    return 0;
}

static int run(sqlite3 *sql, const char *text, int to, struct err *err)
{
    if (sqlite3_exec(sql, text, NULL, NULL, NULL) == SQLITE_OK)
        return 0;
    return err_set(err, ERR_INTERNAL,
                   "store: changing the schema to %d: %s; nothing was changed, try again when that "
                   "is mended",
                   to, sqlite3_errmsg(sql));
}

// `version` is the step that is undone.
static int step_down(sqlite3 *sql, const struct schema_step *step, int version, bool discard,
                     struct err *err)
{
    int64_t lost = 0;
    if (!step->down)
        return err_set(err, ERR_CONFLICT,
                       "store: schema %d is the oldest that one can go back to: there is no way "
                       "back from step %d (%s)",
                       version, version, step->summary);
    if (step->lost &&
        read_number(sql, step->lost_count, "counting what a step back would lose", &lost, err) < 0)
        return -1;
    if (lost > 0 && !discard)
        return err_set(err, ERR_CONFLICT,
                       "store: going back from schema %d to %d would lose %lld %s; stay at %d, or "
                       "give them up with --discard",
                       version, version - 1, (long long)lost, step->lost, version);
    return run(sql, step->down, version - 1, err);
}

static int take_steps(sqlite3 *sql, const struct schema_steps *steps, int from, int to,
                      bool discard, struct err *err)
{
    char done[64];
    for (int version = from; version < to; version++)
        if (run(sql, steps->at[version].up, version + 1, err) < 0)
            return -1;
    for (int version = from; version > to; version--)
        if (step_down(sql, &steps->at[version - 1], version, discard, err) < 0)
            return -1;
    snprintf(done, sizeof(done), "PRAGMA user_version=%d; COMMIT", to);
    return run(sql, done, to, err);
}

static int newer(sqlite3 *sql, int version, int known, struct err *err)
{
    const char *file = sqlite3_db_filename(sql, "main");
    const char *slash = file ? strrchr(file, '/') : NULL;
    return err_set(
        err, ERR_CONFLICT,
        "%s has schema %d, this program knows up to %d; use the newer program that wrote "
        "it, or go back with that one's `drover schema --data %.*s --to %d`",
        file ? file : "the database", version, known, slash ? (int)(slash - file) : 3,
        slash ? file : "DIR", known);
}

int store_sqlite_migrate(sqlite3 *sql, const struct schema_steps *steps, int to, bool discard,
                         struct err *err)
{
    int version = 0, known = (int)steps->count;
    if (store_sqlite_version(sql, &version, err) < 0)
        return -1;
    if (version < 0 || version > known)
        return newer(sql, version, known, err);
    if (to == SCHEMA_NEWEST)
        to = known;
    if (to < 0 || to > known)
        return err_set(err, ERR_BAD_INPUT, "there is no schema %d; this program knows 1 to %d", to,
                       known);
    if (to == version)
        return 0;
    // All steps in one transaction: whoever is killed or refused half way leaves the old schema.
    if (run(sql, "BEGIN IMMEDIATE", to, err) < 0)
        return -1;
    if (take_steps(sql, steps, version, to, discard, err) == 0)
        return 0;
    if (!sqlite3_get_autocommit(sql))
        sqlite3_exec(sql, "ROLLBACK", NULL, NULL, NULL);
    return -1;
}
