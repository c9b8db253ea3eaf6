// SPDX-License-Identifier: Apache-2.0
// base/json: reads JSON (RFC 8259) as spans of the text it came in, writes it into a buf.
//
// A document is checked whole, once (json_parse); after that, walking it cannot fail. Values are
// spans of the original text, so what only passes through Drover passes byte for byte: 0.1 stays
// 0.1 and 2^70 stays 2^70. NaN, Infinity, comments, trailing commas, lone surrogates, raw control
// characters, invalid UTF-8 and \u0000 are refused (SQLite and PostgreSQL texts end at NUL).
// Of repeated keys the last one counts, as in Python's json.
#ifndef DROVER_BASE_JSON_H
#define DROVER_BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

enum json_type {
    JSON_ABSENT = 0,
    JSON_NULL,
    JSON_FALSE,
    JSON_TRUE,
    JSON_NUMBER,
    JSON_STRING,
    JSON_ARRAY,
    JSON_OBJECT
};

struct json {  // one value; borrowed from the text given to json_parse
    enum json_type type;
    struct str text;  // its exact bytes, without surrounding white space
};

#define JSON_DEPTH_MAX   64   // default nesting limit
#define JSON_DEPTH_LIMIT 512  // what json_parse lowers a larger `depth` to

// Checks text as one JSON document of at most `depth` nested containers (0: JSON_DEPTH_MAX).
// ERR_BAD_INPUT says what was wrong at which line and column.
MUST_CHECK int json_parse(struct str text, int depth, struct json *out, struct err *err);

struct json json_of(struct str valid_text);  // a span that was checked before; "" gives JSON_ABSENT

// Walks an object (key and value) or an array (key stays absent). False at the end, or when the
// value is neither. `key` is raw: without quotes, escapes not resolved; see json_key_is.
struct json_iter {
    const char *at, *end;
    bool object;
};
struct json_iter json_each(struct json container);
bool json_next(struct json_iter *it, struct str *raw_key, struct json *value);

// Whether a raw key or other text between quotes is `text` once its escapes are resolved.
bool json_key_is(struct str raw_key, const char *key);
bool json_raw_eq(struct str raw, struct str text);

bool json_get(struct json object, const char *key, struct json *out);  // absent: false
bool json_path(struct json value, struct str dotted_path,
               struct json *out);  // "a.b.c"; no array steps
size_t json_count(struct json container);

bool json_is(struct json value, enum json_type type);
bool json_bool(struct json value, bool *out);      // only true and false
bool json_int(struct json value, int64_t *out);    // integral and within int64 (1e3 and 5.0 count)
bool json_double(struct json value, double *out);  // any number within double (not 1e999)
struct str json_str(struct json value,
                    struct arena *arena);  // unescaped copy; absent unless a string
struct str json_unescape(struct str raw, struct arena *arena);  // text between quotes
const char *json_type_name(enum json_type type);  // "a string", "an object": for messages

// Deep comparison by value: numbers as numbers, strings unescaped, keys in any order.
bool json_equal(struct json a, struct json b, struct arena *scratch);

// RFC 7396 merge patch of `patch` onto `base`; both must be checked; result lives in the arena.
struct str json_merge(struct json base, struct json patch, struct arena *arena);

// ── writing ──────────────────────────────────────────────────────────────────────────────────
// Commas are placed by the writer. In an object each value follows a json_w_key.
struct json_writer {
    struct buf *buf;
    bool comma;  // the next value or key needs a comma first
};
#define JSON_WRITER(buffer) ((struct json_writer){.buf = (buffer)})

void json_w_object(struct json_writer *w);
void json_w_object_end(struct json_writer *w);
void json_w_array(struct json_writer *w);
void json_w_array_end(struct json_writer *w);
void json_w_key(struct json_writer *w, const char *key);
void json_w_key_str(struct json_writer *w, struct str key);
void json_w_str(struct json_writer *w,
                struct str s);  // absent writes null; invalid UTF-8 is cleaned
void json_w_cstr(struct json_writer *w, const char *s);
void json_w_int(struct json_writer *w, int64_t n);
void json_w_double(struct json_writer *w,
                   double n);  // shortest form that reads back; NaN, inf: null
void json_w_bool(struct json_writer *w, bool b);
void json_w_null(struct json_writer *w);
void json_w_raw(struct json_writer *w, struct str valid_json);  // absent or empty writes null

// key and value in one call, for the common case
void json_w_pair_str(struct json_writer *w, const char *key, struct str s);
void json_w_pair_int(struct json_writer *w, const char *key, int64_t n);
void json_w_pair_bool(struct json_writer *w, const char *key, bool b);
void json_w_pair_raw(struct json_writer *w, const char *key, struct str valid_json);

#endif
