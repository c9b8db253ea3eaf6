// SPDX-License-Identifier: Apache-2.0
// model/take: members of a JSON object that no field table decodes: what queries, reports and
// commands are asked with. Absent and null are the same; a value of another type is ERR_BAD_INPUT
// that names the key.
#ifndef DROVER_MODEL_TAKE_H
#define DROVER_MODEL_TAKE_H

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"

// *out is absent when the key is.
MUST_CHECK int take_text(struct json object, const char *key, struct str *out, struct arena *arena,
                         struct err *err);

// A text that names something: "" is refused.
MUST_CHECK int take_name(struct json object, const char *key, struct str *out, struct arena *arena,
                         struct err *err);

// *out is false when the key is absent.
MUST_CHECK int take_bool(struct json object, const char *key, bool *out, struct err *err);

// *out is JSON_ABSENT when the key is.
MUST_CHECK int take_object(struct json object, const char *key, struct json *out, struct err *err);

// A list of names. out->at is NULL when the key is absent, not so for an empty list.
struct take_names {
    struct str *at;
    size_t count;
};
MUST_CHECK int take_names(struct json object, const char *key, struct take_names *out,
                          struct arena *arena, struct err *err);

#endif
