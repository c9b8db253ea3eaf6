// SPDX-License-Identifier: Apache-2.0
// cli/step: what a long verb is doing, a step a line on stderr. On a terminal the present step has
// a spinner and may change its words; in a pipe a line comes when a step begins to say something
// else. Nothing with --quiet.
#ifndef DROVER_CLI_STEP_H
#define DROVER_CLI_STEP_H

#include "cli/cli.h"

void step_begin(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);
void step_update(struct cli *cli, const char *fmt, ...) PRINTF_LIKE(2, 3);  // other words
void step_bar(struct cli *cli, int64_t done, int64_t total);  // a bar behind the words
void step_end(struct cli *cli, const char *fmt, ...)
    PRINTF_LIKE(2, 3);             // it is done: the last words
void step_break(struct cli *cli);  // ends it, leaving its line as it is: something failed
void step_drop(struct cli *cli);   // ends it without a line
void step_hide(struct cli *cli);   // something else is printed: its line comes back at a tick
void step_tick(struct cli *cli);   // for cli_tick

#endif
