// SPDX-License-Identifier: Apache-2.0
// operation/sealed: secrets at rest. A value is sealed (XChaCha20-Poly1305) with the master key and
// bound to the row that it belongs to; it names its key, so that keys can be changed one after the
// other. The keys lie in locked memory, which is wiped when they are freed.
//
// A source of keys gives one a line, as 64 hex digits or as base64 of 32 bytes: the first one
// seals, the others still open what was sealed before.
#ifndef DROVER_OPERATION_SEALED_H
#define DROVER_OPERATION_SEALED_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct master_keys;

struct master_source {
    const char *file;     // only its owner may read it
    const char *command;  // or what this program prints, by /bin/sh; NULL: the file
};

// Reads the keys. `make`: a file that is not there is made, with a new key; *made says so. Blocks:
// start-up only. The error names the file or the command, never what it gave.
MUST_CHECK int master_keys_load(const struct master_source *source, bool make, bool *made,
                                struct master_keys **out, struct err *err);
void master_keys_free(struct master_keys *keys);  // NULL does nothing

// Puts a new key in front of those of the file.
MUST_CHECK int master_keys_add(const struct master_source *source, struct err *err);
// Leaves only the first key in the file.
MUST_CHECK int master_keys_drop_old(const struct master_source *source, struct err *err);

// The name of the key that seals; constant as long as the keys are.
struct str master_keys_id(const struct master_keys *keys);

// Constant after loading: from any thread. `owner` is the id of the row.
struct str sealed_make(const struct master_keys *keys, struct str owner, struct str value,
                       struct arena *arena);

// ERR_CONFLICT when the key that it names is not there (the message names it and says what to do),
// or when it is not what was sealed for this row.
MUST_CHECK int sealed_open(const struct master_keys *keys, struct str owner, struct str sealed,
                           struct arena *arena, struct str *value, struct err *err);

// The name of the key that a sealed value needs, within it; absent when it is none.
struct str sealed_key_id(struct str sealed);

#endif
