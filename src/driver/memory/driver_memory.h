// SPDX-License-Identifier: Apache-2.0
// driver/memory: a driver without processes: replicas that only exist as a status, for tests. They
// run one turn of the loop after they were started, and end with 0 one turn after they were told.
#ifndef DROVER_DRIVER_MEMORY_DRIVER_MEMORY_H
#define DROVER_DRIVER_MEMORY_DRIVER_MEMORY_H

#include "driver/driver.h"

// The replica ends by itself with this exit code. False when it is unknown or does not run.
bool driver_memory_end(struct driver *driver, struct str replica_id, int64_t exit_code,
                       struct str message);
// While true, replicas do not heed DRAIN and STOP: they end when their time is up.
void driver_memory_stubborn(struct driver *driver, bool stubborn);
// The next `count` starts fail.
void driver_memory_fail_starts(struct driver *driver, int64_t count);

#endif
