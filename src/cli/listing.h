// SPDX-License-Identifier: Apache-2.0
// cli/listing: objects of the API in the form that -o asks for: a table of chosen columns, the
// whole objects as JSON, one a line, or their names.
#ifndef DROVER_CLI_LISTING_H
#define DROVER_CLI_LISTING_H

#include "base/json.h"
#include "cli/cli.h"

enum column_kind {
    COLUMN_TEXT,
    COLUMN_STATUS,    // coloured by what it says
    COLUMN_TIME,      // an ISO time: how long ago on a terminal, as it is otherwise
    COLUMN_DURATION,  // milliseconds
    COLUMN_NUMBER,
    COLUMN_BYTES,
};

struct column {
    const char *title;
    const char *path;  // in the object: "latestStatus.status"
    enum column_kind kind;
    bool keep;  // never cut to fit
    // Instead of path: writes the cell itself.
    void (*write)(struct cli *cli, struct json object, struct buf *out);
};

struct listing_spec {
    const struct column *columns;
    size_t count;
    const char *name;   // path of what -o name prints
    const char *empty;  // said on stderr when there are none; NULL: nothing
};

struct listing;
struct listing *listing_begin(struct cli *cli, const struct listing_spec *spec);
void listing_add(struct listing *listing, struct json object);
int listing_end(struct listing *listing);  // CLI_OK

// One object: a table of one row would hide most of it, so it is a line a field. `spec->columns`
// name the fields.
int listing_one(struct cli *cli, const struct listing_spec *spec, struct json object);

// A text or number of an object for people; absent and null give "".
struct str json_text(struct json object, const char *path, struct arena *arena);

#endif
