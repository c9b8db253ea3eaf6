// SPDX-License-Identifier: Apache-2.0
#include "operation/op.h"

#include "base/id.h"
#include "base/mem.h"

int64_t fence_next(const struct platform *platform)
{
    return platform->fences->epoch << 32 | ++platform->fences->last;
}

struct str op_id(struct op *op)
{
    return op->platform->ids ? id_next(op->platform->ids, op->now, op->arena)
                             : id_new(op->now, op->arena);
}

void op_event(struct op *op, const struct event *event)
{
    struct event *copy = arena_new_of(op->arena, struct event);
    *copy = *event;
    copy->next = NULL;
    if (!op->events)
        op->events_tail = &op->events;
    *op->events_tail = copy;
    op->events_tail = &copy->next;
}

void op_publish(struct op *op)
{
    struct event *event = op->events;
    op->events = NULL;
    op->events_tail = &op->events;
    for (; event; event = event->next)
        events_publish(op->platform->events, event);
}

static struct str text_of(const struct entity *entity, const char *name, const void *row)
{
    const struct field *field = entity_field(entity, str_of(name));
    if (!field || field->type != FIELD_TEXT)
        return STR_NONE;
    return *(const struct str *)(const void *)((const char *)row + field->offset);
}

static struct str json_of_row(struct op *op, const struct entity *entity, const void *row)
{
    if (!row)
        return STR_NONE;
    _cleanup_buf_ struct buf buf = BUF_INIT(4 << 20);
    struct json_writer out = JSON_WRITER(&buf);
    entity_encode(entity, row, &out);
    if (buf.over)
        return STR("{\"truncated\":true}");
    return arena_copy(op->arena, buf_str(&buf));
}

// Columns of an entry are limited; a large entity is kept by its identity only.
static struct str audit_json(struct op *op, const struct entity *entity, const void *row)
{
    const struct field *field = entity_field(&audit_entity, STR("before"));
    struct str text = json_of_row(op, entity, row);
    int64_t max = field && field->max ? field->max : 1 << 20;
    return (int64_t)text.len > max ? STR("{\"truncated\":true}") : text;
}

int op_audit_more(struct op *op, const char *action, const struct entity *entity, const void *row,
                  const void *before, struct str after, struct err *err)
{
    struct audit entry;
    entity_clear(&audit_entity, &entry);
    entry.id = op_id(op);
    entry.at = op->now;
    entry.user_id = op->caller.user_id.at ? op->caller.user_id : STR("system");
    entry.action = str_of(action);
    entry.entity_type = str_of(entity->name);
    entry.entity_id = text_of(entity, entity->fields[0].name, row);
    entry.entity_name = text_of(entity, "name", row);
    entry.project_id = entity == &project_entity ? entry.entity_id
                                                 : text_of(entity, "projectId", row);
    entry.before = audit_json(op, entity, before);
    entry.after = after;
    entry.address = op->caller.address;
    return tx_insert(op->tx, &audit_entity, &entry, err);
}

int op_audit(struct op *op, const char *action, const struct entity *entity, const void *before,
             const void *after, struct err *err)
{
    return op_audit_more(op, action, entity, after ? after : before, before,
                         audit_json(op, entity, after), err);
}

struct run {
    struct store_job job;
    struct op op;
    op_fn fn;
    op_done_fn done;
    void *arg;
};

static int run_work(struct tx *tx, void *arg, struct err *err)
{
    struct run *run = arg;
    run->op.tx = tx;
    run->op.now = clock_wall(run->op.platform->clock);
    run->op.events = NULL;
    int rc = run->fn(&run->op, run->arg, err);
    run->op.tx = NULL;
    return rc;
}

static void run_done(void *arg, struct err *err)
{
    struct run *run = arg;
    if (err->kind == ERR_NONE)
        op_publish(&run->op);
    if (run->done)
        run->done(run->arg, err);
    arena_free(run->op.arena);
    mem_free(run);
}

static struct op system_op(const struct platform *platform)
{
    return (struct op){
        .platform = platform,
        .arena = arena_new(),
        .caller = {.kind = CALLER_SYSTEM, .user_id = STR("system"), .admin = true},
    };
}

void op_run(const struct platform *platform, enum op_mode mode, op_fn fn, op_done_fn done,
            void *arg)
{
    struct run *run = mem_alloc(sizeof(*run));
    run->op = system_op(platform);
    run->fn = fn;
    run->done = done;
    run->arg = arg;
    run->job = (struct store_job){.work = run_work, .done = run_done, .arg = run};
    if (mode == OP_WRITE_LAZY || mode == OP_RECORD_LAZY)
        run->job.flags |= STORE_LAZY;
    if (mode == OP_RECORD || mode == OP_RECORD_LAZY)
        run->job.flags |= STORE_AHEAD;
    if (mode == OP_READ)
        store_read(platform->store, &run->job);
    else
        store_write(platform->store, &run->job);
}

int op_run_now(const struct platform *platform, op_fn fn, void *arg, struct err *err)
{
    struct run run = {.op = system_op(platform), .fn = fn, .arg = arg};
    int rc = store_write_now(platform->store, run_work, &run, err);
    arena_free(run.op.arena);
    return rc;
}
