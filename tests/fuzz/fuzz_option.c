// SPDX-License-Identifier: Apache-2.0
// Options of `drover server`: lines are arguments, until an empty line; what follows is the
// configuration file. What is taken lies within the table's limits.
#include <fcntl.h>

#include "fuzz.h"
#include "operation/settings.h"

#define ARGUMENTS_MAX 12

static void check(const struct settings *settings)
{
    for (size_t i = 0; i < settings_table.count; i++) {
        const struct option *option = &settings_table.options[i];
        const char *at = (const char *)settings + option->offset;
        if (option->type != OPTION_INT && option->type != OPTION_SECONDS &&
            option->type != OPTION_BYTES)
            continue;
        int64_t n = *(const int64_t *)(const void *)at;
        if (option->min || option->max)
            HOLDS(n >= option->min && n <= option->max, "%s is %lld", option->flag, (long long)n);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = input_of(data, size);
    _cleanup_arena_ struct arena *arena = arena_new();
    char program[] = "drover", *argv[ARGUMENTS_MAX + 1] = {program}, path[96];
    int argc = 1;
    while (in.len > 0) {
        struct str line = input_line(&in);
        if (line.len == 0)
            break;
        if (argc < ARGUMENTS_MAX)
            argv[argc++] = arena_cstr(arena, line);
    }
    snprintf(path, sizeof(path), "%s/config", fuzz_folder());
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, in.at, in.len) != (ssize_t)in.len)
        abort();
    close(fd);
    struct settings settings = {0};
    struct err err = ERR_INIT;
    (void)option_peek(&settings_table, argc, argv, "--config");
    if (option_load(&settings_table, &argc, argv, in.len ? path : NULL, &settings, arena, &err) <
        0) {
        HOLDS(err.kind == ERR_BAD_INPUT && err.message[0], "%s", err.message);
        return 0;
    }
    HOLDS(argc >= 1 && argc <= ARGUMENTS_MAX, "%d arguments", argc);
    check(&settings);
    if (settings_complete(&settings, arena, &err) < 0)
        HOLDS(err.kind == ERR_BAD_INPUT && err.message[0], "%s", err.message);
    return 0;
}
