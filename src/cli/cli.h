// SPDX-License-Identifier: Apache-2.0
// cli/cli: one run of the command line, as a verb sees it. One thread. A verb returns an exit code;
// when something failed it returns cli_fail(cli, &err), which prints the sentence and the next
// step.
#ifndef DROVER_CLI_CLI_H
#define DROVER_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "cli/context.h"
#include "cli/terminal.h"
#include "cli/verb.h"

struct link;
struct steps;

enum cli_output { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_JSONL, OUTPUT_NAME };

struct cli_common {  // options that many verbs have
    const char *url, *context, *project;
    const char *output;
    bool watch;
    int64_t interval_ms;
    bool yes, quiet;
    const char *color;
    bool help;
};

struct cli {
    const struct program *program;
    const struct verb *verb;
    const struct cli_common *common;
    void *options;  // the verb's own struct
    char **args;    // the arguments that are no options; their number was checked
    int arg_count;
    enum cli_output output;
    struct terminal out, err;  // stdout and stderr
    struct arena *arena;       // texts and answers; in a loop give it another and reset that one
    struct buf text;           // what goes to stdout at cli_flush
    struct target target;
    struct arena *own_arena;  // of what outlives a round of --watch: the target, the steps
    bool target_known;
    const char *hint;   // the next step of the error that is on its way; see cli_hint
    int signals;        // signalfd once interrupts are caught, else -1
    bool interrupted;   // Ctrl-C came (only once they are caught)
    struct link *link;  // to the server; made at the first call
    bool no_server;     // the last call got no answer
    bool not_ready;     // the last call was answered with 502, 503 or 504
    struct steps *steps;
    struct map *seen;  // what --watch -o jsonl printed last, by name
    int round;         // of --watch
};

// Runs `drover argv[1]…`; what main returns.
int cli_main(const struct program *program, int argc, char **argv);

// ── printing ─────────────────────────────────────────────────────────────────────────────────

// To stdout, by way of cli->text, which is written when it grows large and at the end.
void cli_print(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
// Writes what waits. 0 or CLI_FAILED when stdout cannot take it.
int cli_flush(struct cli *cli);
// A line to stderr for people: not with --quiet.
void cli_say(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
// A line to stderr even with --quiet.
void cli_warn(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);

// ── failing ──────────────────────────────────────────────────────────────────────────────────

// The next step to name beside the error on its way; kept over rounds. Returns -1. The first one
// given stays.
int cli_hint(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
// Prints "drover VERB: sentence" and the next step, returns the exit code of that kind of error.
int cli_fail(struct cli *cli, const struct err *err);
// A mistake in the arguments: prints it with the verb's synopsis, returns CLI_USAGE.
int cli_usage(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);

// ── Ctrl-C, time, questions ──────────────────────────────────────────────────────────────────

// From here on Ctrl-C (and SIGTERM) set cli->interrupted, wake cli_sleep and end cli_call, which
// then fails; without it they end the program at once.
void cli_catch_interrupt(struct cli *cli);
// False when interrupted. Progress on a terminal goes on meanwhile.
bool cli_sleep(struct cli *cli, int64_t ms);
// What has to be done meanwhile: moves the spinner, reads signals. For whoever waits.
void cli_tick(struct cli *cli);

// Asks "question [y/N]" on the terminal. 0: yes (also with --yes), otherwise the exit code: nobody
// can be asked, or the answer was no.
int cli_confirm(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
// Reads a secret from the terminal without echo. ERR_BAD_INPUT when there is none.
MUST_CHECK int cli_secret(struct cli *cli, const char *prompt, struct str *out, struct err *err);
// The contents of a file, or of stdin for "-". At most `max` bytes.
MUST_CHECK int cli_read(struct cli *cli, const char *path, size_t max, struct str *out,
                        struct err *err);

// ── the server ───────────────────────────────────────────────────────────────────────────────

// Which server, with whose key: finds it once. ERR_UNAUTHENTICATED when none is named.
MUST_CHECK int cli_target(struct cli *cli, struct err *err);

// "/services/{}/status" with each {} replaced by the next argument (const char *), escaped.
const char *cli_path(struct cli *cli, const char *path, ...);

// One request under /api/v1 ("//token": at the root). `body` is JSON, absent for none. The answer
// lives in cli->arena. An answer that is no 2xx is an error of its kind with the server's sentence.
MUST_CHECK int cli_call(struct cli *cli, const char *method, const char *path, struct str body,
                        struct json *out, struct err *err);
#define cli_get(cli, path, out, err)        cli_call((cli), "GET", (path), STR_NONE, (out), (err))
#define cli_post(cli, path, body, out, err) cli_call((cli), "POST", (path), (body), (out), (err))

#endif
