// SPDX-License-Identifier: Apache-2.0
#include "operation/password.h"

#include <sodium.h>

#include "base/id.h"

#define OPS    2
#define MEMORY ((size_t)19 << 20)

_Static_assert(PASSWORD_HASH_SIZE >= crypto_pwhash_STRBYTES, "room for libsodium's text form");

int password_check(struct str password, const char *field, struct err *err)
{
    if (password.len < PASSWORD_MIN || password.len > PASSWORD_MAX)
        return err_field(err, field, "%s must have %d to %d bytes", field, PASSWORD_MIN,
                         PASSWORD_MAX);
    if (!str_utf8_valid(password))
        return err_field(err, field, "%s must be UTF-8", field);
    return 0;
}

int password_hash(struct str password, char out[PASSWORD_HASH_SIZE], struct err *err)
{
    memset(out, 0, PASSWORD_HASH_SIZE);
    if (crypto_pwhash_str_alg(out, password.at, password.len, OPS, MEMORY,
                              crypto_pwhash_ALG_ARGON2ID13) == 0)
        return 0;
    return err_set(err, ERR_UNAVAILABLE, "There is not enough memory to hash a password now");
}

static bool verify(struct str hash, struct str password)
{
    char text[PASSWORD_HASH_SIZE] = {0};
    if (hash.len == 0 || hash.len >= sizeof(text))
        return false;
    memcpy(text, hash.at, hash.len);
    return crypto_pwhash_str_verify(text, password.at, password.len) == 0;
}

bool password_matches(struct str hash, struct str password)
{
    char waste[PASSWORD_HASH_SIZE];
    struct err err = ERR_INIT;
    if (password.len > PASSWORD_MAX || password.len == 0)
        return false;
    if (hash.len)
        return verify(hash, password);
    if (password_hash(password, waste, &err))
        return false;
    return false;
}

struct str password_generate(struct arena *arena) { return secret_new(12, arena); }
