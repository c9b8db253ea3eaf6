// SPDX-License-Identifier: Apache-2.0
#include "model/take.h"

#include <stdio.h>

#include "model/describe.h"

static struct json given(struct json object, const char *key)
{
    struct json value = {0};
    return json_get(object, key, &value) && value.type != JSON_NULL ? value : (struct json){0};
}

static int wrong(const char *path, const char *wanted, struct json value, struct err *err)
{
    char what[DESCRIBE_SIZE];
    return err_field(err, path, "%s must be %s, not %s", path, wanted, describe_value(value, what));
}

int take_text(struct json object, const char *key, struct str *out, struct arena *arena,
              struct err *err)
{
    struct json value = given(object, key);
    *out = json_str(value, arena);
    return out->at || value.type == JSON_ABSENT ? 0 : wrong(key, "a string", value, err);
}

int take_name(struct json object, const char *key, struct str *out, struct arena *arena,
              struct err *err)
{
    if (take_text(object, key, out, arena, err))
        return -1;
    return out->at && out->len == 0 ? err_field(err, key, "%s must not be empty", key) : 0;
}

int take_bool(struct json object, const char *key, bool *out, struct err *err)
{
    struct json value = given(object, key);
    *out = false;
    return value.type == JSON_ABSENT || json_bool(value, out)
               ? 0
               : wrong(key, "true or false", value, err);
}

int take_object(struct json object, const char *key, struct json *out, struct err *err)
{
    *out = given(object, key);
    return out->type == JSON_ABSENT || out->type == JSON_OBJECT
               ? 0
               : wrong(key, "an object", *out, err);
}

int take_names(struct json object, const char *key, struct take_names *out, struct arena *arena,
               struct err *err)
{
    struct json list = given(object, key), value;
    struct json_iter it = json_each(list);
    struct str unused;
    char path[64];
    *out = (struct take_names){0};
    if (list.type == JSON_ABSENT)
        return 0;
    if (list.type != JSON_ARRAY)
        return wrong(key, "a list of strings", list, err);
    out->at = arena_array_of(arena, struct str, json_count(list) + 1);
    while (json_next(&it, &unused, &value)) {
        struct str name = json_str(value, arena);
        if (name.len == 0) {
            snprintf(path, sizeof(path), "%s[%zu]", key, out->count);
            return wrong(path, "a string that is not empty", value, err);
        }
        out->at[out->count++] = name;
    }
    return 0;
}
