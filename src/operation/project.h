// SPDX-License-Identifier: Apache-2.0
// operation/project: projects, each with its dataset Binaries for code.
#ifndef DROVER_OPERATION_PROJECT_H
#define DROVER_OPERATION_PROJECT_H

#include "operation/op.h"

#define BINARIES "Binaries"

// UTF-8 of at least one byte without control characters or blanks at the ends.
MUST_CHECK int title_check(struct str title, const char *field, const struct limits *limits,
                           struct err *err);

// Makes the project, its Binaries and the caller's role (owner). A repetition within a minute gets
// the first one. ERR_CONFLICT: the name is taken.
MUST_CHECK int project_create(struct op *op, struct str name, struct project *out, struct err *err);
// Fills in what is not stored: org_name, the caller's role, contributors.
MUST_CHECK int project_complete(struct op *op, struct project *project, struct err *err);
MUST_CHECK int project_rename(struct op *op, struct project *project, struct str name,
                              struct err *err);

#endif
