// SPDX-License-Identifier: Apache-2.0
#include "operation/member.h"

#include "operation/account.h"

int member_role(struct str word, const char *field, enum role *out, struct err *err)
{
    *out = role_parse(word);
    if (str_is(word, "engineer"))
        *out = ROLE_DEVELOPER;
    if (str_is(word, "annotationManager") || str_is(word, "annotator"))
        *out = ROLE_VIEWER;
    if (*out != ROLE_NONE)
        return 0;
    return err_field(err, field,
                     "%s must be owner, developer or viewer (or engineer, annotationManager, "
                     "annotator)",
                     field);
}

int member_complete(struct op *op, struct member *member, struct err *err)
{
    struct user user;
    if (account_get(op, member->user_id, &user, err))
        return -1;
    member->first_name = user.first_name;
    member->last_name = user.last_name;
    member->type = user.type;
    member->org_id = user.org_id;
    member->org_name = user.org_name;
    return 0;
}

static struct str member_id(struct op *op, struct str project_id, struct str user_id)
{
    return arena_printf(op->arena, STR_FMT ":" STR_FMT, STR_ARG(project_id), STR_ARG(user_id));
}

static int find(struct op *op, struct str id, struct member *out, bool *found, struct err *err)
{
    *found = tx_get(op->tx, &member_entity, id, out, op->arena, err) == 0;
    if (!*found && err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    return 0;
}

// Before an owner is removed or made less.
static int keep_owner(struct op *op, const struct member *leaving, struct err *err)
{
    struct arena *arena = op->arena;
    int64_t owners;
    if (!str_is(leaving->role, "owner"))
        return 0;
    struct filter *filter = filter_and(
        filter_eq_text(&member_entity, "projectId", leaving->project_id, arena),
        filter_eq_text(&member_entity, "role", STR("owner"), arena), arena);
    if (tx_count(op->tx, &member_entity, filter, &owners, err))
        return -1;
    if (owners > 1)
        return 0;
    return err_set(err, ERR_CONFLICT,
                   STR_FMT " is the only owner of the project: make somebody else an owner first",
                   STR_ARG(leaving->user_id));
}

static int insert(struct op *op, const struct member_change *change, enum role role,
                  struct member *out, struct err *err)
{
    struct user user;
    if (account_get(op, out->user_id, &user, err))
        return -1;
    out->project_id = change->project_id;
    out->role = str_of(role_word(role));
    out->given = change->role;
    out->creator = op->caller.user_id;
    out->created_at = out->updated_at = op->now;
    if (tx_insert(op->tx, &member_entity, out, err))
        return -1;
    return op_audit(op, "add", &member_entity, NULL, out, err);
}

int member_set(struct op *op, const struct member_change *change, struct member *out,
               struct err *err)
{
    struct member before;
    struct str user_id;
    enum role role;
    bool found;
    if (member_role(change->role, "role", &role, err) ||
        email_read(change->user_id, "userId", op->arena, &user_id, err))
        return -1;
    struct str id = member_id(op, change->project_id, user_id);
    if (find(op, id, &before, &found, err))
        return -1;
    if (!found && !change->add)
        return err_set(err, ERR_NOT_FOUND, STR_FMT " is not a member of the project",
                       STR_ARG(user_id));
    if (!found) {
        entity_clear(&member_entity, out);
        out->id = id;
        out->user_id = user_id;
        return insert(op, change, role, out, err);
    }
    *out = before;
    bool same = role_parse(before.role) == role;
    if (same && (!change->update || str_eq(before.given, change->role)))
        return 0;
    if (!change->update)
        return err_set(err, ERR_CONFLICT, STR_FMT " is a member already, with the role " STR_FMT,
                       STR_ARG(user_id), STR_ARG(before.role));
    if (!same && keep_owner(op, &before, err))
        return -1;
    out->role = str_of(role_word(role));
    out->given = change->role;
    out->updated_at = op->now;
    if (tx_update(op->tx, &member_entity, out, err))
        return -1;
    return op_audit(op, "update", &member_entity, &before, out, err);
}

int member_remove(struct op *op, struct str project_id, struct str user_id, struct err *err)
{
    struct member member;
    struct str email;
    bool found;
    if (email_read(user_id, "userId", op->arena, &email, err))
        return -1;
    if (find(op, member_id(op, project_id, email), &member, &found, err))
        return -1;
    if (!found)
        return err_set(err, ERR_NOT_FOUND, STR_FMT " is not a member of the project",
                       STR_ARG(email));
    if (keep_owner(op, &member, err) || tx_delete(op->tx, &member_entity, member.id, err))
        return -1;
    return op_audit(op, "remove", &member_entity, &member, NULL, err);
}
