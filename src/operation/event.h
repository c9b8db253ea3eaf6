// SPDX-License-Identifier: Apache-2.0
// operation/event: what has happened, told to the parts of the server that live in memory
// (dispatch, controllers, waiting calls, log followers). Loop thread only; subscribers run in order
// of subscription, inside events_publish.
#ifndef DROVER_OPERATION_EVENT_H
#define DROVER_OPERATION_EVENT_H

#include <stdbool.h>

#include "base/str.h"

struct execution;
struct execution_status;

enum event_kind {
    EVENT_EXECUTION_READY,  // id, service_id, body (small input or absent): may be handed to an
                            // agent
    EVENT_EXECUTION_ENDED,  // id, service_id: has its final result; row and log when it is watched
    EVENT_EXECUTION_CUT,    // id, service_id, project_id, function_name, body (why): ended, or was
                            // queued again, without a word of its runner
    EVENT_EXECUTION_TERMINATE,  // id, service_id: to_terminate was set while it may be running
    EVENT_SERVICE_CHANGED,      // service_id: created, updated, paused, resumed, restarted; force
    EVENT_SERVICE_DELETED,      // service_id; force
    EVENT_REPLICA_CHANGED,      // id (replica), service_id
    EVENT_REPLICA_PREEMPTED,    // id (replica), service_id: it is to make room
    EVENT_COMMAND_CREATED,      // id (command): work to be carried on by control/
    EVENT_DELETION_BEGUN,       // id (project or dataset): its contents are to be removed
    EVENT_DELIVERY_DUE,         // a notification waits to be delivered
    EVENT_KINDS,
};

struct event {
    enum event_kind kind;
    struct str id, service_id, project_id, function_name, body;
    bool force;
    int64_t concurrency;  // EVENT_SERVICE_CHANGED: that running agents take; 0: they keep theirs
    const struct execution *row;  // NULL: not read
    const struct execution_status *log;
    size_t log_count;
    struct event *next;
};

struct events;
struct events *events_new(void);
void events_free(struct events *events);
void events_subscribe(struct events *events, enum event_kind kind,
                      void (*fn)(void *arg, const struct event *event), void *arg);
// Ends a subscription; may be called from a subscriber.
void events_unsubscribe(struct events *events, enum event_kind kind,
                        void (*fn)(void *arg, const struct event *event), void *arg);
void events_publish(struct events *events, const struct event *event);

// Who knows which executions somebody waits for: the end of such a one brings its row, read where
// it was written. One asker; NULL: nobody waits.
void events_on_watched(struct events *events, bool (*fn)(void *arg, struct str id), void *arg);
bool events_watched(const struct events *events, struct str id);

#endif
