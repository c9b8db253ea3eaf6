// SPDX-License-Identifier: Apache-2.0
// operation/integration_type: what each type of integration is made of: which options a request
// gives, and what forms list as available.
#ifndef DROVER_OPERATION_INTEGRATION_TYPE_H
#define DROVER_OPERATION_INTEGRATION_TYPE_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"

#define SECRET_VALUE_MAX (64 << 10)  // bytes of one value: the environment of a process takes 128

// Functions get key_value as one variable; private registries are for the puller of images alone.
bool integration_is_registry(struct str type);

// ERR_BAD_INPUT names the option by its path under `path`, and never repeats a value.
MUST_CHECK int integration_options_check(struct str type, struct json options, const char *path,
                                         struct arena *arena, struct err *err);

// What a variable made of it holds: of key_value its value, of others the option `key` when it is a
// text, or else all options as JSON.
struct str integration_value(struct str type, struct json options, struct str key,
                             struct arena *arena);

// Writes the array of types with their options.
void integration_types_write(struct json_writer *out);

#endif
