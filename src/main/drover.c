// SPDX-License-Identifier: Apache-2.0
// The program `drover`: a table of verbs.
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "api/route_table.h"
#include "base/buf.h"
#include "main/server.h"
#include "operation/settings.h"

#define DROVER_VERSION "0.1.0"

static int print(struct buf *buf)
{
    fwrite(buf->at, 1, buf->len, stdout);
    buf_deinit(buf);
    return 0;
}

static int run_server(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") != 0 && strcmp(argv[i], "-h") != 0)
            continue;
        struct buf buf = BUF_INIT(1 << 20);
        option_help(&settings_table, &buf);
        return print(&buf);
    }
    return server_main(argc, argv);
}

static int run_options(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    struct buf buf = BUF_INIT(1 << 20);
    option_markdown(&settings_table, &buf);
    return print(&buf);
}

static int run_routes(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    struct buf buf = BUF_INIT(4 << 20);
    route_table_dump(&buf);
    buf_add_char(&buf, '\n');
    return print(&buf);
}

static int run_version(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    printf("drover %s\n", DROVER_VERSION);
    return 0;
}

static const struct verb {
    const char *name, *help;
    int (*run)(int argc, char **argv);  // argv[0] is the verb
} verbs[] = {
    {"server", "run the platform (see `drover server --help`)", run_server},
    {"options", "print every option of the server as a page of Markdown", run_options},
    {"routes", "print the table of API routes as JSON", run_routes},
    {"version", "print the version", run_version},
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

static int usage(FILE *out)
{
    fprintf(out,
            "Usage: drover VERB [OPTIONS]\n\n"
            "Drover runs packages of functions as services, on this machine or on a cluster.\n\n");
    for (size_t i = 0; i < VERBS; i++)
        fprintf(out, "  %-10s %s\n", verbs[i].name, verbs[i].help);
    fprintf(
        out,
        "\nExamples:\n"
        "  drover server                          serve on 127.0.0.1:8080, data in ./drover-data\n"
        "  drover server --listen 0.0.0.0:80 --public-url https://faas.example.org\n");
    return out == stdout ? 0 : 2;
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return usage(stderr);
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        strcmp(argv[1], "help") == 0)
        return usage(stdout);
    if (strcmp(argv[1], "--version") == 0)
        return run_version(argc - 1, argv + 1);
    for (size_t i = 0; i < VERBS; i++)
        if (strcmp(argv[1], verbs[i].name) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    fprintf(stderr, "drover: there is no verb '%s'; `drover --help` lists them\n", argv[1]);
    return 2;
}
