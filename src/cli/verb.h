// SPDX-License-Identifier: Apache-2.0
// cli/verb: what a verb of the command line is. The parser, `drover help`, the man pages and the
// completion are all made from these tables, so a verb is described in one place only.
#ifndef DROVER_CLI_VERB_H
#define DROVER_CLI_VERB_H

#include "base/option.h"

struct cli;

// What `drover` exits with. The table of texts is `exit_codes` below.
enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_NOT_FOUND = 3,
    CLI_DENIED = 4,
    CLI_UNREACHABLE = 5,
    CLI_EXECUTION_FAILED = 6,
    CLI_INTERRUPTED = 130,
};

struct exit_code {
    int code;
    const char *name, *when;
};
extern const struct exit_code exit_codes[];
extern const size_t exit_code_count;

enum verb_flags {
    VERB_SERVER = 1 << 0,   // talks to the server: --url, --context, --project
    VERB_OUTPUT = 1 << 1,   // -o table|json|jsonl|name
    VERB_WATCH = 1 << 2,    // --watch, --interval: run() is called again and again
    VERB_CONFIRM = 1 << 3,  // asks before it does something: --yes
    VERB_HIDDEN = 1 << 4,   // in no list; for the shell's completion
    VERB_LIVE = 1 << 5,     // with VERB_WATCH: watches by itself when stdout is a terminal
};

struct verb_example {
    const char *command, *what;
};

struct verb {
    const char *name;  // "deploy", or two words: "context use"
    // "SERVICE FUNCTION", "[SERVICE]", "EXECUTION…": how many arguments there may be follows from
    // it. A name in capitals is also what completion looks for: SERVICE, EXECUTION, PACKAGE,
    // PROJECT, CONTEXT, FUNCTION, FOLDER, FILE, VERB, KEY, USER, ROLE; other names complete
    // nothing.
    const char *arguments;
    const char *group;                  // heading in `drover help`
    const char *summary;                // a line without a full stop
    const char *about;                  // paragraphs, parted by an empty line; NULL: none
    const struct option *options;       // offsets into the struct that cli->options points to
    size_t option_count, options_size;  // options_size: of that struct
    const struct verb_example *examples;
    size_t example_count;
    unsigned exits;  // bits 1 << CLI_…: which codes of the table it may end with besides 0, 1, 2
    unsigned flags;
    int (*run)(struct cli *cli);  // returns an exit code; see cli/cli.h
    // Instead of run: a program of its own, with options of its own (the server). argv[0] is the
    // verb. `own` describes its options for help.
    int (*own_main)(int argc, char **argv);
    const struct option_table *own;
};

struct verb_list {
    const struct verb *verbs;
    size_t count;
};
#define VERB_LIST(array)                                                                           \
    {                                                                                              \
        (array), sizeof(array) / sizeof((array)[0])                                                \
    }

struct program {
    const char *version;
    const struct verb_list *const *lists;
    size_t list_count;
};

// Walks all verbs: for (size_t i = 0; (verb = program_verb(program, i)); i++). NULL at the end.
const struct verb *program_verb(const struct program *program, size_t index);

// How many arguments "A B [C] D…" allows; *most is INT_MAX when they may repeat.
void verb_arguments(const struct verb *verb, int *least, int *most);

// The name of the i-th argument: "SERVICE"; absent when there may be none so far right.
struct str verb_argument(const struct verb *verb, int index);

// All options of the verb, the common ones included, with offsets into a block in which the
// struct cli_common comes first and the verb's own struct at *own_offset, *size bytes in all.
struct option *verb_options(const struct verb *verb, struct arena *arena, size_t *count,
                            size_t *own_offset, size_t *size);

// Whether it may exit with the code. One with a main of its own (the server) may with any.
bool verb_may_exit(const struct verb *verb, int code);

// The synopsis: "drover exec SERVICE FUNCTION [OPTIONS]".
struct str verb_usage(const struct verb *verb, struct arena *arena);

// ── what is made of the tables ───────────────────────────────────────────────────────────────

void help_program(const struct program *program, struct buf *out);
void help_family(const struct program *program, struct str family, struct buf *out);
void help_verb(const struct verb *verb, struct buf *out);
// One page of the manual in roff; verb NULL: drover(1) itself.
void man_page(const struct program *program, const struct verb *verb, struct buf *out);

#endif
