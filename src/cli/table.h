// SPDX-License-Identifier: Apache-2.0
// cli/table: rows in columns. Pure: writes to a buf. Fits a width by cutting the columns that may
// be cut, widest first, then by leaving columns out from the right. With a width, a column in which
// no row has anything is left out, too.
#ifndef DROVER_CLI_TABLE_H
#define DROVER_CLI_TABLE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "cli/terminal.h"

enum table_flags {
    TABLE_RIGHT = 1 << 0,  // numbers
    TABLE_KEEP = 1 << 1,   // never cut: ids, statuses
};

struct table_column {
    const char *title;
    unsigned flags;
};

struct table_cell {
    struct str text;  // line ends and control characters become visible
    enum color color;
};

struct table;
struct table *table_new(const struct table_column *columns, size_t count, struct arena *arena);
void table_row(struct table *table, const struct table_cell *cells);  // texts are copied
size_t table_rows(const struct table *table);
void table_write(const struct table *table, const struct terminal *terminal, struct buf *out);

#endif
