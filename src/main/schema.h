// SPDX-License-Identifier: Apache-2.0
// main/schema: `drover schema`: says which schema a data folder has, and takes it to another.
#ifndef DROVER_MAIN_SCHEMA_H
#define DROVER_MAIN_SCHEMA_H

// argv[0] is "schema". Returns the exit code: 0 done, 1 trouble, 2 wrong options.
#include "base/option.h"

extern const struct option_table schema_table;

int schema_main(int argc, char **argv);

#endif
