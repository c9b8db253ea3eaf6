// SPDX-License-Identifier: Apache-2.0
// `drover doctor`: what a server and its users need, checked, with the next step for what is wrong.
#include "main/doctor.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/verbs.h"
#include "main/verbs.h"

void doctor_tell(struct doctor *doctor, enum finding finding, const char *check, const char *next,
                 const char *fmt, ...)
{
    static const char *const words[] = {"ok", "warn", "fail"};
    static const enum color colors[] = {COLOR_GREEN, COLOR_YELLOW, COLOR_RED};
    struct cli *cli = doctor->cli;
    char text[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    doctor->warnings += finding == FINDING_WARN;
    doctor->failures += finding == FINDING_FAIL;
    if (doctor->json) {
        bool lines = cli->output == OUTPUT_JSONL;
        if (lines)
            doctor->out = JSON_WRITER(&cli->text);
        json_w_object(&doctor->out);
        json_w_pair_str(&doctor->out, "check", str_of(check));
        json_w_pair_str(&doctor->out, "state", str_of(words[finding]));
        json_w_pair_str(&doctor->out, "message", str_of(text));
        json_w_pair_str(&doctor->out, "next", str_of(next));
        json_w_object_end(&doctor->out);
        if (lines)
            cli_print(cli, "\n");
        return;
    }
    cli_print(cli, "%s%-5s%s %-13s ", color_on(&cli->out, colors[finding]), words[finding],
              color_off(&cli->out, colors[finding]), check);
    terminal_clean(&cli->text, str_of(text));
    cli_print(cli, "\n");
    if (next)
        cli_print(cli, "%20snext: %s\n", "", next);
    (void)cli_flush(cli);
}

static int run_doctor(struct cli *cli)
{
    struct doctor doctor = {.cli = cli,
                            .options = cli->options,
                            .json = cli->output == OUTPUT_JSON || cli->output == OUTPUT_JSONL,
                            .out = JSON_WRITER(&cli->text)};
    bool array = cli->output == OUTPUT_JSON;
    setenv("DROVER_DATA", doctor.options->data, 1);  // its server is the one that is asked
    if (array)
        json_w_array(&doctor.out);
    doctor_python(&doctor);
    doctor_limits(&doctor);
    doctor_folder(&doctor);
    doctor_certificate(&doctor);
    doctor_server(&doctor);
    if (doctor.server_is_up)
        doctor_services(&doctor);
    else
        doctor_port(&doctor);
    if (doctor.options->deep)
        doctor_deep(&doctor);
    if (array) {
        json_w_array_end(&doctor.out);
        cli_print(cli, "\n");
    } else if (!doctor.json) {
        cli_say(cli, "%d to mend, %d to look at", doctor.failures, doctor.warnings);
    }
    return doctor.failures > 0 ? CLI_FAILED : CLI_OK;
}

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind,                                                 \
        .offset = offsetof(struct doctor_options, member), __VA_ARGS__                             \
    }

static const struct option options[] = {
    OPTION("data", TEXT, data, .env = "DROVER_DATA", .fallback = "./drover-data", .unit = "DIR",
           .help = "The server's data folder."),
    OPTION("python", TEXT, python, .env = "DROVER_PYTHON", .fallback = "python3", .unit = "PROGRAM",
           .help = "The interpreter that functions run with."),
    OPTION("listen", TEXT, listen, .env = "DROVER_LISTEN", .unit = "HOST:PORT",
           .help = "Where a server is to listen; when not given where the folder's did last, or "
                   "127.0.0.1:8080."),
    OPTION("tls-cert", TEXT, tls_cert, .env = "DROVER_TLS_CERT", .unit = "FILE",
           .help = "The server's certificate."),
    OPTION("deep", BOOL, deep,
           .help = "Also read all that is kept: the databases' integrity, every file's hash."),
};

static const struct verb_example examples[] = {
    {"drover doctor", "this machine, ./drover-data and the server that you are logged in to"},
    {"drover doctor --data /var/lib/drover --deep", "and all that is kept there"},
};

static const struct verb verbs[] = {
    {.name = "doctor",
     .group = GROUP_SELF,
     .summary = "check what a server needs, and say what to do about what is wrong",
     .about = "Each line is ok, warn or fail; ends with 1 when something has to be mended.",
     .options = options,
     .option_count = sizeof(options) / sizeof(options[0]),
     .options_size = sizeof(struct doctor_options),
     .examples = examples,
     .example_count = 2,
     .flags = VERB_SERVER | VERB_OUTPUT,
     .run = run_doctor},
};

const struct verb_list doctor_verbs = VERB_LIST(verbs);
