// SPDX-License-Identifier: Apache-2.0
#include "operation/event.h"

#include "base/mem.h"

struct subscriber {
    void (*fn)(void *arg, const struct event *event);
    void *arg;
    struct subscriber *next;
};

struct events {
    struct subscriber *first[EVENT_KINDS];
    bool (*watched)(void *arg, struct str id);
    void *watched_arg;
};

struct events *events_new(void) { return mem_alloc(sizeof(struct events)); }

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

void events_on_watched(struct events *events, bool (*fn)(void *arg, struct str id), void *arg)
{
    events->watched = fn;
    events->watched_arg = arg;
}

bool events_watched(const struct events *events, struct str id)
{
    return events->watched && events->watched(events->watched_arg, id);
}
