// SPDX-License-Identifier: Apache-2.0
// operation/delivery: notifications on their way to people by webhook and mail. What is to be
// delivered is a row of the same transaction as the notification, so it survives the server; it is
// made at least once, always under the same id, and tried again for a day.
#ifndef DROVER_OPERATION_DELIVERY_H
#define DROVER_OPERATION_DELIVERY_H

#include "operation/op.h"

#define DELIVERY_WEBHOOK "webhook"
#define DELIVERY_MAIL    "mail"

// In the transaction that writes the notification: a row for the webhook, and one for each person
// who gets mail. Nothing where the operator gave no way.
MUST_CHECK int delivery_enqueue(struct op *op, const struct notification *notification,
                                struct err *err);

struct delivery_due {
    struct notification_delivery row;
    struct notification notification;  // id absent: it is deleted
    bool found;                        // row is what is to be tried next, perhaps not yet (next_at)
};
// The delivery of a channel that is due first. Texts live in `arena`.
MUST_CHECK int delivery_first(struct op *op, const char *channel, struct arena *arena,
                              struct delivery_due *out, struct err *err);

// When it is tried again that has failed `attempts` times (from 1 on), wall ms; -1: not any more.
// 1 s at first, twice as long each time, at most 15 min, a quarter more or less by `random`; for 24
// hours from `created_at` on.
int64_t delivery_retry_at(int64_t created_at, int64_t attempts, int64_t now, uint32_t random);

enum delivery_result { DELIVERY_DONE, DELIVERY_RETRY, DELIVERY_FAILED };

// Records an attempt, in a write; why->kind ERR_NONE: it has arrived, ERR_DENIED: it was refused
// for good. *result says what becomes of it. The end of one that failed is an event of its service.
// A row that is gone, or was ended before, is left alone.
MUST_CHECK int delivery_record(struct op *op, const struct delivery_due *due, const struct err *why,
                               uint32_t random, enum delivery_result *result, struct err *err);

// ── what is sent ─────────────────────────────────────────────────────────────────────────────

// The body of the webhook.
void delivery_json(const struct delivery_due *due, int64_t now, struct buf *out);

// "sha256=" and the HMAC-SHA256 of the body in hex.
#define DELIVERY_SIGNATURE_SIZE 72
void delivery_sign(struct str secret, struct str body, char out[DELIVERY_SIGNATURE_SIZE]);

// The text of the mail, and its subject.
void delivery_text(const struct delivery_due *due, const char *public_url, struct buf *out);
struct str delivery_subject(const struct delivery_due *due, struct arena *arena);

#endif
