// SPDX-License-Identifier: Apache-2.0
// cli/logs: log lines of a service or an execution, read in pages or followed.
#ifndef DROVER_CLI_LOGS_H
#define DROVER_CLI_LOGS_H

#include "base/json.h"
#include "cli/cli.h"

struct log_reader {
    struct str service_id, execution_id;  // one of them
    const char *function, *replica, *level, *text;
    int64_t start, end;  // ms; 0: not given
    bool follow, system, descending;
    int64_t size;           // lines of a page; 0: as many as the server gives
    struct str checkpoint;  // JSON, in cli->own_arena; absent: at the beginning
    struct str newest;      // of a descending reader: the checkpoint to follow its first line from
};

// Reads a page and hands each line to `each`. *stop: there is nothing more. With follow the server
// holds the call until there are lines, some seconds at most.
MUST_CHECK int log_read(struct cli *cli, struct log_reader *reader,
                        void (*each)(void *arg, struct json line), void *arg, bool *stop,
                        struct err *err);

// Adds a line as people read it. `many`: with the execution that it belongs to.
void log_line(struct cli *cli, struct json line, const struct terminal *terminal, bool many,
              struct buf *out);
// Prints one to stderr at once; `cli` is a struct cli *.
void log_to_stderr(void *cli, struct json line);

#endif
