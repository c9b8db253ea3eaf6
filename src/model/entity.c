// SPDX-License-Identifier: Apache-2.0
#include "model/entity.h"

#include <stdio.h>

#include "base/clock.h"
#include "model/describe.h"
#include "model/entities.h"

#define DUMP_MAX (1u << 30)

const struct entity *const entity_all[] = {
    &org_entity,
    &user_entity,
    &api_key_entity,
    &project_entity,
    &member_entity,
    &dataset_entity,
    &item_entity,
    &package_entity,
    &revision_entity,
    &service_entity,
    &execution_entity,
    &execution_status_entity,
    &command_entity,
    &replica_entity,
    &service_event_entity,
    &audit_entity,
    &deletion_entity,
    &notification_entity,
    &notification_delivery_entity,
    &integration_entity,
    NULL,
};

static void clear_field(const struct field *f, void *row)
{
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_JSON: *field_text(f, row) = STR_NONE; break;
    case FIELD_INT:
    case FIELD_TIME: *field_int(f, row) = INT_NONE; break;
    case FIELD_DOUBLE: *field_double(f, row) = NAN; break;
    case FIELD_BOOL: *field_bool(f, row) = false; break;
    }
}

void entity_clear(const struct entity *entity, void *row)
{
    memset(row, 0, entity->size);
    for (size_t i = 0; i < entity->count; i++)
        clear_field(&entity->fields[i], row);
}

bool field_absent(const struct field *f, const void *row)
{
    const char *at = (const char *)row + f->offset;
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_JSON: return ((const struct str *)(const void *)at)->at == NULL;
    case FIELD_INT:
    case FIELD_TIME: return *(const int64_t *)(const void *)at == INT_NONE;
    case FIELD_DOUBLE: return isnan(*(const double *)(const void *)at);
    case FIELD_BOOL: return false;
    }
    return true;
}

// ── decoding ─────────────────────────────────────────────────────────────────────────────────

struct decoder {
    const struct limits *limits;
    struct arena *arena;
    struct err *err;
};

static int wrong_type(const struct field *f, const char *wanted, struct json value, struct err *err)
{
    char given[DESCRIBE_SIZE];
    return err_field(err, f->name, "%s must be %s, not %s", f->name, wanted,
                     describe_value(value, given));
}

static int check_bytes(const struct field *f, size_t len, const struct decoder *d)
{
    if (!f->max)
        return limits_bytes(d->limits, f->limit ? f->limit : LIMIT_FIELD, f->name, len, d->err);
    if (len <= (uint64_t)f->max)
        return 0;
    return err_field(d->err, f->name, "%s has %zu bytes; at most %lld are allowed", f->name, len,
                     (long long)f->max);
}

static bool is_choice(const char *choices, struct str text)
{
    struct str rest = str_of(choices);
    while (rest.len) {
        if (str_eq(str_cut(&rest, '|'), text))
            return true;
    }
    return false;
}

static int wrong_choice(const struct field *f, struct json value, struct err *err)
{
    char allowed[256], given[DESCRIBE_SIZE];
    struct str rest = str_of(f->choices);
    size_t len = 0;
    while (rest.len && len < sizeof(allowed) - 1) {
        struct str choice = str_cut(&rest, '|');
        int n = snprintf(allowed + len, sizeof(allowed) - len, "%s" STR_FMT, len ? ", " : "",
                         STR_ARG(choice));
        len += (size_t)n;
    }
    return err_field(err, f->name, "%s must be one of %s, not %s", f->name, allowed,
                     describe_value(value, given));
}

static int decode_text(const struct field *f, struct json value, void *row, const struct decoder *d)
{
    if (value.type != JSON_STRING)
        return wrong_type(f, "a string", value, d->err);
    struct str text = json_str(value, d->arena);
    if (check_bytes(f, text.len, d) < 0)
        return -1;
    if ((f->flags & FIELD_NONEMPTY) && text.len == 0)
        return err_field(d->err, f->name, "%s must not be empty", f->name);
    if (f->choices && !is_choice(f->choices, text))
        return wrong_choice(f, value, d->err);
    *field_text(f, row) = text;
    return 0;
}

static int decode_json(const struct field *f, struct json value, void *row, const struct decoder *d)
{
    if ((f->flags & FIELD_OBJECT) && value.type != JSON_OBJECT)
        return wrong_type(f, "an object", value, d->err);
    if ((f->flags & FIELD_ARRAY) && value.type != JSON_ARRAY)
        return wrong_type(f, "an array", value, d->err);
    if (check_bytes(f, value.text.len, d) < 0)
        return -1;
    *field_text(f, row) = value.text;
    return 0;
}

static int decode_int(const struct field *f, struct json value, void *row, struct err *err)
{
    char given[DESCRIBE_SIZE];
    int64_t n;
    if (!json_int(value, &n) || n == INT_NONE)
        return wrong_type(f, "a whole number", value, err);
    if ((f->min || f->max) && (n < f->min || n > f->max))
        return err_field(err, f->name, "%s must be from %lld to %lld, not %s", f->name,
                         (long long)f->min, (long long)f->max, describe_value(value, given));
    *field_int(f, row) = n;
    return 0;
}

static int decode_double(const struct field *f, struct json value, void *row, struct err *err)
{
    char given[DESCRIBE_SIZE];
    double n;
    if (!json_double(value, &n) || !isfinite(n))
        return wrong_type(f, "a number", value, err);
    if ((f->min || f->max) && (n < (double)f->min || n > (double)f->max))
        return err_field(err, f->name, "%s must be from %lld to %lld, not %s", f->name,
                         (long long)f->min, (long long)f->max, describe_value(value, given));
    *field_double(f, row) = n;
    return 0;
}

static int decode_time(const struct field *f, struct json value, void *row, struct arena *arena,
                       struct err *err)
{
    int64_t ms = 0;
    bool ok = value.type == JSON_STRING ? time_parse(json_str(value, arena), &ms)
                                        : json_int(value, &ms) && ms != INT_NONE;
    if (!ok)
        return wrong_type(f, "a time (ISO 8601, or milliseconds since 1970)", value, err);
    *field_int(f, row) = ms;
    return 0;
}

static int decode_field(const struct field *f, struct json value, void *row,
                        const struct decoder *d)
{
    switch (f->type) {
    case FIELD_TEXT: return decode_text(f, value, row, d);
    case FIELD_JSON: return decode_json(f, value, row, d);
    case FIELD_INT: return decode_int(f, value, row, d->err);
    case FIELD_DOUBLE: return decode_double(f, value, row, d->err);
    case FIELD_TIME: return decode_time(f, value, row, d->arena, d->err);
    case FIELD_BOOL:
        if (!json_bool(value, field_bool(f, row)))
            return wrong_type(f, "true or false", value, d->err);
        return 0;
    }
    return err_set(d->err, ERR_INTERNAL, "field %s has an unknown type", f->name);
}

// Puts each key's value (the last one of repeated keys) at the index of its field. One walk over
// the body, so that a large input is skipped once and not once per field.
static void gather(const struct entity *entity, struct json body, struct json *given,
                   struct arena *arena)
{
    struct json_iter it = json_each(body);
    struct str key;
    struct json value;
    while (json_next(&it, &key, &value)) {
        if (key.len && memchr(key.at, '\\', key.len))
            key = json_unescape(key, arena);
        const struct field *f = entity_field(entity, key);
        if (f && !(f->flags & FIELD_VIRTUAL))
            given[f - entity->fields] = value;
    }
}

// What a body's value means for the field: the value itself, the fallback, or nothing.
static int settle(const struct field *f, enum decode_mode mode, struct json *value, struct err *err)
{
    bool ours = (f->flags & (FIELD_READONLY | FIELD_INTERNAL)) ||
                (mode == DECODE_PATCH && (f->flags & FIELD_FIXED));
    if (ours)
        value->type = JSON_ABSENT;
    if (value->type != JSON_ABSENT && value->type != JSON_NULL)
        return 0;
    if (mode == DECODE_PATCH && value->type == JSON_ABSENT)
        return 0;
    if (f->fallback)
        *value = json_of(str_of(f->fallback));
    else if (!ours && (f->flags & FIELD_REQUIRED))
        return err_field(err, f->name, "%s %s", f->name,
                         value->type == JSON_NULL ? "must not be null" : "is required");
    return 0;
}

int entity_decode(const struct entity *entity, struct json body, enum decode_mode mode,
                  const struct limits *limits, void *row, struct arena *arena, struct err *err)
{
    const struct decoder decoder = {limits, arena, err};
    struct json given[ENTITY_FIELDS_MAX] = {0};
    char what[DESCRIBE_SIZE];
    if (body.type != JSON_OBJECT)
        return err_set(err, ERR_BAD_INPUT, "%s: the body must be an object, not %s", entity->name,
                       describe_value(body, what));
    if (mode == DECODE_CREATE)
        entity_clear(entity, row);
    gather(entity, body, given, arena);
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *f = &entity->fields[i];
        if (f->flags & (FIELD_VIRTUAL | FIELD_UNSTORED))
            continue;
        if (settle(f, mode, &given[i], err) < 0)
            return -1;
        if (given[i].type == JSON_NULL)
            clear_field(f, row);
        else if (given[i].type != JSON_ABSENT && decode_field(f, given[i], row, &decoder) < 0)
            return -1;
    }
    return 0;
}

// ── encoding ─────────────────────────────────────────────────────────────────────────────────

void entity_encode_value(const struct field *f, void *row, struct json_writer *out)
{
    char text[TIME_TEXT_SIZE];
    switch (f->type) {
    case FIELD_TEXT: json_w_str(out, *field_text(f, row)); break;
    case FIELD_JSON: json_w_raw(out, *field_text(f, row)); break;
    case FIELD_INT: json_w_int(out, *field_int(f, row)); break;
    case FIELD_DOUBLE: json_w_double(out, *field_double(f, row)); break;
    case FIELD_BOOL: json_w_bool(out, *field_bool(f, row)); break;
    case FIELD_TIME:
        time_format(*field_int(f, row), text);
        json_w_cstr(out, text);
        break;
    }
}

void entity_encode_columns(const struct entity *entity, const void *row, struct json_writer *out)
{
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *f = &entity->fields[i];
        if (f->flags & (FIELD_INTERNAL | FIELD_VIRTUAL | FIELD_COMPOSED))
            continue;
        bool absent = field_absent(f, row);
        if (absent && (f->flags & FIELD_OMIT))
            continue;
        json_w_key(out, f->name);
        if (absent)
            json_w_null(out);
        else
            entity_encode_value(f, (void *)row, out);
    }
}

void entity_encode_fields(const struct entity *entity, const void *row, struct json_writer *out)
{
    entity_encode_columns(entity, row, out);
    if (entity->encode_more)
        entity->encode_more(row, out);
}

void entity_encode(const struct entity *entity, const void *row, struct json_writer *out)
{
    json_w_object(out);
    entity_encode_fields(entity, row, out);
    json_w_object_end(out);
}

// ── whole rows ───────────────────────────────────────────────────────────────────────────────

static bool is_stored(const struct field *f)
{
    return !(f->flags & (FIELD_VIRTUAL | FIELD_UNSTORED));
}

struct str entity_dump(const struct entity *entity, const void *row, struct arena *arena)
{
    _cleanup_buf_ struct buf buf = BUF_INIT(DUMP_MAX);
    struct json_writer out = JSON_WRITER(&buf);
    json_w_object(&out);
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *f = &entity->fields[i];
        if (!is_stored(f) || field_absent(f, row))
            continue;
        json_w_key(&out, f->name);
        if (f->type == FIELD_TIME)
            json_w_int(&out, *field_int(f, (void *)row));
        else
            entity_encode_value(f, (void *)row, &out);
    }
    json_w_object_end(&out);
    return arena_copy(arena, buf_str(&buf));
}

// Unlike decode_field without limits: what was once accepted stays readable when limits change.
static bool load_field(const struct field *f, struct json value, void *row, struct arena *arena)
{
    switch (f->type) {
    case FIELD_TEXT: *field_text(f, row) = json_str(value, arena); return value.type == JSON_STRING;
    case FIELD_JSON: *field_text(f, row) = value.text; return true;
    case FIELD_INT:
    case FIELD_TIME: return json_int(value, field_int(f, row));
    case FIELD_DOUBLE: return json_double(value, field_double(f, row));
    case FIELD_BOOL: return json_bool(value, field_bool(f, row));
    }
    return false;
}

int entity_load(const struct entity *entity, struct json dumped, void *row, struct arena *arena,
                struct err *err)
{
    struct json given[ENTITY_FIELDS_MAX] = {0};
    entity_clear(entity, row);
    if (dumped.type != JSON_OBJECT)
        return err_set(err, ERR_BAD_INPUT, "a kept %s must be an object, not %s", entity->name,
                       json_type_name(dumped.type));
    gather(entity, dumped, given, arena);
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *f = &entity->fields[i];
        if (!is_stored(f) || given[i].type == JSON_ABSENT || given[i].type == JSON_NULL)
            continue;
        if (!load_field(f, given[i], row, arena))
            return err_field(err, f->name, "%s of a kept %s is %s", f->name, entity->name,
                             json_type_name(given[i].type));
    }
    return 0;
}

void entity_copy(const struct entity *entity, const void *from, void *to, struct arena *arena)
{
    if (from != to)
        memcpy(to, from, entity->size);
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *f = &entity->fields[i];
        if (!(f->flags & FIELD_VIRTUAL) && (f->type == FIELD_TEXT || f->type == FIELD_JSON))
            *field_text(f, to) = arena_copy(arena, *field_text(f, to));
    }
}

const struct field *entity_field(const struct entity *entity, struct str name)
{
    for (size_t i = 0; i < entity->count; i++) {
        if (str_is(name, entity->fields[i].name))
            return &entity->fields[i];
    }
    return NULL;
}

const struct field *entity_column(const struct entity *entity, struct str column)
{
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *f = &entity->fields[i];
        if (is_stored(f) && str_is(column, f->column))
            return f;
    }
    return NULL;
}
