// SPDX-License-Identifier: Apache-2.0
#include "operation/package.h"

#include "base/id.h"
#include "model/module.h"
#include "operation/repeat.h"
#include "operation/requirement.h"

#define MASK "***"

static struct str member_text(struct json object, const char *key, struct arena *arena)
{
    struct json value;
    return json_get(object, key, &value) ? json_str(value, arena) : STR_NONE;
}

static bool is_git(struct str codebase, struct arena *arena)
{
    return str_is(member_text(json_of(codebase), "type", arena), "git");
}

// ── credentials ──────────────────────────────────────────────────────────────────────────────

static bool masked(struct json value) { return str_is(value.text, "\"" MASK "\""); }

// The codebase with another credentials object.
static struct str with_credentials(struct str codebase, struct str credentials, struct arena *arena)
{
    struct str patch = arena_printf(arena, "{\"credentials\":" STR_FMT "}", STR_ARG(credentials));
    return json_merge(json_of(codebase), json_of(patch), arena);
}

// Each value of `given`: masked, or as it is, and for *** the one of `former`. Absent when that has
// more than `most` bytes.
static struct str map_credentials(struct json given, struct json former, size_t most,
                                  struct arena *arena)
{
    _cleanup_buf_ struct buf buf = BUF_INIT(most);
    struct json_writer out = JSON_WRITER(&buf);
    struct json_iter it = json_each(given);
    struct str key;
    json_w_object(&out);
    for (struct json value; json_next(&it, &key, &value);) {
        struct str name = json_unescape(key, arena);
        struct json kept;
        json_w_key_str(&out, name);
        if (former.type == JSON_ABSENT)
            json_w_cstr(&out, MASK);
        else if (masked(value) && json_get(former, arena_cstr(arena, name), &kept))
            json_w_raw(&out, kept.text);
        else
            json_w_raw(&out, value.text);
    }
    json_w_object_end(&out);
    return buf.over ? STR_NONE : arena_copy(arena, buf_str(&buf));
}

void package_hide_credentials(struct package *package, struct arena *arena)
{
    struct json credentials;
    if (!json_get(json_of(package->codebase), "credentials", &credentials) ||
        credentials.type != JSON_OBJECT)
        return;
    // A value of one byte becomes five, a byte of a key six.
    size_t most = credentials.text.len * 6 + 2;
    struct str hidden = map_credentials(credentials, (struct json){0}, most, arena);
    package->codebase = with_credentials(package->codebase, hidden, arena);
}

static bool any_masked(struct json credentials)
{
    struct json_iter it = json_each(credentials);
    struct str key;
    for (struct json value; json_next(&it, &key, &value);) {
        if (masked(value))
            return true;
    }
    return false;
}

// What was answered as *** and comes back so stays as it was, but never for another address.
static int keep_credentials(struct op *op, struct package *package, const struct package *before,
                            struct err *err)
{
    struct arena *arena = op->arena;
    struct json given, former, codebase = json_of(package->codebase);
    size_t most = (size_t)op_limits(op)->field;
    if (!json_get(codebase, "credentials", &given) || !any_masked(given))
        return 0;
    struct json old = before ? json_of(before->codebase) : (struct json){0};
    if (!json_get(old, "credentials", &former) || former.type != JSON_OBJECT ||
        !str_eq(member_text(codebase, "gitUrl", arena), member_text(old, "gitUrl", arena)))
        return err_field(err, "codebase.credentials",
                         "codebase.credentials must be given again for another gitUrl: \"" MASK
                         "\" only stands for those that are kept");
    struct str credentials = map_credentials(given, former, most, arena);
    if (!credentials.at)
        return err_field(err, "codebase.credentials",
                         "codebase.credentials would have more than %zu bytes (--max-field)", most);
    package->codebase = with_credentials(package->codebase, credentials, arena);
    return 0;
}

// A password in the address would be seen wherever the address is shown.
static int check_url(struct str url, struct err *err)
{
    struct str rest = url;
    size_t at;
    if (!str_find(url, STR("://"), &at))
        return 0;
    bool http = str_starts(url, STR("http"));
    rest = (struct str){url.at + at + 3, url.len - at - 3};
    struct str authority = str_cut(&rest, '/');
    const char *mark = memrchr(authority.at, '@', authority.len);
    if (!mark)
        return 0;
    struct str user = {authority.at, (size_t)(mark - authority.at)};
    if (!http && !memchr(user.at, ':', user.len))
        return 0;
    return err_field(err, "codebase.gitUrl",
                     "codebase.gitUrl must not hold a user's name or password: give them in "
                     "codebase.credentials");
}

// ── checks ───────────────────────────────────────────────────────────────────────────────────

// A change that leaves a list alone is not refused for what was accepted before.
static const struct limits *limits_for(struct op *op, struct str now, const struct str *before)
{
    return before && str_eq(now, *before) ? NULL : op_limits(op);
}

static int check_item(struct op *op, const struct package *package, struct err *err)
{
    struct item item;
    struct str id = member_text(json_of(package->codebase), "itemId", op->arena);
    if (tx_get(op->tx, &item_entity, id, &item, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
    } else if (str_eq(item.project_id, package->project_id) && item.blob.at) {
        return 0;
    }
    return err_field(err, "codebase.itemId",
                     "codebase.itemId: project " STR_FMT " has no file " STR_FMT
                     "; upload the code first",
                     STR_ARG(package->project_id), STR_ARG(id));
}

// Requirements are pip's: nobody would install them where no module is Python.
static int check_runners(const struct package *package, const struct module *modules, size_t count,
                         struct err *err)
{
    for (size_t i = 0; i < count; i++)
        if (module_runner(modules[i].entry_point) == MODULE_PYTHON)
            return 0;
    if (json_count(json_of(package->requirements)) == 0)
        return 0;
    return err_field(
        err, "requirements",
        "requirements are Python packages, and no module of this package is Python (its "
        "entry point is " STR_FMT "): leave them out, and put what the code needs into "
        "the package",
        STR_ARG(modules[0].entry_point));
}

static int check(struct op *op, struct package *package, const struct package *before,
                 struct err *err)
{
    struct module *modules;
    size_t count;
    struct str next;
    if (name_check(package->name, "name", err) ||
        version_next(package->version, op->arena, &next, err) ||
        codebase_check(json_of(package->codebase), err) ||
        modules_parse(json_of(package->modules),
                      limits_for(op, package->modules, before ? &before->modules : NULL), op->arena,
                      &modules, &count, err) ||
        requirements_check(
            json_of(package->requirements),
            limits_for(op, package->requirements, before ? &before->requirements : NULL), op->arena,
            &package->requirements, err) ||
        check_runners(package, modules, count, err))
        return -1;
    if (package->global && !(before && before->global) && !op->caller.admin)
        return err_set(err, ERR_DENIED,
                       "Only administrators may make a package global: leave global false");
    if (is_git(package->codebase, op->arena))
        return check_url(member_text(json_of(package->codebase), "gitUrl", op->arena), err) ||
                       keep_credentials(op, package, before, err)
                   ? -1
                   : 0;
    if (before && str_eq(package->codebase, before->codebase))
        return 0;
    return check_item(op, package, err);
}

// ── revisions ────────────────────────────────────────────────────────────────────────────────

int revision_add(struct op *op, struct revision *revision, const struct entity *entity,
                 const void *row, struct err *err)
{
    revision->id = arena_printf(op->arena, STR_FMT ":" STR_FMT, STR_ARG(revision->parent_id),
                                STR_ARG(revision->version));
    revision->kind = str_of(entity->name);
    revision->creator = op->caller.user_id;
    revision->created_at = op->now;
    revision->body = entity_dump(entity, row, op->arena);
    return tx_insert(op->tx, &revision_entity, revision, err);
}

static int keep_revision(struct op *op, const struct package *package, struct err *err)
{
    struct revision revision;
    entity_clear(&revision_entity, &revision);
    revision.parent_id = package->id;
    revision.version = package->version;
    revision.project_id = package->project_id;
    struct json item;
    if (json_get(json_of(package->codebase), "itemId", &item))
        revision.code_item = json_str(item, op->arena);
    return revision_add(op, &revision, &package_entity, package, err);
}

int package_code_of(struct op *op, struct str item_id, struct revision *out, bool *found,
                    struct err *err)
{
    struct filter *filter = filter_eq_text(&revision_entity, "codeItem", item_id, op->arena);
    *found = tx_find(op->tx, &revision_entity, filter, out, op->arena, err) == 0;
    if (!*found && err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    return 0;
}

int package_at(struct op *op, const struct package *package, struct str version,
               struct package *out, struct err *err)
{
    struct revision revision;
    if (version.len == 0 || str_is(version, "latest") || str_eq(version, package->version)) {
        *out = *package;
        return 0;
    }
    struct str id = arena_printf(op->arena, STR_FMT ":" STR_FMT, STR_ARG(package->id),
                                 STR_ARG(version));
    if (tx_get(op->tx, &revision_entity, id, &revision, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        return err_set(err, ERR_NOT_FOUND, "Package " STR_FMT " has no revision " STR_FMT,
                       STR_ARG(package->name), STR_ARG(version));
    }
    return entity_load(&package_entity, json_of(revision.body), out, op->arena, err);
}

// ── the operations ───────────────────────────────────────────────────────────────────────────

static int audit(struct op *op, const char *action, const struct package *before,
                 const struct package *after, struct err *err)
{
    struct package old, new;
    if (before) {
        old = *before;
        package_hide_credentials(&old, op->arena);
    }
    if (after) {
        new = *after;
        package_hide_credentials(&new, op->arena);
    }
    return op_audit(op, action, &package_entity, before ? &old : NULL, after ? &new : NULL, err);
}

// The package that the same create has made before its answer was lost.
static bool made_before(struct op *op, struct package *package, const struct err *err)
{
    struct package first;
    struct err ignored = ERR_INIT;
    if (err->kind != ERR_CONFLICT)
        return false;
    struct filter *same = filter_and(
        filter_eq_text(&package_entity, "projectId", package->project_id, op->arena),
        filter_eq_text(&package_entity, "name", package->name, op->arena), op->arena);
    if (tx_find(op->tx, &package_entity, same, &first, op->arena, &ignored) ||
        !repeat_of(op, &package_entity, &first, package))
        return false;
    *package = first;
    return true;
}

int package_create(struct op *op, const struct project *project, struct json body,
                   struct package *out, struct err *err)
{
    if (entity_decode(&package_entity, body, DECODE_CREATE, op_limits(op), out, op->arena, err))
        return -1;
    out->id = op_id(op);
    out->project_id = project->id;
    out->creator = out->updated_by = op->caller.user_id;
    out->created_at = out->updated_at = op->now;
    if (check(op, out, NULL, err))
        return -1;
    if (tx_insert(op->tx, &package_entity, out, err)) {
        if (!made_before(op, out, err))
            return -1;
        *err = ERR_INIT;
        return 0;
    }
    return keep_revision(op, out, err) || audit(op, "create", NULL, out, err) ? -1 : 0;
}

int package_update(struct op *op, const struct package *before, struct json body,
                   struct package *out, struct err *err)
{
    *out = *before;
    if (entity_decode(&package_entity, body, DECODE_PATCH, op_limits(op), out, op->arena, err))
        return -1;
    struct str given = out->version;
    if (version_next(before->version, op->arena, &out->version, err))
        return -1;
    if (version_cmp(given, before->version) > 0)
        out->version = given;
    out->updated_by = op->caller.user_id;
    out->updated_at = op->now;
    if (check(op, out, before, err) || tx_update(op->tx, &package_entity, out, err) ||
        keep_revision(op, out, err))
        return -1;
    return audit(op, "update", before, out, err);
}

int package_delete(struct op *op, const struct package *package, struct err *err)
{
    struct service service;
    int64_t deleted;
    struct filter *users = filter_eq_text(&service_entity, "packageId", package->id, op->arena);
    if (tx_find(op->tx, &service_entity, users, &service, op->arena, err) == 0)
        return err_set(err, ERR_CONFLICT,
                       "Package " STR_FMT " is used by service " STR_FMT
                       ": delete its services first",
                       STR_ARG(package->name), STR_ARG(service.name));
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    struct filter *revisions = filter_eq_text(&revision_entity, "parentId", package->id, op->arena);
    if (tx_delete(op->tx, &package_entity, package->id, err) ||
        tx_delete_where(op->tx, &revision_entity, revisions, 0, &deleted, err))
        return -1;
    return audit(op, "delete", package, NULL, err);
}
