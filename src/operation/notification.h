// SPDX-License-Identifier: Apache-2.0
// operation/notification: what people must hear of, in the centre of notifications and, where the
// operator said so, by webhook and mail. It is written in the transaction of what it tells of: both
// happen, or neither. What merely happened is an event (operation/service_event.h).
#ifndef DROVER_OPERATION_NOTIFICATION_H
#define DROVER_OPERATION_NOTIFICATION_H

#include "operation/op.h"

// Types that only the server raises; functions raise any other (POST /services/{id}/notify). A new
// one also goes into check_type of notification.c.
#define NOTIFICATION_CRASH_LOOP     "CrashLoopBackOff"  // stopped: its agents cannot start
#define NOTIFICATION_IMAGE_PULL     "ImagePullBackOff"  // stopped: its image cannot be had
#define NOTIFICATION_ROLLOUT_HALTED "RolloutHalted"     // new agents fail, old ones serve on
#define NOTIFICATION_ROLLED_BACK    "RolledBack"        // it runs its last good revision again

#define NOTIFICATION_MESSAGE_MAX (64 << 10)  // bytes

struct notification_note {
    struct str type;
    const char *level;  // "info" | "warning" | "error"
    struct str project_id;
    const char *entity_type;  // "service"
    struct str entity_id, entity_name;
    struct str title;    // a sentence without a full stop, one line
    struct str message;  // the exact error; of what is too long the end is kept
    struct str inputs;   // JSON object; absent: none
};

// Writes it in the operation's transaction. One of the same type and entity that is not resolved,
// that nobody has read and that was last raised within a day counts up and takes the newest title,
// message and inputs; otherwise it is a new one.
MUST_CHECK int notification_raise(struct op *op, const struct notification_note *note,
                                  struct err *err);

// What the open notifications of that type told of has ended (a person's resume): the next one is a
// new incident. None open is no error.
MUST_CHECK int notification_resolve(struct op *op, const char *type, struct str entity_id,
                                    struct err *err);

// What an agent or a function of the service tells (POST /services/{id}/notify): {"action",
// "message", "notificationName", …}. ERR_BUSY: the service has told of too many different things
// within an hour.
MUST_CHECK int notification_report(struct op *op, const struct service *service, struct json body,
                                   struct err *err);

// ── reading ──────────────────────────────────────────────────────────────────────────────────

// Those that the caller has not read.
struct filter *notification_unread(struct op *op);

// Fills in `read`, the caller's.
void notification_complete(struct op *op, struct notification *row);

// Whether the caller has read it. The row is completed.
MUST_CHECK int notification_mark(struct op *op, struct notification *row, bool read,
                                 struct err *err);

// Marks at most 1,000 unread ones of the filter (NULL: any) as read by the caller, the newest
// first. *more: there may be further ones.
MUST_CHECK int notification_mark_all(struct op *op, struct filter *filter, int64_t *marked,
                                     bool *more, struct err *err);

#endif
