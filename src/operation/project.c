// SPDX-License-Identifier: Apache-2.0
#include "operation/project.h"

#include "base/id.h"
#include "operation/access.h"
#include "operation/dataset.h"
#include "operation/member.h"
#include "operation/repeat.h"

int title_check(struct str title, const char *field, const struct limits *limits, struct err *err)
{
    if (!title.at || !title.len)
        return err_field(err, field, "%s must not be empty", field);
    if (limits_bytes(limits, LIMIT_NAME, field, title.len, err))
        return -1;
    for (size_t i = 0; i < title.len; i++) {
        if ((unsigned char)title.at[i] < 0x20 || title.at[i] == 0x7F)
            return err_field(err, field, "%s must not hold control characters", field);
    }
    if (str_trim(title).len != title.len)
        return err_field(err, field, "%s must not begin or end with a blank", field);
    if (!str_utf8_valid(title))
        return err_field(err, field, "%s must be UTF-8", field);
    return 0;
}

static int taken(struct op *op, struct str name, struct project *out, bool *found, struct err *err)
{
    struct filter *filter = filter_and(
        filter_eq_text(&project_entity, "org_id", op->platform->org_id, op->arena),
        filter_eq_text(&project_entity, "name", name, op->arena), op->arena);
    *found = tx_find(op->tx, &project_entity, filter, out, op->arena, err) == 0;
    if (!*found && err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    return 0;
}

static int refuse_name(struct err *err, struct str name)
{
    return err_set(err, ERR_CONFLICT, "There is a project named " STR_FMT " already",
                   STR_ARG(name));
}

static int make(struct op *op, struct str name, struct project *out, struct err *err)
{
    struct dataset binaries;
    struct member owner;
    entity_clear(&project_entity, out);
    out->id = uuid_new(op->arena);
    out->name = name;
    out->org_id = op->platform->org_id;
    out->creator = op->caller.user_id;
    out->created_at = out->updated_at = op->now;
    if (tx_insert(op->tx, &project_entity, out, err))
        return err->kind == ERR_CONFLICT ? refuse_name(err, name) : -1;
    if (op->caller.kind == CALLER_USER || op->caller.kind == CALLER_API_KEY) {
        struct member_change change = {.project_id = out->id,
                                       .user_id = op->caller.user_id,
                                       .role = STR("owner"),
                                       .add = true};
        if (member_set(op, &change, &owner, err))
            return -1;
    }
    entity_clear(&dataset_entity, &binaries);
    binaries.name = STR(BINARIES);
    binaries.project_id = out->id;
    binaries.metadata = STR("{}");
    binaries.system = true;
    if (dataset_create(op, &binaries, err))
        return -1;
    return op_audit(op, "create", &project_entity, NULL, out, err);
}

int project_create(struct op *op, struct str name, struct project *out, struct err *err)
{
    bool found;
    if (op->caller.kind == CALLER_SERVICE)
        return err_set(err, ERR_DENIED, "A service cannot create projects");
    if (title_check(name, "name", op_limits(op), err) || taken(op, name, out, &found, err))
        return -1;
    // A name is all that makes a project, so an equal one is an equal create.
    if (found && !repeat_within_minute(op, out->creator, out->created_at))
        return refuse_name(err, name);
    if (!found && make(op, name, out, err))
        return -1;
    return project_complete(op, out, err);
}

static int contributors(struct op *op, struct project *project, struct err *err)
{
    struct query query = {
        .filter = filter_eq_text(&member_entity, "projectId", project->id, op->arena),
        .limit = 100,
    };
    _cleanup_buf_ struct buf buf = BUF_INIT(1 << 20);
    struct json_writer out = JSON_WRITER(&buf);
    void *rows;
    size_t count;
    if (tx_select(op->tx, &member_entity, &query, op->arena, &rows, &count, err))
        return -1;
    const struct member *members = rows;
    json_w_array(&out);
    for (size_t i = 0; i < count; i++)
        json_w_str(&out, members[i].user_id);
    json_w_array_end(&out);
    project->contributors = arena_copy(op->arena, buf_str(&buf));
    return 0;
}

int project_complete(struct op *op, struct project *project, struct err *err)
{
    struct org org;
    enum role role;
    if (tx_get(op->tx, &org_entity, project->org_id, &org, op->arena, err) ||
        access_role(op, project->id, &role, err) || contributors(op, project, err))
        return -1;
    project->org_name = org.name;
    project->role = str_of(role_word(role));
    return 0;
}

int project_rename(struct op *op, struct project *project, struct str name, struct err *err)
{
    struct project before = *project;
    if (title_check(name, "name", op_limits(op), err))
        return -1;
    if (str_eq(before.name, name))
        return 0;
    project->name = name;
    project->updated_at = op->now;
    if (tx_update(op->tx, &project_entity, project, err))
        return err->kind == ERR_CONFLICT ? refuse_name(err, name) : -1;
    return op_audit(op, "update", &project_entity, &before, project, err);
}
