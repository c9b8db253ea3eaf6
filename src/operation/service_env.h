// SPDX-License-Identifier: Apache-2.0
// operation/service_env: the environment variables that a service's integrations become. A service
// names integrations in `integrations` ({"env","value":<id>,"type"?,"key"?,"optional"?}) and in
// `secrets` (ids; the variable has the integration's name).
#ifndef DROVER_OPERATION_SERVICE_ENV_H
#define DROVER_OPERATION_SERVICE_ENV_H

#include "base/redact.h"
#include "operation/op.h"

// Whether each one that is named exists in the service's organisation and makes a variable of its
// own. ERR_BAD_INPUT names the field by its path; ERR_DENIED: a function attaches what its service
// did not have. before: the service as it was, NULL for a new one.
MUST_CHECK int service_env_check(struct op *op, const struct service *service,
                                 const struct service *before, struct err *err);

// Whether it names the integration; only_secrets: in `secrets`.
bool service_env_uses(const struct service *service, struct str integration_id, bool only_secrets);

// What takes the values out of texts that the service's function sends; *out NULL: there are none.
// What cannot be opened the function does not have either.
MUST_CHECK int service_env_redactor(struct op *op, struct str service_id, struct redactor **out,
                                    struct err *err);

struct variable {
    struct str name, value;
};

// The variables with their values, opened. ERR_CONFLICT says of which integration it could not be
// and what to do about it.
MUST_CHECK int service_env_values(struct op *op, const struct service *service,
                                  struct variable **out, size_t *count, struct err *err);

#endif
