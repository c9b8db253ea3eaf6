// SPDX-License-Identifier: Apache-2.0
// operation/account: people and their keys. Passwords are hashed elsewhere (operation/password.h);
// here only their hashes come in.
#ifndef DROVER_OPERATION_ACCOUNT_H
#define DROVER_OPERATION_ACCOUNT_H

#include "operation/op.h"

#define ADMIN_EMAIL "admin@localhost"

// Checks and lower-cases; the error names `field`.
MUST_CHECK int email_read(struct str text, const char *field, struct arena *arena, struct str *out,
                          struct err *err);

// With org_name filled in. ERR_NOT_FOUND.
MUST_CHECK int account_get(struct op *op, struct str email, struct user *out, struct err *err);
// The caller; for a service a bot account that is kept nowhere.
MUST_CHECK int account_me(struct op *op, struct user *out, struct err *err);

struct account_tokens {
    struct str id_token, refresh_token;
    int64_t expires_at;  // of id_token, ms
};
// Login tokens; the user must have been checked. From any thread.
void account_tokens_make(const struct platform *platform, const struct user *user,
                         struct account_tokens *out, struct arena *arena);
// The user of a refresh token that was verified; ERR_UNAUTHENTICATED when it stands no more.
MUST_CHECK int account_refresh(struct op *op, struct str email, int64_t epoch, struct user *out,
                               struct err *err);

// ERR_CONFLICT: the address is taken.
MUST_CHECK int account_create(struct op *op, struct user *user, struct err *err);
// Ends all logins of the user (API keys stay).
MUST_CHECK int account_set_password(struct op *op, struct str email, struct str hash,
                                    struct err *err);

// The key itself goes to *jwt and is kept nowhere. Another's key: administrators only.
MUST_CHECK int api_key_create(struct op *op, struct str user_id, struct str description,
                              struct api_key *out, struct str *jwt, struct err *err);
// One's own, or any for administrators; ERR_NOT_FOUND for others.
MUST_CHECK int api_key_get(struct op *op, struct str id, struct api_key *out, struct err *err);
MUST_CHECK int api_key_revoke(struct op *op, struct str id, struct err *err);

#endif
