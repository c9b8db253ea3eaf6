// SPDX-License-Identifier: Apache-2.0
// `drover help`: texts for a terminal, made from the table of verbs.
#include "cli/cli.h"
#include "cli/text.h"

#define WIDTH 96  // columns of a help text

static const char *group_of(const struct verb *verb) { return verb->group ? verb->group : "Other"; }

static bool opens_group(const struct program *program, size_t index, const char *group)
{
    for (size_t i = 0; i < index; i++) {
        const struct verb *verb = program_verb(program, i);
        if (!(verb->flags & VERB_HIDDEN) && strcmp(group_of(verb), group) == 0)
            return false;
    }
    return true;
}

static void add_line(struct buf *out, const struct verb *verb)
{
    size_t width = text_width(str_of(verb->name));
    buf_printf(out, "  %s%*s %s\n", verb->name, (int)(width < 19 ? 19 - width : 0), "",
               verb->summary);
}

void help_program(const struct program *program, struct buf *out)
{
    const struct verb *verb, *other;
    buf_add_cstr(out,
                 "Usage: drover VERB [ARGUMENTS] [OPTIONS]\n\nDrover runs packages of functions "
                 "as services on this machine.\n");
    for (size_t i = 0; (verb = program_verb(program, i)); i++) {
        const char *group = group_of(verb);
        if ((verb->flags & VERB_HIDDEN) || !opens_group(program, i, group))
            continue;
        buf_printf(out, "\n%s:\n", group);
        for (size_t k = i; (other = program_verb(program, k)); k++)
            if (!(other->flags & VERB_HIDDEN) && strcmp(group_of(other), group) == 0)
                add_line(out, other);
    }
    buf_add_cstr(
        out, "\nExamples:\n"
             "  drover server                            serve on 127.0.0.1:8080, data in "
             "./drover-data\n"
             "  drover init hello && drover deploy hello  a first service, in a second terminal\n"
             "  drover exec hello run --input '{\"name\":\"Ada\"}' --wait\n"
             "\n`drover help VERB` (or `drover VERB --help`) says more of one; `drover help "
             "exit-codes` lists\nwhat drover exits with.\n");
}

void help_family(const struct program *program, struct str family, struct buf *out)
{
    const struct verb *verb;
    buf_printf(out, "Usage: drover " STR_FMT " VERB [ARGUMENTS] [OPTIONS]\n\n", STR_ARG(family));
    for (size_t i = 0; (verb = program_verb(program, i)); i++) {
        struct str rest = str_of(verb->name);
        if (str_eq(str_cut(&rest, ' '), family) && !(verb->flags & VERB_HIDDEN))
            add_line(out, verb);
    }
    buf_printf(out, "\n`drover help " STR_FMT " VERB` says more of one.\n", STR_ARG(family));
}

static void add_exits(const struct verb *verb, struct buf *out)
{
    buf_add_cstr(out, "\nExit codes:\n");
    for (size_t i = 0; i < exit_code_count; i++)
        if (verb_may_exit(verb, exit_codes[i].code))
            buf_printf(out, "  %-3d %s\n", exit_codes[i].code, exit_codes[i].when);
}

static void add_examples(const struct verb *verb, struct buf *out)
{
    if (verb->example_count > 0)
        buf_add_cstr(out, "\nExamples:\n");
    for (size_t i = 0; i < verb->example_count; i++)
        buf_printf(out, "  # %s\n  %s\n", verb->examples[i].what, verb->examples[i].command);
}

void help_verb(const struct verb *verb, struct buf *out)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct option_table table = {0};
    if (verb->own) {
        option_help(verb->own, out);
        return;
    }
    size_t offset, size;
    table.options = verb_options(verb, arena, &table.count, &offset, &size);
    table.usage = arena_cstr(arena, verb_usage(verb, arena));
    _cleanup_buf_ struct buf options = BUF_INIT(1 << 20);
    option_help(&table, &options);
    // The synopsis is its first line; what the verb is about comes between it and the options.
    struct str rest = buf_str(&options);
    buf_add_str(out, str_cut(&rest, '\n'));
    buf_add_cstr(out, "\n\n");
    char *summary = arena_cstr(arena, arena_printf(arena, "%s.", verb->summary));
    if (summary[0] >= 'a' && summary[0] <= 'z')
        summary[0] = (char)(summary[0] - 'a' + 'A');
    text_wrap(out, summary, 0, WIDTH);
    if (verb->about) {
        buf_add_char(out, '\n');
        text_wrap(out, verb->about, 0, WIDTH);
    }
    buf_add_str(out, rest);
    add_examples(verb, out);
    add_exits(verb, out);
}
