// SPDX-License-Identifier: Apache-2.0
// operation/access: who may do what, decided here and nowhere else. Admins and the server itself
// may do everything; others need a role in the project (a service's bot is a developer of its own
// project only; viewer < developer < owner).
#ifndef DROVER_OPERATION_ACCESS_H
#define DROVER_OPERATION_ACCESS_H

#include "operation/op.h"

enum role { ROLE_NONE, ROLE_VIEWER, ROLE_DEVELOPER, ROLE_OWNER };
enum role role_parse(struct str word);  // ROLE_NONE: unknown
const char *role_word(enum role role);

// Confirms that the caller's token still stands (user exists, epoch, API key not revoked, service
// exists) and fills in caller.admin. ERR_UNAUTHENTICATED.
MUST_CHECK int access_identify(struct op *op, struct err *err);

// The caller's role in a project.
MUST_CHECK int access_role(struct op *op, struct str project_id, enum role *out, struct err *err);

// ERR_DENIED, saying which role in which project is needed and which the caller has.
MUST_CHECK int access_require(struct op *op, struct str project_id, enum role at_least,
                              struct err *err);
// The same for a thing of that project, `kind` and `id` as the caller named it: who may not even
// view gets access_unknown, as for one that does not exist.
MUST_CHECK int access_require_seen(struct op *op, struct str project_id, enum role at_least,
                                   const char *kind, struct str id, struct err *err);
// Sets ERR_NOT_FOUND; returns -1.
int access_unknown(struct err *err, const char *kind, struct str id);
MUST_CHECK int access_require_admin(struct op *op, struct err *err);

// A filter (on `field`, a project id) that keeps what the caller may read; NULL for admins.
MUST_CHECK int access_filter(struct op *op, const struct entity *entity, const char *field,
                             struct filter **out, struct err *err);

#endif
