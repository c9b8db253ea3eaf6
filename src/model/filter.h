// SPDX-License-Identifier: Apache-2.0
// model/filter: the conditions that dtlpy's Filters can make, as one tree. A store compiles it to
// its SQL; filter_match is the same meaning over a row in memory (a property test holds them
// equal).
//
// Meaning. A field that is absent and one that is null are the same. Values compare only with their
// own kind: numbers with numbers, texts bytewise with texts, booleans with booleans, times with ISO
// texts or ms numbers (a text that is no time is refused); another kind is simply unequal and
// neither greater nor less. $ne and $nin are the exact opposites of equality and $in, so absent
// fields match them. {"field": null} and {"$eq": null} mean absent; only {"projectId": null} in a
// list means "in any project", as dtlpy sends it.
// A text with '*' in a plain term or $eq is a glob on filename, dir and name; $match is always a
// glob when it holds '*', else a case-insensitive substring. On a JSON array a term holds when any
// element satisfies it; $exists asks for the array itself. Objects equal nothing. An empty $and is
// no constraint, an empty $or neither in a list; in a filter that says what to change it is
// refused. What answers mask (field.secret) cannot be named.
#ifndef DROVER_MODEL_FILTER_H
#define DROVER_MODEL_FILTER_H

#include "model/entity.h"

enum filter_op {
    FILTER_ALL,  // every child (none: true)
    FILTER_ANY,  // some child (none: false)
    FILTER_NOT,  // the one child does not hold
    FILTER_EQ,   // value of values[0]
    FILTER_IN,   // one of values
    FILTER_GT,
    FILTER_GTE,
    FILTER_LT,
    FILTER_LTE,
    FILTER_EXISTS,     // present and not null
    FILTER_GLOB,       // str_glob of values[0].text
    FILTER_SUBSTRING,  // case-insensitive (ASCII)
};

enum value_kind { VALUE_NULL, VALUE_NUMBER, VALUE_TEXT, VALUE_BOOL };

struct filter_value {
    enum value_kind kind;
    double number;    // VALUE_NUMBER
    int64_t integer;  // VALUE_NUMBER with exact == true
    bool exact;       // the number is an int64
    bool boolean;
    struct str text;  // VALUE_TEXT, unescaped
};

struct filter {
    enum filter_op op;
    const struct field *field;  // leaf: the column …
    struct str path;            // … and the dotted path below it ("" for the field itself)
    struct filter_value *values;
    size_t value_count;
    struct filter **children;
    size_t child_count;
};

// Parses {"$and":[…],"$or":[…],"field":…}. Unknown fields and operators are ERR_BAD_INPUT, named.
// NULL is never returned with 0: an empty object gives a FILTER_ALL without children.
MUST_CHECK int filter_parse(struct json json, const struct entity *entity,
                            const struct limits *limits, struct arena *arena, struct filter **out,
                            struct err *err);

bool filter_match(const struct filter *filter, const void *row, struct arena *scratch);

// For our own conditions. `name` must be a field of the entity (its JSON name or column).
struct filter *filter_eq_text(const struct entity *entity, const char *name, struct str value,
                              struct arena *arena);
struct filter *filter_eq_int(const struct entity *entity, const char *name, int64_t value,
                             struct arena *arena);
struct filter *filter_eq_bool(const struct entity *entity, const char *name, bool value,
                              struct arena *arena);
struct filter *filter_compare(const struct entity *entity, const char *name, enum filter_op op,
                              int64_t value, struct arena *arena);
struct filter *filter_in_text(const struct entity *entity, const char *name,
                              const struct str *values, size_t count, struct arena *arena);
struct filter *filter_and(struct filter *a, struct filter *b,
                          struct arena *arena);  // NULL means true
struct filter *filter_not(struct filter *a, struct arena *arena);

struct sort_key {
    const struct field *field;
    struct str path;  // below a JSON field
    bool descending;
};

#define SORT_KEYS_MAX   4
#define QUERY_LIMIT_MAX 1000  // rows that a store gives at once

struct query {                            // one page of a list
    struct filter *filter;                // NULL: everything
    struct sort_key sort[SORT_KEYS_MAX];  // ties are broken by id, in the direction of the last key
    size_t sort_count;
    int64_t limit, offset;  // limit 0: QUERY_LIMIT_MAX
    bool count_only;        // pageSize was 0: the caller wants the total, no rows (limit is 1 then)
};

// Reads {"filter","sort","page","pageSize"} of a list request. `page_default` caps nothing, and is
// capped by limits->page_size; a pageSize over that is ERR_BAD_INPUT. The limit may be over
// QUERY_LIMIT_MAX: such a page is read in several selects.
MUST_CHECK int query_parse(struct json body, const struct entity *entity, int64_t page_default,
                           const struct limits *limits, struct arena *arena, struct query *out,
                           struct err *err);

#endif
