// SPDX-License-Identifier: Apache-2.0
// cli/push: brings a folder of code to the server as a revision of a package.
#ifndef DROVER_CLI_PUSH_H
#define DROVER_CLI_PUSH_H

#include "cli/manifest.h"

// Each part of it is a step that is shown. `out` is the package, *changed false when its newest
// revision has the same code and functions already. `name` (NULL: the manifest's) is the package's.
MUST_CHECK int push_package(struct cli *cli, struct manifest *manifest, const char *name,
                            struct str project_id, struct json *out, bool *changed,
                            struct err *err);

#endif
