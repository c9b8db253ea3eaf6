// SPDX-License-Identifier: Apache-2.0
#include "agent/slots.h"

#include "base/mem.h"

#define TEXT_MAX     (96u << 20)  // an invoke frame or a result, which a frame of 64 MiB brought
#define TEXT_KEPT    (64u << 10)  // bytes that a spare slot's buffer keeps
#define FUNCTION_MAX 4096

void slots_init(struct slots *slots)
{
    *slots = (struct slots){.index = map_new()};
    for (int i = 0; i < SLOT_STATES; i++)
        list_init(&slots->in[i]);
    list_init(&slots->spare);
}

static void free_list(struct list *head)
{
    for (struct list *node; (node = list_pop_front(head));) {
        struct slot *slot = list_entry(node, struct slot, node);
        buf_deinit(&slot->text);
        buf_deinit(&slot->function);
        mem_free(slot);
    }
}

void slots_deinit(struct slots *slots)
{
    for (int i = 0; i < SLOT_STATES; i++)
        free_list(&slots->in[i]);
    free_list(&slots->spare);
    map_free(slots->index);
}

static struct slot *take_spare(struct slots *slots, struct str id)
{
    struct list *node = list_pop_front(&slots->spare);
    struct slot *slot = node ? list_entry(node, struct slot, node) : mem_alloc(sizeof(*slot));
    struct buf text = slot->text, function = slot->function;
    *slot = (struct slot){
        .text = text, .function = function, .id_len = id.len, .deadline = INT64_MAX};
    slot->text.max = TEXT_MAX;
    slot->function.max = FUNCTION_MAX;
    memcpy(slot->id, id.at, id.len);
    return slot;
}

static void enter(struct slots *slots, struct slot *slot, enum slot_state state)
{
    slot->state = state;
    list_push_back(&slots->in[state], &slot->node);
    slots->count[state]++;
}

static void leave(struct slots *slots, struct slot *slot)
{
    list_remove(&slot->node);
    slots->count[slot->state]--;
}

struct slot *slots_add(struct slots *slots, struct str id, int64_t fence)
{
    struct slot *slot = take_spare(slots, id);
    slot->fence = fence;
    map_put(slots->index, slot_id(slot), slot);
    enter(slots, slot, SLOT_QUEUED);
    return slot;
}

struct slot *slots_find(const struct slots *slots, struct str id)
{
    return map_get(slots->index, id);
}

struct slot *slots_find_in_runner(const struct slots *slots, struct str id, int64_t fence)
{
    struct slot *slot = slots_find(slots, id);
    if (slot && slot->state == SLOT_RUNNING && slot->runner_fence == fence)
        return slot;
    list_each (&slots->in[SLOT_ABANDONED], it, next) {
        struct slot *other = list_entry(it, struct slot, node);
        if (other->runner_fence == fence && str_eq(slot_id(other), id))
            return other;
    }
    return NULL;
}

void slots_move(struct slots *slots, struct slot *slot, enum slot_state state)
{
    leave(slots, slot);
    slot->worker = NULL;
    enter(slots, slot, state);
}

void slots_abandon(struct slots *slots, struct slot *slot, int64_t deadline)
{
    struct slot *left = take_spare(slots, slot_id(slot));
    left->fence = slot->fence;
    left->runner_fence = slot->runner_fence;
    left->started_us = slot->started_us;
    left->deadline = deadline;
    enter(slots, left, SLOT_ABANDONED);
}

void slots_release(struct slots *slots, struct slot *slot)
{
    leave(slots, slot);
    if (slot->state != SLOT_ABANDONED)
        map_remove(slots->index, slot_id(slot));
    if (slot->text.cap > TEXT_KEPT)
        buf_deinit(&slot->text);
    else
        buf_clear(&slot->text);
    buf_clear(&slot->function);
    list_push_back(&slots->spare, &slot->node);
}
