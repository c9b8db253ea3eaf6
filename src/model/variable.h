// SPDX-License-Identifier: Apache-2.0
// model/variable: names of environment variables that a service may give its functions.
#ifndef DROVER_MODEL_VARIABLE_H
#define DROVER_MODEL_VARIABLE_H

#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

#define VARIABLE_NAME_MAX 128  // bytes

// ERR_BAD_INPUT at `path`: it is no name of a variable, or one that Drover itself sets or obeys.
MUST_CHECK int variable_check(struct str name, const char *path, struct err *err);

// Whether the SDK inside a function is told something by it: a service never sets these.
bool variable_is_sdk(struct str name);

#endif
