// SPDX-License-Identifier: Apache-2.0
// The parts of bodies that have rules of their own: the first byte says which, the rest is it.
#include "fuzz.h"
#include "model/describe.h"
#include "model/module.h"
#include "model/runtime.h"
#include "model/status.h"
#include "operation/requirement.h"

static void modules(struct json json, struct str text, struct arena *arena)
{
    (void)text;
    struct module *list;
    size_t count;
    struct err err = ERR_INIT;
    if (modules_parse(json, &limits_default, arena, &list, &count, &err) < 0) {
        fuzz_error(&err);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        HOLDS(list[i].name.len > 0, "a module without a name");
        HOLDS(module_find(list, count, list[i].name) == &list[i], "two modules of one name");
        for (size_t k = 0; k < list[i].function_count; k++)
            HOLDS(function_find(&list[i], list[i].functions[k].name) == &list[i].functions[k],
                  "two functions of one name");
    }
}

// What is kept means the same as what was given.
static void runtime(struct json json, struct str text, struct arena *arena)
{
    (void)text;
    struct runtime first, second;
    struct err err = ERR_INIT;
    if (runtime_parse(json, &limits_default, &first, arena, &err) < 0) {
        fuzz_error(&err);
        return;
    }
    struct str kept = runtime_normalise(json, &first, arena);
    HOLDS(runtime_parse(fuzz_written(kept), &limits_default, &second, arena, &err) == 0,
          "%s: " STR_FMT, err.message, STR_ARG(kept));
    struct str again = runtime_normalise(json_of(kept), &second, arena);
    HOLDS(json_equal(json_of(kept), json_of(again), arena), STR_FMT "\n  " STR_FMT, STR_ARG(kept),
          STR_ARG(again));
    HOLDS(first.instance == second.instance && first.concurrency == second.concurrency &&
              first.replicas == second.replicas && first.autoscaler == second.autoscaler &&
              first.max_replicas == second.max_replicas,
          STR_FMT, STR_ARG(kept));
}

static void codebase(struct json json, struct str text, struct arena *arena)
{
    (void)text;
    struct err err = ERR_INIT;
    struct json url, tag;
    if (codebase_check(json, &err) < 0) {
        fuzz_error(&err);
        return;
    }
    if (json_get(json, "gitTag", &tag) && tag.type == JSON_STRING) {
        struct str word = json_str(tag, arena);
        bool git = json_get(json, "gitUrl", &url) && git_url_fits(json_str(url, arena));
        HOLDS(!git || word.len == 0 || word.at[0] != '-', "a tag that is an option: " STR_FMT,
              STR_ARG(word));
    }
}

// Each entry becomes one argument of pip: none may be an option, a path or an address.
static void requirements(struct json json, struct str text, struct arena *arena)
{
    (void)text;
    struct str clean, again;
    struct err err = ERR_INIT;
    if (requirements_check(json, &limits_default, arena, &clean, &err) < 0) {
        fuzz_error(&err);
        return;
    }
    if (!clean.at)
        return;
    struct json list = fuzz_written(clean), name;
    for (struct json_iter it = json_each(list); json_next(&it, NULL, &list);) {
        HOLDS(json_get(list, "name", &name), "an entry without a name: " STR_FMT, STR_ARG(clean));
        struct str word = json_str(name, arena);
        HOLDS(word.len > 0 && word.at[0] != '-' && word.at[0] != '.' &&
                  !memchr(word.at, '/', word.len) && !memchr(word.at, '@', word.len) &&
                  !memchr(word.at, '\n', word.len),
              STR_FMT, STR_ARG(word));
    }
    HOLDS(requirements_check(json_of(clean), &limits_default, arena, &again, &err) == 0,
          "%s: " STR_FMT, err.message, STR_ARG(clean));
    HOLDS(str_eq(clean, again), STR_FMT "\n  " STR_FMT, STR_ARG(clean), STR_ARG(again));
}

// Three versions of a list: an order that is one, and the next one comes after.
static void versions(struct json json, struct str text, struct arena *arena)
{
    (void)json;
    struct str a = str_cut(&text, '\n'), b = str_cut(&text, '\n'), c = str_cut(&text, '\n'), next;
    struct err err = ERR_INIT;
    HOLDS(version_cmp(a, b) == -version_cmp(b, a), STR_FMT " and " STR_FMT, STR_ARG(a), STR_ARG(b));
    HOLDS(version_cmp(a, a) == 0, STR_FMT, STR_ARG(a));
    struct str n[3];
    if (version_next(a, arena, &n[0], &err) == 0 && version_next(b, arena, &n[1], &err) == 0 &&
        version_next(c, arena, &n[2], &err) == 0)
        HOLDS(!(version_cmp(a, b) < 0 && version_cmp(b, c) < 0) || version_cmp(a, c) < 0,
              STR_FMT ", " STR_FMT ", " STR_FMT, STR_ARG(a), STR_ARG(b), STR_ARG(c));
    if (version_next(a, arena, &next, &err) == 0)
        HOLDS(version_cmp(a, next) < 0, STR_FMT " before " STR_FMT, STR_ARG(a), STR_ARG(next));
    else
        fuzz_error(&err);
}

static void words(struct json json, struct str text, struct arena *arena)
{
    (void)json, (void)arena;
    char what[DESCRIBE_SIZE];
    struct err err = ERR_INIT;
    if (name_check(text, "name", &err) < 0)
        fuzz_error(&err);
    struct str clip = describe_clip(text, 20);
    HOLDS(clip.len <= 20 && (!str_utf8_valid(text) || str_utf8_valid(clip)), STR_FMT,
          STR_ARG(text));
    if (json.type != JSON_ABSENT)
        HOLDS(str_utf8_valid(str_of(describe_value(json, what))), "%s", what);
    enum status status = status_parse(text);
    if (status != STATUS_NONE)
        HOLDS(status_parse(str_of(status_word(status))) == status, "%s", status_word(status));
    (void)parameter_type_known(text);
    (void)instance_find(text);
    (void)git_url_fits(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const parts[])(struct json, struct str, struct arena *) = {
        modules, runtime, codebase, requirements, versions, words};
    struct input in = input_of(data, size);
    size_t which = input_choice(&in, sizeof(parts) / sizeof(*parts));
    _cleanup_input_ struct str text = input_rest(&in);
    _cleanup_arena_ struct arena *arena = arena_new();
    struct json json = {0};
    bool written = str_utf8_valid(text) && !(text.len && memchr(text.at, '\0', text.len));
    if (fuzz_json(text, &json) || (which >= 4 && written))
        parts[which](json, text, arena);
    return 0;
}
