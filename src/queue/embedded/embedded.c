// SPDX-License-Identifier: Apache-2.0
// The default queue: ready lists in the server's memory, rebuilt from the store at start.
#include "base/map.h"
#include "base/mem.h"
#include "queue/embedded/ready.h"
#include "queue/queue.h"

struct delivery {  // handed out, neither acked nor nacked
    struct queue_ready_item item;
    uint32_t number;  // of this delivery in its line; 0: this slot is unused
    uint32_t unused;  // next unused slot, plus one
};

struct line {  // one queue
    struct queue_ready *ready;
    struct delivery **deliveries;  // by slot; a delivery's texts must not move
    uint32_t slots, first_unused;  // first_unused: plus one
    uint32_t last_number;
    struct str name;  // owned
};

struct embedded {
    struct queue queue;
    struct map *lines;
    int64_t body_memory, body_used;
    void (*on_ready)(void *arg, struct str name);
    void *arg;
};

static struct str item_id(const struct queue_ready_item *item)
{
    if (item->payload && item->payload->id_len > 0)
        return (struct str){item->payload->bytes, item->payload->id_len};
    return (struct str){item->id, ID_LEN};
}

static struct str item_body(const struct queue_ready_item *item)
{
    if (!item->payload || !item->payload->has_body)
        return STR_NONE;
    return (struct str){item->payload->bytes + item->payload->id_len, item->payload->body_len};
}

static void drop_payload(struct embedded *self, struct queue_payload *payload)
{
    self->body_used -= (int64_t)queue_payload_size(payload);
    mem_free(payload);
}

// ── deliveries ───────────────────────────────────────────────────────────────────────────────
static struct delivery *delivery_new(struct line *line, uint64_t *tag)
{
    if (line->first_unused == 0) {
        uint32_t slots = line->slots ? 2 * line->slots : 4;
        line->deliveries = mem_resize(line->deliveries, slots * sizeof(*line->deliveries));
        for (uint32_t i = line->slots; i < slots; i++) {
            line->deliveries[i] = mem_alloc(sizeof(struct delivery));
            line->deliveries[i]->unused = i + 1 < slots ? i + 2 : 0;
        }
        line->first_unused = line->slots + 1;
        line->slots = slots;
    }
    uint32_t slot = line->first_unused - 1;
    struct delivery *delivery = line->deliveries[slot];
    line->first_unused = delivery->unused;
    if (++line->last_number == 0)
        line->last_number = 1;
    delivery->number = line->last_number;
    *tag = (uint64_t)delivery->number << 32 | slot;
    return delivery;
}

// Frees the slot that the tag names and moves its item out; false when the tag is no longer good.
static bool delivery_take(struct line *line, uint64_t tag, struct queue_ready_item *out)
{
    uint32_t slot = (uint32_t)tag, number = (uint32_t)(tag >> 32);
    if (!line || slot >= line->slots || number == 0 || line->deliveries[slot]->number != number)
        return false;
    struct delivery *delivery = line->deliveries[slot];
    *out = delivery->item;
    delivery->item.payload = NULL;
    delivery->number = 0;
    delivery->unused = line->first_unused;
    line->first_unused = slot + 1;
    return true;
}

// ── lines ────────────────────────────────────────────────────────────────────────────────────
static struct line *line_of(struct embedded *self, struct str name)
{
    struct line *line = map_get(self->lines, name);
    if (line)
        return line;
    line = mem_alloc(sizeof(*line));
    line->name = (struct str){mem_copy(name.at, name.len), name.len};
    line->ready = queue_ready_new();
    map_put(self->lines, line->name, line);
    return line;
}

static void line_free(struct embedded *self, struct line *line)
{
    self->body_used -= queue_ready_body_bytes(line->ready);
    queue_ready_free(line->ready);
    for (uint32_t i = 0; i < line->slots; i++) {
        drop_payload(self, line->deliveries[i]->item.payload);
        mem_free(line->deliveries[i]);
    }
    mem_free(line->deliveries);
    mem_free((char *)line->name.at);
    mem_free(line);
}

// The last thing a caller of it does: fn may call any function of the queue.
static void tell_ready(struct embedded *self, struct str name)
{
    if (self->on_ready)
        self->on_ready(self->arg, name);
}

// ── the driver ───────────────────────────────────────────────────────────────────────────────
static struct queue *embedded_open(const struct queue_config *config, struct err *err)
{
    if (config->body_memory < 0) {
        err_set(err, ERR_BAD_INPUT, "the queue's memory for bodies cannot be negative");
        return NULL;
    }
    struct embedded *self = mem_alloc(sizeof(*self));
    self->queue.driver = &queue_embedded;
    self->lines = map_new();
    self->body_memory = config->body_memory;
    return &self->queue;
}

static void embedded_close(struct queue *queue)
{
    struct embedded *self = (struct embedded *)queue;
    struct line *line;
    struct str name;
    for (size_t i = 0; (line = map_next(self->lines, &i, &name));) {
        map_remove(self->lines, name);
        line_free(self, line);
    }
    map_free(self->lines);
    mem_free(self);
}

static int embedded_publish(struct queue *queue, struct str name,
                            const struct queue_message *message, bool front, struct err *err)
{
    struct embedded *self = (struct embedded *)queue;
    if (message->id.len > UINT16_MAX || message->body.len > UINT32_MAX)
        return err_set(err, ERR_TOO_LARGE, "a message's id or body is too long for the queue");
    struct line *line = line_of(self, name);
    if (queue_ready_count(line->ready) >= QUEUE_READY_MAX)
        return err_set(err, ERR_BUSY, "queue " STR_FMT " is full", STR_ARG(name));
    struct queue_payload *payload = queue_payload_new(message->id, message->body);
    int64_t size = (int64_t)queue_payload_size(payload);
    if (self->body_used + size > self->body_memory && size > 0) {
        mem_free(payload);
        payload = queue_payload_new(message->id, STR_NONE);
        size = 0;
    }
    bool was_empty = queue_ready_count(line->ready) == 0;
    if (!queue_ready_add(line->ready, message->id, payload, front, message->redelivered)) {
        mem_free(payload);
        return 0;
    }
    self->body_used += size;
    if (was_empty)
        tell_ready(self, name);
    return 0;
}

static void embedded_reserve(struct queue *queue, struct str name, size_t count)
{
    queue_ready_reserve(line_of((struct embedded *)queue, name)->ready, count);
}

static size_t embedded_consume(struct queue *queue, struct str name, struct queue_message *out,
                               size_t max)
{
    struct embedded *self = (struct embedded *)queue;
    struct line *line = map_get(self->lines, name);
    struct queue_ready_item item;
    size_t count = 0;
    while (line && count < max && queue_ready_pop(line->ready, &item)) {
        struct queue_message *message = &out[count++];
        struct delivery *delivery = delivery_new(line, &message->tag);
        delivery->item = item;
        message->id = item_id(&delivery->item);
        message->body = item_body(&delivery->item);
        message->redelivered = item.redelivered;
    }
    return count;
}

static void embedded_ack(struct queue *queue, struct str name, uint64_t tag)
{
    struct embedded *self = (struct embedded *)queue;
    struct queue_ready_item item;
    if (delivery_take(map_get(self->lines, name), tag, &item))
        drop_payload(self, item.payload);
}

// Published again meanwhile: it waits once, at the front, as the newer message.
static void embedded_nack(struct queue *queue, struct str name, uint64_t tag)
{
    struct embedded *self = (struct embedded *)queue;
    struct line *line = map_get(self->lines, name);
    struct queue_ready_item item, newer;
    if (!delivery_take(line, tag, &item))
        return;
    bool was_empty = queue_ready_count(line->ready) == 0;
    if (queue_ready_remove(line->ready, item_id(&item), &newer)) {
        drop_payload(self, item.payload);
        item = newer;
    }
    queue_ready_add(line->ready, item_id(&item), item.payload, true, true);
    if (was_empty)
        tell_ready(self, name);
}

static void embedded_on_ready(struct queue *queue, void (*fn)(void *, struct str), void *arg)
{
    struct embedded *self = (struct embedded *)queue;
    self->on_ready = fn;
    self->arg = arg;
}

static int64_t embedded_depth(struct queue *queue, struct str name)
{
    struct line *line = map_get(((struct embedded *)queue)->lines, name);
    return line ? (int64_t)queue_ready_count(line->ready) : 0;
}

static bool embedded_remove_message(struct queue *queue, struct str name, struct str id)
{
    struct embedded *self = (struct embedded *)queue;
    struct line *line = map_get(self->lines, name);
    struct queue_ready_item item;
    if (!line || !queue_ready_remove(line->ready, id, &item))
        return false;
    drop_payload(self, item.payload);
    return true;
}

static void embedded_purge(struct queue *queue, struct str name)
{
    struct embedded *self = (struct embedded *)queue;
    struct line *line = map_get(self->lines, name);
    if (!line)
        return;
    self->body_used -= queue_ready_body_bytes(line->ready);
    queue_ready_clear(line->ready);
}

static void embedded_remove(struct queue *queue, struct str name)
{
    struct embedded *self = (struct embedded *)queue;
    struct line *line = map_remove(self->lines, name);
    if (line)
        line_free(self, line);
}

const struct queue_driver queue_embedded = {
    .name = "embedded",
    .open = embedded_open,
    .close = embedded_close,
    .publish = embedded_publish,
    .reserve = embedded_reserve,
    .consume = embedded_consume,
    .ack = embedded_ack,
    .nack = embedded_nack,
    .on_ready = embedded_on_ready,
    .depth = embedded_depth,
    .remove_message = embedded_remove_message,
    .purge = embedded_purge,
    .remove = embedded_remove,
};
