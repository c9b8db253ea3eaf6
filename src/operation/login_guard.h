// SPDX-License-Identifier: Apache-2.0
// operation/login_guard: counts failed logins per account and per client address, so that passwords
// cannot be guessed. In memory, bounded; a restart forgets. Loop thread.
//
// Only what has failed counts. So that many tries at once cannot slip through, no more are verified
// at a time than may still fail; the others wait for one of those to end.
#ifndef DROVER_OPERATION_LOGIN_GUARD_H
#define DROVER_OPERATION_LOGIN_GUARD_H

#include <stdint.h>

#include "base/err.h"
#include "base/list.h"
#include "base/str.h"

struct login_guard;

struct login_guard *login_guard_new(int64_t tries_per_minute);
void login_guard_free(struct login_guard *guard);  // no try under way any more

struct login_try {       // the caller's, until `go` was called with an error or leave
    struct str account;  // as it is looked up: lower case
    struct str address;  // empty (unix socket): not counted
    void (*go)(void *arg, const struct err *err);  // NULL: verify now, then leave
    void *arg;
    struct list node;  // the guard's
};

enum login_outcome {
    LOGIN_GOOD,  // the account's failures are forgotten
    LOGIN_BAD,   // counts
    LOGIN_VOID,  // was not verified after all
};

// Calls go, at once or when others have left: ERR_BUSY with retry_after when the address or the
// account has failed too often in this minute, or when too many wait. A blocked address costs one
// look-up and counts against no account.
void login_guard_enter(struct login_guard *guard, struct login_try *attempt, int64_t now_ms);
void login_guard_leave(struct login_guard *guard, struct login_try *attempt,
                       enum login_outcome outcome, int64_t now_ms);

// Accounts and addresses that are remembered.
size_t login_guard_count(const struct login_guard *guard);

#endif
