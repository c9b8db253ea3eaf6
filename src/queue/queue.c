// SPDX-License-Identifier: Apache-2.0
#include "queue/queue.h"

static const struct queue_driver *const drivers[] = {&queue_embedded, &queue_memory};

struct queue *queue_open(const struct queue_config *config, struct err *err)
{
    struct str wanted = str_of(config->driver ? config->driver : "embedded");
    for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
        if (str_is(wanted, drivers[i]->name))
            return drivers[i]->open(config, err);
    err_set(err, ERR_BAD_INPUT, "unknown queue \"" STR_FMT "\"; there are embedded and memory",
            STR_ARG(wanted));
    return NULL;
}

void queue_close(struct queue *queue)
{
    if (queue)
        queue->driver->close(queue);
}

int queue_publish(struct queue *queue, struct str name, const struct queue_message *message,
                  bool front, struct err *err)
{
    if (name.len == 0 || message->id.len == 0)
        return err_set(err, ERR_INTERNAL, "a message needs a queue's name and an id");
    return queue->driver->publish(queue, name, message, front, err);
}

void queue_reserve(struct queue *queue, struct str name, size_t count)
{
    if (queue->driver->reserve && name.len > 0 && count > 0)
        queue->driver->reserve(queue, name, count);
}

size_t queue_consume(struct queue *queue, struct str name, struct queue_message *out, size_t max)
{
    return queue->driver->consume(queue, name, out, max);
}

void queue_ack(struct queue *queue, struct str name, uint64_t tag)
{
    queue->driver->ack(queue, name, tag);
}

void queue_nack(struct queue *queue, struct str name, uint64_t tag)
{
    queue->driver->nack(queue, name, tag);
}

void queue_on_ready(struct queue *queue, void (*fn)(void *arg, struct str name), void *arg)
{
    queue->driver->on_ready(queue, fn, arg);
}

int64_t queue_depth(struct queue *queue, struct str name)
{
    return queue->driver->depth(queue, name);
}

bool queue_remove_message(struct queue *queue, struct str name, struct str id)
{
    return queue->driver->remove_message(queue, name, id);
}

void queue_purge(struct queue *queue, struct str name) { queue->driver->purge(queue, name); }

void queue_delete(struct queue *queue, struct str name) { queue->driver->remove(queue, name); }
