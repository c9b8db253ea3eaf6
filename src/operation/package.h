// SPDX-License-Identifier: Apache-2.0
// operation/package: packages and their revisions. Every change makes a new version and keeps the
// former ones whole, because services run a fixed revision.
#ifndef DROVER_OPERATION_PACKAGE_H
#define DROVER_OPERATION_PACKAGE_H

#include "operation/op.h"

// Creates a package of the project from a request's body. ERR_BAD_INPUT names the field;
// ERR_CONFLICT: the name is taken.
MUST_CHECK int package_create(struct op *op, const struct project *project, struct json body,
                              struct package *out, struct err *err);

// Changes it by a partial or whole package. The version becomes the body's when that is higher,
// else the next one.
MUST_CHECK int package_update(struct op *op, const struct package *before, struct json body,
                              struct package *out, struct err *err);

// ERR_CONFLICT, naming one, while services use it.
MUST_CHECK int package_delete(struct op *op, const struct package *package, struct err *err);

// The package as it was at a version; absent, empty or "latest": as it is. ERR_NOT_FOUND.
MUST_CHECK int package_at(struct op *op, const struct package *package, struct str version,
                          struct package *out, struct err *err);

// A package's revision whose code that item holds, if there is one: *found.
MUST_CHECK int package_code_of(struct op *op, struct str item_id, struct revision *out, bool *found,
                               struct err *err);

// Replaces the values of git credentials by "***": for answers and the audit log.
void package_hide_credentials(struct package *package, struct arena *arena);

// Keeps `entity`'s row of this version: inserts the revision row.
MUST_CHECK int revision_add(struct op *op, struct revision *revision, const struct entity *entity,
                            const void *row, struct err *err);

#endif
