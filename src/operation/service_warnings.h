// SPDX-License-Identifier: Apache-2.0
// operation/service_warnings: what of a service's settings is allowed and unwise, or has no effect
// here. Pure.
#ifndef DROVER_OPERATION_SERVICE_WARNINGS_H
#define DROVER_OPERATION_SERVICE_WARNINGS_H

#include "model/entities.h"

// As sentences, borrowed or in the arena. Returns how many were written.
#define SERVICE_WARNINGS_MAX 12
size_t service_warnings(const struct service *service, struct arena *arena,
                        struct str out[SERVICE_WARNINGS_MAX]);

#endif
