// SPDX-License-Identifier: Apache-2.0
// operation/execution_functions: the functions of the services that are called most, parsed once.
// Writer's thread only.
#ifndef DROVER_OPERATION_EXECUTION_FUNCTIONS_H
#define DROVER_OPERATION_EXECUTION_FUNCTIONS_H

#include "operation/execution.h"

struct service_functions {
    struct str package_name;
    struct module module;
};

// What the service offers now; valid until the next call (or in op->arena without a cache).
MUST_CHECK int execution_functions_of(struct op *op, struct execution_functions *functions,
                                      const struct service *service,
                                      const struct service_functions **out, struct err *err);

#endif
