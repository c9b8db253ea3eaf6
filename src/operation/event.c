// SPDX-License-Identifier: Apache-2.0
#include "operation/event.h"

#include "base/map.h"
#include "base/mem.h"

struct subscriber {
    void (*fn)(void *arg, const struct event *event);
    void *arg;
    struct subscriber *next;
};

struct watched {
    int64_t count;
    char id[];  // the map's key
};

struct events {
    struct subscriber *first[EVENT_KINDS];
    struct map *watched;  // struct watched, by id
};

struct events *events_new(void)
{
    struct events *events = mem_alloc(sizeof(*events));
    events->watched = map_new();
    return events;
}

void events_free(struct events *events)
{
    if (!events)
        return;
    for (int kind = 0; kind < EVENT_KINDS; kind++) {
        struct subscriber *next;
        for (struct subscriber *it = events->first[kind]; it; it = next) {
            next = it->next;
            mem_free(it);
        }
    }
    size_t cursor = 0;
    struct str key;
    for (struct watched *watched; (watched = map_next(events->watched, &cursor, &key));
         cursor = 0) {
        map_remove(events->watched, key);
        mem_free(watched);
    }
    map_free(events->watched);
    mem_free(events);
}

void events_subscribe(struct events *events, enum event_kind kind,
                      void (*fn)(void *arg, const struct event *event), void *arg)
{
    struct subscriber *subscriber = mem_alloc(sizeof(*subscriber));
    struct subscriber **end = &events->first[kind];
    *subscriber = (struct subscriber){.fn = fn, .arg = arg};
    while (*end)
        end = &(*end)->next;
    *end = subscriber;
}

// The entry stays, silent, so that a publish under way may walk on.
void events_unsubscribe(struct events *events, enum event_kind kind,
                        void (*fn)(void *arg, const struct event *event), void *arg)
{
    for (struct subscriber *it = events->first[kind]; it; it = it->next) {
        if (it->fn == fn && it->arg == arg)
            it->fn = NULL;
    }
}

void events_publish(struct events *events, const struct event *event)
{
    for (struct subscriber *it = events->first[event->kind]; it; it = it->next) {
        if (it->fn)
            it->fn(it->arg, event);
    }
}

void events_watch(struct events *events, struct str id)
{
    struct watched *watched = map_get(events->watched, id);
    if (!watched) {
        watched = mem_alloc(sizeof(*watched) + id.len);
        memcpy(watched->id, id.at, id.len);
        map_put(events->watched, (struct str){watched->id, id.len}, watched);
    }
    watched->count++;
}

void events_unwatch(struct events *events, struct str id)
{
    struct watched *watched = map_get(events->watched, id);
    if (!watched || --watched->count > 0)
        return;
    map_remove(events->watched, id);
    mem_free(watched);
}

bool events_watched(const struct events *events, struct str id)
{
    return map_get(events->watched, id) != NULL;
}
