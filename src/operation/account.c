// SPDX-License-Identifier: Apache-2.0
#include "operation/account.h"

#include <sodium.h>

#include "base/id.h"
#include "operation/access.h"
#include "operation/token.h"

#define EMAIL_MAX 254

static bool email_char(unsigned char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
           (c && strchr(".!#$%&'*+-/=?^_`{|}~@", c));
}

int email_read(struct str text, const char *field, struct arena *arena, struct str *out,
               struct err *err)
{
    struct str email = arena_copy(arena, str_trim(text));
    char *at = (char *)email.at;
    size_t ats = 0, sign = 0;
    if (!email.len || email.len > EMAIL_MAX)
        return err_field(err, field, "%s must be an e-mail address of 3 to %d characters", field,
                         EMAIL_MAX);
    for (size_t i = 0; i < email.len; i++) {
        if (at[i] >= 'A' && at[i] <= 'Z')
            at[i] = (char)(at[i] - 'A' + 'a');
        if (!email_char((unsigned char)at[i]))
            return err_field(err, field, "%s holds a character that no e-mail address has", field);
        if (at[i] == '@') {
            ats++;
            sign = i;
        }
    }
    if (ats != 1 || sign == 0 || sign + 1 == email.len)
        return err_field(err, field, "%s must be an e-mail address: name@place", field);
    *out = email;
    return 0;
}

static int fill_org(struct op *op, struct user *user, struct err *err)
{
    struct org org;
    if (!user->org_id.at)
        return 0;
    if (tx_get(op->tx, &org_entity, user->org_id, &org, op->arena, err))
        return err_wrap(err, "Organisation of " STR_FMT, STR_ARG(user->id));
    user->org_name = org.name;
    return 0;
}

int account_get(struct op *op, struct str email, struct user *out, struct err *err)
{
    if (tx_get(op->tx, &user_entity, email, out, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        return err_set(err, ERR_NOT_FOUND, "There is no account " STR_FMT, STR_ARG(email));
    }
    return fill_org(op, out, err);
}

int account_me(struct op *op, struct user *out, struct err *err)
{
    if (op->caller.kind != CALLER_SERVICE)
        return account_get(op, op->caller.user_id, out, err);
    entity_clear(&user_entity, out);
    out->id = out->email = op->caller.user_id;
    out->type = STR("bot");
    out->first_name = STR("service");
    out->last_name = op->caller.service_id;
    out->org_id = op->platform->org_id;
    return fill_org(op, out, err);
}

void account_tokens_make(const struct platform *platform, const struct user *user,
                         struct account_tokens *out, struct arena *arena)
{
    int64_t now = clock_wall(platform->clock);
    struct token_claims claims = {
        .kind = TOKEN_LOGIN,
        .user_id = user->id,
        .id = id_new(now, arena),
        .epoch = user->token_epoch,
        .expires_at = now + platform->settings->login_ttl_ms,
    };
    out->expires_at = claims.expires_at;
    out->id_token = token_make(platform->tokens, &claims, arena);
    claims.kind = TOKEN_REFRESH;
    claims.id = id_new(now, arena);
    claims.expires_at = now + platform->settings->refresh_ttl_ms;
    out->refresh_token = token_make(platform->tokens, &claims, arena);
}

int account_refresh(struct op *op, struct str email, int64_t epoch, struct user *out,
                    struct err *err)
{
    if (tx_get(op->tx, &user_entity, email, out, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        return err_set(err, ERR_UNAUTHENTICATED, "The account of this token does not exist");
    }
    if (out->token_epoch != epoch)
        return err_set(err, ERR_UNAUTHENTICATED,
                       "This login has ended because the password was changed; log in again");
    return 0;
}

int account_create(struct op *op, struct user *user, struct err *err)
{
    user->id = user->email;
    user->type = STR("user");
    user->token_epoch = 0;
    user->org_id = op->platform->org_id;
    user->created_at = user->updated_at = op->now;
    if (tx_insert(op->tx, &user_entity, user, err)) {
        if (err->kind == ERR_CONFLICT)
            return err_set(err, ERR_CONFLICT, "The account " STR_FMT " exists already",
                           STR_ARG(user->email));
        return -1;
    }
    return fill_org(op, user, err) || op_audit(op, "create", &user_entity, NULL, user, err) ? -1
                                                                                            : 0;
}

int account_set_password(struct op *op, struct str email, struct str hash, struct err *err)
{
    struct user before, after;
    if (account_get(op, email, &before, err))
        return -1;
    after = before;
    after.password_hash = hash;
    after.token_epoch++;
    after.updated_at = op->now;
    if (tx_update(op->tx, &user_entity, &after, err))
        return -1;
    return op_audit(op, "change-password", &user_entity, &before, &after, err);
}

// ── API keys ─────────────────────────────────────────────────────────────────────────────────

static struct str hash_of(struct str jwt, struct arena *arena)
{
    unsigned char hash[crypto_hash_sha256_BYTES];
    char hex[2 * crypto_hash_sha256_BYTES + 1];
    crypto_hash_sha256(hash, (const unsigned char *)jwt.at, jwt.len);
    sodium_bin2hex(hex, sizeof(hex), hash, sizeof(hash));
    return arena_copy(arena, str_of(hex));
}

int api_key_create(struct op *op, struct str user_id, struct str description, struct api_key *out,
                   struct str *jwt, struct err *err)
{
    struct user user;
    if (op->caller.kind == CALLER_SERVICE)
        return err_set(err, ERR_DENIED, "A service cannot make API keys");
    if (!op->caller.admin && !str_eq(user_id, op->caller.user_id))
        return err_set(err, ERR_DENIED,
                       "Only administrators may make an API key for somebody else (" STR_FMT ")",
                       STR_ARG(user_id));
    if (account_get(op, user_id, &user, err))
        return -1;
    entity_clear(&api_key_entity, out);
    out->id = op_id(op);
    out->user_id = user_id;
    out->description = description.at ? description : STR("");
    out->creator = op->caller.user_id;
    out->expires_at = op->now + op->platform->settings->api_key_ttl_ms;
    out->created_at = out->updated_at = op->now;
    struct token_claims claims = {
        .kind = TOKEN_API_KEY,
        .user_id = user_id,
        .id = out->id,
        .expires_at = out->expires_at,
    };
    *jwt = token_make(op->platform->tokens, &claims, op->arena);
    out->hash = hash_of(*jwt, op->arena);
    if (tx_insert(op->tx, &api_key_entity, out, err))
        return -1;
    return op_audit(op, "create", &api_key_entity, NULL, out, err);
}

int api_key_get(struct op *op, struct str id, struct api_key *out, struct err *err)
{
    int rc = tx_get(op->tx, &api_key_entity, id, out, op->arena, err);
    if (rc && err->kind != ERR_NOT_FOUND)
        return -1;
    if (rc == 0 && (op->caller.admin || str_eq(out->user_id, op->caller.user_id)))
        return 0;
    return err_set(err, ERR_NOT_FOUND, "You have no API key " STR_FMT, STR_ARG(id));
}

int api_key_revoke(struct op *op, struct str id, struct err *err)
{
    struct api_key before, after;
    if (api_key_get(op, id, &before, err))
        return -1;
    if (before.revoked)
        return 0;
    after = before;
    after.revoked = true;
    after.updated_at = op->now;
    if (tx_update(op->tx, &api_key_entity, &after, err))
        return -1;
    return op_audit(op, "revoke", &api_key_entity, &before, &after, err);
}
