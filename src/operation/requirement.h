// SPDX-License-Identifier: Apache-2.0
// operation/requirement: what a package wants installed. Each entry ends up as one argument of pip,
// so only names, extras and version rules pass: no option, address or path.
#ifndef DROVER_OPERATION_REQUIREMENT_H
#define DROVER_OPERATION_REQUIREMENT_H

#include "base/json.h"
#include "model/limits.h"

// Checks an array of {"name","version"?,"operator"?} and writes it in its clean form: blanks
// trimmed, entries without a name (empty lines of a requirements.txt) left out, a further rule of
// the entry before ("<2" of "a>=1,<2") joined to it. *out is absent when there are none.
// ERR_BAD_INPUT names the entry.
MUST_CHECK int requirements_check(struct json list, const struct limits *limits,
                                  struct arena *arena, struct str *out, struct err *err);

#endif
