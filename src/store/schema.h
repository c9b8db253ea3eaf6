// SPDX-License-Identifier: Apache-2.0
// store/schema: the schema of a data folder's database, for tools. A server that starts takes an
// older one up by itself; the way back, for an older program, is taken offline.
#ifndef DROVER_STORE_SCHEMA_H
#define DROVER_STORE_SCHEMA_H

#include "base/err.h"

// How many steps this program knows, and what each does (1 to the count) in a few words.
int store_schema_count(void);
const char *store_schema_summary(int step);

// The schema of `folder`/drover.db; a running server is not disturbed. ERR_NOT_FOUND: there is
// none.
MUST_CHECK int store_schema_version(const char *folder, int *version, struct err *err);

// Takes it to schema `to`, all or nothing. ERR_CONFLICT: a server runs on the folder, the database
// is newer than this program, or the way back would lose something and `discard` is not set.
MUST_CHECK int store_schema_migrate(const char *folder, int to, bool discard, struct err *err);

#endif
