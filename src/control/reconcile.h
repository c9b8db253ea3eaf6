// SPDX-License-Identifier: Apache-2.0
// control/reconcile: what a service asks of the driver. Pure: rows in, a deployment out.
#ifndef DROVER_CONTROL_RECONCILE_H
#define DROVER_CONTROL_RECONCILE_H

#include "driver/driver.h"
#include "operation/op.h"

// The deployment but for its token. Texts are borrowed from service or live in `arena`.
void reconcile_deployment(const struct service *service, const struct runtime *runtime,
                          struct arena *arena, struct deployment *out);

#endif
