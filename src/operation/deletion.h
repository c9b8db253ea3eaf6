// SPDX-License-Identifier: Apache-2.0
// operation/deletion: the end of projects and datasets. Begun in one transaction, after which the
// thing and all that is in it is gone for every caller; the rows are removed afterwards in small
// steps (control/deletions.c), by the next server process if need be.
#ifndef DROVER_OPERATION_DELETION_H
#define DROVER_OPERATION_DELETION_H

#include "operation/op.h"

MUST_CHECK int deletion_of_project(struct op *op, const struct project *project, struct err *err);
// ERR_CONFLICT: the project's Binaries, or a package's code is in it.
MUST_CHECK int deletion_of_dataset(struct op *op, const struct dataset *dataset, struct err *err);

enum deletion_state {
    DELETION_OVER,  // there is nothing left to remove, of anything
    DELETION_MORE,  // take the next step
    DELETION_CLEAN  // delete the log lines of project_id, and name it in the next step
};
struct deletion_step {
    struct str cleaned;  // the project whose log lines were deleted; absent: none
    enum deletion_state state;
    struct str project_id;  // in op's arena
};
// Removes a bounded number of rows, so that others can write between steps. A project's log lines
// lie in another database: the deletion is over only after somebody said that they are gone.
MUST_CHECK int deletion_step(struct op *op, struct deletion_step *step, struct err *err);

// Whether what is in that project, and in that dataset (absent: none), is being removed.
MUST_CHECK int deletion_under_way(struct op *op, struct str project_id, struct str dataset_id,
                                  bool *out, struct err *err);
// Adds to a filter of a list: not what is in projects that are being removed.
MUST_CHECK int deletion_hide(struct op *op, const struct entity *entity, const char *field,
                             struct filter **filter, struct err *err);

#endif
