// SPDX-License-Identifier: Apache-2.0
// operation/integration: the secrets of an organisation. Administrators make, change and delete
// them (the routes say so); every account sees their names, to attach them to services
// (operation/service_env.h); a function sees none. What they hold is sealed and comes out only as
// variables of a service.
#ifndef DROVER_OPERATION_INTEGRATION_H
#define DROVER_OPERATION_INTEGRATION_H

#include "operation/op.h"

// Whether the caller may see what there is, in an organisation that exists. ERR_DENIED.
MUST_CHECK int integration_see(struct op *op, struct str org_id, struct err *err);

MUST_CHECK int integration_get(struct op *op, struct str id, struct integration *out,
                               struct err *err);

// {"name","type","options","metadata"?}. ERR_CONFLICT: the name is taken.
MUST_CHECK int integration_create(struct op *op, struct str org_id, struct json body,
                                  struct integration *out, struct err *err);

// {"integrationId","name"?,"credentials":{"options","type"?}?}. reload: services that use it get
// new agents, one after the other, when its value was changed.
MUST_CHECK int integration_update(struct op *op, struct str org_id, struct json body, bool reload,
                                  struct integration *out, struct err *err);

// ERR_CONFLICT names the services that use it.
MUST_CHECK int integration_delete(struct op *op, struct str org_id, struct str id, struct err *err);

// Seals all of them with the first master key; *count says how many there are. ERR_CONFLICT names
// one that cannot be opened.
MUST_CHECK int integration_reseal(struct op *op, int64_t *count, struct err *err);

// Calls each() for every one that the server's keys do not open, with the reason.
MUST_CHECK int integration_each_closed(struct op *op,
                                       void (*each)(void *arg, const struct integration *one,
                                                    const char *why),
                                       void *arg, struct err *err);

#endif
