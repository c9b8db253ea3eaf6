// SPDX-License-Identifier: Apache-2.0
#include "operation/access.h"

static const char *const words[] = {
    [ROLE_NONE] = "none",
    [ROLE_VIEWER] = "viewer",
    [ROLE_DEVELOPER] = "developer",
    [ROLE_OWNER] = "owner",
};

enum role role_parse(struct str word)
{
    for (int role = ROLE_VIEWER; role <= ROLE_OWNER; role++) {
        if (str_is(word, words[role]))
            return (enum role)role;
    }
    return ROLE_NONE;
}

const char *role_word(enum role role)
{
    return (unsigned)role <= ROLE_OWNER ? words[role] : words[ROLE_NONE];
}

// What is missing makes the token worthless; other trouble keeps its own kind.
static int gone(struct err *err, const char *sentence)
{
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    return err_set(err, ERR_UNAUTHENTICATED, "%s", sentence);
}

static int identify_user(struct op *op, struct err *err)
{
    struct user user;
    if (tx_get(op->tx, &user_entity, op->caller.user_id, &user, op->arena, err))
        return gone(err, "The account of this token does not exist any more; log in again");
    if (op->caller.kind == CALLER_USER && user.token_epoch != op->caller.token_epoch)
        return err_set(err, ERR_UNAUTHENTICATED,
                       "This login has ended because the password was changed; log in again");
    op->caller.admin = user.admin;
    return 0;
}

static int identify_key(struct op *op, struct err *err)
{
    struct api_key key;
    if (tx_get(op->tx, &api_key_entity, op->caller.key_id, &key, op->arena, err))
        return gone(err, "This API key does not exist; make a new one");
    if (key.revoked)
        return err_set(err, ERR_UNAUTHENTICATED, "This API key was revoked; make a new one");
    if (!str_eq(key.user_id, op->caller.user_id))
        return err_set(err, ERR_UNAUTHENTICATED, "This API key belongs to another account");
    return identify_user(op, err);
}

static int identify_service(struct op *op, struct err *err)
{
    struct service service;
    op->caller.admin = false;
    if (tx_get(op->tx, &service_entity, op->caller.service_id, &service, op->arena, err))
        return gone(err, "The service of this token does not exist any more");
    if (!str_eq(service.project_id, op->caller.project_id))
        return err_set(err, ERR_UNAUTHENTICATED,
                       "This token names another project than its service's");
    return 0;
}

int access_identify(struct op *op, struct err *err)
{
    switch (op->caller.kind) {
    case CALLER_SYSTEM: op->caller.admin = true; return 0;
    case CALLER_USER: return identify_user(op, err);
    case CALLER_API_KEY: return identify_key(op, err);
    case CALLER_SERVICE:
    case CALLER_AGENT: return identify_service(op, err);
    case CALLER_NONE: break;
    }
    return err_set(err, ERR_UNAUTHENTICATED,
                   "This call needs a token in the authorization header (Bearer …)");
}

int access_role(struct op *op, struct str project_id, enum role *out, struct err *err)
{
    *out = ROLE_NONE;
    if (op->caller.admin) {
        *out = ROLE_OWNER;
        return 0;
    }
    if (op->caller.kind == CALLER_SERVICE) {
        if (project_id.at && str_eq(project_id, op->caller.project_id))
            *out = ROLE_DEVELOPER;
        return 0;
    }
    if (op->caller.kind != CALLER_USER && op->caller.kind != CALLER_API_KEY)
        return 0;
    struct member member;
    struct str id = arena_printf(op->arena, STR_FMT ":" STR_FMT, STR_ARG(project_id),
                                 STR_ARG(op->caller.user_id));
    if (tx_get(op->tx, &member_entity, id, &member, op->arena, err) == 0) {
        *out = role_parse(member.role);
        return 0;
    }
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    return 0;
}

int access_require(struct op *op, struct str project_id, enum role at_least, struct err *err)
{
    enum role role;
    if (access_role(op, project_id, &role, err))
        return -1;
    if (role >= at_least)
        return 0;
    if (role == ROLE_NONE)
        return err_set(err, ERR_DENIED,
                       STR_FMT " has no role in project " STR_FMT
                               "; the role %s is needed: ask an owner of the project",
                       STR_ARG(op->caller.user_id), STR_ARG(project_id), role_word(at_least));
    return err_set(err, ERR_DENIED,
                   "The role %s is needed in project " STR_FMT "; " STR_FMT
                   " is only %s there: ask an owner of the project",
                   role_word(at_least), STR_ARG(project_id), STR_ARG(op->caller.user_id),
                   role_word(role));
}

int access_unknown(struct err *err, const char *kind, struct str id)
{
    return err_set(err, ERR_NOT_FOUND, "There is no %s " STR_FMT, kind, STR_ARG(id));
}

int access_require_seen(struct op *op, struct str project_id, enum role at_least, const char *kind,
                        struct str id, struct err *err)
{
    enum role role;
    if (access_role(op, project_id, &role, err))
        return -1;
    if (role == ROLE_NONE)
        return access_unknown(err, kind, id);
    return access_require(op, project_id, at_least, err);
}

int access_require_admin(struct op *op, struct err *err)
{
    if (op->caller.admin)
        return 0;
    return err_set(err, ERR_DENIED, "Only administrators may do this; " STR_FMT " is not one",
                   STR_ARG(op->caller.user_id));
}

struct ids {
    struct str *at;
    size_t count;
};

// Every project that the caller is a member of, page by page.
static int member_projects(struct op *op, struct ids *out, struct err *err)
{
    struct query query = {
        .filter = filter_eq_text(&member_entity, "userId", op->caller.user_id, op->arena),
        .limit = QUERY_LIMIT_MAX,
    };
    size_t count;
    *out = (struct ids){0};
    do {
        void *rows;
        if (tx_select(op->tx, &member_entity, &query, op->arena, &rows, &count, err))
            return -1;
        const struct member *members = rows;
        struct str *more = arena_array_of(op->arena, struct str, out->count + count + 1);
        if (out->count)
            memcpy(more, out->at, out->count * sizeof(*more));
        for (size_t i = 0; i < count; i++)
            more[out->count + i] = members[i].project_id;
        out->at = more;
        out->count += count;
        query.offset += (int64_t)count;
    } while (count == QUERY_LIMIT_MAX);
    return 0;
}

int access_filter(struct op *op, const struct entity *entity, const char *field,
                  struct filter **out, struct err *err)
{
    struct ids ids = {0};
    *out = NULL;
    if (op->caller.admin)
        return 0;
    if (op->caller.kind == CALLER_SERVICE) {
        *out = filter_eq_text(entity, field, op->caller.project_id, op->arena);
        return 0;
    }
    if (member_projects(op, &ids, err))
        return -1;
    *out = filter_in_text(entity, field, ids.at, ids.count, op->arena);
    return 0;
}
