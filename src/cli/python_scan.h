// SPDX-License-Identifier: Apache-2.0
// cli/python_scan: the functions of a Python file that has a class ServiceRunner, found without
// running it. Reads signatures only; what it cannot tell it takes for Json.
#ifndef DROVER_CLI_PYTHON_SCAN_H
#define DROVER_CLI_PYTHON_SCAN_H

#include <stdbool.h>

#include "base/json.h"

// Writes the package's modules array: one module of `entry_point` with the public methods of the
// class as functions. False when the text has no such class, or it no public method.
bool python_scan(struct str text, const char *entry_point, struct json_writer *out);

// Whether the text imports dtlpy.
bool python_uses_dtlpy(struct str text);

#endif
