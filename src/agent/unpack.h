// SPDX-License-Identifier: Apache-2.0
// agent/unpack: takes an archive apart as if its maker were an enemy: nothing lands outside the
// folder, nothing but plain files, folders and inward links is made, and sizes are capped. Names
// have to be UTF-8; those of zips and pax tars come out composed (NFC). Blocks: for the pool.
#ifndef DROVER_AGENT_UNPACK_H
#define DROVER_AGENT_UNPACK_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/err.h"

struct unpack_limits {
    int64_t bytes;    // of all files together
    int64_t entries;  // files, folders and links
    int64_t ratio;    // unpacked bytes for each packed one, counted above 1 MiB
};
#define UNPACK_LIMITS ((struct unpack_limits){4ll << 30, 100000, 200})

// Unpacks the zip or tar (also compressed) file at `archive` into `folder`, which exists and is
// empty. `stop` set from another thread ends it with ERR_UNAVAILABLE. Otherwise ERR_BAD_INPUT says
// what was wrong with which entry, ERR_TOO_LARGE which cap was met. What was made stays there.
MUST_CHECK int unpack_archive(const char *archive, const char *folder,
                              const struct unpack_limits *limits, const atomic_bool *stop,
                              struct err *err);

#endif
