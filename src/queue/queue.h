// SPDX-License-Identifier: Apache-2.0
// queue/queue: hands executions to agents, one queue per service, first in first out. The row in
// the store is the truth; a message only wakes somebody: whoever takes it claims the execution
// first (operation/dispatch.h), so a message that comes twice, or for something already done, does
// no harm, and a queue can be emptied and rebuilt from the store.
//
// Implementations: embedded (ready lists in the server's memory) and memory (tests); a RabbitMQ one
// will pass the same contract suite. Loop thread only; callbacks may come during the call or later.
#ifndef DROVER_QUEUE_QUEUE_H
#define DROVER_QUEUE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

struct queue;

struct queue_message {
    struct str id;    // execution id
    struct str body;  // small input, so that taking it needs no read; absent: read the store
    uint64_t tag;     // names the delivery in ack and nack
    bool redelivered;
};

struct queue_config {
    const char *driver;   // "embedded" | "memory"
    int64_t body_memory;  // bytes of bodies kept in memory over all queues (embedded); further ones
                          // are left out
};

struct queue *queue_open(const struct queue_config *config, struct err *err);
void queue_close(struct queue *queue);

// Adds at the end (front: at the start, for what was handed back). Copies the message. An id that
// is already waiting in this queue is not added twice (embedded; others may deliver it twice).
MUST_CHECK int queue_publish(struct queue *queue, struct str name,
                             const struct queue_message *message, bool front, struct err *err);

// A hint before many messages are added to an empty queue: it may make room for them at once.
void queue_reserve(struct queue *queue, struct str name, size_t count);

// Takes up to `max` messages; each is unacknowledged until ack or nack. Texts are valid until then.
// Returns how many came at once; with a broker, later ones come by on_ready → queue_consume again.
size_t queue_consume(struct queue *queue, struct str name, struct queue_message *out, size_t max);
void queue_ack(struct queue *queue, struct str name, uint64_t tag);   // done with it
void queue_nack(struct queue *queue, struct str name, uint64_t tag);  // back to the front

// Runs fn when a queue that was empty has messages again.
void queue_on_ready(struct queue *queue, void (*fn)(void *arg, struct str name), void *arg);

int64_t queue_depth(struct queue *queue, struct str name);  // waiting, without the unacknowledged
bool queue_remove_message(
    struct queue *queue, struct str name,
    struct str id);  // a waiting one; false: not there or not possible (a broker)
void queue_purge(struct queue *queue, struct str name);   // forgets what waits
void queue_delete(struct queue *queue, struct str name);  // and the queue itself

// What an implementation provides; queue.c dispatches to it.
struct queue_driver {
    const char *name;
    struct queue *(*open)(const struct queue_config *config, struct err *err);
    void (*close)(struct queue *);
    int (*publish)(struct queue *, struct str, const struct queue_message *, bool front,
                   struct err *);
    void (*reserve)(struct queue *, struct str, size_t);  // NULL: no use for it
    size_t (*consume)(struct queue *, struct str, struct queue_message *, size_t);
    void (*ack)(struct queue *, struct str, uint64_t);
    void (*nack)(struct queue *, struct str, uint64_t);
    void (*on_ready)(struct queue *, void (*)(void *, struct str), void *);
    int64_t (*depth)(struct queue *, struct str);
    bool (*remove_message)(struct queue *, struct str, struct str);
    void (*purge)(struct queue *, struct str);
    void (*remove)(struct queue *, struct str);
};

struct queue {  // first member of every implementation's own struct
    const struct queue_driver *driver;
};

extern const struct queue_driver queue_embedded, queue_memory;

#endif
