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
    bool filled[COLUMNS];  // some row has something there
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
        table->filled[i] |= width > 0;
        if (width > table->widths[i])
            table->widths[i] = width;
    }
    *table->last = row;
    table->last = &row->next;
    table->rows++;
}

size_t table_rows(const struct table *table) { return table->rows; }

struct shown {
    size_t column, width;
};

static size_t total(const struct shown *shown, size_t count)
{
    size_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += shown[i].width + (i > 0 ? GAP : 0);
    return sum;
}

// Takes a column from the widest that may be cut; false when none can lose any more.
static bool narrow(const struct table *table, struct shown *shown, size_t count)
{
    struct shown *widest = NULL;
    for (size_t i = 0; i < count; i++) {
        unsigned flags = table->columns[shown[i].column].flags;
        bool may = !(flags & (TABLE_KEEP | TABLE_RIGHT)) && shown[i].width > CUT_LEAST;
        if (may && (!widest || shown[i].width > widest->width))
            widest = &shown[i];
    }
    if (widest)
        widest->width--;
    return widest != NULL;
}

// Which columns are shown, how wide; returns how many.
static size_t fit(const struct table *table, size_t width, struct shown *shown)
{
    size_t count = 0;
    for (size_t i = 0; i < table->count; i++)
        if (table->filled[i] || width == 0 || table->rows == 0)
            shown[count++] = (struct shown){i, table->widths[i]};
    while (width > 0 && count > 1) {
        while (total(shown, count) > width && narrow(table, shown, count))
            continue;
        if (total(shown, count) <= width)
            break;
        count--;
        for (size_t i = 0; i < count; i++)
            shown[i].width = table->widths[shown[i].column];
    }
    return count;
}

// A line ends with its last character that can be seen.
static void end_line(struct buf *out)
{
    while (out->len > 0 && out->at[out->len - 1] == ' ')
        out->len--;
    buf_add_char(out, '\n');
}

static void write_cell(const struct table *table, const struct shown *shown,
                       const struct table_cell *cell, const struct terminal *terminal,
                       struct buf *out)
{
    _cleanup_buf_ struct buf text = BUF_INIT(cell->text.len + 8);
    text_fit(&text, cell->text, shown->width);
    int pad = (int)(shown->width - text_width(buf_str(&text)));
    bool right = table->columns[shown->column].flags & TABLE_RIGHT;
    buf_printf(out, "%*s", right ? pad : 0, "");
    buf_add_cstr(out, color_on(terminal, cell->color));
    buf_add_str(out, buf_str(&text));
    buf_add_cstr(out, color_off(terminal, cell->color));
    buf_printf(out, "%*s", (right ? 0 : pad) + GAP, "");
}

void table_write(const struct table *table, const struct terminal *terminal, struct buf *out)
{
    struct shown shown[COLUMNS];
    size_t count = fit(table, (size_t)terminal->width, shown);
    for (size_t i = 0; i < count; i++) {
        struct table_cell title = {str_of(table->columns[shown[i].column].title), COLOR_BOLD};
        write_cell(table, &shown[i], &title, terminal, out);
    }
    end_line(out);
    for (const struct row *row = table->first; row; row = row->next) {
        for (size_t i = 0; i < count; i++)
            write_cell(table, &shown[i], &row->cells[shown[i].column], terminal, out);
        end_line(out);
    }
}
