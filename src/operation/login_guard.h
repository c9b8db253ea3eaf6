// SPDX-License-Identifier: Apache-2.0
// operation/login_guard: counts failed logins per account and per client address, so that passwords
// cannot be guessed. In memory, bounded; a restart forgets. Loop thread.
#ifndef DROVER_OPERATION_LOGIN_GUARD_H
#define DROVER_OPERATION_LOGIN_GUARD_H

#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct login_guard;

struct login_guard *login_guard_new(int64_t tries_per_minute);
void login_guard_free(struct login_guard *guard);

// ERR_BUSY with retry_after when the account or the address has failed too often in this minute.
// An empty address (unix socket) is not counted. A granted try counts as failed until
// login_guard_clear, so that many tries at once cannot slip through.
MUST_CHECK int login_guard_check(struct login_guard *guard, struct str account, struct str address,
                                 int64_t now_ms, struct err *err);
// The login was good: this try is not counted, and the account's failures are forgotten.
void login_guard_clear(struct login_guard *guard, struct str account, struct str address);

#endif
