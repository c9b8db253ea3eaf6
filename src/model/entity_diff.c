// SPDX-License-Identifier: Apache-2.0
#include "model/entity.h"

static bool is_skipped(const char *skip, const char *name)
{
    for (struct str rest = str_of(skip); rest.len > 0;)
        if (str_is(str_cut(&rest, ' '), name))
            return true;
    return false;
}

static bool same_number(double a, double b) { return !(a < b) && !(a > b); }

static bool same_value(const struct field *f, void *a, void *b)
{
    if (field_absent(f, a) || field_absent(f, b))
        return field_absent(f, a) == field_absent(f, b);
    switch (f->type) {
    case FIELD_TEXT: return str_eq(*field_text(f, a), *field_text(f, b));
    case FIELD_INT:
    case FIELD_TIME: return *field_int(f, a) == *field_int(f, b);
    case FIELD_DOUBLE: return same_number(*field_double(f, a), *field_double(f, b));
    case FIELD_BOOL: return *field_bool(f, a) == *field_bool(f, b);
    case FIELD_JSON: break;
    }
    _cleanup_arena_ struct arena *scratch = arena_new();
    return json_equal(json_of(*field_text(f, a)), json_of(*field_text(f, b)), scratch);
}

static void write_side(const struct field *f, void *row, const char *key, struct json_writer *out)
{
    json_w_key(out, key);
    if (field_absent(f, row))
        json_w_null(out);
    else
        entity_encode_value(f, row, out);
}

size_t entity_diff(const struct entity *entity, const void *before, const void *after,
                   const char *skip, struct json_writer *out)
{
    const unsigned hidden = FIELD_INTERNAL | FIELD_UNSTORED | FIELD_VIRTUAL | FIELD_COMPOSED;
    void *a = (void *)before, *b = (void *)after;
    size_t count = 0;
    json_w_object(out);
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *f = &entity->fields[i];
        if ((f->flags & hidden) || f->secret || is_skipped(skip, f->name) || same_value(f, a, b))
            continue;
        count++;
        json_w_key(out, f->name);
        json_w_object(out);
        write_side(f, a, "before", out);
        write_side(f, b, "after", out);
        json_w_object_end(out);
    }
    json_w_object_end(out);
    return count;
}
