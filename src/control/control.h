// SPDX-License-Identifier: Apache-2.0
// control/control: compares what should be with what is, and acts. Keeps the driver's replicas in
// step with the services, tells dispatch which agents are gone, keeps the replicas' rows current,
// and does the housekeeping. Loop thread only.
#ifndef DROVER_CONTROL_CONTROL_H
#define DROVER_CONTROL_CONTROL_H

#include "driver/driver.h"
#include "operation/dispatch.h"

struct control;

struct control *control_new(const struct platform *platform);
void control_free(struct control *control);

// Callbacks for dispatch_config and driver_config; `arg` is the control.
void control_on_silent(void *arg, struct str replica_id);
void control_on_replica(void *arg, struct str replica_id, struct str service_id, const char *state,
                        struct str phase, struct json failure);
void control_on_change(void *arg, const struct replica_status *status);

// Before dispatch_start: the driver has been opened (adopted replicas came by control_on_change and
// are expected by dispatch).
void control_attach(struct control *control, struct dispatch *dispatch, struct driver *driver);

// After dispatch_start: applies every service, removes replicas of services that are gone, starts
// the housekeeping.
void control_start(struct control *control);
void control_stop(struct control *control);  // no more actions; agents keep running

#endif
