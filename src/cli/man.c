// SPDX-License-Identifier: Apache-2.0
// Pages of the manual (man(7) macros), made from the table of verbs.
#include "cli/cli.h"

// Text as it is: a backslash, a hyphen, and a dot or quote that begins a line mean something to
// roff.
static void add(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.at[i];
        bool starts = out->len == 0 || out->at[out->len - 1] == '\n';
        if (starts && (c == '.' || c == '\''))
            buf_add_cstr(out, "\\&");
        if (c == '\\')
            buf_add_cstr(out, "\\e");
        else if (c == '-')
            buf_add_cstr(out, "\\-");
        else if (c == '"')
            buf_add_cstr(out, "\\(dq");
        else if (str_starts((struct str){text.at + i, text.len - i}, STR("…"))) {
            buf_add_cstr(out, "...");
            i += sizeof("…") - 2;
        } else
            buf_add_char(out, c);
    }
}

static void add_cstr(struct buf *out, const char *text) { add(out, str_of(text)); }

// "drover-context-use"
static struct str page_name(const struct verb *verb, struct arena *arena)
{
    char *name = arena_cstr(arena, arena_printf(arena, "drover-%s", verb->name));
    for (char *at = name; *at; at++)
        if (*at == ' ')
            *at = '-';
    return str_of(name);
}

static void add_head(const struct program *program, struct str name, struct buf *out)
{
    buf_add_cstr(out, ".\\\" SPDX-License-Identifier: Apache-2.0\n.TH \"");
    for (size_t i = 0; i < name.len; i++)
        buf_add_char(out, name.at[i] >= 'a' && name.at[i] <= 'z' ? (char)(name.at[i] - 'a' + 'A')
                                                                 : name.at[i]);
    buf_printf(out, "\" \"1\" \"\" \"Drover %s\" \"Drover\"\n.nh\n.ad l\n", program->version);
}

static void add_paragraphs(struct buf *out, const char *text)
{
    for (struct str rest = str_of(text); rest.at;) {
        struct str line = str_cut(&rest, '\n');
        if (line.len == 0)
            buf_add_cstr(out, ".PP\n");
        else {
            add(out, line);
            buf_add_char(out, '\n');
        }
    }
}

static void add_option(struct buf *out, const struct option *option)
{
    buf_add_cstr(out, ".TP\n.B ");
    if (option->letter) {
        char letter[] = {'-', option->letter, ',', ' ', '\0'};
        add_cstr(out, letter);
    }
    add_cstr(out, option->flag);
    if (option->type != OPTION_BOOL) {
        buf_add_char(out, ' ');
        add_cstr(out, option->choices ? option->choices : option->unit ? option->unit : "VALUE");
    }
    buf_add_char(out, '\n');
    add_cstr(out, option->help ? option->help : "");
    if (option->fallback && *option->fallback) {
        buf_add_cstr(out, " Default: ");
        add_cstr(out, option->fallback);
        buf_add_char(out, '.');
    }
    if (option->env) {
        buf_add_cstr(out, " Environment: ");
        add_cstr(out, option->env);
        buf_add_char(out, '.');
    }
    buf_add_char(out, '\n');
}

static void add_options(struct buf *out, const struct option *options, size_t count)
{
    if (count > 0)
        buf_add_cstr(out, ".SH OPTIONS\n");
    for (size_t i = 0; i < count; i++)
        add_option(out, &options[i]);
}

static void add_exits(const struct verb *verb, struct buf *out)  // NULL: of the program
{
    buf_add_cstr(out, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < exit_code_count; i++) {
        if (verb && !verb_may_exit(verb, exit_codes[i].code))
            continue;
        buf_printf(out, ".TP\n.B %d\n", exit_codes[i].code);
        add_cstr(out, exit_codes[i].when);
        buf_add_char(out, '\n');
    }
}

static void add_environment(struct buf *out)
{
    static const char *const names[][2] = {
        {"DROVER_URL", "Address of the server, as --url."},
        {"DROVER_API_KEY", "API key to use with it."},
        {"DROVER_CONTEXT", "Which login to use, as --context."},
        {"DROVER_PROJECT", "Name or id of the project, as --project."},
        {"DROVER_CA_FILE", "Certificates (PEM) to trust for https instead of the system's."},
        {"NO_COLOR", "Turns colours off."},
        {"XDG_CONFIG_HOME", "Folder of drover/config.json instead of ~/.config."},
    };
    buf_add_cstr(out, ".SH ENVIRONMENT\n");
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        buf_printf(out, ".TP\n.B %s\n", names[i][0]);
        add_cstr(out, names[i][1]);
        buf_add_char(out, '\n');
    }
}

static void add_program(const struct program *program, struct buf *out)
{
    const struct verb *verb;
    add_head(program, STR("drover"), out);
    buf_add_cstr(out,
                 ".SH NAME\ndrover \\- run packages of functions as services\n"
                 ".SH SYNOPSIS\n.B drover\n.I VERB\n[ARGUMENTS] [OPTIONS]\n.SH DESCRIPTION\n"
                 "The server of the platform and its command line. Each verb has a page of its "
                 "own.\n.SH VERBS\n");
    for (size_t i = 0; (verb = program_verb(program, i)); i++) {
        if (verb->flags & VERB_HIDDEN)
            continue;
        buf_add_cstr(out, ".TP\n.B ");
        add_cstr(out, verb->name);
        buf_add_char(out, '\n');
        add_cstr(out, verb->summary);
        buf_add_char(out, '\n');
    }
    add_exits(NULL, out);
    add_environment(out);
    buf_add_cstr(out, ".SH FILES\n.TP\n.I ~/.config/drover/config.json\nThe servers logged in to; "
                      "readable by its owner alone.\n");
}

static void add_examples(const struct verb *verb, struct buf *out)
{
    if (verb->example_count == 0)
        return;
    buf_add_cstr(out, ".SH EXAMPLES\n");
    for (size_t i = 0; i < verb->example_count; i++) {
        buf_add_cstr(out, ".PP\n");
        add_cstr(out, verb->examples[i].what);
        buf_add_cstr(out, ":\n.PP\n.nf\n.RS\n");
        add_cstr(out, verb->examples[i].command);
        buf_add_cstr(out, "\n.RE\n.fi\n");
    }
}

void man_page(const struct program *program, const struct verb *verb, struct buf *out)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    size_t count, offset, size;
    if (!verb) {
        add_program(program, out);
        return;
    }
    add_head(program, page_name(verb, arena), out);
    buf_add_cstr(out, ".SH NAME\n");
    add(out, page_name(verb, arena));
    buf_add_cstr(out, " \\- ");
    add_cstr(out, verb->summary);
    buf_add_cstr(out, "\n.SH SYNOPSIS\n.B drover ");
    add_cstr(out, verb->name);
    if (verb->arguments && *verb->arguments) {
        buf_add_cstr(out, "\n.I ");
        add_cstr(out, verb->arguments);
    }
    buf_add_cstr(out, "\n[OPTIONS]\n");
    if (verb->about || verb->own) {
        buf_add_cstr(out, ".SH DESCRIPTION\n");
        add_paragraphs(out, verb->about ? verb->about : verb->own->summary);
    }
    if (verb->own) {
        add_options(out, verb->own->options, verb->own->count);
    } else {
        const struct option *options = verb_options(verb, arena, &count, &offset, &size);
        add_options(out, options, count);
    }
    add_examples(verb, out);
    add_exits(verb, out);
    buf_add_cstr(out, ".SH SEE ALSO\n.BR drover (1)\n");
}
