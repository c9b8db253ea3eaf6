// SPDX-License-Identifier: Apache-2.0
#include "model/describe.h"
#include "model/filter_internal.h"

// Together they keep page * pageSize within int64.
#define PAGE_MAX      1000000000000
#define PAGE_SIZE_MAX 1000000

static bool read_direction(struct json json, bool *descending, struct arena *arena)
{
    struct str word = json_str(json, arena);
    int64_t sign;
    if (str_is(word, "ascending") || str_is(word, "asc"))
        *descending = false;
    else if (str_is(word, "descending") || str_is(word, "desc"))
        *descending = true;
    else if (json_int(json, &sign) && (sign == 1 || sign == -1))
        *descending = sign < 0;
    else
        return false;
    return true;
}

static int parse_sort_key(struct query *out, const struct entity *entity, struct str name,
                          struct err *err)
{
    struct filter_place place;
    if (out->sort_count == SORT_KEYS_MAX)
        return err_field(err, "sort", "sort takes at most %d fields", SORT_KEYS_MAX);
    if (filter_resolve(entity, name, &place, err) < 0)
        return err_under(err, "sort");
    out->sort[out->sort_count].field = place.field;
    out->sort[out->sort_count].path = place.path;
    return 0;
}

static int parse_sort(struct json json, const struct entity *entity, struct arena *arena,
                      struct query *out, struct err *err)
{
    char what[DESCRIBE_SIZE];
    struct json_iter it = json_each(json);
    struct str key;
    struct json value;
    if (json.type == JSON_ABSENT || json.type == JSON_NULL)
        return 0;
    if (json.type != JSON_OBJECT)
        return err_field(err, "sort", "sort must be an object, not %s", describe_value(json, what));
    while (json_next(&it, &key, &value)) {
        struct str name = json_unescape(key, arena);
        if (parse_sort_key(out, entity, name, err) < 0)
            return -1;
        if (!read_direction(value, &out->sort[out->sort_count].descending, arena)) {
            struct str shown = describe_clip(name, 100);
            return err_field(err, "sort",
                             "sort." STR_FMT " must be ascending or descending, not %s",
                             STR_ARG(shown), describe_value(value, what));
        }
        out->sort_count++;
    }
    return 0;
}

struct number_rule {
    const char *key;
    int64_t max;
    const char *option;  // that set max, as " (--max-page-size)"
};

static int take_number(struct json body, struct number_rule rule, int64_t *out, struct err *err)
{
    char what[DESCRIBE_SIZE];
    struct json value;
    int64_t n;
    if (!json_get(body, rule.key, &value) || value.type == JSON_NULL)
        return 0;
    if (!json_int(value, &n) || n < 0 || n > rule.max)
        return err_field(err, rule.key, "%s must be a whole number from 0 to %lld%s, not %s",
                         rule.key, (long long)rule.max, rule.option, describe_value(value, what));
    *out = n;
    return 0;
}

int query_parse(struct json body, const struct entity *entity, int64_t page_default,
                const struct limits *limits, struct arena *arena, struct query *out,
                struct err *err)
{
    char what[DESCRIBE_SIZE];
    struct json filter = {0}, sort = {0};
    int64_t most = limits ? limits->page_size : PAGE_SIZE_MAX;
    int64_t page = 0, size = page_default < most ? page_default : most;
    *out = (struct query){0};
    if (body.type != JSON_OBJECT && body.type != JSON_ABSENT)
        return err_set(err, ERR_BAD_INPUT, "a query must be an object, not %s",
                       describe_value(body, what));
    json_get(body, "filter", &filter);
    json_get(body, "sort", &sort);
    if (filter_parse_list(filter, entity, limits, arena, &out->filter, err) < 0 ||
        parse_sort(sort, entity, arena, out, err) < 0 ||
        take_number(body, (struct number_rule){"page", PAGE_MAX, ""}, &page, err) < 0 ||
        take_number(body,
                    (struct number_rule){"pageSize", most, limits ? " (--max-page-size)" : ""},
                    &size, err) < 0)
        return -1;
    out->count_only = size == 0;
    out->limit = size ? size : 1;
    out->offset = page * size;
    return 0;
}
