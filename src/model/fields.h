// SPDX-License-Identifier: Apache-2.0
// model/fields: how the field tables are written, one row a line. Only for src/model/*.c.
#ifndef DROVER_MODEL_FIELDS_H
#define DROVER_MODEL_FIELDS_H

#include "model/entities.h"

// A stored field: the column has the member's name. COLUMN(service, on_reset, "onReset", TEXT,
// .flags = …, .choices = …)
#define COLUMN(owner, member, key, kind, ...)                                                      \
    {                                                                                              \
        .name = (key), .column = #member, .type = FIELD_##kind,                                    \
        .offset = offsetof(struct owner, member), __VA_ARGS__                                      \
    }

// Another filter path of a stored field.
#define ALIAS(owner, member, key, kind)                                                            \
    COLUMN(owner, member, key, kind, .flags = FIELD_VIRTUAL | FIELD_READONLY)

// A field of answers that has no column.
#define EXTRA(owner, member, key, kind, more_flags)                                                \
    {                                                                                              \
        .name = (key), .type = FIELD_##kind, .offset = offsetof(struct owner, member),             \
        .flags = FIELD_UNSTORED | FIELD_READONLY | (more_flags)                                    \
    }

// What nearly every entity begins and ends with.
#define COLUMN_ID(owner) COLUMN(owner, id, "id", TEXT, .flags = FIELD_READONLY, .max = 512)
#define COLUMN_TIMES(owner)                                                                        \
    COLUMN(owner, created_at, "createdAt", TIME, .flags = FIELD_READONLY),                         \
        COLUMN(owner, updated_at, "updatedAt", TIME, .flags = FIELD_READONLY)

#define FIELDS(table) .fields = (table), .count = sizeof(table) / sizeof(*(table))

// Writes "key": "/api/v1/<collection>/<id><suffix>".
void fields_link(struct json_writer *out, const char *key, const char *collection, struct str id,
                 const char *suffix);

// Writes "key": {"id", "name"}; both null members when the id is absent, as clients index them.
void fields_reference(struct json_writer *out, const char *key, struct str id, struct str name);

// Writes a key as json_next gave it: its escapes stay as they are.
void fields_raw_key(struct json_writer *out, struct str raw_key);

// The same as a value of its own, a string.
void fields_raw_text(struct json_writer *out, struct str raw_key);

#endif
