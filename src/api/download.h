// SPDX-License-Identifier: Apache-2.0
// The handlers of api/download.c: an item's bytes, whole or one range (RFC 9110).
#ifndef DROVER_API_DOWNLOAD_H
#define DROVER_API_DOWNLOAD_H

#include "api/call.h"

int download_item(struct call *call, struct err *err);
int download_dataset_item(struct call *call, struct err *err);

// Reads "bytes=a-b", "bytes=a-", "bytes=-n" for `size` bytes. 1: that range; 0: the whole (no
// range, several, or one that is not understood); -1: ERR_RANGE.
int download_range(struct str header, int64_t size, int64_t *offset, int64_t *length,
                   struct err *err);

#endif
