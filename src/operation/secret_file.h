// SPDX-License-Identifier: Apache-2.0
// operation/secret_file: small files of the data folder that only the owner may read (0600): one
// value and a newline. Block on the disk: start-up only.
#ifndef DROVER_OPERATION_SECRET_FILE_H
#define DROVER_OPERATION_SECRET_FILE_H

#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

// Written beside, synced, and renamed into place: never half there.
MUST_CHECK int secret_file_write(const char *path, struct str value, struct err *err);

// The value without white space at its ends; ERR_INTERNAL when it cannot be read or does not fit.
MUST_CHECK int secret_file_read(const char *path, char *out, size_t size, size_t *len,
                                struct err *err);

#endif
