// SPDX-License-Identifier: Apache-2.0
// cli/executions: what the verbs about executions share.
#ifndef DROVER_CLI_EXECUTIONS_H
#define DROVER_CLI_EXECUTIONS_H

#include "cli/listing.h"
#include "cli/logs.h"

extern const struct listing_spec executions_spec;

struct str execution_status(struct json execution, struct arena *arena);
bool execution_ended(struct json execution, struct arena *arena);
// How long it ran, or runs already; nothing when it has not begun.
void execution_duration(struct json execution, struct buf *out);

// Shows the execution's log lines on stderr until it has ended, then gives the execution. Lives
// through a server that is started again. ERR_TIMEOUT when interrupted.
MUST_CHECK int execution_follow(struct cli *cli, const char *id, struct json *out, struct err *err);

// How it ended: the output on stdout, an error on stderr. CLI_OK or CLI_EXECUTION_FAILED.
int execution_result(struct cli *cli, struct json execution);

#endif
