// SPDX-License-Identifier: Apache-2.0
// cli/status: how the replicas of a service stand.
#ifndef DROVER_CLI_STATUS_H
#define DROVER_CLI_STATUS_H

#include "base/json.h"
#include "cli/cli.h"

struct replicas {
    struct json status;       // GET /services/{id}/status
    int64_t queued, running;  // executions
    int64_t ready, restarts;  // of the version asked for
    int64_t most_restarts;    // of one that is not ready
    struct str words;         // what those that are not ready are doing, or died of
    struct str told;          // the same in full: a traceback
};

// `version` absent: of any version.
MUST_CHECK int status_replicas(struct cli *cli, const char *service_id, struct str version,
                               struct replicas *out, struct err *err);

// How many replicas the service should have at least.
int64_t status_wanted(struct json service);

#endif
