// SPDX-License-Identifier: Apache-2.0
#include "operation/account.h"

#include "api/account_internal.h"
#include "api/api_internal.h"
#include "api/page.h"
#include "api/route_table.h"

static int get_me(struct call *call, struct err *err)
{
    struct user user;
    if (account_me(&call->op, &user, err))
        return -1;
    entity_encode(&user_entity, &user, &call->out);
    return 0;
}

static int complete_user(struct call *call, void *row, struct err *err)
{
    struct user *user = row;
    struct org org;
    if (!user->org_id.at)
        return 0;
    if (tx_get(call->op.tx, &org_entity, user->org_id, &org, call->op.arena, err))
        return -1;
    user->org_name = org.name;
    return 0;
}

static int get_users(struct call *call, struct err *err)
{
    struct page page = {.entity = &user_entity, .complete = complete_user};
    return page_array(call, &page, "id", err);
}

static int get_keys(struct call *call, struct err *err)
{
    struct op *op = &call->op;
    struct page page = {.entity = &api_key_entity};
    page.filter = filter_eq_text(&api_key_entity, "userId", op->caller.user_id, op->arena);
    page.filter = filter_and(
        page.filter, filter_eq_bool(&api_key_entity, "revoked", false, op->arena), op->arena);
    return page_array(call, &page, "id", err);
}

static int post_key(struct call *call, struct err *err)
{
    struct op *op = &call->op;
    struct json value;
    struct str user_id = op->caller.user_id, description = STR_NONE, jwt;
    struct api_key key;
    if (json_get(call->body, "userId", &value) && value.type != JSON_NULL) {
        if (value.type != JSON_STRING)
            return err_field(err, "userId", "userId must be a string");
        if (email_read(json_str(value, op->arena), "userId", op->arena, &user_id, err))
            return -1;
    }
    if (json_get(call->body, "description", &value) && value.type != JSON_NULL) {
        description = json_str(value, op->arena);
        if (!description.at)
            return err_field(err, "description", "description must be a string");
        if (limits_bytes(op_limits(op), LIMIT_FIELD, "description", description.len, err))
            return -1;
    }
    if (api_key_create(op, user_id, description, &key, &jwt, err))
        return -1;
    json_w_object(&call->out);
    entity_encode_fields(&api_key_entity, &key, &call->out);
    json_w_key(&call->out, "key");
    entity_encode(&api_key_entity, &key, &call->out);
    json_w_pair_str(&call->out, "jwt", jwt);
    json_w_object_end(&call->out);
    return 0;
}

static int get_key(struct call *call, struct err *err)
{
    struct api_key key;
    if (api_key_get(&call->op, call_param(call, 0), &key, err))
        return -1;
    entity_encode(&api_key_entity, &key, &call->out);
    return 0;
}

static int delete_key(struct call *call, struct err *err)
{
    return api_key_revoke(&call->op, call_param(call, 0), err);
}

#define ACCOUNTS "Accounts"

static const struct route routes[] = {
    {"POST", "/token", ROUTE_LOOP, SCOPE_PUBLIC, ROLE_NONE, BODY_FORM_OR_JSON, login_handle,
     .operation_id = "createToken", .summary = "Log in, or renew a login", .tag = ACCOUNTS,
     .request = "TokenRequest", .response = "TokenAnswer", .query = "default:", .at_root = true},
    {"GET", "/users/me", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, get_me,
     .operation_id = "getMe", .summary = "Say who the caller is", .tag = ACCOUNTS,
     .response = "User"},
    {"POST", "/users/me/password", ROUTE_LOOP, SCOPE_CALLER, ROLE_NONE, BODY_JSON, password_handle,
     .operation_id = "changePassword",
     .summary = "Change the caller's password, which ends all logins", .tag = ACCOUNTS,
     .request = "PasswordChange", .response = "TokenAnswer"},
    {"GET", "/users", ROUTE_READ, SCOPE_ADMIN, ROLE_NONE, BODY_NONE, get_users,
     .operation_id = "listUsers", .summary = "List all accounts", .tag = ACCOUNTS,
     .response = "User[]"},
    {"POST", "/users", ROUTE_LOOP, SCOPE_ADMIN, ROLE_NONE, BODY_JSON, invite_handle,
     .operation_id = "createUser", .summary = "Make an account", .tag = ACCOUNTS,
     .request = "UserInvite", .response = "UserInvited", .success = 201},
    {"GET", "/apikeys", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, get_keys,
     .operation_id = "listApiKeys", .summary = "List the caller's API keys", .tag = ACCOUNTS,
     .response = "ApiKey[]"},
    {"POST", "/apikeys", ROUTE_WRITE, SCOPE_CALLER, ROLE_NONE, BODY_JSON_OPTIONAL, post_key,
     .operation_id = "createApiKey", .summary = "Make an API key", .tag = ACCOUNTS,
     .request = "ApiKeyRequest", .response = "ApiKeyMade"},
    {"GET", "/apiKeys", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, get_keys,
     .operation_id = "listApiKeysCamelCase", .summary = "List the caller's API keys",
     .tag = ACCOUNTS, .response = "ApiKey[]"},
    {"POST", "/apiKeys", ROUTE_WRITE, SCOPE_CALLER, ROLE_NONE, BODY_JSON_OPTIONAL, post_key,
     .operation_id = "createApiKeyCamelCase", .summary = "Make an API key", .tag = ACCOUNTS,
     .request = "ApiKeyRequest", .response = "ApiKeyMade"},
    {"GET", "/apikeys/{keyId}", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, get_key,
     .operation_id = "getApiKey", .summary = "Get an API key without its secret", .tag = ACCOUNTS,
     .response = "ApiKey"},
    {"DELETE", "/apikeys/{keyId}", ROUTE_WRITE, SCOPE_CALLER, ROLE_NONE, BODY_NONE, delete_key,
     .operation_id = "revokeApiKey", .summary = "Revoke an API key", .tag = ACCOUNTS,
     .success = 204},
    {"GET", "/apiKeys/{keyId}", ROUTE_READ, SCOPE_CALLER, ROLE_NONE, BODY_NONE, get_key,
     .operation_id = "getApiKeyCamelCase", .summary = "Get an API key without its secret",
     .tag = ACCOUNTS, .response = "ApiKey"},
    {"DELETE", "/apiKeys/{keyId}", ROUTE_WRITE, SCOPE_CALLER, ROLE_NONE, BODY_NONE, delete_key,
     .operation_id = "revokeApiKeyCamelCase", .summary = "Revoke an API key", .tag = ACCOUNTS,
     .success = 204},
};

const struct route_list account_routes = {routes, sizeof(routes) / sizeof(routes[0])};
