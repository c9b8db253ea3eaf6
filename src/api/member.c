// SPDX-License-Identifier: Apache-2.0
#include "operation/member.h"

#include "api/page.h"
#include "api/route_table.h"

static int complete(struct call *call, void *row, struct err *err)
{
    return member_complete(&call->op, row, err);
}

static int get_members(struct call *call, struct err *err)
{
    struct page page = {.entity = &member_entity, .complete = complete};
    page.filter = filter_eq_text(&member_entity, "projectId", call->project.id, call->op.arena);
    return page_array(call, &page, "userId", err);
}

// `fallback` absent: the body must name one.
static int role_of(struct call *call, struct json object, struct str fallback, struct str *out,
                   struct err *err)
{
    struct json value;
    *out = fallback;
    if (!json_get(object, "role", &value) || value.type == JSON_NULL)
        return fallback.at ? 0 : err_field(err, "role", "role is missing");
    if (value.type != JSON_STRING)
        return err_field(err, "role", "role must be a string");
    enum role role;
    *out = json_str(value, call->op.arena);
    return member_role(*out, "role", &role, err);
}

static int set(struct call *call, const struct member_change *change, struct err *err)
{
    struct member member;
    if (member_set(&call->op, change, &member, err) || member_complete(&call->op, &member, err))
        return -1;
    entity_encode(&member_entity, &member, &call->out);
    return 0;
}

static int post_member(struct call *call, struct err *err)
{
    struct member_change change = {.project_id = call->project.id,
                                   .user_id = call_param(call, 1),
                                   .add = true,
                                   .update = call_query_bool(call, "allowUpdate")};
    struct json body = call->body.type == JSON_OBJECT ? call->body : json_of(STR("{}"));
    return role_of(call, body, STR("developer"), &change.role, err) ? -1 : set(call, &change, err);
}

static int patch_member(struct call *call, struct err *err)
{
    struct member_change change = {
        .project_id = call->project.id, .user_id = call_param(call, 1), .update = true};
    return role_of(call, call->body, STR_NONE, &change.role, err) ? -1 : set(call, &change, err);
}

static int delete_member(struct call *call, struct err *err)
{
    if (member_remove(&call->op, call->project.id, call_param(call, 1), err))
        return -1;
    return get_members(call, err);
}

static int add_one(struct call *call, struct json user, struct str role, struct err *err)
{
    struct member_change change = {
        .project_id = call->project.id, .role = role, .add = true, .update = true};
    if (user.type != JSON_STRING)
        return err_field(err, "users", "users must hold e-mail addresses");
    change.user_id = json_str(user, call->op.arena);
    return set(call, &change, err);
}

static int post_members(struct call *call, struct err *err)
{
    int64_t max = call->op.platform->settings->bulk_max;
    struct json users, user;
    struct str key;
    struct str role;
    if (role_of(call, call->body, STR_NONE, &role, err))
        return -1;
    if (!json_get(call->body, "users", &users) || users.type != JSON_ARRAY)
        return err_field(err, "users", "users must be an array of e-mail addresses");
    if ((int64_t)json_count(users) > max)
        return err_field(err, "users", "users has %zu entries; --max-bulk allows %lld",
                         json_count(users), (long long)max);
    struct json_iter it = json_each(users);
    json_w_array(&call->out);
    while (json_next(&it, &key, &user)) {
        if (add_one(call, user, role, err))
            return -1;
    }
    json_w_array_end(&call->out);
    return 0;
}

#define MEMBERS "Members"

static const struct route routes[] = {
    {"GET", "/projects/{projectId}/members", ROUTE_READ, SCOPE_PROJECT, ROLE_VIEWER, BODY_NONE,
     get_members, .operation_id = "listMembers", .summary = "List who has a role in a project",
     .tag = MEMBERS, .response = "Member[]"},
    {"POST", "/projects/{projectId}/members", ROUTE_WRITE, SCOPE_PROJECT, ROLE_OWNER, BODY_JSON,
     post_members, .operation_id = "addMembers", .summary = "Give several accounts a role",
     .tag = MEMBERS, .request = "MemberBatch", .response = "Member[]"},
    {"POST", "/projects/{projectId}/members/{userId}", ROUTE_WRITE, SCOPE_PROJECT, ROLE_OWNER,
     BODY_JSON_OPTIONAL, post_member, .operation_id = "addMember",
     .summary = "Give an account a role", .tag = MEMBERS, .request = "MemberAdd",
     .response = "Member", .query = "allowUpdate:boolean"},
    {"PATCH", "/projects/{projectId}/members/{userId}", ROUTE_WRITE, SCOPE_PROJECT, ROLE_OWNER,
     BODY_JSON, patch_member, .operation_id = "changeMember", .summary = "Change a member's role",
     .tag = MEMBERS, .request = "MemberRole", .response = "Member"},
    {"DELETE", "/projects/{projectId}/members/{userId}", ROUTE_WRITE, SCOPE_PROJECT, ROLE_OWNER,
     BODY_NONE, delete_member, .operation_id = "removeMember",
     .summary = "Take away a member's role", .tag = MEMBERS, .response = "Member[]"},
};

const struct route_list member_routes = {routes, sizeof(routes) / sizeof(routes[0])};
