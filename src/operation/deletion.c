// SPDX-License-Identifier: Apache-2.0
#include "operation/deletion.h"

#include "operation/item.h"
#include "operation/project.h"

#define STEP_ROWS 200

// ── beginning ────────────────────────────────────────────────────────────────────────────────

static int begin(struct op *op, const char *kind, struct str id, struct str project_id,
                 struct err *err)
{
    struct deletion deletion = {.id = id,
                                .kind = str_of(kind),
                                .project_id = project_id,
                                .creator = op->caller.user_id,
                                .created_at = op->now};
    if (tx_insert(op->tx, &deletion_entity, &deletion, err))
        return -1;
    op_event(op, &(struct event){.kind = EVENT_DELETION_BEGUN, .id = id});
    return 0;
}

static struct filter *within(struct op *op, const struct entity *entity,
                             const struct deletion *deletion)
{
    bool dataset = str_is(deletion->kind, "dataset");
    return filter_eq_text(entity, dataset ? "dataset_id" : "project_id", deletion->id, op->arena);
}

// Counted before anything is removed: from the next commit on nothing can be added.
static int audit(struct op *op, const struct entity *entity, const void *row,
                 const struct deletion *deletion, const struct entity *const *contents,
                 struct err *err)
{
    struct str counts = STR("");
    for (; *contents; contents++) {
        int64_t count;
        if (tx_count(op->tx, *contents, within(op, *contents, deletion), &count, err))
            return -1;
        counts = arena_printf(op->arena, STR_FMT "%s\"%sCount\":%lld", STR_ARG(counts),
                              counts.len ? "," : "", (*contents)->table, (long long)count);
    }
    struct str after = arena_printf(op->arena, "{\"deleted\":{" STR_FMT "}}", STR_ARG(counts));
    return op_audit_more(op, "delete", entity, row, row, after, err);
}

static int delete_services(struct op *op, const struct deletion *deletion, size_t *done,
                           struct err *err);

int deletion_of_project(struct op *op, const struct project *project, struct err *err)
{
    static const struct entity *const contents[] = {&dataset_entity, &item_entity, &package_entity,
                                                    &service_entity, NULL};
    struct deletion deletion = {.id = project->id, .kind = STR("project")};
    int64_t members;
    size_t services;
    if (audit(op, &project_entity, project, &deletion, contents, err) ||
        tx_delete_where(op->tx, &member_entity, within(op, &member_entity, &deletion), 0, &members,
                        err) ||
        tx_delete(op->tx, &project_entity, project->id, err) ||
        delete_services(op, &deletion, &services, err))  // at once, so that their agents end
        return -1;
    return begin(op, "project", project->id, project->id, err);
}

// Packages keep their code in Binaries; one that was given an item of another dataset needs that.
static int check_code(struct op *op, const struct dataset *dataset, struct err *err)
{
    struct query query = {
        .filter = filter_eq_text(&revision_entity, "projectId", dataset->project_id, op->arena),
        .limit = STEP_ROWS};
    _cleanup_arena_ struct arena *page = arena_new();
    for (size_t count = STEP_ROWS; count == STEP_ROWS; query.offset += STEP_ROWS) {
        void *rows;
        struct item item;
        arena_reset(page);
        if (tx_select(op->tx, &revision_entity, &query, page, &rows, &count, err))
            return -1;
        for (size_t i = 0; i < count; i++) {
            const struct revision *revision = (const struct revision *)rows + i;
            if (!revision->code_item.at)
                continue;
            int rc = tx_get(op->tx, &item_entity, revision->code_item, &item, page, err);
            if (rc && err->kind != ERR_NOT_FOUND)
                return -1;
            *err = ERR_INIT;
            if (rc == 0 && str_eq(item.dataset_id, dataset->id))
                return err_set(err, ERR_CONFLICT,
                               STR_FMT " in this dataset is the code of a package: delete the "
                                       "package first",
                               STR_ARG(item.filename));
        }
    }
    return 0;
}

int deletion_of_dataset(struct op *op, const struct dataset *dataset, struct err *err)
{
    static const struct entity *const contents[] = {&item_entity, NULL};
    struct deletion deletion = {.id = dataset->id, .kind = STR("dataset")};
    if (dataset->system)
        return err_set(err, ERR_CONFLICT,
                       "The dataset " BINARIES " holds the project's code and goes with it only");
    if (check_code(op, dataset, err) ||
        audit(op, &dataset_entity, dataset, &deletion, contents, err) ||
        tx_delete(op->tx, &dataset_entity, dataset->id, err))
        return -1;
    return begin(op, "dataset", dataset->id, dataset->project_id, err);
}

// ── removing ─────────────────────────────────────────────────────────────────────────────────

static int select_some(struct op *op, const struct deletion *deletion, const struct entity *entity,
                       void **rows, size_t *count, struct err *err)
{
    struct query query = {.filter = within(op, entity, deletion), .limit = STEP_ROWS};
    return tx_select(op->tx, entity, &query, op->arena, rows, count, err);
}

static int delete_services(struct op *op, const struct deletion *deletion, size_t *done,
                           struct err *err)
{
    void *rows;
    if (select_some(op, deletion, &service_entity, &rows, done, err))
        return -1;
    const struct service *services = rows;
    for (size_t i = 0; i < *done; i++) {
        if (tx_delete(op->tx, &service_entity, services[i].id, err))
            return -1;
        op_event(op, &(struct event){.kind = EVENT_SERVICE_DELETED,
                                     .service_id = services[i].id,
                                     .force = true});
    }
    return 0;
}

static int delete_executions(struct op *op, const struct deletion *deletion, size_t *done,
                             struct err *err)
{
    void *rows;
    int64_t deleted;
    if (select_some(op, deletion, &execution_entity, &rows, done, err))
        return -1;
    const struct execution *executions = rows;
    struct str *ids = arena_array_of(op->arena, struct str, *done + 1);
    for (size_t i = 0; i < *done; i++)
        ids[i] = executions[i].id;
    if (!*done)
        return 0;
    struct filter *log = filter_in_text(&execution_status_entity, "execution_id", ids, *done,
                                        op->arena);
    struct filter *these = filter_in_text(&execution_entity, "id", ids, *done, op->arena);
    if (tx_delete_where(op->tx, &execution_status_entity, log, 0, &deleted, err))
        return -1;
    return tx_delete_where(op->tx, &execution_entity, these, 0, &deleted, err);
}

static int delete_items(struct op *op, const struct deletion *deletion, size_t *done,
                        struct err *err)
{
    void *rows;
    if (select_some(op, deletion, &item_entity, &rows, done, err))
        return -1;
    struct item *items = rows;
    for (size_t i = 0; i < *done; i++) {
        if (item_drop(op, &items[i], err))
            return -1;
    }
    return 0;
}

// Services first and commands after executions: what could still make rows goes before them.
static int delete_of_project(struct op *op, const struct deletion *deletion, size_t *done,
                             struct err *err)
{
    static const struct entity *const plain[] = {
        &package_entity,      &revision_entity,      &command_entity,
        &replica_entity,      &service_event_entity, &notification_delivery_entity,
        &notification_entity, &dataset_entity};
    int (*const special[])(struct op *, const struct deletion *, size_t *,
                           struct err *) = {delete_services, delete_executions, delete_items};
    int64_t deleted = 0;
    *done = 0;
    for (size_t i = 0; !*done && i < sizeof(special) / sizeof(special[0]); i++) {
        if (special[i](op, deletion, done, err))
            return -1;
    }
    for (size_t i = 0; !*done && i < sizeof(plain) / sizeof(plain[0]); i++) {
        if (tx_delete_where(op->tx, plain[i], within(op, plain[i], deletion), STEP_ROWS, &deleted,
                            err))
            return -1;
        *done = (size_t)deleted;
    }
    return 0;
}

int deletion_step(struct op *op, struct deletion_step *step, struct err *err)
{
    struct deletion deletion;
    size_t done;
    step->state = DELETION_OVER;
    if (tx_find(op->tx, &deletion_entity, NULL, &deletion, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        *err = ERR_INIT;
        return 0;
    }
    bool project = str_is(deletion.kind, "project");
    step->state = DELETION_MORE;
    if (project ? delete_of_project(op, &deletion, &done, err)
                : delete_items(op, &deletion, &done, err))
        return -1;
    if (!done && project && !str_eq(step->cleaned, deletion.id)) {
        step->state = DELETION_CLEAN;
        step->project_id = deletion.id;
        return 0;
    }
    return done ? 0 : tx_delete(op->tx, &deletion_entity, deletion.id, err);
}

// ── what others see ──────────────────────────────────────────────────────────────────────────

static int is_deleted(struct op *op, struct str id, bool *out, struct err *err)
{
    struct deletion deletion;
    *out = id.at && tx_get(op->tx, &deletion_entity, id, &deletion, op->arena, err) == 0;
    if (err->kind != ERR_NONE && err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    return 0;
}

int deletion_under_way(struct op *op, struct str project_id, struct str dataset_id, bool *out,
                       struct err *err)
{
    if (is_deleted(op, project_id, out, err))
        return -1;
    return *out ? 0 : is_deleted(op, dataset_id, out, err);
}

int deletion_hide(struct op *op, const struct entity *entity, const char *field,
                  struct filter **filter, struct err *err)
{
    struct query query = {
        .filter = filter_eq_text(&deletion_entity, "kind", STR("project"), op->arena)};
    void *rows;
    size_t count;
    if (tx_select(op->tx, &deletion_entity, &query, op->arena, &rows, &count, err))
        return -1;
    if (!count)
        return 0;
    struct str *ids = arena_array_of(op->arena, struct str, count);
    for (size_t i = 0; i < count; i++)
        ids[i] = ((const struct deletion *)rows)[i].id;
    struct filter *hidden = filter_in_text(entity, field, ids, count, op->arena);
    *filter = filter_and(*filter, filter_not(hidden, op->arena), op->arena);
    return 0;
}
