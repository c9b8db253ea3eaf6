// SPDX-License-Identifier: Apache-2.0
#include "model/module.h"

#include <stdarg.h>
#include <stdio.h>

#include "model/describe.h"

#define ENTRY_POINT_MAX 1024
#define PATH_SIZE       192

bool parameter_type_known(struct str type)
{
    static const char *const types[] = {
        "Dataset", "Item",    "Annotation", "Execution", "Task",  "Assignment",
        "Service", "Package", "Project",    "Recipe",    "Json",  "String",
        "Number",  "Integer", "Float",      "Boolean",   "Model",
    };
    if (str_ends(type, STR("[]")))
        type.len -= 2;
    for (size_t i = 0; i < sizeof(types) / sizeof(*types); i++) {
        if (str_is(type, types[i]))
            return true;
    }
    return false;
}

// ── reading with a path ──────────────────────────────────────────────────────────────────────

// A path that is too long is cut: paths end up in struct err, which has less room.
static void put_path(char out[PATH_SIZE], const char *fmt, ...) PRINTF_LIKE(2, 3);
static void put_path(char out[PATH_SIZE], const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    vsnprintf(out, PATH_SIZE, fmt, args);
    va_end(args);
}

struct reader {
    const struct limits *limits;
    struct arena *arena;
    struct err *err;
    const char *path;  // of the object being read, "modules[0]"
};

static int fail(const struct reader *r, const char *key, const char *rule, struct json value)
{
    char path[PATH_SIZE], what[DESCRIBE_SIZE];
    put_path(path, "%s.%s", r->path, key);
    return err_field(r->err, path, "%s %s, not %s", path, rule, describe_value(value, what));
}

// A text of at least one byte; `fallback` when absent or null, which NULL forbids.
struct text_rule {
    const char *key;
    const char *fallback;
};

static int take_text(const struct reader *r, struct json object, struct text_rule rule,
                     struct str *out)
{
    struct json value = {0};
    json_get(object, rule.key, &value);
    if (rule.fallback && (value.type == JSON_ABSENT || value.type == JSON_NULL)) {
        *out = str_of(rule.fallback);
        return 0;
    }
    struct str text = json_str(value, r->arena);
    if (text.len == 0)
        return fail(r, rule.key, "must be a string that is not empty", value);
    *out = text;
    return 0;
}

static int check_bytes(const struct reader *r, const char *key, enum limit limit, struct str text)
{
    char path[PATH_SIZE];
    put_path(path, "%s.%s", r->path, key);
    return limits_bytes(r->limits, limit, path, text.len, r->err);
}

// A name that ends up in messages, logs and lookups by name.
static int take_name(const struct reader *r, struct json object, const char *key,
                     const char *fallback, struct str *out)
{
    if (take_text(r, object, (struct text_rule){key, fallback}, out) < 0 ||
        check_bytes(r, key, LIMIT_NAME, *out) < 0)
        return -1;
    for (size_t i = 0; i < out->len; i++) {
        unsigned char c = (unsigned char)out->at[i];
        if (c < ' ' || c == 0x7F) {
            struct json value = {0};
            json_get(object, key, &value);
            return fail(r, key, "must not hold control characters", value);
        }
    }
    return 0;
}

// A name in the code. What else it may hold is the language's matter; with a blank, none can be
// called by it. What was accepted before is let be, for the sake of what is beside it.
static int take_identifier(const struct reader *r, struct json object, const char *key,
                           const char *fallback, struct str *out)
{
    struct json value = {0};
    if (take_name(r, object, key, fallback, out) < 0)
        return -1;
    if (!r->limits || !memchr(out->at, ' ', out->len))
        return 0;
    json_get(object, key, &value);
    return fail(r, key, "must not hold blanks", value);
}

static int check_count(const struct reader *r, const char *path, size_t count)
{
    int64_t most = limits_most(r->limits, LIMIT_FUNCTIONS);
    if (count <= (uint64_t)most)
        return 0;
    return err_field(r->err, path, "%s has %zu entries; %s allows %lld", path, count,
                     limits_option(LIMIT_FUNCTIONS), (long long)most);
}

// An array of objects, or nothing. Gives the count; the caller walks it.
static int take_array(const struct reader *r, struct json object, const char *key, struct json *out)
{
    *out = (struct json){0};
    json_get(object, key, out);
    if (out->type == JSON_ABSENT || out->type == JSON_NULL) {
        out->type = JSON_ABSENT;
        return 0;
    }
    if (out->type != JSON_ARRAY)
        return fail(r, key, "must be an array", *out);
    char path[PATH_SIZE];
    put_path(path, "%s.%s", r->path, key);
    return check_count(r, path, json_count(*out));
}

static int need_object(const struct reader *r, struct json value)
{
    char what[DESCRIBE_SIZE];
    if (value.type == JSON_OBJECT)
        return 0;
    return err_field(r->err, r->path, "%s must be an object, not %s", r->path,
                     describe_value(value, what));
}

static int duplicate(const struct reader *r, const char *kind, struct str name)
{
    char path[PATH_SIZE];
    struct str shown = describe_clip(name, 64);
    put_path(path, "%s.name", r->path);
    return err_field(r->err, path, "%s: there is another %s named \"" STR_FMT "\" before it", path,
                     kind, STR_ARG(shown));
}

// ── parameters, functions, modules ───────────────────────────────────────────────────────────

static int read_parameter(const struct reader *r, struct json json, struct parameter *out)
{
    struct json type = {0};
    if (need_object(r, json) < 0 || take_name(r, json, "name", NULL, &out->name) < 0)
        return -1;
    json_get(json, "type", &type);
    out->type = json_str(type, r->arena);
    if (!parameter_type_known(out->type))
        return fail(r, "type",
                    "must be Dataset, Item, Annotation, Execution, Task, Assignment, Service, "
                    "Package, Project, Recipe, Model, Json, String, Number, Integer, Float or "
                    "Boolean, or one of them with [] behind it",
                    type);
    return 0;
}

struct parameters {
    struct parameter *at;
    size_t count;
};

static int read_parameters(const struct reader *r, struct json object, const char *key,
                           struct parameters *out)
{
    char path[PATH_SIZE];
    struct reader inner = {r->limits, r->arena, r->err, path};
    struct json array, value;
    struct str unused;
    if (take_array(r, object, key, &array) < 0)
        return -1;
    out->count = 0;
    out->at = arena_array_of(r->arena, struct parameter, json_count(array) + 1);
    struct json_iter it = json_each(array);
    while (json_next(&it, &unused, &value)) {
        struct parameter *parameter = &out->at[out->count];
        put_path(path, "%s.%s[%zu]", r->path, key, out->count);
        if (read_parameter(&inner, value, parameter) < 0)
            return -1;
        for (size_t i = 0; i < out->count; i++) {
            if (str_eq(out->at[i].name, parameter->name))
                return duplicate(&inner, "parameter", parameter->name);
        }
        out->count++;
    }
    return 0;
}

static int read_function(const struct reader *r, struct json json, struct function *out)
{
    struct parameters inputs, outputs;
    struct json description = {0};
    if (need_object(r, json) < 0 || take_identifier(r, json, "name", NULL, &out->name) < 0 ||
        read_parameters(r, json, "input", &inputs) < 0 ||
        read_parameters(r, json, "output", &outputs) < 0)
        return -1;
    json_get(json, "description", &description);
    if (description.type != JSON_ABSENT && description.type != JSON_NULL) {
        if (description.type != JSON_STRING)
            return fail(r, "description", "must be a string", description);
        out->description = json_str(description, r->arena);
        if (check_bytes(r, "description", LIMIT_FIELD, out->description) < 0)
            return -1;
    }
    out->inputs = inputs.at;
    out->input_count = inputs.count;
    out->outputs = outputs.at;
    out->output_count = outputs.count;
    return 0;
}

static int read_functions(const struct reader *r, struct json object, struct module *out)
{
    char path[PATH_SIZE];
    struct reader inner = {r->limits, r->arena, r->err, path};
    struct json array, value;
    struct str unused;
    if (take_array(r, object, "functions", &array) < 0)
        return -1;
    out->functions = arena_array_of(r->arena, struct function, json_count(array) + 1);
    struct json_iter it = json_each(array);
    while (json_next(&it, &unused, &value)) {
        struct function *function = &out->functions[out->function_count];
        put_path(path, "%s.functions[%zu]", r->path, out->function_count);
        if (read_function(&inner, value, function) < 0)
            return -1;
        if (function_find(out, function->name))
            return duplicate(&inner, "function", function->name);
        out->function_count++;
    }
    return 0;
}

// The entry point is opened inside the unpacked package: a relative path that stays there.
static bool entry_point_valid(struct str path)
{
    struct str rest = path;
    if (path.len == 0 || path.len > ENTRY_POINT_MAX || path.at[0] == '/')
        return false;
    for (size_t i = 0; i < path.len; i++) {
        if ((unsigned char)path.at[i] < ' ' || path.at[i] == '\\')
            return false;
    }
    while (rest.len) {
        if (str_is(str_cut(&rest, '/'), ".."))
            return false;
    }
    return path.at[path.len - 1] != '/';
}

static int read_module(const struct reader *r, struct json json, struct module *out)
{
    struct parameters init;
    struct json value = {0};
    if (need_object(r, json) < 0 || take_name(r, json, "name", "default_module", &out->name) < 0 ||
        take_text(r, json, (struct text_rule){"entryPoint", "main.py"}, &out->entry_point) < 0 ||
        take_identifier(r, json, "className", "ServiceRunner", &out->class_name) < 0 ||
        read_parameters(r, json, "initInputs", &init) < 0)
        return -1;
    json_get(json, "entryPoint", &value);
    if (!entry_point_valid(out->entry_point))
        return fail(r, "entryPoint",
                    "must be the relative path of a file inside the package (at most 1024 bytes)",
                    value);
    out->init_inputs = init.at;
    out->init_input_count = init.count;
    return read_functions(r, json, out);
}

int modules_parse(struct json json, const struct limits *limits, struct arena *arena,
                  struct module **out, size_t *count, struct err *err)
{
    char path[PATH_SIZE];
    char what[DESCRIBE_SIZE];
    struct reader inner = {limits, arena, err, path};
    struct str unused;
    struct json value;
    size_t given = json.type == JSON_ARRAY ? json_count(json) : 0;
    if (given == 0)
        return err_field(err, "modules", "modules must be an array of modules, not %s",
                         json.type == JSON_ARRAY ? "an empty one" : describe_value(json, what));
    if (check_count(&inner, "modules", given) < 0)
        return -1;
    struct module *modules = arena_array_of(arena, struct module, given);
    struct json_iter it = json_each(json);
    for (size_t n = 0; json_next(&it, &unused, &value); n++) {
        put_path(path, "modules[%zu]", n);
        if (read_module(&inner, value, &modules[n]) < 0)
            return -1;
        for (size_t i = 0; i < n; i++) {
            if (str_eq(modules[i].name, modules[n].name))
                return duplicate(&inner, "module", modules[n].name);
        }
    }
    *out = modules;
    *count = given;
    return 0;
}

const struct module *module_find(const struct module *modules, size_t count, struct str name)
{
    if (!name.at)
        return count ? &modules[0] : NULL;
    for (size_t i = 0; i < count; i++) {
        if (str_eq(modules[i].name, name))
            return &modules[i];
    }
    return NULL;
}

const struct function *function_find(const struct module *module, struct str name)
{
    for (size_t i = 0; i < module->function_count; i++) {
        if (str_eq(module->functions[i].name, name))
            return &module->functions[i];
    }
    return NULL;
}

enum module_runner module_runner(struct str entry_point)
{
    static const char *const node[] = {".js", ".mjs", ".cjs"};
    if (str_ends(entry_point, STR(".so")))
        return MODULE_NATIVE;
    for (size_t i = 0; i < sizeof(node) / sizeof(node[0]); i++)
        if (str_ends(entry_point, str_of(node[i])))
            return MODULE_NODE;
    return MODULE_PYTHON;
}
