// SPDX-License-Identifier: Apache-2.0
#include "model/filter.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "base/clock.h"
#include "model/describe.h"
#include "model/filter_internal.h"

#define NAME_MAX_LEN 512  // bytes of a field's dotted name

// ── fields ───────────────────────────────────────────────────────────────────────────────────

static bool filterable(const struct field *f)
{
    return !(f->flags & (FIELD_INTERNAL | FIELD_UNSTORED));
}

static bool path_valid(struct str path)
{
    bool start = true;  // of a segment
    for (size_t i = 0; i < path.len; i++) {
        unsigned char c = (unsigned char)path.at[i];
        if (c < ' ' || (c == '.' && start))
            return false;
        start = c == '.';
    }
    return !start;
}

// Answers hide it, so comparing must not find it out.
static bool is_secret(const struct field *f, struct str path)
{
    return f->secret && (str_is(path, f->secret) || (str_starts(path, str_of(f->secret)) &&
                                                     path.at[strlen(f->secret)] == '.'));
}

int filter_resolve(const struct entity *entity, struct str name, struct filter_place *out,
                   struct err *err)
{
    struct str shown = describe_clip(name, 100);
    const struct field *f = entity_field(entity, name);
    *out = (struct filter_place){f, STR("")};
    if (f && filterable(f))
        return 0;
    if (name.len > NAME_MAX_LEN || !path_valid(name))
        return err_set(err, ERR_BAD_INPUT, "\"" STR_FMT "\" is not the name of a field",
                       STR_ARG(shown));
    for (size_t i = name.len; i-- > 0;) {
        if (name.at[i] != '.')
            continue;
        struct str path = {name.at + i + 1, name.len - i - 1};
        f = entity_field(entity, (struct str){name.at, i});
        if (f && filterable(f) && f->type == FIELD_JSON && !is_secret(f, path)) {
            *out = (struct filter_place){f, path};
            return 0;
        }
    }
    return err_set(err, ERR_BAD_INPUT, "%s has no field \"" STR_FMT "\" to filter or sort by",
                   entity->name, STR_ARG(shown));
}

// ── parsing ──────────────────────────────────────────────────────────────────────────────────

struct parser {
    const struct entity *entity;
    const struct limits *limits;
    struct arena *arena;
    struct err *err;
    bool list;
    int64_t terms;
};

struct term {  // the field that operators apply to
    struct str name;
    struct filter_place place;
};

static int fail(const struct parser *p, struct str name, const char *rule, struct json value)
{
    char what[DESCRIBE_SIZE], path[128];
    struct str shown = describe_clip(name, 100);
    snprintf(path, sizeof(path), "filter." STR_FMT, STR_ARG(shown));
    return err_field(p->err, path, "%s %s, not %s", path, rule, describe_value(value, what));
}

static int too_many(const struct parser *p)
{
    return err_field(p->err, "filter", "the filter has more than %lld terms and values (%s)",
                     (long long)limits_most(p->limits, LIMIT_FILTER_TERMS),
                     limits_option(LIMIT_FILTER_TERMS));
}

// Before room for so many is made.
static bool fits(const struct parser *p, size_t count)
{
    return count <= (uint64_t)limits_most(p->limits, LIMIT_FILTER_TERMS);
}

static int count_term(struct parser *p)
{
    return ++p->terms <= limits_most(p->limits, LIMIT_FILTER_TERMS) ? 0 : too_many(p);
}

static struct filter *branch(enum filter_op op, size_t max, struct arena *arena)
{
    struct filter *f = arena_new_of(arena, struct filter);
    f->op = op;
    f->path = STR("");
    f->children = arena_array_of(arena, struct filter *, max ? max : 1);
    return f;
}

static struct filter *leaf(enum filter_op op, struct filter_place place, size_t values,
                           struct arena *arena)
{
    struct filter *f = arena_new_of(arena, struct filter);
    f->op = op;
    f->field = place.field;
    f->path = place.path;
    f->values = arena_array_of(arena, struct filter_value, values ? values : 1);
    f->value_count = values;
    return f;
}

static bool read_number(struct json json, struct filter_value *out)
{
    out->kind = VALUE_NUMBER;
    out->exact = json_int(json, &out->integer);
    if (out->exact) {
        out->number = (double)out->integer;
        return true;
    }
    return json_double(json, &out->number) && isfinite(out->number);
}

// A scalar. Texts compared with a time become its milliseconds.
static int read_value(struct parser *p, const struct term *term, struct json json,
                      struct filter_value *out)
{
    int64_t ms;
    *out = (struct filter_value){0};
    if (count_term(p) < 0)
        return -1;
    switch (json.type) {
    case JSON_NULL: return 0;
    case JSON_TRUE:
    case JSON_FALSE:
        out->kind = VALUE_BOOL;
        out->boolean = json.type == JSON_TRUE;
        return 0;
    case JSON_NUMBER:
        if (read_number(json, out))
            return 0;
        return fail(p, term->name, "must be compared with a number within range", json);
    case JSON_STRING:
        out->kind = VALUE_TEXT;
        out->text = json_str(json, p->arena);
        if (term->place.field->type != FIELD_TIME)
            return 0;
        if (!time_parse(out->text, &ms))
            return fail(p, term->name, "must be compared with a time such as 2026-11-23T08:00:00Z",
                        json);
        *out = (struct filter_value){
            .kind = VALUE_NUMBER, .exact = true, .integer = ms, .number = (double)ms};
        return 0;
    default: break;
    }
    return fail(p, term->name, "must be compared with a string, number, boolean or null", json);
}

static int parse_one(struct parser *p, const struct term *term, enum filter_op op, struct json json,
                     struct filter **out)
{
    *out = leaf(op, term->place, 1, p->arena);
    return read_value(p, term, json, (*out)->values);
}

static bool has_star(struct str text) { return text.len && memchr(text.at, '*', text.len); }

static bool globs(const struct term *term)
{
    const char *name = term->place.field->name;
    return str_is(str_of(name), "filename") || str_is(str_of(name), "dir") ||
           str_is(str_of(name), "name");
}

static int parse_eq(struct parser *p, const struct term *term, struct json json,
                    struct filter **out)
{
    if (parse_one(p, term, FILTER_EQ, json, out) < 0)
        return -1;
    if ((*out)->values[0].kind == VALUE_TEXT && has_star((*out)->values[0].text) && globs(term))
        (*out)->op = FILTER_GLOB;
    return 0;
}

static int parse_ne(struct parser *p, const struct term *term, struct json json,
                    struct filter **out)
{
    struct filter *eq;
    if (parse_eq(p, term, json, &eq) < 0)
        return -1;
    *out = filter_not(eq, p->arena);
    return 0;
}

static int parse_in(struct parser *p, const struct term *term, struct json json,
                    struct filter **out)
{
    struct json_iter it = json_each(json);
    struct str unused;
    struct json value;
    if (json.type != JSON_ARRAY)
        return fail(p, term->name, "takes an array with $in and $nin", json);
    size_t count = json_count(json);
    if (!fits(p, count))
        return too_many(p);
    *out = leaf(FILTER_IN, term->place, count, p->arena);
    for (size_t i = 0; json_next(&it, &unused, &value); i++) {
        if (read_value(p, term, value, &(*out)->values[i]) < 0)
            return -1;
    }
    return 0;
}

static int parse_nin(struct parser *p, const struct term *term, struct json json,
                     struct filter **out)
{
    struct filter *in;
    if (parse_in(p, term, json, &in) < 0)
        return -1;
    *out = filter_not(in, p->arena);
    return 0;
}

static int parse_order(struct parser *p, const struct term *term, enum filter_op op,
                       struct json json, struct filter **out)
{
    if (json.type != JSON_NUMBER && json.type != JSON_STRING)
        return fail(p, term->name, "has an order only with numbers, strings and times", json);
    return parse_one(p, term, op, json, out);
}

static int parse_gt(struct parser *p, const struct term *t, struct json json, struct filter **out)
{
    return parse_order(p, t, FILTER_GT, json, out);
}
static int parse_gte(struct parser *p, const struct term *t, struct json json, struct filter **out)
{
    return parse_order(p, t, FILTER_GTE, json, out);
}
static int parse_lt(struct parser *p, const struct term *t, struct json json, struct filter **out)
{
    return parse_order(p, t, FILTER_LT, json, out);
}
static int parse_lte(struct parser *p, const struct term *t, struct json json, struct filter **out)
{
    return parse_order(p, t, FILTER_LTE, json, out);
}

static int parse_exists(struct parser *p, const struct term *term, struct json json,
                        struct filter **out)
{
    bool wanted;
    if (!json_bool(json, &wanted))
        return fail(p, term->name, "takes true or false with $exists", json);
    if (count_term(p) < 0)
        return -1;
    *out = leaf(FILTER_EXISTS, term->place, 0, p->arena);
    if (!wanted)
        *out = filter_not(*out, p->arena);
    return 0;
}

static int parse_match(struct parser *p, const struct term *term, struct json json,
                       struct filter **out)
{
    if (json.type != JSON_STRING)
        return fail(p, term->name, "takes a string with $match", json);
    if (count_term(p) < 0)
        return -1;
    struct str text = json_str(json, p->arena);
    *out = leaf(has_star(text) ? FILTER_GLOB : FILTER_SUBSTRING, term->place, 1, p->arena);
    (*out)->values[0] = (struct filter_value){.kind = VALUE_TEXT, .text = text};
    return 0;
}

struct operation {
    const char *word;
    int (*parse)(struct parser *, const struct term *, struct json, struct filter **);
};

static const struct operation operations[] = {
    {"$eq", parse_eq},         {"$ne", parse_ne},       {"$in", parse_in}, {"$nin", parse_nin},
    {"$gt", parse_gt},         {"$gte", parse_gte},     {"$lt", parse_lt}, {"$lte", parse_lte},
    {"$exists", parse_exists}, {"$match", parse_match},
};

static int parse_operator(struct parser *p, const struct term *term, struct str word,
                          struct json json, struct filter **out)
{
    struct str shown = describe_clip(word, 40), name = describe_clip(term->name, 100);
    for (size_t i = 0; i < sizeof(operations) / sizeof(*operations); i++) {
        if (json_key_is(word, operations[i].word))
            return operations[i].parse(p, term, json, out);
    }
    return err_field(p->err, "filter",
                     "filter." STR_FMT ": \"" STR_FMT "\" is not an operator; there are $eq, $ne, "
                     "$in, $nin, $gt, $gte, $lt, $lte, $exists and $match",
                     STR_ARG(name), STR_ARG(shown));
}

// One "field": value of an object. Gives NULL for what is no constraint.
static int parse_term(struct parser *p, struct str raw_name, struct json json, struct filter **out)
{
    struct term term = {.name = json_unescape(raw_name, p->arena)};
    struct json_iter it = json_each(json);
    struct str word;
    struct json value;
    *out = NULL;
    if (filter_resolve(p->entity, term.name, &term.place, p->err) < 0) {
        err_under(p->err, "filter");
        return -1;
    }
    if (json.type == JSON_NULL && p->list && str_is(term.name, "projectId"))
        return 0;  // dtlpy's way to say "in any project"
    if (json.type != JSON_OBJECT)
        return parse_eq(p, &term, json, out);
    size_t count = json_count(json);
    if (count == 0)
        return fail(p, term.name, "must be compared by an operator such as $eq", json);
    *out = branch(FILTER_ALL, count, p->arena);
    while (json_next(&it, &word, &value)) {
        if (parse_operator(p, &term, word, value, &(*out)->children[(*out)->child_count]) < 0)
            return -1;
        (*out)->child_count++;
    }
    if (count == 1)
        *out = (*out)->children[0];
    return 0;
}

static int parse_object(struct parser *p, struct json json, int depth, struct filter **out);

// "$and" and "$or". An empty list is no constraint in a list; to change everything is said
// otherwise.
static int parse_list(struct parser *p, enum filter_op op, struct json json, int depth,
                      struct filter **out)
{
    const char *word = op == FILTER_ALL ? "$and" : "$or";
    struct json_iter it = json_each(json);
    struct str unused;
    struct json value;
    *out = NULL;
    if (json.type == JSON_NULL)
        return 0;
    if (json.type != JSON_ARRAY)
        return fail(p, str_of(word), "must be an array", json);
    size_t count = json_count(json);
    if (count == 0 && (p->list || op == FILTER_ALL))
        return 0;
    if (count == 0)
        return fail(p, str_of(word), "must hold a condition, of which one has to be met", json);
    if (!fits(p, count))
        return too_many(p);
    *out = branch(op, count, p->arena);
    while (json_next(&it, &unused, &value)) {
        if (parse_object(p, value, depth + 1, &(*out)->children[(*out)->child_count]) < 0)
            return -1;
        (*out)->child_count++;
    }
    return 0;
}

static int parse_member(struct parser *p, struct str key, struct json value, int depth,
                        struct filter **out)
{
    struct str shown = describe_clip(key, 40);
    if (json_key_is(key, "$and"))
        return parse_list(p, FILTER_ALL, value, depth, out);
    if (json_key_is(key, "$or"))
        return parse_list(p, FILTER_ANY, value, depth, out);
    if (key.len && key.at[0] == '$')
        return err_field(p->err, "filter",
                         "\"" STR_FMT "\" can not stand here: conditions are joined by $and and "
                         "$or only",
                         STR_ARG(shown));
    return parse_term(p, key, value, out);
}

static int parse_object(struct parser *p, struct json json, int depth, struct filter **out)
{
    struct json_iter it = json_each(json);
    struct str key;
    struct json value;
    char what[DESCRIBE_SIZE];
    if (depth > limits_most(p->limits, LIMIT_FILTER_DEPTH))
        return err_field(p->err, "filter", "the filter is nested more than %lld deep (%s)",
                         (long long)limits_most(p->limits, LIMIT_FILTER_DEPTH),
                         limits_option(LIMIT_FILTER_DEPTH));
    if (json.type != JSON_OBJECT)
        return err_field(p->err, "filter", "a filter must be an object, not %s",
                         describe_value(json, what));
    size_t count = json_count(json);
    if (!fits(p, count))
        return too_many(p);
    *out = branch(FILTER_ALL, count, p->arena);
    while (json_next(&it, &key, &value)) {
        struct filter *child;
        if (parse_member(p, key, value, depth, &child) < 0)
            return -1;
        if (child)
            (*out)->children[(*out)->child_count++] = child;
    }
    return 0;
}

static int parse(struct json json, const struct entity *entity, bool list,
                 const struct limits *limits, struct arena *arena, struct filter **out,
                 struct err *err)
{
    struct parser p = {entity, limits, arena, err, list, 0};
    if (json.type == JSON_ABSENT || json.type == JSON_NULL) {
        *out = branch(FILTER_ALL, 0, arena);
        return 0;
    }
    return parse_object(&p, json, 1, out);
}

int filter_parse(struct json json, const struct entity *entity, const struct limits *limits,
                 struct arena *arena, struct filter **out, struct err *err)
{
    return parse(json, entity, false, limits, arena, out, err);
}

int filter_parse_list(struct json json, const struct entity *entity, const struct limits *limits,
                      struct arena *arena, struct filter **out, struct err *err)
{
    return parse(json, entity, true, limits, arena, out, err);
}

// ── our own conditions ───────────────────────────────────────────────────────────────────────

static struct filter *own_leaf(const struct entity *entity, const char *name, enum filter_op op,
                               size_t values, struct arena *arena)
{
    const struct field *f = entity_field(entity, str_of(name));
    if (!f || !f->column)
        f = entity_column(entity, str_of(name));
    assert(f && f->column);
    return leaf(op, (struct filter_place){f, STR("")}, values, arena);
}

struct filter *filter_eq_text(const struct entity *entity, const char *name, struct str value,
                              struct arena *arena)
{
    return filter_in_text(entity, name, &value, 1, arena);
}

struct filter *filter_in_text(const struct entity *entity, const char *name,
                              const struct str *values, size_t count, struct arena *arena)
{
    struct filter *f = own_leaf(entity, name, count == 1 ? FILTER_EQ : FILTER_IN, count, arena);
    for (size_t i = 0; i < count; i++) {
        if (values[i].at)
            f->values[i] = (struct filter_value){.kind = VALUE_TEXT, .text = values[i]};
    }
    return f;
}

struct filter *filter_compare(const struct entity *entity, const char *name, enum filter_op op,
                              int64_t value, struct arena *arena)
{
    struct filter *f = own_leaf(entity, name, op, 1, arena);
    f->values[0] = (struct filter_value){
        .kind = VALUE_NUMBER, .exact = true, .integer = value, .number = (double)value};
    return f;
}

struct filter *filter_eq_int(const struct entity *entity, const char *name, int64_t value,
                             struct arena *arena)
{
    return filter_compare(entity, name, FILTER_EQ, value, arena);
}

struct filter *filter_eq_bool(const struct entity *entity, const char *name, bool value,
                              struct arena *arena)
{
    struct filter *f = own_leaf(entity, name, FILTER_EQ, 1, arena);
    f->values[0] = (struct filter_value){.kind = VALUE_BOOL, .boolean = value};
    return f;
}

struct filter *filter_and(struct filter *a, struct filter *b, struct arena *arena)
{
    if (!a || !b)
        return a ? a : b;
    struct filter *f = branch(FILTER_ALL, 2, arena);
    f->children[0] = a;
    f->children[1] = b;
    f->child_count = 2;
    return f;
}

struct filter *filter_not(struct filter *a, struct arena *arena)
{
    struct filter *f = branch(FILTER_NOT, 1, arena);
    f->children[0] = a ? a : branch(FILTER_ALL, 0, arena);
    f->child_count = 1;
    return f;
}
