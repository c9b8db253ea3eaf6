// SPDX-License-Identifier: Apache-2.0
// model/describe: what was given, in words short enough for an error message.
#ifndef DROVER_MODEL_DESCRIBE_H
#define DROVER_MODEL_DESCRIBE_H

#include "base/json.h"

#define DESCRIBE_SIZE 96

// Writes e.g. `the string "abc…"`, `the number 1.5`, `an object`, `null` to out; returns out.
const char *describe_value(struct json value, char out[DESCRIBE_SIZE]);

// The first bytes of a text, whole characters only: at most `max` bytes.
struct str describe_clip(struct str text, size_t max);

#endif
