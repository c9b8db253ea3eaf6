// SPDX-License-Identifier: Apache-2.0
#include "agent/credit.h"

#define QUEUE_MAX (256u << 20)  // far more entries than lines that can wait

struct entry {
    int64_t owner, bytes;
};

void credit_init(struct credit *credit) { credit->queue = BUF_INIT(QUEUE_MAX); }

void credit_deinit(struct credit *credit) { buf_deinit(&credit->queue); }

void credit_add(struct credit *credit, int64_t owner, int64_t bytes)
{
    struct buf *queue = &credit->queue;
    if (queue->len > 0) {
        struct entry *last = (struct entry *)(void *)(queue->at + queue->len) - 1;
        if (last->owner == owner) {
            last->bytes += bytes;
            return;
        }
    }
    const struct entry entry = {owner, bytes};
    buf_add(queue, &entry, sizeof(entry));
}

void credit_stored(struct credit *credit, int64_t bytes,
                   void (*fn)(void *arg, int64_t owner, int64_t bytes), void *arg)
{
    size_t used = 0;
    while (bytes > 0 && used < credit->queue.len) {
        struct entry *first = (struct entry *)(void *)(credit->queue.at + used);
        int64_t part = first->bytes < bytes ? first->bytes : bytes;
        fn(arg, first->owner, part);
        first->bytes -= part;
        bytes -= part;
        if (first->bytes == 0)
            used += sizeof(*first);
    }
    buf_drop_front(&credit->queue, used);
}
