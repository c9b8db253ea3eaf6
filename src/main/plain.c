// SPDX-License-Identifier: Apache-2.0
#include "main/plain.h"

#include <stdio.h>
#include <string.h>

bool plain_help(const struct option_table *table, int argc, char **argv)
{
    bool asked = false;
    for (int i = 1; i < argc && !asked; i++)
        asked = strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0;
    if (!asked)
        return false;
    _cleanup_buf_ struct buf text = BUF_INIT(1 << 20);
    option_help(table, &text);
    fwrite(text.at, 1, text.len, stdout);
    return true;
}

int plain_load(const struct option_table *table, int argc, char **argv, void *wish,
               struct arena *arena, struct err *err)
{
    if (option_load(table, &argc, argv, NULL, wish, arena, err))
        return -1;
    return argc > 1 ? err_set(err, ERR_BAD_INPUT, "'%s' is not an option", argv[1]) : 0;
}

int plain_failed(const char *verb, const struct err *err)
{
    bool misused = err->kind == ERR_BAD_INPUT;
    fprintf(stderr, "drover %s: %s\n", verb, err->message);
    if (misused)
        fprintf(stderr, "See `drover %s --help`.\n", verb);
    return misused ? 2 : 1;
}
