// SPDX-License-Identifier: Apache-2.0
#include "api/listing.h"

#include "model/describe.h"
#include "operation/deletion.h"

// Global packages are everyone's to read: not (not mine and not global).
static struct filter *or_global(struct filter *mine, struct arena *arena)
{
    struct filter *global = filter_eq_bool(&package_entity, "global", true, arena);
    return filter_not(filter_and(filter_not(mine, arena), filter_not(global, arena), arena), arena);
}

int listing_filter(struct call *call, const struct entity *entity, struct filter **out,
                   struct err *err)
{
    if (access_filter(&call->op, entity, "projectId", out, err))
        return -1;
    if (*out && entity == &package_entity)
        *out = or_global(*out, call->op.arena);
    return deletion_hide(&call->op, entity, "projectId", out, err);
}

int listing_body(struct call *call, const char *sort, const char *params, struct json *body,
                 struct err *err)
{
    _cleanup_buf_ struct buf buf = BUF_INIT((size_t)op_limits(&call->op)->field);
    struct json_writer out = JSON_WRITER(&buf);
    json_w_object(&out);
    json_w_pair_raw(&out, "sort", str_of(sort));
    if (page_params(call, &out, err))
        return -1;
    json_w_key(&out, "filter");
    json_w_object(&out);
    for (struct str rest = str_of(params); rest.len > 0;) {
        char *name = arena_cstr(call->op.arena, str_cut(&rest, ' '));
        struct str value = call_query(call, name);
        if (value.at)
            json_w_pair_str(&out, name, value);
    }
    json_w_object_end(&out);
    json_w_object_end(&out);
    if (buf.over)
        return err_set(err, ERR_TOO_LARGE, "The parameters of the URL are too long (--max-field)");
    *body = json_of(arena_copy(call->op.arena, buf_str(&buf)));
    return 0;
}

int listing_after(struct call *call, const struct entity *entity, struct filter **filter,
                  struct err *err)
{
    struct str text = call_query(call, "after");
    int64_t at;
    if (!text.at)
        return 0;
    if (!str_int(text, &at) && !time_parse(text, &at)) {
        struct str shown = describe_clip(text, 40);
        return err_field(
            err, "after",
            "after must be a time (ISO 8601, or milliseconds since 1970), not \"" STR_FMT "\"",
            STR_ARG(shown));
    }
    *filter = filter_and(*filter, filter_compare(entity, "lastAt", FILTER_GT, at, call->op.arena),
                         call->op.arena);
    return 0;
}

int listing_get(struct call *call, const struct entity *entity, const char *params,
                listing_complete_fn complete, struct err *err)
{
    struct page page = {.entity = entity, .complete = complete};
    if (listing_body(call, "{\"createdAt\":\"descending\"}", params, &page.body, err) ||
        listing_filter(call, entity, &page.filter, err))
        return -1;
    return page_reply(call, &page, err);
}

static int write_revision(struct call *call, const struct entity *entity,
                          const struct revision *revision, listing_complete_fn complete,
                          struct err *err)
{
    void *row = arena_alloc(call->op.arena, entity->size);
    if (entity_load(entity, json_of(revision->body), row, call->op.arena, err))
        return err_wrap(err, "revision " STR_FMT, STR_ARG(revision->version));
    if (complete && complete(call, row, err))
        return -1;
    entity_encode(entity, row, &call->out);
    return 0;
}

int listing_revisions(struct call *call, const struct entity *entity, struct str id,
                      listing_complete_fn complete, struct err *err)
{
    struct op *op = &call->op;
    struct query query = {.filter = filter_eq_text(&revision_entity, "parentId", id, op->arena),
                          .sort_count = 1,
                          .limit = 100};
    size_t count;
    query.sort[0] = (struct sort_key){.field = entity_field(&revision_entity, STR("createdAt")),
                                      .path = STR(""),
                                      .descending = true};
    json_w_array(&call->out);
    do {
        void *rows;
        if (tx_select(op->tx, &revision_entity, &query, op->arena, &rows, &count, err))
            return -1;
        for (size_t i = 0; i < count; i++) {
            if (write_revision(call, entity, (struct revision *)rows + i, complete, err))
                return -1;
        }
        query.offset += (int64_t)count;
    } while ((int64_t)count == query.limit && !call->reply.over);
    json_w_array_end(&call->out);
    return 0;
}
