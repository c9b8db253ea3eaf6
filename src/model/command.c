// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

static const struct field fields[] = {
    COLUMN_ID(command),
    COLUMN(command, project_id, "projectId", TEXT, .flags = FIELD_READONLY),
    COLUMN(command, type, "type", TEXT, .flags = FIELD_READONLY),
    COLUMN(command, status, "status", TEXT, .flags = FIELD_READONLY, .fallback = "\"created\"",
           .choices = "created|in-progress|success|failed|timeout|canceled|aborted"),
    // A number always: clients compute with it.
    COLUMN(command, progress, "progress", DOUBLE, .flags = FIELD_READONLY, .fallback = "0",
           .max = 100),
    COLUMN(command, spec, "spec", JSON, .flags = FIELD_READONLY | FIELD_OBJECT, .fallback = "{}"),
    COLUMN(command, error, "error", JSON, .flags = FIELD_READONLY),
    COLUMN(command, creator, "creator", TEXT, .flags = FIELD_READONLY),
    COLUMN_TIMES(command),
};

static void encode_more(const void *row, struct json_writer *out)
{
    const struct command *command = row;
    fields_link(out, "url", "commands", command->id, "");
}

const struct entity command_entity = {
    .name = "command",
    .table = "commands",
    .size = sizeof(struct command),
    FIELDS(fields),
    .encode_more = encode_more,
    .schema_more = "{\"url\":{\"type\":\"string\"}}",
};
