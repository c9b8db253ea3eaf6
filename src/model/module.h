// SPDX-License-Identifier: Apache-2.0
// model/module: what a package contains: modules with typed functions; and its names and versions.
#ifndef DROVER_MODEL_MODULE_H
#define DROVER_MODEL_MODULE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "model/limits.h"

struct parameter {
    struct str name, type;  // type: "Item", "Json", "String[]"…
};

struct function {
    struct str name, description;
    struct parameter *inputs, *outputs;
    size_t input_count, output_count;
};

struct module {
    struct str name;         // "default_module"
    struct str entry_point;  // "main.py"
    struct str class_name;   // "ServiceRunner"
    struct parameter *init_inputs;
    size_t init_input_count;
    struct function *functions;
    size_t function_count;
};

// Validates a package's modules array and reads it. Errors name the path
// ("modules[0].functions[2].name").
MUST_CHECK int modules_parse(struct json json, const struct limits *limits, struct arena *arena,
                             struct module **out, size_t *count, struct err *err);

// The module by name; an absent name takes the only or first one. NULL: none.
const struct module *module_find(const struct module *modules, size_t count, struct str name);
const struct function *function_find(const struct module *module, struct str name);
bool parameter_type_known(struct str type);

// Which runner a module needs, by its entry point's extension: .so native; .js, .mjs and .cjs
// Node.js; anything else Python.
enum module_runner { MODULE_PYTHON, MODULE_NODE, MODULE_NATIVE };
enum module_runner module_runner(struct str entry_point);

// Names of packages, services, triggers: 1–63 of [a-zA-Z0-9_-. ], no blank at the ends.
// ERR_BAD_INPUT says which character is at fault.
MUST_CHECK int name_check(struct str name, const char *field, struct err *err);
// "1.0.0" → "1.0.1". ERR_BAD_INPUT when it is not three numbers.
MUST_CHECK int version_next(struct str version, struct arena *arena, struct str *out,
                            struct err *err);
int version_cmp(struct str a, struct str b);  // numeric by part
// Codebase: {"type":"item","itemId"} or {"type":"git","gitUrl","gitTag"?,"credentials"?}, with
// credentials {"username"?,"password"?}.
MUST_CHECK int codebase_check(struct json json, struct err *err);
// Whether agents fetch from such an address: https, http and ssh. Other transports may run a
// command of the caller's ("ext::sh -c …").
bool git_url_fits(struct str url);

#endif
