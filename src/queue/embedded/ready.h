// SPDX-License-Identifier: Apache-2.0
// queue/embedded/ready: the waiting ids of one queue, in order, each once. An id of 24 lower-case
// hex digits without a body takes 32 bytes and a hash bucket of 4; other ids and bodies live in a
// block of their own. Nothing is ever moved in bulk: arrays grow by segments, the hash table by one
// bucket at a time (linear hashing), so that no single publish is slow.
#ifndef DROVER_QUEUE_EMBEDDED_READY_H
#define DROVER_QUEUE_EMBEDDED_READY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/id.h"
#include "base/str.h"

struct queue_ready;

#define QUEUE_READY_MAX (1u << 29)  // ids of one queue; the caller checks

struct queue_payload {  // what does not fit into an entry; one mem_alloc block
    uint32_t id_len;    // 0: the id is in the entry
    uint32_t body_len;
    bool has_body;
    char bytes[];  // the id, then the body
};

struct queue_ready_item {           // one that was taken out
    char id[ID_LEN];                // unless payload holds the id
    struct queue_payload *payload;  // NULL, or owned by the taker (mem_free)
    bool redelivered;
};

struct queue_ready *queue_ready_new(void);
void queue_ready_free(struct queue_ready *ready);   // with all payloads; NULL does nothing
void queue_ready_clear(struct queue_ready *ready);  // forgets all, gives memory back

// Makes the block for an id and a body (absent: none); NULL when neither needs one.
struct queue_payload *queue_payload_new(struct str id, struct str body);
size_t queue_payload_size(const struct queue_payload *payload);  // bytes of its body; NULL: 0

// Adds at the end or at the front and owns the payload from then on. False, and nothing is taken,
// when the id is there already.
bool queue_ready_add(struct queue_ready *ready, struct str id, struct queue_payload *payload,
                     bool front, bool redelivered);
// A hint that so many will come: if it is empty, their hash buckets are made at once.
void queue_ready_reserve(struct queue_ready *ready, size_t count);
bool queue_ready_has(const struct queue_ready *ready, struct str id);
bool queue_ready_pop(struct queue_ready *ready, struct queue_ready_item *out);  // the first one
bool queue_ready_remove(struct queue_ready *ready, struct str id, struct queue_ready_item *out);

size_t queue_ready_count(const struct queue_ready *ready);
int64_t queue_ready_body_bytes(const struct queue_ready *ready);  // of the bodies waiting
size_t queue_ready_memory(const struct queue_ready *ready);       // bytes taken, without payloads

#endif
