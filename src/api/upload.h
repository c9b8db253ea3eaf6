// SPDX-License-Identifier: Apache-2.0
// The handler of api/upload.c: an item's bytes on their way from a socket into the blob store.
#ifndef DROVER_API_UPLOAD_H
#define DROVER_API_UPLOAD_H

#include "api/call.h"

int upload_handle(struct call *call, struct err *err);

#endif
