// SPDX-License-Identifier: Apache-2.0
#include "model/fields.h"

static const struct field fields[] = {
    COLUMN_ID(notification_delivery),
    COLUMN(notification_delivery, notification_id, "notificationId", TEXT, .flags = FIELD_READONLY),
    COLUMN(notification_delivery, project_id, "projectId", TEXT, .flags = FIELD_READONLY),
    COLUMN(notification_delivery, channel, "channel", TEXT, .flags = FIELD_READONLY,
           .choices = "webhook|mail"),
    COLUMN(notification_delivery, target, "target", TEXT, .flags = FIELD_READONLY),
    COLUMN(notification_delivery, state, "state", TEXT, .flags = FIELD_READONLY,
           .choices = "waiting|delivered|failed"),
    COLUMN(notification_delivery, attempts, "attempts", INT, .flags = FIELD_READONLY),
    COLUMN(notification_delivery, next_at, "nextAt", TIME, .flags = FIELD_READONLY),
    COLUMN(notification_delivery, error, "error", TEXT, .flags = FIELD_READONLY),
    COLUMN_TIMES(notification_delivery),
};

const struct entity notification_delivery_entity = {
    .name = "notification delivery",
    .table = "notification_deliveries",
    .size = sizeof(struct notification_delivery),
    FIELDS(fields),
};
