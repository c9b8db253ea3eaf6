// SPDX-License-Identifier: Apache-2.0
// operation/start: what a server does before it serves. Main thread, before the loop runs; the
// store and the tokens must be open.
#ifndef DROVER_OPERATION_START_H
#define DROVER_OPERATION_START_H

#include "operation/op.h"

struct start_result {
    bool first;            // the data folder was new
    const char *key_file;  // where the administrator's API key is, in the arena
    const char *password_file;
};

// Commits a new epoch; at the first start also makes the organisation and the administrator, whose
// key and password go to DIR/admin-key and DIR/admin-password (0600). Fills in
// platform->fences->epoch and platform->org_id (in the arena).
MUST_CHECK int start_prepare(struct platform *platform, struct start_result *result,
                             struct arena *arena, struct err *err);

#endif
