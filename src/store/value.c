// SPDX-License-Identifier: Apache-2.0
// Values to sort by, the same in every driver.
#include <math.h>

#include "base/json.h"
#include "store/store_internal.h"

static struct store_value of_int(int64_t n)
{
    return (struct store_value){.kind = STORE_VALUE_INT, .integer = n};
}

static struct store_value of_double(double n)
{
    return (struct store_value){.kind = STORE_VALUE_DOUBLE, .number = n};
}

static struct store_value of_text(struct str text)
{
    return (struct store_value){.kind = STORE_VALUE_TEXT, .text = text};
}

static struct store_value of_number(struct json json)
{
    int64_t n;
    double d;
    if (json_int(json, &n))
        return of_int(n);
    if (json_double(json, &d))
        return of_double(d);
    return (struct store_value){0};
}

struct store_value store_value_json(struct str text, struct str path, struct arena *arena)
{
    if (!text.at)
        return (struct store_value){0};
    struct json json = json_of(text);
    if (path.len > 0 && !json_path(json, path, &json))
        return (struct store_value){0};
    switch (json.type) {
    case JSON_ABSENT:
    case JSON_NULL: return (struct store_value){0};
    case JSON_FALSE: return of_int(0);
    case JSON_TRUE: return of_int(1);
    case JSON_NUMBER: return of_number(json);
    case JSON_STRING: return of_text(json_str(json, arena));
    case JSON_ARRAY:
    case JSON_OBJECT: return of_text(json.text);
    }
    return (struct store_value){0};
}

struct store_value store_value_field(const struct field *field, struct str path, const void *row,
                                     struct arena *arena)
{
    void *at = (void *)row;
    if (field_absent(field, row))
        return (struct store_value){0};
    switch (field->type) {
    case FIELD_TEXT: return of_text(*field_text(field, at));
    case FIELD_INT:
    case FIELD_TIME: return of_int(*field_int(field, at));
    case FIELD_DOUBLE: return of_double(*field_double(field, at));
    case FIELD_BOOL: return of_int(*field_bool(field, at));
    case FIELD_JSON:
        // Without a path the column's text itself is what is sorted by.
        return path.len > 0 ? store_value_json(*field_text(field, at), path, arena)
                            : of_text(*field_text(field, at));
    }
    return (struct store_value){0};
}

// Exact, where a cast of either side would round.
static int cmp_int_double(int64_t n, double d)
{
    if (d < -9223372036854775808.0)
        return 1;
    if (d >= 9223372036854775808.0)
        return -1;
    int64_t whole = (int64_t)d;
    if (n != whole)
        return n < whole ? -1 : 1;
    double rest = d - (double)whole;
    return rest > 0 ? -1 : rest < 0;
}

static int cmp_numbers(struct store_value a, struct store_value b)
{
    if (a.kind == STORE_VALUE_INT && b.kind == STORE_VALUE_INT)
        return a.integer < b.integer ? -1 : a.integer > b.integer;
    if (a.kind == STORE_VALUE_DOUBLE && b.kind == STORE_VALUE_DOUBLE)
        return a.number < b.number ? -1 : a.number > b.number;
    if (a.kind == STORE_VALUE_INT)
        return cmp_int_double(a.integer, b.number);
    return -cmp_int_double(b.integer, a.number);
}

static int rank(struct store_value v)
{
    return v.kind == STORE_VALUE_NONE ? 0 : v.kind == STORE_VALUE_TEXT ? 2 : 1;
}

int store_value_cmp(struct store_value a, struct store_value b)
{
    if (rank(a) != rank(b))
        return rank(a) - rank(b);
    if (rank(a) == 1)
        return cmp_numbers(a, b);
    return rank(a) == 2 ? str_cmp(a.text, b.text) : 0;
}
