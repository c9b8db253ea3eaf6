// SPDX-License-Identifier: Apache-2.0
// base/redact: takes secret values out of texts that others will read. Found are a value as it is,
// as it stands in JSON (also with everything but ASCII escaped), each line of a value of several
// lines, and the texts in a value that is JSON itself. Not found is what was encoded otherwise.
// Costs nothing without values: where a redactor is taken, NULL is one that finds nothing.
#ifndef DROVER_BASE_REDACT_H
#define DROVER_BASE_REDACT_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

#define REDACT_LEAST 4  // bytes: what is shorter is no secret, and stands in every second text

struct redactor;

struct redactor *redactor_new(void);
void redactor_free(struct redactor *redactor);  // NULL does nothing; values are wiped
// From then on `value` becomes "[secret NAME]". Both are copied.
void redactor_add(struct redactor *redactor, struct str name, struct str value);

// False: there is nothing to take out. True: out holds the text without it.
bool redact_text(const struct redactor *redactor, struct str text, struct buf *out);
// The same for the strings within valid JSON, which it stays.
bool redact_json(const struct redactor *redactor, struct str json, struct buf *out);

#endif
