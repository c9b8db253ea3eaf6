// SPDX-License-Identifier: Apache-2.0
// operation/password: Argon2id (libsodium). Hashing takes some 30 ms and 19 MiB: on the pool
// (loop_work), never on the loop or a store thread.
#ifndef DROVER_OPERATION_PASSWORD_H
#define DROVER_OPERATION_PASSWORD_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"

#define PASSWORD_MIN       10
#define PASSWORD_MAX       256
#define PASSWORD_HASH_SIZE 128

// Length and UTF-8 only; the error names `field`.
MUST_CHECK int password_check(struct str password, const char *field, struct err *err);
// ERR_UNAVAILABLE without enough memory.
MUST_CHECK int password_hash(struct str password, char out[PASSWORD_HASH_SIZE], struct err *err);
// An absent or foreign hash is worked on like a real one and never matches, so that the time tells
// nobody whether an account exists.
bool password_matches(struct str hash, struct str password);
struct str password_generate(struct arena *arena);

#endif
