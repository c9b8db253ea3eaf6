// SPDX-License-Identifier: Apache-2.0
#include "base/clock.h"
#include "model/filter.h"

// Exact, where casting either side would round.
static int cmp_int_double(int64_t n, double d)
{
    if (d >= 9223372036854775808.0)
        return -1;
    if (d < -9223372036854775808.0)
        return 1;
    int64_t whole = (int64_t)d;
    if (n != whole)
        return n < whole ? -1 : 1;
    double rest = d - (double)whole;
    return rest > 0 ? -1 : rest < 0;
}

static int cmp_numbers(const struct filter_value *a, const struct filter_value *b)
{
    if (a->exact && b->exact)
        return a->integer < b->integer ? -1 : a->integer > b->integer;
    if (a->exact)
        return cmp_int_double(a->integer, b->number);
    if (b->exact)
        return -cmp_int_double(b->integer, a->number);
    return a->number < b->number ? -1 : a->number > b->number;
}

static bool equal(const struct filter_value *a, const struct filter_value *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case VALUE_NULL: return true;
    case VALUE_BOOL: return a->boolean == b->boolean;
    case VALUE_TEXT: return str_eq(a->text, b->text);
    case VALUE_NUMBER: return cmp_numbers(a, b) == 0;
    }
    return false;
}

// False when the two have no order: other kinds, booleans, null.
static bool order(const struct filter_value *a, const struct filter_value *b, int *out)
{
    // NOLINTNEXTLINE(clang-analyzer-core.NullDereference): a comparison has its value
    if (a->kind != b->kind || (a->kind != VALUE_TEXT && a->kind != VALUE_NUMBER))
        return false;
    *out = a->kind == VALUE_TEXT ? str_cmp(a->text, b->text) : cmp_numbers(a, b);
    return true;
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c; }

static bool contains(struct str text, struct str needle)
{
    for (size_t i = 0; i + needle.len <= text.len; i++) {
        size_t n = 0;
        while (n < needle.len && lower(text.at[i + n]) == lower(needle.at[n]))
            n++;
        if (n == needle.len)
            return true;
    }
    return false;
}

static bool in_values(const struct filter *filter, const struct filter_value *value)
{
    for (size_t i = 0; i < filter->value_count; i++) {
        if (equal(value, &filter->values[i]))
            return true;
    }
    return false;
}

static bool test(const struct filter *filter, const struct filter_value *value)
{
    const struct filter_value *wanted = filter->values;
    bool texts = value->kind == VALUE_TEXT && wanted && wanted->kind == VALUE_TEXT;
    int sign;
    switch (filter->op) {
    case FILTER_EQ:
    case FILTER_IN: return in_values(filter, value);
    case FILTER_GT: return order(value, wanted, &sign) && sign > 0;
    case FILTER_GTE: return order(value, wanted, &sign) && sign >= 0;
    case FILTER_LT: return order(value, wanted, &sign) && sign < 0;
    case FILTER_LTE: return order(value, wanted, &sign) && sign <= 0;
    case FILTER_GLOB: return texts && str_glob(wanted->text, value->text);
    case FILTER_SUBSTRING: return texts && contains(value->text, wanted->text);
    case FILTER_EXISTS: return value->kind != VALUE_NULL;
    case FILTER_ALL:
    case FILTER_ANY:
    case FILTER_NOT: break;
    }
    return false;
}

// ── JSON columns ─────────────────────────────────────────────────────────────────────────────

// False for objects and arrays, which equal nothing.
static bool json_value_of(struct json json, struct filter_value *out, struct arena *scratch)
{
    *out = (struct filter_value){0};
    switch (json.type) {
    case JSON_ABSENT:
    case JSON_NULL: return true;
    case JSON_TRUE:
    case JSON_FALSE:
        out->kind = VALUE_BOOL;
        out->boolean = json.type == JSON_TRUE;
        return true;
    case JSON_NUMBER:
        out->kind = VALUE_NUMBER;
        out->exact = json_int(json, &out->integer);
        return out->exact || json_double(json, &out->number);
    case JSON_STRING:
        out->kind = VALUE_TEXT;
        out->text = json_str(json, scratch);
        return true;
    case JSON_ARRAY:
    case JSON_OBJECT: break;
    }
    return false;
}

// Null elements count as elements: {"$eq": null} finds an array that holds a null.
static bool match_elements(const struct filter *filter, struct json array, struct arena *scratch)
{
    struct json_iter it = json_each(array);
    struct filter_value value;
    struct str unused;
    struct json element;
    while (json_next(&it, &unused, &element)) {
        if (json_value_of(element, &value, scratch) && test(filter, &value))
            return true;
    }
    return false;
}

static bool match_json(const struct filter *filter, struct str text, struct arena *scratch)
{
    struct json json = json_of(text);
    struct filter_value value;
    if (filter->path.len && !json_path(json, filter->path, &json))
        json = (struct json){0};
    if (filter->op == FILTER_EXISTS)
        return json.type != JSON_ABSENT && json.type != JSON_NULL;
    if (json.type == JSON_ARRAY)
        return match_elements(filter, json, scratch);
    return json_value_of(json, &value, scratch) && test(filter, &value);
}

// ── plain columns ────────────────────────────────────────────────────────────────────────────

static struct filter_value value_of(const struct field *f, void *row)
{
    struct filter_value value = {0};
    if (field_absent(f, row))
        return value;
    switch (f->type) {
    case FIELD_TEXT:
    case FIELD_JSON:
        value.kind = VALUE_TEXT;
        value.text = *field_text(f, row);
        break;
    case FIELD_INT:
    case FIELD_TIME:
        value.kind = VALUE_NUMBER;
        value.exact = true;
        value.integer = *field_int(f, row);
        break;
    case FIELD_DOUBLE:
        value.kind = VALUE_NUMBER;
        value.number = *field_double(f, row);
        break;
    case FIELD_BOOL:
        value.kind = VALUE_BOOL;
        value.boolean = *field_bool(f, row);
        break;
    }
    return value;
}

static bool match_leaf(const struct filter *filter, void *row, struct arena *scratch)
{
    if (filter->field->type == FIELD_JSON)
        return match_json(filter, *field_text(filter->field, row), scratch);
    struct filter_value value = {0};  // nothing lies below a plain column
    if (filter->path.len == 0)
        value = value_of(filter->field, row);
    return test(filter, &value);
}

bool filter_match(const struct filter *filter, const void *row, struct arena *scratch)
{
    if (!filter)
        return true;
    switch (filter->op) {
    case FILTER_ALL:
        for (size_t i = 0; i < filter->child_count; i++) {
            if (!filter_match(filter->children[i], row, scratch))
                return false;
        }
        return true;
    case FILTER_ANY:
        for (size_t i = 0; i < filter->child_count; i++) {
            if (filter_match(filter->children[i], row, scratch))
                return true;
        }
        return false;
    case FILTER_NOT: return !filter_match(filter->children[0], row, scratch);
    default: return match_leaf(filter, (void *)row, scratch);
    }
}
