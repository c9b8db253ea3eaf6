// SPDX-License-Identifier: Apache-2.0
// The OpenAPI 3.0 schemas of answers and bodies, from the field tables.
#include "model/entity.h"

static void encode_choices(const char *choices, struct json_writer *out)
{
    struct str rest = str_of(choices);
    json_w_key(out, "enum");
    json_w_array(out);
    while (rest.len)
        json_w_str(out, str_cut(&rest, '|'));
    json_w_array_end(out);
}

// JSON Schema counts characters, of which each has a byte at least.
static void encode_length(const struct field *f, const struct limits *limits,
                          struct json_writer *out)
{
    int64_t most = f->max ? f->max : limits_most(limits, f->limit ? f->limit : LIMIT_FIELD);
    if (f->type == FIELD_TEXT && most != INT64_MAX)
        json_w_pair_int(out, "maxLength", most);
}

static void encode_range(const struct field *f, struct json_writer *out)
{
    if (f->type == FIELD_TEXT && (f->flags & FIELD_NONEMPTY))
        json_w_pair_int(out, "minLength", 1);
    if ((f->type == FIELD_INT || f->type == FIELD_DOUBLE) && (f->min || f->max)) {
        json_w_pair_int(out, "minimum", f->min);
        json_w_pair_int(out, "maximum", f->max);
    }
}

static const char *type_word(const struct field *f)
{
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_TIME: return "string";
    case FIELD_INT: return "integer";
    case FIELD_DOUBLE: return "number";
    case FIELD_BOOL: return "boolean";
    case FIELD_JSON:
        return f->flags & FIELD_OBJECT ? "object" : f->flags & FIELD_ARRAY ? "array" : NULL;
    }
    return NULL;
}

static void encode_field_schema(const struct field *f, bool body, const struct limits *limits,
                                struct json_writer *out)
{
    const char *type = type_word(f);
    json_w_key(out, f->name);
    json_w_object(out);
    if (type)
        json_w_pair_str(out, "type", str_of(type));
    if (f->type == FIELD_JSON && (f->flags & FIELD_ARRAY))
        json_w_pair_raw(out, "items", STR("{}"));
    if (f->type == FIELD_TIME)
        json_w_pair_str(out, "format", STR("date-time"));
    if (f->type == FIELD_INT)
        json_w_pair_str(out, "format", STR("int64"));
    if (f->choices)
        encode_choices(f->choices, out);
    encode_length(f, limits, out);
    encode_range(f, out);
    if (body && f->fallback)
        json_w_pair_raw(out, "default", str_of(f->fallback));
    if (type && f->type != FIELD_BOOL && !(f->flags & FIELD_REQUIRED))
        json_w_pair_bool(out, "nullable", true);
    json_w_object_end(out);
}

static void encode_extra(const char *schema_more, struct json_writer *out)
{
    struct json_iter it = json_each(json_of(str_of(schema_more)));
    struct str key;
    struct json value;
    while (json_next(&it, &key, &value)) {
        json_w_key_str(out, key);
        json_w_raw(out, value.text);
    }
}

void entity_schema(const struct entity *entity, struct json_writer *out)
{
    json_w_object(out);
    json_w_pair_str(out, "type", STR("object"));
    json_w_key(out, "properties");
    json_w_object(out);
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *f = &entity->fields[i];
        if (!(f->flags & (FIELD_INTERNAL | FIELD_VIRTUAL | FIELD_COMPOSED)))
            encode_field_schema(f, false, NULL, out);
    }
    if (entity->schema_more)
        encode_extra(entity->schema_more, out);
    json_w_object_end(out);
    json_w_object_end(out);
}

static bool in_body(const struct field *f, enum decode_mode mode)
{
    unsigned hidden = FIELD_INTERNAL | FIELD_VIRTUAL | FIELD_UNSTORED | FIELD_READONLY;
    if (mode == DECODE_PATCH)
        hidden |= FIELD_FIXED;
    return !(f->flags & hidden);
}

static void encode_required(const struct entity *entity, struct json_writer *out)
{
    size_t count = 0;
    for (size_t i = 0; i < entity->count; i++) {
        const struct field *f = &entity->fields[i];
        if (!in_body(f, DECODE_CREATE) || !(f->flags & FIELD_REQUIRED))
            continue;
        if (count++ == 0) {
            json_w_key(out, "required");
            json_w_array(out);
        }
        json_w_cstr(out, f->name);
    }
    if (count)  // OpenAPI 3.0 forbids an empty list
        json_w_array_end(out);
}

void entity_body_schema(const struct entity *entity, enum decode_mode mode,
                        const struct limits *limits, struct json_writer *out)
{
    json_w_object(out);
    json_w_pair_str(out, "type", STR("object"));
    json_w_key(out, "properties");
    json_w_object(out);
    for (size_t i = 0; i < entity->count; i++) {
        if (in_body(&entity->fields[i], mode))
            encode_field_schema(&entity->fields[i], true, limits, out);
    }
    json_w_object_end(out);
    if (mode == DECODE_CREATE)
        encode_required(entity, out);
    json_w_object_end(out);
}
