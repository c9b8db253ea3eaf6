// SPDX-License-Identifier: Apache-2.0
#include "operation/repeat.h"

#define REPEAT_MS 60000

bool repeat_within_minute(const struct op *op, struct str creator, int64_t created_at)
{
    return created_at != INT_NONE && op->now - created_at < REPEAT_MS &&
           op->now >= created_at - 1000 && str_eq(creator, op->caller.user_id);
}

static bool same_value(const struct field *f, void *a, void *b, struct arena *scratch)
{
    if (field_absent(f, a) || field_absent(f, b))
        return field_absent(f, a) == field_absent(f, b);
    switch (f->type) {
    case FIELD_TEXT: return str_eq(*field_text(f, a), *field_text(f, b));
    case FIELD_JSON:
        return json_equal(json_of(*field_text(f, a)), json_of(*field_text(f, b)), scratch);
    case FIELD_INT:
    case FIELD_TIME: return *field_int(f, a) == *field_int(f, b);
    case FIELD_DOUBLE: return *field_double(f, a) == *field_double(f, b);
    case FIELD_BOOL: return *field_bool(f, a) == *field_bool(f, b);
    }
    return false;
}

bool repeat_of(const struct op *op, const struct entity *entity, const void *first,
               const void *again)
{
    const unsigned ours = FIELD_READONLY | FIELD_INTERNAL | FIELD_UNSTORED | FIELD_VIRTUAL;
    void *a = (void *)first, *b = (void *)again;
    if (!repeat_within_minute(op, *field_text(entity_field(entity, STR("creator")), a),
                              *field_int(entity_field(entity, STR("createdAt")), a)))
        return false;
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *f = &entity->fields[i];
        if (!(f->flags & ours) && !same_value(f, a, b, op->arena))
            return false;
    }
    return true;
}
