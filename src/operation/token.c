// SPDX-License-Identifier: Apache-2.0
#include "operation/token.h"

#include <errno.h>
#include <fcntl.h>
#include <jwt.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/id.h"
#include "base/mem.h"
#include "operation/secret_file.h"

#define KEY_BYTES 32  // as RFC 7518 3.2 asks of HS256
#define TOKEN_MAX 8192
#define SKEW_MS   60000
#define ISSUER    "drover"

struct tokens {
    const struct clock *clock;
    unsigned char key[KEY_BYTES];
};

static const struct {
    const char *audience, *word;
} kinds[] = {
    [TOKEN_LOGIN] = {"drover", "login"},       [TOKEN_REFRESH] = {"drover-refresh", "refresh"},
    [TOKEN_API_KEY] = {"drover", "api-key"},   [TOKEN_SERVICE] = {"drover", "service"},
    [TOKEN_AGENT] = {"drover-agent", "agent"},
};

#define KIND_COUNT (sizeof(kinds) / sizeof(kinds[0]))

static int read_key(struct tokens *tokens, const char *path, struct err *err)
{
    char hex[2 * KEY_BYTES + 2];
    size_t len = 0, bytes = 0;
    if (secret_file_read(path, hex, sizeof(hex), &len, err))
        return -1;
    if (sodium_hex2bin(tokens->key, KEY_BYTES, hex, len, NULL, &bytes, NULL) || bytes != KEY_BYTES)
        return err_set(err, ERR_INTERNAL,
                       "%s does not hold %d bytes in hex: restore it, or delete it to make all "
                       "tokens and API keys invalid",
                       path, KEY_BYTES);
    sodium_memzero(hex, sizeof(hex));
    return 0;
}

static int make_key(struct tokens *tokens, const char *path, struct err *err)
{
    char hex[2 * KEY_BYTES + 1];
    random_fill(tokens->key, KEY_BYTES);
    sodium_bin2hex(hex, sizeof(hex), tokens->key, KEY_BYTES);
    int rc = secret_file_write(path, str_of(hex), err);
    sodium_memzero(hex, sizeof(hex));
    return rc;
}

struct tokens *tokens_open(const char *data_folder, const struct clock *clock, struct err *err)
{
    struct tokens *tokens = mem_alloc(sizeof(*tokens));
    _cleanup_arena_ struct arena *arena = arena_new();
    const char *path = arena_printf(arena, "%s/jwt-key", data_folder).at;
    tokens->clock = clock;
    bool exists = access(path, F_OK) == 0;
    if (sodium_init() < 0) {
        err_set(err, ERR_INTERNAL, "libsodium cannot start");
    } else if ((exists ? read_key(tokens, path, err) : make_key(tokens, path, err)) == 0) {
        return tokens;
    }
    tokens_close(tokens);
    return NULL;
}

void tokens_close(struct tokens *tokens)
{
    if (!tokens)
        return;
    sodium_memzero(tokens->key, sizeof(tokens->key));
    mem_free(tokens);
}

static void grant(jwt_t *jwt, const char *name, struct str value, struct arena *arena)
{
    if (value.at)
        jwt_add_grant(jwt, name, arena_cstr(arena, value));
}

struct str token_make(struct tokens *tokens, const struct token_claims *claims, struct arena *arena)
{
    jwt_t *jwt = NULL;
    // These fail only without memory or with a wrong key size, which is ours.
    if (jwt_new(&jwt) || jwt_set_alg(jwt, JWT_ALG_HS256, tokens->key, KEY_BYTES))
        abort();
    jwt_add_grant(jwt, "iss", ISSUER);
    jwt_add_grant(jwt, "aud", kinds[claims->kind].audience);
    jwt_add_grant(jwt, "kind", kinds[claims->kind].word);
    grant(jwt, "sub", claims->user_id, arena);
    grant(jwt, "email", claims->user_id, arena);
    grant(jwt, "jti", claims->id, arena);
    grant(jwt, "serviceId", claims->service_id, arena);
    grant(jwt, "projectId", claims->project_id, arena);
    grant(jwt, "replicaId", claims->replica_id, arena);
    jwt_add_grant_int(jwt, "iat", (long)(clock_wall(tokens->clock) / 1000));
    jwt_add_grant_int(jwt, "exp", (long)(claims->expires_at / 1000));
    jwt_add_grant_int(jwt, "epoch", (long)claims->epoch);
    char *text = jwt_encode_str(jwt);
    if (!text)
        abort();
    struct str out = arena_copy(arena, str_of(text));
    free(text);  // libjwt allocated it
    jwt_free(jwt);
    return out;
}

// libjwt would take the algorithm that the header names: it must be ours before it is used at all.
static int check_header(struct str token, struct arena *arena, struct err *err)
{
    struct str rest = token, header = str_cut(&rest, '.');
    struct str payload = str_cut(&rest, '.'), signature = str_cut(&rest, '.');
    struct json json, alg;
    size_t len = 0;
    if (!header.len || !payload.len || !signature.len || rest.at)
        return err_set(err, ERR_UNAUTHENTICATED,
                       "The token is not a JWT: three parts joined by dots are needed");
    char *text = arena_alloc(arena, header.len + 1);
    if (sodium_base642bin((unsigned char *)text, header.len, header.at, header.len, NULL, &len,
                          NULL, sodium_base64_VARIANT_URLSAFE_NO_PADDING) ||
        json_parse((struct str){text, len}, 8, &json, err) || json.type != JSON_OBJECT)
        return err_set(err, ERR_UNAUTHENTICATED, "The token's header is not JSON in base64url");
    if (!json_get(json, "alg", &alg) || !str_is(json_str(alg, arena), "HS256"))
        return err_set(err, ERR_UNAUTHENTICATED,
                       "The token is signed in another way than HS256, which is not accepted");
    return 0;
}

static struct str claim(jwt_t *jwt, const char *name, struct arena *arena)
{
    return arena_copy(arena, str_of(jwt_get_grant(jwt, name)));
}

static int read_kind(jwt_t *jwt, enum token_kind *out, struct err *err)
{
    struct str word = str_of(jwt_get_grant(jwt, "kind"));
    struct str audience = str_of(jwt_get_grant(jwt, "aud"));
    for (size_t kind = 0; kind < KIND_COUNT; kind++) {
        if (!str_is(word, kinds[kind].word))
            continue;
        if (!str_is(audience, kinds[kind].audience))
            break;
        *out = (enum token_kind)kind;
        return 0;
    }
    return err_set(err, ERR_UNAUTHENTICATED, "The token was made for another use (kind, aud)");
}

static int read_claims(struct tokens *tokens, jwt_t *jwt, struct token_claims *out,
                       struct arena *arena, struct err *err)
{
    int64_t now = clock_wall(tokens->clock);
    if (!str_is(str_of(jwt_get_grant(jwt, "iss")), ISSUER))
        return err_set(err, ERR_UNAUTHENTICATED, "The token was made by somebody else (iss)");
    if (read_kind(jwt, &out->kind, err))
        return -1;
    errno = 0;
    int64_t expires = jwt_get_grant_int(jwt, "exp");
    if (errno || expires <= 0 || expires > INT64_MAX / 1000)
        return err_set(err, ERR_UNAUTHENTICATED, "The token does not say when it expires (exp)");
    out->expires_at = expires * 1000;
    if (now > out->expires_at + SKEW_MS)
        return err_set(err, ERR_UNAUTHENTICATED, "The token has expired; log in again");
    // When it was issued is not held against it: only this server signs, and its clock may have
    // been set back since.
    out->epoch = jwt_get_grant_int(jwt, "epoch");
    out->user_id = claim(jwt, "sub", arena);
    out->id = claim(jwt, "jti", arena);
    out->service_id = claim(jwt, "serviceId", arena);
    out->project_id = claim(jwt, "projectId", arena);
    out->replica_id = claim(jwt, "replicaId", arena);
    return 0;
}

int token_verify(struct tokens *tokens, struct str token, struct token_claims *out,
                 struct arena *arena, struct err *err)
{
    jwt_t *jwt = NULL;
    *out = (struct token_claims){0};
    if (token.len == 0 || token.len > TOKEN_MAX)
        return err_set(err, ERR_UNAUTHENTICATED, "The token must have 1 to %d characters",
                       TOKEN_MAX);
    if (check_header(token, arena, err))
        return -1;
    if (jwt_decode(&jwt, arena_cstr(arena, token), tokens->key, KEY_BYTES))
        return err_set(err, ERR_UNAUTHENTICATED,
                       "The token's signature is wrong: it was not made by this server");
    int rc = -1;
    if (jwt_get_alg(jwt) != JWT_ALG_HS256)
        err_set(err, ERR_UNAUTHENTICATED, "The token is signed in another way than HS256");
    else
        rc = read_claims(tokens, jwt, out, arena, err);
    jwt_free(jwt);
    return rc;
}
