// SPDX-License-Identifier: Apache-2.0
// agent/credit: whose bytes of log frames are on their way to the server, in order, so that each
// process gets its own credit back when its lines are stored.
#ifndef DROVER_AGENT_CREDIT_H
#define DROVER_AGENT_CREDIT_H

#include <stdint.h>

#include "base/buf.h"

struct credit {
    struct buf queue;
};

void credit_init(struct credit *credit);
void credit_deinit(struct credit *credit);
void credit_add(struct credit *credit, int64_t owner, int64_t bytes);
// The first so many bytes are stored: told to fn by owner, in pieces.
void credit_stored(struct credit *credit, int64_t bytes,
                   void (*fn)(void *arg, int64_t owner, int64_t bytes), void *arg);

#endif
