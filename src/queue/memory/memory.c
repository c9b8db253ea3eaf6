// SPDX-License-Identifier: Apache-2.0
// The plainest queue that keeps the contract: what the others are compared with in tests.
#include "base/list.h"
#include "base/mem.h"
#include "queue/queue.h"

struct message {
    struct list node;  // in memory.waiting or memory.delivered; oldest first
    struct str name, id, body;
    uint64_t tag;
    bool redelivered;
};

struct memory {
    struct queue queue;
    struct list waiting, delivered;
    uint64_t last_tag;
    void (*on_ready)(void *arg, struct str name);
    void *arg;
};

static struct str copy(struct str s)
{
    return s.at ? (struct str){mem_copy(s.at, s.len), s.len} : STR_NONE;
}

static void message_free(struct message *message)
{
    list_remove(&message->node);
    mem_free((char *)message->name.at);
    mem_free((char *)message->id.at);
    mem_free((char *)message->body.at);
    mem_free(message);
}

static struct message *find_waiting(struct memory *self, struct str name, struct str id)
{
    list_each (&self->waiting, it, next) {
        struct message *message = list_entry(it, struct message, node);
        if (str_eq(message->name, name) && str_eq(message->id, id))
            return message;
    }
    return NULL;
}

static struct message *find_delivered(struct memory *self, struct str name, uint64_t tag)
{
    list_each (&self->delivered, it, next) {
        struct message *message = list_entry(it, struct message, node);
        if (message->tag == tag && str_eq(message->name, name))
            return message;
    }
    return NULL;
}

static void forget(struct list *list, struct str name)
{
    list_each (list, it, next) {
        struct message *message = list_entry(it, struct message, node);
        if (name.at == NULL || str_eq(message->name, name))
            message_free(message);
    }
}

static struct queue *memory_open(const struct queue_config *config, struct err *err)
{
    (void)config;
    (void)err;
    struct memory *self = mem_alloc(sizeof(*self));
    self->queue.driver = &queue_memory;
    list_init(&self->waiting);
    list_init(&self->delivered);
    return &self->queue;
}

static void memory_close(struct queue *queue)
{
    struct memory *self = (struct memory *)queue;
    forget(&self->waiting, STR_NONE);
    forget(&self->delivered, STR_NONE);
    mem_free(self);
}

static int64_t memory_depth(struct queue *queue, struct str name)
{
    int64_t depth = 0;
    list_each (&((struct memory *)queue)->waiting, it, next)
        depth += str_eq(list_entry(it, struct message, node)->name, name);
    return depth;
}

static void add(struct memory *self, struct message *message, bool front)
{
    bool was_empty = memory_depth(&self->queue, message->name) == 0;
    if (front)
        list_push_front(&self->waiting, &message->node);
    else
        list_push_back(&self->waiting, &message->node);
    if (!was_empty || !self->on_ready)
        return;
    struct str name = copy(message->name);  // fn may free the message
    self->on_ready(self->arg, name);
    mem_free((char *)name.at);
}

static int memory_publish(struct queue *queue, struct str name, const struct queue_message *message,
                          bool front, struct err *err)
{
    (void)err;
    struct memory *self = (struct memory *)queue;
    if (find_waiting(self, name, message->id))
        return 0;
    struct message *mine = mem_alloc(sizeof(*mine));
    mine->name = copy(name);
    mine->id = copy(message->id);
    mine->body = copy(message->body);
    mine->redelivered = message->redelivered;
    add(self, mine, front);
    return 0;
}

static size_t memory_consume(struct queue *queue, struct str name, struct queue_message *out,
                             size_t max)
{
    struct memory *self = (struct memory *)queue;
    size_t count = 0;
    list_each (&self->waiting, it, next) {
        struct message *message = list_entry(it, struct message, node);
        if (count == max || !str_eq(message->name, name))
            continue;
        list_remove(&message->node);
        list_push_back(&self->delivered, &message->node);
        message->tag = ++self->last_tag;
        out[count++] = (struct queue_message){.id = message->id,
                                              .body = message->body,
                                              .tag = message->tag,
                                              .redelivered = message->redelivered};
    }
    return count;
}

static void memory_ack(struct queue *queue, struct str name, uint64_t tag)
{
    struct message *message = find_delivered((struct memory *)queue, name, tag);
    if (message)
        message_free(message);
}

static void memory_nack(struct queue *queue, struct str name, uint64_t tag)
{
    struct memory *self = (struct memory *)queue;
    struct message *message = find_delivered(self, name, tag);
    if (!message)
        return;
    struct message *newer = find_waiting(self, name, message->id);
    if (newer) {
        message_free(message);
        message = newer;
    }
    message->redelivered = true;
    list_remove(&message->node);
    if (newer)
        list_push_front(&self->waiting, &message->node);  // the queue was not empty
    else
        add(self, message, true);
}

static void memory_on_ready(struct queue *queue, void (*fn)(void *, struct str), void *arg)
{
    struct memory *self = (struct memory *)queue;
    self->on_ready = fn;
    self->arg = arg;
}

static bool memory_remove_message(struct queue *queue, struct str name, struct str id)
{
    struct message *message = find_waiting((struct memory *)queue, name, id);
    if (message)
        message_free(message);
    return message != NULL;
}

static void memory_purge(struct queue *queue, struct str name)
{
    forget(&((struct memory *)queue)->waiting, name);
}

static void memory_remove(struct queue *queue, struct str name)
{
    forget(&((struct memory *)queue)->waiting, name);
    forget(&((struct memory *)queue)->delivered, name);
}

const struct queue_driver queue_memory = {
    .name = "memory",
    .open = memory_open,
    .close = memory_close,
    .publish = memory_publish,
    .consume = memory_consume,
    .ack = memory_ack,
    .nack = memory_nack,
    .on_ready = memory_on_ready,
    .depth = memory_depth,
    .remove_message = memory_remove_message,
    .purge = memory_purge,
    .remove = memory_remove,
};
