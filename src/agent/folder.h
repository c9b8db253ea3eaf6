// SPDX-License-Identifier: Apache-2.0
// agent/folder: what the agent does with folders of its cache. Everything here but folder_lock
// blocks on the disk: for the pool, or for a few small files.
#ifndef DROVER_AGENT_FOLDER_H
#define DROVER_AGENT_FOLDER_H

#include <stdbool.h>

#include "base/err.h"

MUST_CHECK int folder_make(const char *path, struct err *err);  // with its parents; may exist
// Removes a whole tree, also one without write permission; what is not there is no error.
MUST_CHECK int folder_remove(const char *path, struct err *err);
MUST_CHECK int folder_seal(const char *path, struct err *err);  // takes every write permission
bool folder_exists(const char *path);

// Locks the file (made when missing) for this process without waiting: a descriptor to close, or
// -1 with ERR_BUSY when another process has it.
int folder_lock(const char *path, struct err *err);

#endif
