// SPDX-License-Identifier: Apache-2.0
// store/sqlite/migrations: takes a database from one schema to another, up or down. PRAGMA
// user_version is the number of steps taken. The list of steps is a parameter, so that tests can
// bring their own; the product's is store_sqlite_steps (steps.c).
#ifndef DROVER_STORE_SQLITE_MIGRATIONS_H
#define DROVER_STORE_SQLITE_MIGRATIONS_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct schema_step {
    const char *summary;  // what it does, in a few words
    const char *up;       // SQL
    // SQL that undoes it to the letter: the same tables and indexes, and the same rows in them.
    // NULL: there is no way back.
    const char *down;
    // What the way back loses: its name for a sentence ("events"), and a SELECT that counts them.
    // NULL when it loses nothing.
    const char *lost, *lost_count;
};

struct schema_steps {
    const struct schema_step *at;  // at[n] leads from schema n to n + 1
    size_t count;
};

extern const struct schema_steps store_sqlite_steps;

#define SCHEMA_NEWEST (-1)

MUST_CHECK int store_sqlite_version(sqlite3 *sql, int *version, struct err *err);

// Takes the database to schema `to`, in one transaction: killed or failing, it leaves the schema
// that was. ERR_CONFLICT for a database newer than the list, for a step that has no way back, and
// for one that would lose something unless `discard`. ERR_BAD_INPUT: there is no such schema.
MUST_CHECK int store_sqlite_migrate(sqlite3 *sql, const struct schema_steps *steps, int to,
                                    bool discard, struct err *err);

#endif
