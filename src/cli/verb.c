// SPDX-License-Identifier: Apache-2.0
#include "cli/verb.h"

#include <limits.h>

#include "cli/cli.h"

const struct exit_code exit_codes[] = {
    {CLI_OK, "ok", "it was done"},
    {CLI_FAILED, "failed", "the server refused it, or it went wrong"},
    {CLI_USAGE, "usage", "the arguments or the data given are wrong; nothing was done"},
    {CLI_NOT_FOUND, "not found", "there is no such service, execution, project, …"},
    {CLI_DENIED, "not allowed", "not logged in, or without the role that it needs"},
    {CLI_UNREACHABLE, "unreachable", "the server does not answer, or is not ready"},
    {CLI_EXECUTION_FAILED, "execution failed",
     "drover itself worked, but the execution ended otherwise than in success"},
    {CLI_INTERRUPTED, "interrupted", "Ctrl-C; what was started goes on"},
};
const size_t exit_code_count = sizeof(exit_codes) / sizeof(exit_codes[0]);

const struct verb *program_verb(const struct program *program, size_t index)
{
    for (size_t i = 0; i < program->list_count; i++) {
        if (index < program->lists[i]->count)
            return &program->lists[i]->verbs[index];
        index -= program->lists[i]->count;
    }
    return NULL;
}

void verb_arguments(const struct verb *verb, int *least, int *most)
{
    struct str rest = str_of(verb->arguments ? verb->arguments : "");
    *least = *most = 0;
    while (rest.len > 0) {
        struct str word = str_cut(&rest, ' ');
        bool optional = word.len > 0 && word.at[0] == '[';
        size_t at;
        if (word.len == 0)
            continue;
        *least += optional ? 0 : 1;
        if (str_find(word, STR("…"), &at))
            *most = INT_MAX;
        else if (*most < INT_MAX)
            ++*most;
    }
}

bool verb_may_exit(const struct verb *verb, int code)
{
    unsigned codes = verb->exits | 1U << CLI_OK | 1U << CLI_FAILED | 1U << CLI_USAGE;
    if (verb->flags & VERB_SERVER)
        codes |= 1U << CLI_DENIED | 1U << CLI_UNREACHABLE;
    return verb->own_main || code == CLI_INTERRUPTED || (code < 32 && (codes & 1U << code));
}

struct str verb_argument(const struct verb *verb, int index)
{
    struct str rest = str_of(verb->arguments ? verb->arguments : ""), word = STR_NONE;
    size_t at;
    for (int i = 0; rest.len > 0 && i <= index; i++) {
        word = str_cut(&rest, ' ');
        if (str_find(word, STR("…"), &at)) {
            word.len = at;
            break;
        }
        if (i < index && rest.len == 0)
            return STR_NONE;
    }
    if (word.len > 0 && word.at[0] == '[') {
        word.at++;
        word.len--;
    }
    if (word.len > 0 && word.at[word.len - 1] == ']')
        word.len--;
    return word.len > 0 ? word : STR_NONE;
}

#define COMMON(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind, .offset = offsetof(struct cli_common, member),  \
        __VA_ARGS__                                                                                \
    }
#define EVERYWHERE "Everywhere"

static const struct {
    unsigned flags;  // the verb has one of them; 0: every verb
    struct option option;
} common[] = {
    {VERB_OUTPUT, COMMON("output", CHOICE, output, .letter = 'o', .fallback = "table",
                         .choices = "table|json|jsonl|name", .group = EVERYWHERE,
                         .help = "Form of the answer: a table, the whole objects as one JSON "
                                 "document or one a line, or their names.")},
    {VERB_WATCH, COMMON("watch", BOOL, watch, .letter = 'w', .group = EVERYWHERE,
                        .help = "Show it again and again until Ctrl-C; with -o jsonl only what "
                                "changed.")},
    {VERB_WATCH,
     COMMON("interval", SECONDS, interval_ms, .fallback = "2s", .min = 100, .max = 86400000,
            .group = EVERYWHERE, .help = "Time between two looks of --watch.")},
    {VERB_CONFIRM,
     COMMON("yes", BOOL, yes, .letter = 'y', .group = EVERYWHERE, .help = "Do not ask.")},
    {VERB_SERVER,
     COMMON("project", TEXT, project, .letter = 'p', .unit = "PROJECT", .group = EVERYWHERE,
            .help = "Name or id of the project; DROVER_PROJECT, or else the one that "
                    "`drover projects use` chose.")},
    {VERB_SERVER, COMMON("context", TEXT, context, .unit = "NAME", .group = EVERYWHERE,
                         .help = "Which login to use, see `drover context list`; DROVER_CONTEXT.")},
    {VERB_SERVER, COMMON("url", TEXT, url, .unit = "URL", .group = EVERYWHERE,
                         .help = "Address of the server instead of a context's; DROVER_URL, with "
                                 "the API key in DROVER_API_KEY.")},
    {0, COMMON("quiet", BOOL, quiet, .letter = 'q', .group = EVERYWHERE,
               .help = "Say nothing but results and errors.")},
    {0, COMMON("color", CHOICE, color, .fallback = "auto", .choices = "auto|always|never",
               .group = EVERYWHERE, .help = "Colours; NO_COLOR turns them off too.")},
    {0, COMMON("help", BOOL, help, .letter = 'h', .group = EVERYWHERE, .help = "Show this help.")},
};
#define COMMON_COUNT (sizeof(common) / sizeof(common[0]))
#define ALIGNMENT    16

struct option *verb_options(const struct verb *verb, struct arena *arena, size_t *count,
                            size_t *own_offset, size_t *size)
{
    struct option *options = arena_array_of(arena, struct option,
                                            verb->option_count + COMMON_COUNT);
    size_t offset = (sizeof(struct cli_common) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    *count = 0;
    *own_offset = offset;
    *size = offset + verb->options_size;
    for (size_t i = 0; i < verb->option_count; i++) {
        options[*count] = verb->options[i];
        options[(*count)++].offset += offset;
    }
    for (size_t i = 0; i < COMMON_COUNT; i++)
        if (common[i].flags == 0 || (common[i].flags & verb->flags))
            options[(*count)++] = common[i].option;
    return options;
}

struct str verb_usage(const struct verb *verb, struct arena *arena)
{
    bool some = verb->arguments && *verb->arguments;
    return arena_printf(arena, "drover %s%s%s [OPTIONS]", verb->name, some ? " " : "",
                        some ? verb->arguments : "");
}
