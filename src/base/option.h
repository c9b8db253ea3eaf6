// SPDX-License-Identifier: Apache-2.0
// base/option: one table per program describes every option; it feeds --help, the environment, the
// configuration file (JSON object of file keys) and the documentation page.
// Precedence: flag, environment variable, configuration file, default.
#ifndef DROVER_BASE_OPTION_H
#define DROVER_BASE_OPTION_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum option_type {
    OPTION_TEXT,     // const char *
    OPTION_INT,      // int64_t, plain count
    OPTION_SECONDS,  // int64_t ms in memory; "30", "30s", "5m", "2h", "250ms"
    OPTION_BYTES,    // int64_t; "64", "64KiB", "2GiB"
    OPTION_BOOL,     // bool; the flag alone means true, --no-FLAG false
    OPTION_CHOICE,   // const char *, one of `choices`
};

struct option {
    const char *flag;  // "--listen"
    const char *env;   // "DROVER_LISTEN"; NULL: none
    const char *key;   // "listen" in the file; NULL: none
    enum option_type type;
    char letter;           // 'o': -o is the same; 0: none
    size_t offset;         // of the member in the settings struct
    const char *fallback;  // the default in text form, NULL: none
    int64_t min, max;      // for INT, SECONDS (ms), BYTES; both 0: no limits
    const char *choices;   // "text|json"
    const char *unit;      // shown in help: "HOST:PORT", "seconds"
    const char *group;     // heading in --help and in the docs page
    const char *help;      // one sentence
};

struct option_table {
    const struct option *options;
    size_t count;
    const char *usage;  // "drover server [OPTIONS]"
    const char *summary;
    const char *examples;  // lines
};

// Fills `settings` from the four sources. `config_path` may be NULL. Positional arguments are left
// in argv, *argc becomes their number plus one; "--" ends the flags. An empty environment variable
// counts as unset, and null in the file too. Texts are copied to the arena or are the table's own.
// `--help` is the caller's to handle first. ERR_BAD_INPUT names the option, its source, its
// limits, and a near name for an unknown one.
MUST_CHECK int option_load(const struct option_table *table, int *argc, char **argv,
                           const char *config_path, void *settings, struct arena *arena,
                           struct err *err);

// The text that `flag` has in argv, or else in the environment; NULL when in neither. For what is
// needed before option_load, such as the path of the configuration file. Borrowed.
const char *option_peek(const struct option_table *table, int argc, char **argv, const char *flag);

// "1 to 64 slots", "text or json": what a value may be; nothing when anything goes.
void option_limits(const struct option *option, struct buf *out);

void option_help(const struct option_table *table, struct buf *out);  // for a terminal
void option_markdown(const struct option_table *table,
                     struct buf *out);  // for docs/configuration.md

#endif
