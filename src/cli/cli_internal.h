// SPDX-License-Identifier: Apache-2.0
// What the files that make up cli/cli.h share.
#ifndef DROVER_CLI_INTERNAL_H
#define DROVER_CLI_INTERNAL_H

#include "cli/cli.h"

void cli_signals_end(struct cli *cli);

#endif
