// SPDX-License-Identifier: Apache-2.0
// control/reconcile: what a service asks of the driver. Pure: rows in, a deployment out.
#ifndef DROVER_CONTROL_RECONCILE_H
#define DROVER_CONTROL_RECONCILE_H

#include "driver/driver.h"
#include "operation/op.h"

// Replicas that the service should have now: none while it is paused; with an autoscaler its
// minReplicas, and at least one.
int64_t reconcile_replicas(const struct service *service, const struct runtime *runtime);

// The deployment but for its token. Texts are borrowed from service or live in `arena`.
void reconcile_deployment(const struct service *service, const struct runtime *runtime,
                          struct arena *arena, struct deployment *out);

#endif
