// SPDX-License-Identifier: Apache-2.0
// model/entity: every kind of thing Drover keeps is a C struct and one table of its fields. From
// the table come: decoding a request body with errors that name the field, encoding an answer, the
// columns of the store, the fields a filter may name, and the OpenAPI schema.
#ifndef DROVER_MODEL_ENTITY_H
#define DROVER_MODEL_ENTITY_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/str.h"
#include "model/limits.h"

enum field_type {  // C type of the member        absent value
    FIELD_TEXT,    // struct str                  STR_NONE
    FIELD_INT,     // int64_t                     INT_NONE
    FIELD_DOUBLE,  // double                      NAN
    FIELD_BOOL,    // bool                        false
    FIELD_TIME,    // int64_t, ms since 1970 UTC  INT_NONE; ISO 8601 text in JSON
    FIELD_JSON,    // struct str, checked JSON    STR_NONE (a JSON null is stored as absent)
};

#define INT_NONE INT64_MIN

enum field_flags {
    FIELD_REQUIRED = 1 << 0,   // must be in the body of a create, and not null
    FIELD_READONLY = 1 << 1,   // ours: silently ignored in bodies (dtlpy sends whole objects back)
    FIELD_FIXED = 1 << 2,      // given at creation, ignored afterwards
    FIELD_INTERNAL = 1 << 3,   // stored, but never in an answer, a filter or a schema
    FIELD_OMIT = 1 << 4,       // left out of answers when absent (others are written as null)
    FIELD_OBJECT = 1 << 5,     // FIELD_JSON must be an object
    FIELD_ARRAY = 1 << 6,      // FIELD_JSON must be an array
    FIELD_UNSTORED = 1 << 7,   // in answers only; filled by the operation, no column
    FIELD_VIRTUAL = 1 << 8,    // a filter path that is another name of a column; not in answers or
                               // bodies ("latestStatus.status" for the column status)
    FIELD_NONEMPTY = 1 << 9,   // FIELD_TEXT: "" is refused
    FIELD_COMPOSED = 1 << 10,  // not written as a key of its own: encode_more writes it its own way
};

struct field {
    const char *name;    // JSON key and filter path
    const char *column;  // SQL column; NULL with FIELD_UNSTORED
    enum field_type type;
    unsigned flags;
    size_t offset;  // of the member in the entity's struct
    // FIELD_INT, FIELD_DOUBLE: of the value; FIELD_TEXT, FIELD_JSON: the most bytes of what has a
    // format of its own (0: `limit` holds)
    int64_t min, max;
    enum limit limit;      // of the bytes of FIELD_TEXT, FIELD_JSON; LIMIT_NONE: LIMIT_FIELD
    const char *fallback;  // JSON text of the value when a create does not give it; NULL: absent
    const char *choices;   // FIELD_TEXT: "failed|rerun"; NULL: any
    const char *secret;  // FIELD_JSON: the member that answers mask and no filter or sort may name
};

struct entity {
    const char *name;            // "execution": in messages, events, the audit log
    const char *table;           // "executions"
    const char *resource;        // name in /query/faas ("executions"); NULL: not listed there
    size_t size;                 // of the struct
    const struct field *fields;  // the first one is the key: column "id", FIELD_TEXT
    size_t count;
    // Writes what is not one field to one key (latestStatus, org, url); NULL: nothing more.
    void (*encode_more)(const void *row, struct json_writer *out);
    // Unique columns besides id, for ERR_CONFLICT messages: "project_id,name"; NULL: none
    const char *unique;
    const char *schema_more;  // JSON object: schemas of the keys that encode_more writes, or NULL
    bool hot;  // few rows, looked up with every request: a store may keep them at hand
};

#define ENTITY_FIELDS_MAX 64

enum decode_mode { DECODE_CREATE, DECODE_PATCH };

// Sets every field to its absent value.
void entity_clear(const struct entity *entity, void *row);

// Fills row from a JSON object. CREATE: the row is cleared first, absent (or null) fields get their
// fallback, missing required ones are errors. PATCH: only the keys present change; an explicit null
// makes a field absent, or its fallback when it has one. Unknown keys are ignored. Texts point into
// `body` or the arena. ERR_BAD_INPUT with the field's path.
MUST_CHECK int entity_decode(const struct entity *entity, struct json body, enum decode_mode mode,
                             const struct limits *limits, void *row, struct arena *arena,
                             struct err *err);

// Writes the row as a JSON object.
void entity_encode(const struct entity *entity, const void *row, struct json_writer *out);

// The members only, without the braces: for callers that add keys of their own.
void entity_encode_fields(const struct entity *entity, const void *row, struct json_writer *out);

// As entity_encode_fields without what encode_more adds.
void entity_encode_columns(const struct entity *entity, const void *row, struct json_writer *out);

// One member's value; it must not be absent.
void entity_encode_value(const struct field *f, void *row, struct json_writer *out);

// What differs between two rows, as an object {"field": {"before", "after"}} of the fields that
// answers show; an absent side is null. `skip`: names that do not count, with a space between.
// Returns how many differ.
size_t entity_diff(const struct entity *entity, const void *before, const void *after,
                   const char *skip, struct json_writer *out);

// The whole stored row as JSON, internal fields too, and back: for revisions and the audit log.
struct str entity_dump(const struct entity *entity, const void *row, struct arena *arena);
MUST_CHECK int entity_load(const struct entity *entity, struct json dumped, void *row,
                           struct arena *arena, struct err *err);

// A deep copy: all texts live in the arena.
void entity_copy(const struct entity *entity, const void *from, void *to, struct arena *arena);

const struct field *entity_field(const struct entity *entity, struct str name);  // by JSON name
const struct field *entity_column(const struct entity *entity, struct str column);

// Access to a member by its field.
static inline struct str *field_text(const struct field *f, void *row)
{
    return (struct str *)(void *)((char *)row + f->offset);
}
static inline int64_t *field_int(const struct field *f, void *row)
{
    return (int64_t *)(void *)((char *)row + f->offset);
}
static inline double *field_double(const struct field *f, void *row)
{
    return (double *)(void *)((char *)row + f->offset);
}
static inline bool *field_bool(const struct field *f, void *row)
{
    return (bool *)(void *)((char *)row + f->offset);
}
bool field_absent(const struct field *f, const void *row);

// JSON Schema (OpenAPI 3.0 dialect) of the entity's answer, and of its create or patch body. An
// answer promises no limits: it may hold what was accepted under higher ones.
void entity_schema(const struct entity *entity, struct json_writer *out);
void entity_body_schema(const struct entity *entity, enum decode_mode mode,
                        const struct limits *limits, struct json_writer *out);

extern const struct entity
    *const entity_all[];  // NULL-terminated: what the stores create tables for

#endif
