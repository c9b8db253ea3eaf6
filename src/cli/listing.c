// SPDX-License-Identifier: Apache-2.0
#include "cli/listing.h"

#include "base/clock.h"
#include "base/map.h"
#include "cli/table.h"
#include "cli/text.h"

#define CELL_MAX ((size_t)64 * 1024)

struct listing {
    struct cli *cli;
    const struct listing_spec *spec;
    struct table *table;
    struct table_column *columns;
    size_t count;
};

struct str json_text(struct json object, const char *path, struct arena *arena)
{
    struct json value;
    if (!json_path(object, str_of(path), &value) || value.type == JSON_NULL)
        return STR("");
    if (value.type == JSON_STRING)
        return json_str(value, arena);
    return value.text;
}

static void write_time(const struct cli *cli, struct str text, struct buf *out)
{
    int64_t ms;
    if (!cli->out.tty || !time_parse(text, &ms)) {
        buf_add_str(out, text);
        return;
    }
    age_text(clock_wall(clock_system()) - ms, out);
}

static void write_value(struct cli *cli, const struct column *column, struct json object,
                        struct buf *out)
{
    struct json value = {0};
    int64_t number;
    if (column->write) {
        column->write(cli, object, out);
        return;
    }
    struct str text = json_text(object, column->path, cli->arena);
    json_path(object, str_of(column->path), &value);
    bool whole = json_int(value, &number);
    if (column->kind == COLUMN_TIME)
        write_time(cli, text, out);
    else if (column->kind == COLUMN_DURATION && whole)
        duration_text(number, out);
    else if (column->kind == COLUMN_BYTES && whole)
        bytes_text(number, out);
    else
        buf_add_str(out, text);
}

static struct table_cell cell_of(struct cli *cli, const struct column *column, struct json object)
{
    _cleanup_buf_ struct buf text = BUF_INIT(CELL_MAX);
    struct table_cell cell = {.color = COLOR_NONE};
    write_value(cli, column, object, &text);
    cell.text = arena_copy(cli->arena, buf_str(&text));
    if (column->kind == COLUMN_STATUS)
        cell.color = color_of_status(cell.text);
    return cell;
}

struct listing *listing_begin(struct cli *cli, const struct listing_spec *spec)
{
    struct listing *listing = arena_new_of(cli->arena, struct listing);
    listing->cli = cli;
    listing->spec = spec;
    listing->columns = arena_array_of(cli->arena, struct table_column, spec->count);
    for (size_t i = 0; i < spec->count; i++) {
        const struct column *column = &spec->columns[i];
        bool number = column->kind == COLUMN_NUMBER || column->kind == COLUMN_BYTES ||
                      column->kind == COLUMN_DURATION;
        listing->columns[i].title = column->title;
        listing->columns[i].flags = (number ? TABLE_RIGHT : 0U) |
                                    (column->keep || column->kind != COLUMN_TEXT ? TABLE_KEEP : 0U);
    }
    listing->table = table_new(listing->columns, spec->count, cli->arena);
    if (cli->output == OUTPUT_JSON)
        cli_print(cli, "[");
    return listing;
}

// Whether --watch printed this object, as it is, in a round before.
static bool seen_before(struct listing *listing, struct json object)
{
    struct cli *cli = listing->cli;
    if (!cli->seen)
        return false;
    struct str name = json_text(object, listing->spec->name, cli->own_arena);
    const struct str *before = map_get(cli->seen, name);
    if (before && str_eq(*before, object.text))
        return true;
    struct str *now = arena_new_of(cli->own_arena, struct str);
    *now = arena_copy(cli->own_arena, object.text);
    if (before)
        map_remove(cli->seen, name);
    map_put(cli->seen, arena_copy(cli->own_arena, name), now);
    return false;
}

static void add_row(struct listing *listing, struct json object)
{
    struct cli *cli = listing->cli;
    struct table_cell cells[32];
    for (size_t i = 0; i < listing->spec->count && i < 32; i++)
        cells[i] = cell_of(cli, &listing->spec->columns[i], object);
    table_row(listing->table, cells);
}

void listing_add(struct listing *listing, struct json object)
{
    struct cli *cli = listing->cli;
    bool first = listing->count++ == 0;
    switch (cli->output) {
    case OUTPUT_JSON:
        cli_print(cli, first ? "\n" : ",\n");
        buf_add_str(&cli->text, object.text);
        break;
    case OUTPUT_JSONL:
        if (seen_before(listing, object))
            break;
        text_json_line(&cli->text, object.text);
        cli_print(cli, "\n");
        break;
    case OUTPUT_NAME: {
        struct str name = json_text(object, listing->spec->name, cli->arena);
        cli_print(cli, STR_FMT "\n", STR_ARG(name));
        break;
    }
    case OUTPUT_TABLE: add_row(listing, object); break;
    }
}

int listing_end(struct listing *listing)
{
    struct cli *cli = listing->cli;
    if (cli->output == OUTPUT_JSON)
        cli_print(cli, listing->count > 0 ? "\n]\n" : "]\n");
    if (cli->output != OUTPUT_TABLE)
        return CLI_OK;
    if (listing->count > 0)
        table_write(listing->table, &cli->out, &cli->text);
    else if (listing->spec->empty)
        cli_say(cli, "%s", listing->spec->empty);
    return CLI_OK;
}

// "NAME" heads a column; a field is called "Name".
static struct str field_name(const struct column *column, struct arena *arena)
{
    char *name = arena_cstr(arena, str_of(column->title));
    bool upper = true;
    for (const char *at = name; *at; at++)
        upper &= !(*at >= 'a' && *at <= 'z');
    for (char *at = name; upper && *at && at[1]; at++)
        if (at[1] >= 'A' && at[1] <= 'Z')
            at[1] = (char)(at[1] - 'A' + 'a');
    return str_of(name);
}

static void add_field(struct cli *cli, const struct column *column, struct json object, int width)
{
    struct table_cell cell = cell_of(cli, column, object);
    if (cell.text.len == 0)
        return;
    _cleanup_buf_ struct buf clean = BUF_INIT(2 * CELL_MAX);
    terminal_clean(&clean, cell.text);
    cli_print(cli, "%s%s:%s%*s%s" STR_FMT "%s\n", color_on(&cli->out, COLOR_BOLD),
              field_name(column, cli->arena).at, color_off(&cli->out, COLOR_BOLD),
              width - (int)text_width(str_of(column->title)) + 1, "",
              color_on(&cli->out, cell.color), STR_ARG(buf_str(&clean)),
              color_off(&cli->out, cell.color));
}

int listing_one(struct cli *cli, const struct listing_spec *spec, struct json object)
{
    int width = 0;
    if (cli->output == OUTPUT_NAME) {
        struct str name = json_text(object, spec->name, cli->arena);
        cli_print(cli, STR_FMT "\n", STR_ARG(name));
        return CLI_OK;
    }
    if (cli->output != OUTPUT_TABLE) {
        if (cli->output == OUTPUT_JSONL)
            text_json_line(&cli->text, object.text);
        else
            buf_add_str(&cli->text, object.text);
        cli_print(cli, "\n");
        return CLI_OK;
    }
    for (size_t i = 0; i < spec->count; i++)
        if ((int)text_width(str_of(spec->columns[i].title)) > width)
            width = (int)text_width(str_of(spec->columns[i].title));
    for (size_t i = 0; i < spec->count; i++)
        add_field(cli, &spec->columns[i], object, width);
    return CLI_OK;
}
