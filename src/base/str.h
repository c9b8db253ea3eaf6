// SPDX-License-Identifier: Apache-2.0
// base/str: a borrowed piece of text (pointer and length, no terminator, may hold any byte).
// Whoever made the bytes owns them; a str never frees.
#ifndef DROVER_BASE_STR_H
#define DROVER_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct str {
    const char *at;
    size_t len;
};

#define STR(literal) ((struct str){(literal), sizeof(literal) - 1})
#define STR_NONE     ((struct str){NULL, 0})  // absent: at is NULL. An empty text has at != NULL.
#define STR_FMT      "%.*s"
#define STR_ARG(s)   (int)(s).len, (s).at ? (s).at : ""

static inline struct str str_of(const char *cstr)  // NULL gives STR_NONE
{
    return (struct str){cstr, cstr ? strlen(cstr) : 0};
}
// FNV-1a: for tables of our own making, not for keys that a caller may aim (base/map.h).
uint64_t str_hash(struct str s);
static inline bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || (a.at && b.at && memcmp(a.at, b.at, a.len) == 0));
}
static inline bool str_is(struct str a, const char *cstr) { return str_eq(a, str_of(cstr)); }

int str_cmp(struct str a, struct str b);  // bytewise order, as SQLite's BINARY collation
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
bool str_case_eq(struct str a, struct str b);          // ASCII only
struct str str_trim(struct str s);                     // ASCII white space at both ends
struct str str_cut(struct str *rest, char separator);  // takes up to separator off rest;
                                                       // rest is absent after the last piece
bool str_find(struct str s, struct str needle, size_t *at);

// Whole-string decimal integer; false when s is anything else or out of range.
bool str_int(struct str s, int64_t *out);

// '*' matches within a path segment, '**' across '/', everything else itself.
bool str_glob(struct str pattern, struct str text);

bool str_utf8_valid(struct str s);

// Length (1 to 4) of the well-formed UTF-8 character that text starts with, 0 when there is none.
size_t str_utf8_step(const char *text, size_t len);

// Sanitise bytes for people and JSON: invalid UTF-8 becomes U+FFFD, NUL becomes U+2400.
// Writes at most 3 * s.len bytes to out, returns how many.
size_t str_utf8_clean(struct str s, char *out);

#endif
