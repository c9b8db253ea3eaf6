// SPDX-License-Identifier: Apache-2.0
// Calls that hash passwords: the row is read by the store, the hash made on the pool, what follows
// written by the store.
#include "api/account_internal.h"
#include "api/api_internal.h"
#include "net/loop.h"
#include "operation/account.h"
#include "operation/password.h"

#define HASHES_MAX 32  // hashing or waiting for the pool at the same time

struct login {  // in the call's arena
    struct call *call;
    struct login_try attempt;
    struct str email, password, new_password;
    struct user user;
    bool found, matches;
    char hash[PASSWORD_HASH_SIZE];
    struct err err;
    void (*work)(struct login *login);
    void (*done)(struct login *login);
};

static struct login *login_new(struct call *call)
{
    struct login *login = arena_new_of(call->op.arena, struct login);
    login->call = call;
    call->data = login;
    return login;
}

static int text_field(struct call *call, const char *name, struct str *out, struct err *err)
{
    struct json value;
    if (!json_get(call->body, name, &value))
        return err_field(err, name, "%s is missing", name);
    *out = json_str(value, call->op.arena);
    if (!out->at)
        return err_field(err, name, "%s must be a string, not %s", name,
                         json_type_name(value.type));
    return 0;
}

// ── the pool ─────────────────────────────────────────────────────────────────────────────────

static void pool_work(void *arg)
{
    struct login *login = arg;
    login->work(login);
}

static void pool_done(void *arg)
{
    struct login *login = arg;
    login->call->api->hashing--;
    login->done(login);
}

static int hash_on_pool(struct login *login, void (*work)(struct login *),
                        void (*done)(struct login *), struct err *err)
{
    struct api *api = login->call->api;
    if (api->hashing >= HASHES_MAX) {
        err_set(err, ERR_BUSY, "%d passwords are being checked at this moment; try again",
                HASHES_MAX);
        err->retry_after = 1;
        return -1;
    }
    api->hashing++;
    login->work = work;
    login->done = done;
    loop_work(api->config.platform->loop, pool_work, pool_done, login);
    return 0;
}

static void verify_work(struct login *login)
{
    struct str hash = login->found ? login->user.password_hash : STR_NONE;
    login->matches = password_matches(hash, login->password);
}

static void hash_work(struct login *login)
{
    if (password_hash(login->new_password, login->hash, &login->err))
        return;
    login->matches = true;
}

static void verify_and_hash_work(struct login *login)
{
    verify_work(login);
    if (login->matches && password_hash(login->new_password, login->hash, &login->err))
        login->matches = false;
}

// ── what is verified passes the guard first ──────────────────────────────────────────────────

static int read_user(struct call *call, struct err *err)
{
    struct login *login = call->data;
    struct op *op = &call->op;
    login->found = tx_get(op->tx, &user_entity, login->email, &login->user, op->arena, err) == 0;
    if (!login->found && err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    return 0;
}

static void leave(struct login *login, enum login_outcome outcome)
{
    const struct clock *clock = login->call->op.platform->clock;
    login_guard_leave(login->call->api->guard, &login->attempt, outcome, clock_mono(clock));
}

static void user_read(struct call *call, struct err *err)
{
    struct login *login = call->data;
    if (err->kind == ERR_NONE && hash_on_pool(login, login->work, login->done, err) == 0)
        return;
    leave(login, LOGIN_VOID);
    call_finish(call, err);
}

static void admitted(void *arg, const struct err *err)
{
    struct login *login = arg;
    if (err)
        call_finish(login->call, err);
    else
        call_run(login->call, OP_READ, read_user, user_read);
}

static void guarded(struct login *login, void (*work)(struct login *), void (*done)(struct login *))
{
    struct call *call = login->call;
    login->work = work;
    login->done = done;
    login->attempt = (struct login_try){
        .account = login->email, .address = call->op.caller.address, .go = admitted, .arg = login};
    login_guard_enter(call->api->guard, &login->attempt, clock_mono(call->op.platform->clock));
}

// ── login ────────────────────────────────────────────────────────────────────────────────────

static void write_tokens(struct call *call, const struct user *user)
{
    struct account_tokens tokens;
    account_tokens_make(call->op.platform, user, &tokens, call->op.arena);
    int64_t left = tokens.expires_at - clock_wall(call->op.platform->clock);
    json_w_object(&call->out);
    json_w_pair_str(&call->out, "id_token", tokens.id_token);
    json_w_pair_str(&call->out, "access_token", tokens.id_token);
    json_w_pair_str(&call->out, "refresh_token", tokens.refresh_token);
    json_w_pair_str(&call->out, "token_type", STR("Bearer"));
    json_w_pair_int(&call->out, "expires_in", left / 1000);
    json_w_object_end(&call->out);
}

static void login_verified(struct login *login)
{
    struct call *call = login->call;
    struct err err = ERR_INIT;
    leave(login, login->matches ? LOGIN_GOOD : LOGIN_BAD);
    if (!login->matches) {
        err_set(&err, ERR_UNAUTHENTICATED, "The e-mail address or the password is wrong");
        call_finish(call, &err);
        return;
    }
    write_tokens(call, &login->user);
    call_finish(call, NULL);
}

static int login_with_password(struct call *call, struct err *err)
{
    struct login *login = login_new(call);
    struct str email;
    if (text_field(call, "username", &email, err) ||
        text_field(call, "password", &login->password, err) ||
        email_read(email, "username", call->op.arena, &login->email, err))
        return -1;
    guarded(login, verify_work, login_verified);
    return 0;
}

static int refresh_fn(struct call *call, struct err *err)
{
    struct token_claims *claims = call->data;
    struct user user;
    if (account_refresh(&call->op, claims->user_id, claims->epoch, &user, err))
        return -1;
    write_tokens(call, &user);
    return 0;
}

static void refresh_done(struct call *call, struct err *err) { call_finish(call, err); }

static int login_with_refresh(struct call *call, struct err *err)
{
    struct token_claims *claims = arena_new_of(call->op.arena, struct token_claims);
    struct str token;
    if (text_field(call, "refresh_token", &token, err) ||
        token_verify(call->op.platform->tokens, token, claims, call->op.arena, err))
        return -1;
    if (claims->kind != TOKEN_REFRESH)
        return err_set(err, ERR_UNAUTHENTICATED, "This is not a refresh token");
    call->data = claims;
    call_run(call, OP_READ, refresh_fn, refresh_done);
    return 0;
}

int login_handle(struct call *call, struct err *err)
{
    struct str type;
    if (text_field(call, "type", &type, err))
        return -1;
    if (str_is(type, "user_credentials"))
        return login_with_password(call, err);
    if (str_is(type, "refresh_token"))
        return login_with_refresh(call, err);
    return err_field(err, "type", "type must be user_credentials or refresh_token");
}

// ── a new password ───────────────────────────────────────────────────────────────────────────

static int password_store(struct call *call, struct err *err)
{
    struct login *login = call->data;
    struct str hash = arena_copy(call->op.arena, str_of(login->hash));
    if (account_set_password(&call->op, login->email, hash, err) ||
        account_get(&call->op, login->email, &login->user, err))
        return -1;
    write_tokens(call, &login->user);
    return 0;
}

static void password_hashed(struct login *login)
{
    struct call *call = login->call;
    bool wrong = !login->matches && login->err.kind == ERR_NONE;
    leave(login, login->matches ? LOGIN_GOOD : wrong ? LOGIN_BAD : LOGIN_VOID);
    if (!login->matches) {
        if (wrong)
            err_field(&login->err, "oldPassword", "The present password is wrong");
        call_finish(call, &login->err);
        return;
    }
    call_run(call, OP_WRITE, password_store, refresh_done);
}

int password_handle(struct call *call, struct err *err)
{
    struct login *login = login_new(call);
    login->email = call->op.caller.user_id;
    if (call->op.caller.kind == CALLER_SERVICE)
        return err_set(err, ERR_DENIED, "A service has no password");
    if (text_field(call, "oldPassword", &login->password, err) ||
        text_field(call, "newPassword", &login->new_password, err) ||
        password_check(login->new_password, "newPassword", err))
        return -1;
    guarded(login, verify_and_hash_work, password_hashed);
    return 0;
}

// ── a new account ────────────────────────────────────────────────────────────────────────────

static int invite_store(struct call *call, struct err *err)
{
    struct login *login = call->data;
    struct json given;
    login->user.password_hash = arena_copy(call->op.arena, str_of(login->hash));
    if (account_create(&call->op, &login->user, err))
        return -1;
    json_w_object(&call->out);
    entity_encode_fields(&user_entity, &login->user, &call->out);
    if (!json_get(call->body, "password", &given) || given.type == JSON_NULL)
        json_w_pair_str(&call->out, "password", login->new_password);
    json_w_object_end(&call->out);
    return 0;
}

static void invite_hashed(struct login *login)
{
    if (!login->matches)
        call_finish(login->call, &login->err);
    else
        call_run(login->call, OP_WRITE, invite_store, refresh_done);
}

static int read_invite(struct call *call, struct err *err)
{
    struct login *login = call->data;
    struct arena *arena = call->op.arena;
    struct json value;
    if (entity_decode(&user_entity, call->body, DECODE_CREATE, op_limits(&call->op), &login->user,
                      arena, err) ||
        email_read(login->user.email, "email", arena, &login->user.email, err))
        return -1;
    if (str_ends(login->user.email, STR("@bot.drover")))
        return err_field(err, "email", "Addresses at bot.drover belong to services");
    if (json_get(call->body, "admin", &value) && value.type != JSON_NULL &&
        !json_bool(value, &login->user.admin))
        return err_field(err, "admin", "admin must be true or false");
    login->new_password = password_generate(arena);
    if (json_get(call->body, "password", &value) && value.type != JSON_NULL &&
        (text_field(call, "password", &login->new_password, err) ||
         password_check(login->new_password, "password", err)))
        return -1;
    return 0;
}

// On a store thread, where the caller's role was looked at first.
static int invite_check(struct call *call, struct err *err)
{
    struct login *login = call->data;
    struct op *op = &call->op;
    struct user taken;
    if (read_invite(call, err))
        return -1;
    if (tx_get(op->tx, &user_entity, login->user.email, &taken, op->arena, err) == 0)
        return err_set(err, ERR_CONFLICT, "The account " STR_FMT " exists already",
                       STR_ARG(login->user.email));
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    return 0;
}

static void invite_checked(struct call *call, struct err *err)
{
    if (err->kind != ERR_NONE || hash_on_pool(call->data, hash_work, invite_hashed, err))
        call_finish(call, err);
}

int invite_handle(struct call *call, struct err *err)
{
    (void)err;
    login_new(call);
    call_run(call, OP_READ, invite_check, invite_checked);
    return 0;
}
