// SPDX-License-Identifier: Apache-2.0
#include "main/schema.h"

#include <stddef.h>
#include <stdio.h>

#include "main/plain.h"
#include "store/schema.h"

struct wish {
    const char *data;
    int64_t to;  // 0: only look
    bool discard;
};

static const struct option options[] = {
    {.flag = "--data",
     .env = "DROVER_DATA",
     .type = OPTION_TEXT,
     .offset = offsetof(struct wish, data),
     .fallback = "./drover-data",
     .unit = "DIR",
     .group = "Schema",
     .help = "Data folder of a server."},
    {.flag = "--to",
     .type = OPTION_INT,
     .offset = offsetof(struct wish, to),
     .unit = "N",
     .group = "Schema",
     .help = "Take the database to this schema; the server has to be stopped."},
    {.flag = "--discard",
     .type = OPTION_BOOL,
     .offset = offsetof(struct wish, discard),
     .fallback = "false",
     .group = "Schema",
     .help = "Give up what an older schema has no room for; without it such a step is refused."},
};

const struct option_table schema_table = {
    .options = options,
    .count = sizeof(options) / sizeof(*options),
    .usage = "drover schema [--data DIR] [--to N]",
    .summary = "Prints the schema of a data folder's database and what each step does, or takes it "
               "to another schema: up, or back for an older program. All or nothing, and nothing "
               "is lost unasked.",
    .examples = "drover schema --data /srv/drover          which schema it has\n"
                "drover schema --data /srv/drover --to 1   back to the first one",
};

static void show(const char *data, int version)
{
    int known = store_schema_count();
    printf("%s/drover.db has schema %d; this program knows up to %d.\n", data, version, known);
    for (int step = 1; step <= known; step++)
        printf("  %c %d  %s\n", step <= version ? '*' : ' ', step, store_schema_summary(step));
    if (version > known)
        printf("It was written by a newer program; with that one, "
               "`drover schema --data %s --to %d` makes it readable here.\n",
               data, known);
}

static int work(const struct wish *wish, struct err *err)
{
    int before = 0, after = 0;
    if (store_schema_version(wish->data, &before, err) < 0)
        return -1;
    if (wish->to == 0) {
        show(wish->data, before);
        return 0;
    }
    if (store_schema_migrate(wish->data, (int)wish->to, wish->discard, err) < 0 ||
        store_schema_version(wish->data, &after, err) < 0)
        return -1;
    if (before == after)
        printf("%s/drover.db has schema %d already.\n", wish->data, after);
    else
        printf("%s/drover.db went from schema %d to %d.\n", wish->data, before, after);
    return 0;
}

int schema_main(int argc, char **argv)
{
    struct wish wish = {0};
    struct err err = ERR_INIT;
    if (plain_help(&schema_table, argc, argv))
        return 0;
    _cleanup_arena_ struct arena *arena = arena_new();
    if (plain_load(&schema_table, argc, argv, &wish, arena, &err) || work(&wish, &err))
        return plain_failed("schema", &err);
    return 0;
}
