// SPDX-License-Identifier: Apache-2.0
// What a command's spec holds: for createExecutions serviceId, functionName, inputName, filter,
// context, args; for rerunExecutions and terminateExecutions filter and projects (absent: all); for
// deleteService serviceId, force; and for all how far it is: cursor (the last id done), done,
// total.
#include "operation/command.h"

#include "base/id.h"
#include "model/context.h"
#include "model/describe.h"
#include "model/status.h"
#include "model/take.h"
#include "operation/access.h"
#include "operation/execution_functions.h"

#define SPEC_MORE     ((size_t)1 << 20)  // bytes of a spec besides what its request gave
#define HANDED_OUT_MS 1000               // by then a delivery of before is recorded as in progress

static const char create_type[] = "createExecutions", rerun_type[] = "rerunExecutions",
                  terminate_type[] = "terminateExecutions", delete_type[] = "deleteService";

static bool is_over(const struct command *command)
{
    return !str_is(command->status, "created") && !str_is(command->status, "in-progress");
}

static struct str spec_text(const struct command *command, const char *key, struct arena *arena)
{
    struct json value;
    return json_get(json_of(command->spec), key, &value) ? json_str(value, arena) : STR_NONE;
}

static int64_t spec_int(const struct command *command, const char *key)
{
    struct json value;
    int64_t n;
    return json_get(json_of(command->spec), key, &value) && json_int(value, &n) ? n : 0;
}

static struct json spec_json(const struct command *command, const char *key)
{
    struct json value = {0};
    json_get(json_of(command->spec), key, &value);
    return value;
}

// ── making ───────────────────────────────────────────────────────────────────────────────────

int command_create(struct op *op, const char *type, struct str project_id, struct str spec,
                   struct command *out, struct err *err)
{
    entity_clear(&command_entity, out);
    out->id = op_id(op);
    out->project_id = project_id;
    out->type = str_of(type);
    out->status = STR("created");
    out->progress = 0;
    out->spec = spec;
    out->creator = op->caller.user_id;
    out->created_at = out->updated_at = op->now;
    if (tx_insert(op->tx, &command_entity, out, err) ||
        op_audit(op, "create", &command_entity, NULL, out, err))
        return -1;
    op_event(op, &(struct event){.kind = EVENT_COMMAND_CREATED, .id = out->id});
    return 0;
}

struct batch {  // what a request for one asks
    struct json filter, context, args;
    struct str function, input;  // the input under which each item is handed over
};

// The first input of type Item, else one that is called item.
static struct str item_input(const struct function *function)
{
    struct str found = STR_NONE;
    for (size_t i = 0; i < function->input_count; i++) {
        if (str_is(function->inputs[i].type, "Item"))
            return function->inputs[i].name;
        if (str_is(function->inputs[i].name, "item"))
            found = function->inputs[i].name;
    }
    return found;
}

static int check_item_input(struct batch *batch, const struct function *function,
                            struct arena *arena, struct err *err)
{
    struct json value;
    batch->input = item_input(function);
    if (!batch->input.at)
        return err_field(err, "functionName",
                         "functionName: function " STR_FMT
                         " takes no item: a batch needs an input of type Item",
                         STR_ARG(function->name));
    if (!json_get(batch->args, arena_cstr(arena, batch->input), &value))
        return 0;
    return err_field(err, "batch.args", "batch.args must not give " STR_FMT ": it is each item",
                     STR_ARG(batch->input));
}

static struct str batch_body(const struct batch *batch, const struct item *item,
                             struct arena *arena)
{
    // A byte of a key takes at most six when it is escaped.
    _cleanup_buf_ struct buf buf = BUF_INIT(batch->args.text.len * 6 + SPEC_MORE);
    struct json_writer w = JSON_WRITER(&buf);
    struct json value;
    struct str key;
    json_w_object(&w);
    json_w_pair_str(&w, "functionName", batch->function);
    json_w_key(&w, "input");
    json_w_object(&w);
    for (struct json_iter it = json_each(batch->args); json_next(&it, &key, &value);) {
        json_w_key_str(&w, json_unescape(key, arena));
        json_w_raw(&w, value.text);
    }
    json_w_key_str(&w, batch->input);
    json_w_object(&w);
    json_w_pair_str(&w, "item_id", item->id);
    json_w_pair_str(&w, "dataset_id", item->dataset_id);
    json_w_object_end(&w);
    json_w_object_end(&w);
    json_w_object_end(&w);
    return arena_copy(arena, buf_str(&buf));
}

// What would be wrong with each of its executions is wrong with the batch.
static int check_batch(struct op *op, const struct service *service, struct batch *batch,
                       struct err *err)
{
    const struct service_functions *functions;
    struct str some_id = op_id(op);
    const struct item item = {.id = some_id, .dataset_id = some_id};
    struct execution_request request = {.service = service};
    if (execution_functions_of(op, NULL, service, &functions, err))
        return -1;
    const struct function *function = function_find(&functions->module, batch->function);
    if (function && check_item_input(batch, function, op->arena, err))
        return -1;
    request.body = json_of(batch_body(batch, &item, op->arena));
    if (execution_check(op, &request, err) == 0)
        return 0;
    if (strcmp(err->field, "input") == 0) {
        err->field[0] = '\0';
        return err_under(err, "batch.args");
    }
    return -1;
}

static int read_batch(struct op *op, struct json body, struct batch *out, struct err *err)
{
    struct json batch, query;
    struct filter *unused;
    if (take_name(body, "functionName", &out->function, op->arena, err) ||
        take_object(body, "batch", &batch, err))
        return -1;
    if (take_object(batch, "query", &query, err) || take_object(batch, "args", &out->args, err))
        return err_under(err, "batch");
    if (query.type == JSON_ABSENT)
        return err_field(err, "batch.query", "batch.query is missing: name the items");
    if (!out->function.at)
        out->function = STR("run");
    if (!json_get(query, "filter", &out->filter))
        out->filter = query;
    json_get(query, "context", &out->context);
    if (filter_parse(out->filter, &item_entity, op_limits(op), op->arena, &unused, err) ||
        context_filter(query, &item_entity, op_limits(op), &unused, op->arena, err))
        return err_under(err, "batch.query");
    return 0;
}

int command_create_batch(struct op *op, const struct service *service, struct json body,
                         struct command *out, struct err *err)
{
    const struct limits *limits = op_limits(op);
    struct batch batch = {0};
    if (read_batch(op, body, &batch, err) ||
        limits_bytes(limits, LIMIT_FIELD, "batch.query", batch.filter.text.len, err) ||
        limits_bytes(limits, LIMIT_FIELD, "batch.query.context", batch.context.text.len, err) ||
        limits_bytes(limits, LIMIT_FIELD, "batch.args", batch.args.text.len, err) ||
        limits_bytes(limits, LIMIT_NAME, "functionName", batch.function.len, err) ||
        check_batch(op, service, &batch, err))
        return -1;
    _cleanup_buf_ struct buf buf = BUF_INIT(batch.filter.text.len + batch.context.text.len +
                                            batch.args.text.len + SPEC_MORE);
    struct json_writer w = JSON_WRITER(&buf);
    json_w_object(&w);
    json_w_pair_str(&w, "serviceId", service->id);
    json_w_pair_str(&w, "functionName", batch.function);
    json_w_pair_str(&w, "inputName", batch.input);
    json_w_pair_raw(&w, "filter", batch.filter.text);
    if (batch.context.type == JSON_OBJECT)
        json_w_pair_raw(&w, "context", batch.context.text);
    json_w_pair_raw(&w, "args", batch.args.type == JSON_OBJECT ? batch.args.text : STR("{}"));
    json_w_object_end(&w);
    return command_create(op, create_type, service->project_id,
                          arena_copy(op->arena, buf_str(&buf)), out, err);
}

// Projects in which the caller may change things.
static int write_projects(struct op *op, struct take_names *out, struct err *err)
{
    static const struct str roles[] = {STR("owner"), STR("developer")};
    if (op->caller.kind == CALLER_SERVICE) {
        *out = (struct take_names){&op->caller.project_id, 1};
        return 0;
    }
    struct query query = {
        .filter = filter_and(
            filter_eq_text(&member_entity, "userId", op->caller.user_id, op->arena),
            filter_in_text(&member_entity, "role", roles, 2, op->arena), op->arena),
        .limit = QUERY_LIMIT_MAX,
    };
    void *rows;
    if (tx_select(op->tx, &member_entity, &query, op->arena, &rows, &out->count, err))
        return -1;
    out->at = arena_array_of(op->arena, struct str, out->count + 1);
    for (size_t i = 0; i < out->count; i++)
        out->at[i] = ((struct member *)rows)[i].project_id;
    return 0;
}

static int any_execution(struct op *op, struct filter *filter, bool *found, struct err *err)
{
    struct execution execution;
    *found = tx_find(op->tx, &execution_entity, filter, &execution, op->arena, err) == 0;
    if (!*found && err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    return 0;
}

// Who may change nothing of what the query finds is told so, instead of getting a command that does
// nothing. What they may not even see is not found.
static int check_rights(struct op *op, struct filter *given, const struct take_names *projects,
                        struct err *err)
{
    struct filter *mine = filter_in_text(&execution_entity, "projectId", projects->at,
                                         projects->count, op->arena);
    struct filter *visible;
    bool found;
    if (projects->count > 0) {
        if (any_execution(op, filter_and(given, mine, op->arena), &found, err))
            return -1;
        if (found)
            return 0;
        if (access_filter(op, &execution_entity, "projectId", &visible, err) ||
            any_execution(op, filter_and(given, visible, op->arena), &found, err))
            return -1;
        if (!found)
            return 0;
    }
    return err_set(err, ERR_DENIED,
                   "This needs the role developer in the project of the executions; you have it in "
                   "none that the query finds");
}

int command_create_rerun(struct op *op, struct json filter, bool terminate, struct command *out,
                         struct err *err)
{
    struct filter *parsed;
    struct take_names projects = {0};
    char what[DESCRIBE_SIZE];
    if (filter.type != JSON_OBJECT)
        return err_field(err, "query", "query must be a filter of executions, not %s",
                         describe_value(filter, what));
    if (limits_bytes(op_limits(op), LIMIT_FIELD, "query", filter.text.len, err))
        return -1;
    if (filter_parse(filter, &execution_entity, op_limits(op), op->arena, &parsed, err))
        return err_under(err, "query");
    if (!op->caller.admin &&
        (write_projects(op, &projects, err) || check_rights(op, parsed, &projects, err)))
        return -1;
    _cleanup_buf_ struct buf buf = BUF_INIT(filter.text.len + SPEC_MORE);
    struct json_writer w = JSON_WRITER(&buf);
    json_w_object(&w);
    json_w_pair_raw(&w, "filter", filter.text);
    if (!op->caller.admin) {
        json_w_key(&w, "projects");
        json_w_array(&w);
        for (size_t i = 0; i < projects.count; i++)
            json_w_str(&w, projects.at[i]);
        json_w_array_end(&w);
    }
    json_w_object_end(&w);
    return command_create(op, terminate ? terminate_type : rerun_type, STR_NONE,
                          arena_copy(op->arena, buf_str(&buf)), out, err);
}

int command_abort(struct op *op, const struct command *before, struct command *out, struct err *err)
{
    *out = *before;
    if (is_over(before))
        return err_set(err, ERR_CONFLICT, "Command " STR_FMT " has ended already (" STR_FMT ")",
                       STR_ARG(before->id), STR_ARG(before->status));
    if (str_is(before->type, delete_type))
        return err_set(err, ERR_CONFLICT,
                       "The deletion of a service cannot be aborted: the service is gone already");
    out->status = STR("aborted");
    out->updated_at = op->now;
    if (tx_update(op->tx, &command_entity, out, err))
        return -1;
    return op_audit(op, "abort", &command_entity, before, out, err);
}

// ── steps ────────────────────────────────────────────────────────────────────────────────────

struct work {
    struct op *op;
    struct command *command;
    struct command_step *step;
    struct str cursor;  // the last id done
    int64_t done, total;
};

static int save(struct work *work, struct err *err)
{
    struct command *command = work->command;
    struct str patch = arena_printf(
        work->op->arena, "{\"cursor\":\"" STR_FMT "\",\"done\":%lld,\"total\":%lld}",
        STR_ARG(work->cursor), (long long)work->done, (long long)work->total);
    command->spec = json_merge(json_of(command->spec), json_of(patch), work->op->arena);
    command->status = STR("in-progress");
    command->updated_at = work->op->now;
    if (work->total > 0)
        command->progress = (double)work->done * 100 / (double)work->total;
    if (command->progress > 100)
        command->progress = 100;
    return tx_update(work->op->tx, &command_entity, command, err);
}

// The next rows behind the cursor, in the order of their ids.
static int next_rows(struct work *work, const struct entity *entity, struct filter *filter,
                     void **rows, size_t *count, struct err *err)
{
    struct op *op = work->op;
    struct filter *behind;
    struct str text = arena_printf(op->arena, "{\"id\":{\"$gt\":\"" STR_FMT "\"}}",
                                   STR_ARG(work->cursor));
    if (work->total == 0 && tx_count(op->tx, entity, filter, &work->total, err))
        return -1;
    if (filter_parse(json_of(text), entity, NULL, op->arena, &behind, err))
        return -1;
    struct query query = {
        .filter = filter_and(filter, behind, op->arena),
        .sort = {{.field = &entity->fields[0], .path = STR("")}},
        .sort_count = 1,
        .limit = COMMAND_STEP,
    };
    return tx_select(op->tx, entity, &query, op->arena, rows, count, err);
}

// Items of the service's project that people see: not the code kept beside them.
static int item_filter(struct work *work, const struct service *service, struct filter **out,
                       struct err *err)
{
    struct op *op = work->op;
    struct filter *given, *context;
    struct query systems = {
        .filter = filter_and(
            filter_eq_text(&dataset_entity, "projectId", service->project_id, op->arena),
            filter_eq_bool(&dataset_entity, "system", true, op->arena), op->arena)};
    void *rows;
    size_t count;
    if (filter_parse(spec_json(work->command, "filter"), &item_entity, NULL, op->arena, &given,
                     err) ||
        context_filter(json_of(work->command->spec), &item_entity, NULL, &context, op->arena,
                       err) ||
        tx_select(op->tx, &dataset_entity, &systems, op->arena, &rows, &count, err))
        return -1;
    *out = filter_and(filter_and(given, context, op->arena),
                      filter_eq_text(&item_entity, "projectId", service->project_id, op->arena),
                      op->arena);
    // What is made while this goes on is left alone: it may be what the functions write.
    *out = filter_and(
        *out,
        filter_compare(&item_entity, "createdAt", FILTER_LTE, work->command->created_at, op->arena),
        op->arena);
    for (size_t i = 0; i < count; i++) {
        struct filter *hidden = filter_eq_text(&item_entity, "datasetId",
                                               ((struct dataset *)rows)[i].id, op->arena);
        *out = filter_and(*out, filter_not(hidden, op->arena), op->arena);
    }
    return 0;
}

static int step_create(struct work *work, struct err *err)
{
    struct op *op = work->op;
    struct service service;
    struct filter *filter;
    void *rows;
    size_t count;
    struct batch batch = {.args = spec_json(work->command, "args"),
                          .function = spec_text(work->command, "functionName", op->arena),
                          .input = spec_text(work->command, "inputName", op->arena)};
    struct str service_id = spec_text(work->command, "serviceId", op->arena);
    if (tx_get(op->tx, &service_entity, service_id, &service, op->arena, err))
        return err_wrap(err, "the service of this batch");
    if (item_filter(work, &service, &filter, err) ||
        next_rows(work, &item_entity, filter, &rows, &count, err))
        return -1;
    for (size_t i = 0; i < count; i++) {
        const struct item *item = (struct item *)rows + i;
        struct execution execution;
        struct execution_request request = {
            .service = &service,
            .body = json_of(batch_body(&batch, item, op->arena)),
            .command_id = work->command->id,
            .functions = work->step->functions,
        };
        if (execution_create(op, &request, &execution, err)) {
            if (err->kind != ERR_BUSY)
                return err_wrap(err, "item " STR_FMT, STR_ARG(item->id));
            *err = ERR_INIT;
            work->step->state = COMMAND_WAIT;
            return 0;
        }
        work->cursor = item->id;
        work->done++;
    }
    work->step->state = (int64_t)count < COMMAND_STEP ? COMMAND_OVER : COMMAND_MORE;
    return 0;
}

static int execution_filter(struct work *work, struct filter **out, struct err *err)
{
    struct op *op = work->op;
    struct json projects = spec_json(work->command, "projects"), value;
    if (filter_parse(spec_json(work->command, "filter"), &execution_entity, NULL, op->arena, out,
                     err))
        return -1;
    // What is made while this goes on is left alone.
    *out = filter_and(*out,
                      filter_compare(&execution_entity, "createdAt", FILTER_LTE,
                                     work->command->created_at, op->arena),
                      op->arena);
    if (projects.type != JSON_ARRAY)
        return 0;
    struct str *ids = arena_array_of(op->arena, struct str, json_count(projects) + 1), key;
    size_t count = 0;
    for (struct json_iter it = json_each(projects); json_next(&it, &key, &value);)
        ids[count++] = json_str(value, op->arena);
    *out = filter_and(*out, filter_in_text(&execution_entity, "projectId", ids, count, op->arena),
                      op->arena);
    return 0;
}

static int step_executions(struct work *work, bool terminate, struct err *err)
{
    struct op *op = work->op;
    struct filter *filter;
    void *rows;
    size_t count;
    if (execution_filter(work, &filter, err) ||
        next_rows(work, &execution_entity, filter, &rows, &count, err))
        return -1;
    for (size_t i = 0; i < count; i++) {
        const struct execution *execution = (struct execution *)rows + i;
        struct execution after;
        bool final = status_final(status_parse(execution->status));
        int rc = 0;
        if (final != terminate)
            rc = terminate ? execution_terminate(op, execution, &after, err)
                           : execution_rerun(op, execution, &after, err);
        if (rc && err->kind == ERR_BUSY) {
            *err = ERR_INIT;
            work->step->state = COMMAND_WAIT;
            return 0;
        }
        if (rc && err->kind != ERR_CONFLICT)
            return err_wrap(err, "execution " STR_FMT, STR_ARG(execution->id));
        *err = ERR_INIT;
        work->cursor = execution->id;
        work->done++;
    }
    work->step->state = (int64_t)count < COMMAND_STEP ? COMMAND_OVER : COMMAND_MORE;
    return 0;
}

static struct filter *of_deleted(struct op *op, struct str service_id, const struct str *statuses,
                                 size_t count)
{
    return filter_and(filter_eq_text(&execution_entity, "serviceId", service_id, op->arena),
                      filter_in_text(&execution_entity, "status", statuses, count, op->arena),
                      op->arena);
}

// Nothing more is handed out once the service is gone. What was handed out just before is recorded
// as in progress by the time that the first step is taken, and may finish; its agent is drained.
static int step_delete(struct work *work, struct err *err)
{
    static const struct str open[] = {STR("created"), STR("rerun"), STR("in-progress")};
    struct op *op = work->op;
    void *rows;
    size_t count;
    int64_t running = 0;
    struct str service_id = spec_text(work->command, "serviceId", op->arena);
    bool force = spec_json(work->command, "force").type != JSON_FALSE;
    work->step->state = COMMAND_WAIT;
    if (!force && op->now - work->command->created_at < HANDED_OUT_MS)
        return 0;
    work->cursor = STR_NONE;  // what is done does not match any more
    if (next_rows(work, &execution_entity, of_deleted(op, service_id, open, force ? 3 : 2), &rows,
                  &count, err) ||
        tx_count(op->tx, &execution_entity, of_deleted(op, service_id, open + 2, 1), &running, err))
        return -1;
    for (size_t i = 0; i < count; i++) {
        const struct execution *execution = (struct execution *)rows + i;
        if (execution_cancel(op, execution, STR("its service was deleted"), err))
            return -1;
        work->done++;
    }
    if ((int64_t)count == COMMAND_STEP)
        work->step->state = COMMAND_MORE;
    else if (force || running == 0)
        work->step->state = COMMAND_CLEAN;
    work->step->service_id = service_id;
    return 0;
}

static int take_step(struct work *work, struct err *err)
{
    struct str type = work->command->type;
    if (str_is(type, create_type))
        return step_create(work, err);
    if (str_is(type, rerun_type) || str_is(type, terminate_type))
        return step_executions(work, str_is(type, terminate_type), err);
    if (str_is(type, delete_type))
        return step_delete(work, err);
    return err_set(err, ERR_INTERNAL, "this server does not know commands of type " STR_FMT,
                   STR_ARG(type));
}

int command_step(struct op *op, struct command_step *step, struct err *err)
{
    struct command command;
    step->state = COMMAND_OVER;
    if (tx_get(op->tx, &command_entity, step->id, &command, op->arena, err))
        return -1;
    if (is_over(&command))
        return 0;
    struct work work = {.op = op,
                        .command = &command,
                        .step = step,
                        .cursor = spec_text(&command, "cursor", op->arena),
                        .done = spec_int(&command, "done"),
                        .total = spec_int(&command, "total")};
    op->caller.user_id = command.creator;  // what it makes was made by whoever asked for it
    return take_step(&work, err) || save(&work, err) ? -1 : 0;
}

// ── life ─────────────────────────────────────────────────────────────────────────────────────

int command_end(struct op *op, struct str id, const struct err *failure, struct err *err)
{
    struct command command;
    if (tx_get(op->tx, &command_entity, id, &command, op->arena, err))
        return -1;
    if (is_over(&command))
        return 0;
    command.updated_at = op->now;
    if (!failure) {
        command.status = STR("success");
        command.progress = 100;
        return tx_update(op->tx, &command_entity, &command, err);
    }
    _cleanup_buf_ struct buf buf = BUF_INIT(8 << 10);
    struct json_writer w = JSON_WRITER(&buf);
    json_w_object(&w);
    json_w_pair_str(&w, "message", str_of(failure->message));
    json_w_pair_str(&w, "code", str_of(err_name(failure->kind)));
    json_w_object_end(&w);
    command.status = STR("failed");
    command.error = arena_copy(op->arena, buf_str(&buf));
    return tx_update(op->tx, &command_entity, &command, err);
}

int command_open(struct op *op, struct arena *arena, struct str **ids, size_t *count,
                 struct err *err)
{
    static const struct str open[] = {STR("created"), STR("in-progress")};
    struct query query = {
        .filter = filter_in_text(&command_entity, "status", open, 2, op->arena),
        .sort = {{.field = &command_entity.fields[0], .path = STR("")}},
        .sort_count = 1,
        .limit = QUERY_LIMIT_MAX,
    };
    void *rows;
    if (tx_select(op->tx, &command_entity, &query, op->arena, &rows, count, err))
        return -1;
    *ids = arena_array_of(arena, struct str, *count + 1);
    for (size_t i = 0; i < *count; i++)
        (*ids)[i] = arena_copy(arena, ((struct command *)rows)[i].id);
    return 0;
}
