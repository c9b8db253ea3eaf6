// SPDX-License-Identifier: Apache-2.0
// operation/service_check: whether a service's parts fit together and with its package.
#ifndef DROVER_OPERATION_SERVICE_CHECK_H
#define DROVER_OPERATION_SERVICE_CHECK_H

#include "operation/op.h"

// Checks the whole service and fills in what follows from the package: the revision in place of
// "latest", the module, the runtime's defaults. ERR_BAD_INPUT names the field. before: the service
// as it was, whose runtime is not held to the limits again; NULL for a new one.
MUST_CHECK int service_check(struct op *op, struct service *service, const struct service *before,
                             struct err *err);

// Whether agents of `before` cannot go on for `after`.
bool service_needs_agents(const struct service *before, const struct service *after,
                          struct arena *scratch);

#endif
