// SPDX-License-Identifier: Apache-2.0
// A change leaves at every moment what a server can open: the new key goes in front of the old ones
// in the file, all secrets are sealed anew in one transaction, and only then the old keys go.
#include "main/master_key.h"

#include <stddef.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "main/plain.h"
#include "net/loop.h"
#include "operation/integration.h"
#include "operation/sealed.h"
#include "store/schema.h"

struct wish {
    const char *data, *file, *command;
    bool rotate;
};

static const struct option options[] = {
    {.flag = "--data",
     .env = "DROVER_DATA",
     .type = OPTION_TEXT,
     .offset = offsetof(struct wish, data),
     .fallback = "./drover-data",
     .unit = "DIR",
     .group = "Master key",
     .help = "Data folder of a server, which has to be stopped."},
    {.flag = "--master-key-file",
     .env = "DROVER_MASTER_KEY_FILE",
     .type = OPTION_TEXT,
     .offset = offsetof(struct wish, file),
     .unit = "FILE",
     .group = "Master key",
     .help = "The file of the key; DIR/master-key when not given."},
    {.flag = "--master-key-command",
     .env = "DROVER_MASTER_KEY_COMMAND",
     .type = OPTION_TEXT,
     .offset = offsetof(struct wish, command),
     .unit = "COMMAND",
     .group = "Master key",
     .help = "Shell command that prints the key instead; for a change it prints the new one in a "
             "line before the old one."},
    {.flag = "--rotate",
     .type = OPTION_BOOL,
     .offset = offsetof(struct wish, rotate),
     .fallback = "false",
     .group = "Master key",
     .help = "Make a new key, seal all secrets with it, and forget the old one."},
};

const struct option_table master_key_table = {
    .options = options,
    .count = sizeof(options) / sizeof(*options),
    .usage = "drover master-key [--data DIR] [--rotate]",
    .summary = "Prints the name of the key that seals the secrets of a data folder and which "
               "secrets it does not open, or changes the key. A change that is cut short is "
               "repeated; until its end both keys are kept.",
    .examples = "drover master-key --data /srv/drover            which key it is\n"
                "drover master-key --data /srv/drover --rotate   a new one\n",
};

struct work {
    struct loop *loop;
    struct platform platform;
    struct master_keys *keys;
    int64_t count, closed;
};

static int load_keys(struct work *work, const struct master_source *source, struct err *err)
{
    bool made;
    master_keys_free(work->keys);
    work->keys = NULL;
    if (master_keys_load(source, false, &made, &work->keys, err))
        return -1;
    work->platform.master_keys = work->keys;
    return 0;
}

static void tell_closed(void *arg, const struct integration *one, const char *why)
{
    struct work *work = arg;
    work->closed++;
    printf("  " STR_FMT " (" STR_FMT ") cannot be opened: %s\n", STR_ARG(one->name),
           STR_ARG(one->id), why);
}

static int look(struct op *op, void *arg, struct err *err)
{
    return integration_each_closed(op, tell_closed, arg, err);
}

static int reseal(struct op *op, void *arg, struct err *err)
{
    struct work *work = arg;
    return integration_reseal(op, &work->count, err);
}

static int rotate(struct work *work, const struct master_source *source, struct err *err)
{
    if (work->closed > 0)
        return err_set(err, ERR_CONFLICT,
                       "%lld secrets cannot be opened with the present key: add the key that they "
                       "need as a line at the end, or delete them first",
                       (long long)work->closed);
    if ((!source->command && master_keys_add(source, err)) || load_keys(work, source, err) ||
        op_run_now(&work->platform, reseal, work, err))
        return -1;
    if (!source->command && master_keys_drop_old(source, err))
        return -1;
    printf("%lld secrets are sealed with the key " STR_FMT " now.\n", (long long)work->count,
           STR_ARG(master_keys_id(work->keys)));
    if (source->command)
        printf("The command need not print older keys any more.\n");
    return 0;
}

static int run(struct work *work, const struct wish *wish, struct arena *arena, struct err *err)
{
    int version;
    struct store_config config = {
        .driver = "sqlite", .path = wish->data, .loop = work->loop, .log = work->platform.log};
    struct master_source source = {
        .file = wish->file ? wish->file : arena_printf(arena, "%s/master-key", wish->data).at,
        .command = wish->command};
    if (wish->file && wish->command)
        return err_set(err, ERR_BAD_INPUT,
                       "--master-key-file and --master-key-command: give one of them");
    if (store_schema_version(wish->data, &version, err) || load_keys(work, &source, err))
        return -1;
    work->platform.store = store_open(&config, err);
    if (!work->platform.store)
        return -1;
    printf("The secrets of %s are sealed with the key " STR_FMT ".\n", wish->data,
           STR_ARG(master_keys_id(work->keys)));
    return op_run_now(&work->platform, look, work, err) ||
                   (wish->rotate && rotate(work, &source, err))
               ? -1
               : 0;
}

int master_key_main(int argc, char **argv)
{
    struct wish wish = {0};
    struct err err = ERR_INIT;
    if (plain_help(&master_key_table, argc, argv))
        return 0;
    _cleanup_arena_ struct arena *arena = arena_new();
    struct work work = {.loop = loop_new()};
    work.platform = (struct platform){.loop = work.loop,
                                      .clock = clock_system(),
                                      .log = log_new(STDERR_FILENO, LOG_WARN, LOG_TEXT)};
    int failed = plain_load(&master_key_table, argc, argv, &wish, arena, &err) ||
                 run(&work, &wish, arena, &err);
    if (work.platform.store)
        store_close(work.platform.store);
    master_keys_free(work.keys);
    loop_free(work.loop);
    log_free(work.platform.log);
    return failed ? plain_failed("master-key", &err) : 0;
}
