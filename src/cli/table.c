// SPDX-License-Identifier: Apache-2.0
#include "cli/table.h"

#include "base/mem.h"
#include "cli/text.h"

#define GAP       2  // blanks between columns
#define CUT_LEAST 8  // a column is not cut below this
#define COLUMNS   32

struct row {
    struct row *next;
    struct table_cell *cells;
};

struct table {
    const struct table_column *columns;
    size_t count, rows;
    struct arena *arena;
    struct row *first, **last;
    size_t widths[COLUMNS];
};

struct table *table_new(const struct table_column *columns, size_t count, struct arena *arena)
{
    struct table *table = arena_new_of(arena, struct table);
    table->columns = columns;
    table->count = count < COLUMNS ? count : COLUMNS;
    table->arena = arena;
    table->last = &table->first;
    for (size_t i = 0; i < table->count; i++)
        table->widths[i] = text_width(str_of(columns[i].title));
    return table;
}

// One line of it: whatever would end the line or command the terminal becomes visible.
static struct str one_line(struct str text, struct arena *arena)
{
    _cleanup_buf_ struct buf clean = BUF_INIT(text.len * 2 + 1);
    terminal_clean(&clean, text);
    for (size_t i = 0; i < clean.len; i++)
        if (clean.at[i] == '\n' || clean.at[i] == '\t')
            clean.at[i] = ' ';
    return arena_copy(arena, buf_str(&clean));
}

void table_row(struct table *table, const struct table_cell *cells)
{
    struct row *row = arena_new_of(table->arena, struct row);
    row->cells = arena_array_of(table->arena, struct table_cell, table->count);
    for (size_t i = 0; i < table->count; i++) {
        row->cells[i].text = one_line(cells[i].text.at ? cells[i].text : STR(""), table->arena);
        row->cells[i].color = cells[i].color;
        size_t width = text_width(row->cells[i].text);
        if (width > table->widths[i])
            table->widths[i] = width;
    }
    *table->last = row;
    table->last = &row->next;
    table->rows++;
}

size_t table_rows(const struct table *table) { return table->rows; }

static size_t total(const size_t *widths, size_t shown)
{
    size_t sum = 0;
    for (size_t i = 0; i < shown; i++)
        sum += widths[i] + (i > 0 ? GAP : 0);
    return sum;
}

// Takes a column from the widest that may be cut; false when none can lose any more.
static bool narrow(const struct table *table, size_t *widths, size_t shown)
{
    size_t widest = shown;
    for (size_t i = 0; i < shown; i++) {
        bool may = !(table->columns[i].flags & (TABLE_KEEP | TABLE_RIGHT)) && widths[i] > CUT_LEAST;
        if (may && (widest == shown || widths[i] > widths[widest]))
            widest = i;
    }
    if (widest < shown)
        widths[widest]--;
    return widest < shown;
}

// How many columns are shown, and how wide each is.
static size_t fit(const struct table *table, size_t width, size_t *widths)
{
    size_t shown = table->count;
    for (;;) {
        memcpy(widths, table->widths, sizeof(table->widths));
        while (width > 0 && total(widths, shown) > width)
            if (!narrow(table, widths, shown))
                break;
        if (width == 0 || total(widths, shown) <= width || shown <= 1)
            return shown;
        shown--;
    }
}

static void write_cell(const struct table *table, size_t i, const struct table_cell *cell,
                       const size_t *widths, bool last, const struct terminal *terminal,
                       struct buf *out)
{
    _cleanup_buf_ struct buf text = BUF_INIT(cell->text.len + 8);
    text_fit(&text, cell->text, widths[i]);
    int pad = (int)(widths[i] - text_width(buf_str(&text)));
    bool right = table->columns[i].flags & TABLE_RIGHT;
    if (right)
        buf_printf(out, "%*s", pad, "");
    buf_add_cstr(out, color_on(terminal, cell->color));
    buf_add_str(out, buf_str(&text));
    buf_add_cstr(out, color_off(terminal, cell->color));
    if (!right && !last)
        buf_printf(out, "%*s", pad, "");
    if (!last)
        buf_printf(out, "%*s", GAP, "");
}

void table_write(const struct table *table, const struct terminal *terminal, struct buf *out)
{
    size_t widths[COLUMNS];
    size_t shown = fit(table, (size_t)terminal->width, widths);
    for (size_t i = 0; i < shown; i++) {
        struct table_cell title = {str_of(table->columns[i].title), COLOR_BOLD};
        write_cell(table, i, &title, widths, i + 1 == shown, terminal, out);
    }
    buf_add_char(out, '\n');
    for (const struct row *row = table->first; row; row = row->next) {
        for (size_t i = 0; i < shown; i++)
            write_cell(table, i, &row->cells[i], widths, i + 1 == shown, terminal, out);
        buf_add_char(out, '\n');
    }
}
