// SPDX-License-Identifier: Apache-2.0
// main/plain: what verbs have in common that work on a data folder of their own accord, without the
// command line's table of verbs: help, options, and how a failure is told.
#ifndef DROVER_MAIN_PLAIN_H
#define DROVER_MAIN_PLAIN_H

#include <stdbool.h>

#include "base/option.h"

// Prints the help when the arguments ask for it (--help, -h). False: they do not.
bool plain_help(const struct option_table *table, int argc, char **argv);

// As option_load, and nothing may be left over.
MUST_CHECK int plain_load(const struct option_table *table, int argc, char **argv, void *wish,
                          struct arena *arena, struct err *err);

// Tells the failure of `drover VERB` on stderr. Returns the exit code: 2 for wrong arguments.
int plain_failed(const char *verb, const struct err *err);

#endif
