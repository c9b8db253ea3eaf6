// SPDX-License-Identifier: Apache-2.0
#include "api/wait.h"

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"
#include "net/loop.h"

struct target {  // one execution or service that is waited for
    char *id;
    struct list waits;
};

struct waits {
    const struct platform *platform;
    struct map *targets;  // by id
};

struct wait {
    struct list node;
    struct waits *waits;
    struct target *target;
    struct loop_timer *timer;
    void (*fn)(void *arg, const struct event *ended);
    void *arg;
};

static void target_free(struct target *target)
{
    mem_free(target->id);
    mem_free(target);
}

static void wait_end(struct wait *wait)
{
    struct target *target = wait->target;
    list_remove(&wait->node);
    if (list_empty(&target->waits)) {
        map_remove(wait->waits->targets, str_of(target->id));
        target_free(target);
    }
    mem_free(wait);
}

static void on_timer(void *arg)
{
    struct wait *wait = arg;
    void (*fn)(void *, const struct event *) = wait->fn;
    void *fn_arg = wait->arg;
    wait_end(wait);
    fn(fn_arg, NULL);
}

// Whoever waits again meanwhile waits for the next news.
static void wake(struct waits *waits, struct str id, const struct event *ended)
{
    struct target *target = id.at ? map_remove(waits->targets, id) : NULL;
    if (!target)
        return;
    for (struct list *node; (node = list_pop_front(&target->waits));) {
        struct wait *wait = list_entry(node, struct wait, node);
        void (*fn)(void *, const struct event *) = wait->fn;
        void *fn_arg = wait->arg;
        loop_timer_cancel(wait->timer);
        mem_free(wait);
        fn(fn_arg, ended);
    }
    target_free(target);
}

static void on_ended(void *arg, const struct event *event)
{
    wake(arg, event->id, event);
    wake(arg, event->service_id, NULL);
}

static void on_lines(void *arg, struct str service_id) { wake(arg, service_id, NULL); }

static bool is_watched(void *arg, struct str id)
{
    return map_get(((struct waits *)arg)->targets, id) != NULL;
}

struct waits *waits_new(const struct platform *platform)
{
    struct waits *waits = mem_alloc(sizeof(*waits));
    waits->platform = platform;
    waits->targets = map_new();
    events_subscribe(platform->events, EVENT_EXECUTION_ENDED, on_ended, waits);
    events_on_watched(platform->events, is_watched, waits);
    if (platform->logs)
        logs_on_append(platform->logs, on_lines, waits);
    return waits;
}

void waits_free(struct waits *waits)
{
    if (!waits)
        return;
    events_unsubscribe(waits->platform->events, EVENT_EXECUTION_ENDED, on_ended, waits);
    events_on_watched(waits->platform->events, NULL, NULL);
    if (waits->platform->logs)
        logs_on_append(waits->platform->logs, NULL, NULL);
    map_free(waits->targets);
    mem_free(waits);
}

struct wait *wait_start(struct waits *waits, struct str id, int64_t timeout_ms,
                        void (*fn)(void *arg, const struct event *ended), void *arg)
{
    struct target *target = map_get(waits->targets, id);
    if (!target) {
        target = mem_alloc(sizeof(*target));
        target->id = mem_copy(id.at, id.len);
        list_init(&target->waits);
        map_put(waits->targets, (struct str){target->id, id.len}, target);
    }
    struct wait *wait = mem_alloc(sizeof(*wait));
    wait->waits = waits;
    wait->target = target;
    wait->fn = fn;
    wait->arg = arg;
    wait->timer = loop_timer_start(waits->platform->loop, timeout_ms, 0, on_timer, wait);
    list_push_back(&target->waits, &wait->node);
    return wait;
}

void wait_cancel(struct wait *wait)
{
    loop_timer_cancel(wait->timer);
    wait_end(wait);
}
