// SPDX-License-Identifier: Apache-2.0
// What a table of options looks like to people: --help and the page in docs/.
#include <stdbool.h>

#include "base/option.h"

#define WIDTH     100  // columns of a help text
#define LEFT_MAX  36   // widest column of flags; a longer flag gets a line of its own
#define NOTES_MAX 1024

static size_t columns(struct str s)
{
    size_t count = 0;
    for (size_t i = 0; i < s.len; i++)
        count += ((unsigned char)s.at[i] & 0xC0) != 0x80;
    return count;
}

static void spaces(struct buf *out, size_t count) { buf_printf(out, "%*s", (int)count, ""); }

static const char *group_of(const struct option *option)
{
    return option->group ? option->group : "Options";
}

// Whether options[i] is the first of its group.
static bool opens_group(const struct option_table *table, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (strcmp(group_of(&table->options[j]), group_of(&table->options[i])) == 0)
            return false;
    return true;
}

// "--listen HOST:PORT"
static void add_flag(struct buf *out, const struct option *option)
{
    if (option->letter)
        buf_printf(out, "-%c, ", option->letter);
    buf_add_cstr(out, option->flag);
    if (option->type == OPTION_BOOL)
        return;
    buf_add_char(out, ' ');
    if (option->type == OPTION_CHOICE)
        buf_add_cstr(out, option->choices);
    else
        buf_add_cstr(out, option->unit ? option->unit : "VALUE");
}

// "(default 4; 1 to 64; DROVER_SLOTS)"
static void add_notes(struct buf *out, const struct option *option)
{
    _cleanup_buf_ struct buf limits = BUF_INIT(NOTES_MAX);
    if (option->type != OPTION_CHOICE)
        option_limits(option, &limits);
    const char *before = " (";
    if (option->fallback && *option->fallback) {
        buf_printf(out, "%sdefault %s", before, option->fallback);
        before = "; ";
    }
    if (limits.len > 0) {
        buf_printf(out, "%s" STR_FMT, before, STR_ARG(buf_str(&limits)));
        before = "; ";
    }
    if (option->env) {
        buf_printf(out, "%s%s", before, option->env);
        before = "; ";
    }
    if (before[0] == ';')
        buf_add_char(out, ')');
}

// Adds words from column `left` on, with line ends before WIDTH.
static void add_wrapped(struct buf *out, size_t left, struct str words)
{
    size_t at = left;
    while (words.at) {
        struct str word = str_cut(&words, ' ');
        if (word.len == 0)
            continue;
        if (at > left && at + 1 + columns(word) > WIDTH) {
            buf_add_char(out, '\n');
            spaces(out, left);
            at = left;
        } else if (at > left) {
            buf_add_char(out, ' ');
            at++;
        }
        buf_add_str(out, word);
        at += columns(word);
    }
    buf_add_char(out, '\n');
}

static void add_option(struct buf *out, const struct option *option, size_t left)
{
    _cleanup_buf_ struct buf flag = BUF_INIT(NOTES_MAX);
    _cleanup_buf_ struct buf words = BUF_INIT(4 * NOTES_MAX);
    add_flag(&flag, option);
    buf_add_cstr(&words, option->help ? option->help : "");
    add_notes(&words, option);
    buf_add_cstr(out, "  ");
    buf_add_str(out, buf_str(&flag));
    size_t used = 2 + columns(buf_str(&flag));
    if (used + 2 > left) {
        buf_add_char(out, '\n');
        used = 0;
    }
    spaces(out, left - used);
    add_wrapped(out, left, buf_str(&words));
}

static size_t left_column(const struct option_table *table)
{
    size_t left = 0;
    for (size_t i = 0; i < table->count; i++) {
        _cleanup_buf_ struct buf flag = BUF_INIT(NOTES_MAX);
        add_flag(&flag, &table->options[i]);
        size_t width = columns(buf_str(&flag));
        if (width <= LEFT_MAX && width > left)
            left = width;
    }
    return left + 4;
}

// Each line of text, indented by two.
static void add_indented(struct buf *out, const char *text)
{
    for (struct str rest = str_of(text); rest.at;) {
        struct str line = str_cut(&rest, '\n');
        if (line.len > 0 || rest.at)
            buf_printf(out, line.len ? "  " STR_FMT "\n" : STR_FMT "\n", STR_ARG(line));
    }
}

void option_help(const struct option_table *table, struct buf *out)
{
    size_t left = left_column(table);
    buf_printf(out, "Usage: %s\n", table->usage);
    if (table->summary) {
        buf_add_char(out, '\n');
        add_wrapped(out, 0, str_of(table->summary));
    }
    for (size_t i = 0; i < table->count; i++) {
        if (!opens_group(table, i))
            continue;
        const char *group = group_of(&table->options[i]);
        buf_printf(out, "\n%s:\n", group);
        for (size_t j = i; j < table->count; j++)
            if (strcmp(group_of(&table->options[j]), group) == 0)
                add_option(out, &table->options[j], left);
    }
    if (table->examples) {
        buf_add_cstr(out, "\nExamples:\n");
        add_indented(out, table->examples);
    }
}

// ── Markdown ─────────────────────────────────────────────────────────────────────────────────

// Text of a table cell; a bar would end it.
static void add_cell(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] == '|')
            buf_add_char(out, '\\');
        buf_add_char(out, text.at[i] == '\n' ? ' ' : text.at[i]);
    }
    buf_add_cstr(out, " | ");
}

static void add_code_cell(struct buf *out, const char *text)
{
    _cleanup_buf_ struct buf code = BUF_INIT(NOTES_MAX);
    if (text && *text)
        buf_printf(&code, "`%s`", text);
    else
        buf_add_cstr(&code, "–");
    add_cell(out, buf_str(&code));
}

static void add_row(struct buf *out, const struct option *option)
{
    _cleanup_buf_ struct buf text = BUF_INIT(NOTES_MAX);
    buf_add_cstr(out, "| ");
    add_flag(&text, option);
    buf_add_char(&text, '\0');
    add_code_cell(out, text.at);
    add_code_cell(out, option->env);
    add_code_cell(out, option->key);
    add_code_cell(out, option->fallback);
    buf_clear(&text);
    option_limits(option, &text);
    add_cell(out, text.len ? buf_str(&text) : STR("–"));
    add_cell(out, str_of(option->help));
    out->len--;  // the space behind the last bar
    buf_add_char(out, '\n');
}

void option_markdown(const struct option_table *table, struct buf *out)
{
    buf_printf(out, "`%s`\n\n%s\n", table->usage, table->summary ? table->summary : "");
    for (size_t i = 0; i < table->count; i++) {
        if (!opens_group(table, i))
            continue;
        const char *group = group_of(&table->options[i]);
        buf_printf(out, "\n### %s\n\n", group);
        buf_add_cstr(out, "| Flag | Environment | File | Default | Limits | What it does |\n"
                          "| --- | --- | --- | --- | --- | --- |\n");
        for (size_t j = i; j < table->count; j++)
            if (strcmp(group_of(&table->options[j]), group) == 0)
                add_row(out, &table->options[j]);
    }
}
