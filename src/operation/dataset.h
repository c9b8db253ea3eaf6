// SPDX-License-Identifier: Apache-2.0
// operation/dataset: named collections of items.
#ifndef DROVER_OPERATION_DATASET_H
#define DROVER_OPERATION_DATASET_H

#include "operation/op.h"

// `row` as decoded, with project_id: completed and kept. A repetition within a minute gets the
// first one. ERR_CONFLICT: the name is taken in the project.
MUST_CHECK int dataset_create(struct op *op, struct dataset *row, struct err *err);
MUST_CHECK int dataset_update(struct op *op, struct dataset *dataset, struct json patch,
                              struct err *err);
// How many files it holds.
MUST_CHECK int dataset_count(struct op *op, struct dataset *dataset, struct err *err);

#endif
