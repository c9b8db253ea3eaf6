// SPDX-License-Identifier: Apache-2.0
// drover-agent: one replica of a service. Wiring only; agent/agent.h is what it does.
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/supervise.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/option.h"

struct settings {
    const char *spec, *supervise, *log_level, *log_format;
    bool help;
};

static const struct option options[] = {
    {.flag = "--spec",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, spec),
     .unit = "FILE",
     .group = "What to do",
     .help = "Run the replica that this file describes (docs/agent-link.md)."},
    {.flag = "--supervise",
     .type = OPTION_TEXT,
     .offset = offsetof(struct settings, supervise),
     .unit = "FOLDER",
     .group = "What to do",
     .help = "Run the agent of FOLDER/spec.json as a child and record its end in the folder."},
    {.flag = "--log-level",
     .env = "DROVER_LOG_LEVEL",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct settings, log_level),
     .fallback = "info",
     .choices = "debug|info|warn|error",
     .group = "Log",
     .help = "Least important lines that are written to standard error."},
    {.flag = "--log-format",
     .env = "DROVER_LOG_FORMAT",
     .type = OPTION_CHOICE,
     .offset = offsetof(struct settings, log_format),
     .fallback = "text",
     .choices = "text|json",
     .group = "Log",
     .help = "How log lines look."},
    {.flag = "--help",
     .type = OPTION_BOOL,
     .offset = offsetof(struct settings, help),
     .fallback = "false",
     .group = "What to do",
     .help = "Show this page."},
};

static const struct option_table table = {
    .options = options,
    .count = sizeof(options) / sizeof(options[0]),
    .usage = "drover-agent --spec FILE",
    .summary =
        "Runs one replica of a service: fetches its code, builds its environment, and runs "
        "its executions.\nDrivers start it; by hand it is useful for looking at one replica.",
    .examples = "drover-agent --spec run/6742f0c8a1b2c3d4e5f60718/spec.json --log-level debug\n",
};

static int show_help(void)
{
    _cleanup_buf_ struct buf text = BUF_INIT(1u << 20);
    option_help(&table, &text);
    return fwrite(text.at, 1, text.len, stdout) == text.len ? 0 : 1;
}

static int run_spec(const struct settings *settings, struct arena *arena)
{
    enum log_level level = LOG_INFO;
    (void)log_level_parse(settings->log_level, &level);
    bool json = strcmp(settings->log_format, "json") == 0;
    struct log *log = log_new(STDERR_FILENO, level, json ? LOG_JSON : LOG_TEXT);
    struct agent_spec spec;
    struct err err = ERR_INIT;
    int exit_code = AGENT_EXIT_ERROR;
    if (agent_spec_read(settings->spec, &spec, arena, &err))
        log_error(log, "agent", "%s", err.message);
    else
        exit_code = agent_run(&spec, log);
    log_free(log);
    return exit_code;
}

int main(int argc, char **argv)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct settings settings = {0};
    struct err err = ERR_INIT;
    fd_fill_standard();
    prctl(PR_SET_NAME, "drover-agent");  // also when it was executed as /proc/self/exe
    if (option_load(&table, &argc, argv, NULL, &settings, arena, &err)) {
        fprintf(stderr, "drover-agent: %s\n", err.message);
        return AGENT_EXIT_ERROR;
    }
    if (settings.help)
        return show_help();
    if (settings.supervise)
        return supervise_run(settings.supervise);
    if (settings.spec)
        return run_spec(&settings, arena);
    fprintf(stderr, "drover-agent: say what to do: --spec FILE or --supervise FOLDER (--help "
                    "shows more)\n");
    return AGENT_EXIT_ERROR;
}
