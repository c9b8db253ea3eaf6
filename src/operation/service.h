// SPDX-License-Identifier: Apache-2.0
// operation/service: services and their revisions. A change that needs new agents makes a new
// version and keeps the former one whole; the controllers bring the agents in step (they are told
// by EVENT_SERVICE_CHANGED).
#ifndef DROVER_OPERATION_SERVICE_H
#define DROVER_OPERATION_SERVICE_H

#include "operation/op.h"

// Creates a service of the project from a request's body. ERR_BAD_INPUT names the field;
// ERR_CONFLICT: the name is taken.
MUST_CHECK int service_create(struct op *op, const struct project *project, struct json body,
                              struct service *out, struct err *err);

// Fields that say when and by whom rather than what.
#define SERVICE_UNCOUNTED                                                                          \
    "id version updatedAt updatedBy createdAt creator generation botUserName driverId"

// Changes it by a partial or whole service. force: agents are replaced at once, not drained.
MUST_CHECK int service_update(struct op *op, const struct service *before, struct json body,
                              bool force, struct service *out, struct err *err);

// Makes a new revision with the content of an old one; absent: of the one before the newest. Name,
// place, how many replicas there are, and whether it is paused stay. ERR_NOT_FOUND: there is no
// such revision; ERR_CONFLICT: it is what runs already.
MUST_CHECK int service_rollback(struct op *op, const struct service *before, struct str version,
                                struct service *out, struct err *err);

// Pauses (false) or resumes. A paused service's executions stay queued.
MUST_CHECK int service_set_active(struct op *op, const struct service *before, bool active,
                                  bool force, struct service *out, struct err *err);

// Replaces all agents.
MUST_CHECK int service_restart(struct op *op, const struct service *before, struct err *err);

// Deletes it at once; *command carries on: what is queued is cancelled, what runs may finish while
// the agents drain (force: is ended), then the logs go.
MUST_CHECK int service_delete(struct op *op, const struct service *service, bool force,
                              struct command *command, struct err *err);

// The service as it was at a version; absent, empty or "latest": as it is. ERR_NOT_FOUND.
MUST_CHECK int service_at(struct op *op, const struct service *service, struct str version,
                          struct service *out, struct err *err);

// Stops it because its agents cannot start, until somebody resumes it.
MUST_CHECK int service_deactivate(struct op *op, struct service *service, struct err *err);

// A name for agents that are to be made anew, of its version and generation.
struct str service_agents_new(const struct service *service, struct arena *arena);

#endif
