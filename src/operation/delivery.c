// SPDX-License-Identifier: Apache-2.0
#include "operation/delivery.h"

#include <sodium.h>
#include <stdio.h>

#include "operation/service_event.h"

#define FIRST_MS    1000
#define LONGEST_MS  (15 * 60 * 1000)
#define GIVE_UP_MS  (24 * 3600 * 1000LL)
#define PEOPLE_MOST 100
#define BOTS        "@bot.drover"

static const struct entity *const entity = &notification_delivery_entity;

// ── the way out ──────────────────────────────────────────────────────────────────────────────

static int add(struct op *op, const struct notification *notification, const char *channel,
               struct str target, struct err *err)
{
    struct notification_delivery row = {.id = op_id(op),
                                        .notification_id = notification->id,
                                        .project_id = notification->project_id,
                                        .channel = str_of(channel),
                                        .target = target,
                                        .state = STR("waiting"),
                                        .next_at = op->now,
                                        .created_at = op->now,
                                        .updated_at = op->now};
    return tx_insert(op->tx, entity, &row, err);
}

static int add_owners(struct op *op, const struct notification *notification, struct err *err)
{
    struct query query = {
        .filter = filter_and(
            filter_eq_text(&member_entity, "projectId", notification->project_id, op->arena),
            filter_eq_text(&member_entity, "role", STR("owner"), op->arena), op->arena),
        .limit = PEOPLE_MOST};
    void *rows;
    size_t count;
    if (tx_select(op->tx, &member_entity, &query, op->arena, &rows, &count, err))
        return -1;
    const struct member *members = rows;
    for (size_t i = 0; i < count; i++)
        if (!str_ends(members[i].user_id, STR(BOTS)) &&
            add(op, notification, DELIVERY_MAIL, members[i].user_id, err))
            return -1;
    return 0;
}

static int add_mail(struct op *op, const struct notification *notification, struct err *err)
{
    struct str to = str_of(op->platform->settings->smtp_to);
    if (to.len == 0)
        return add_owners(op, notification, err);
    while (to.len > 0)
        if (add(op, notification, DELIVERY_MAIL, str_trim(str_cut(&to, ',')), err))
            return -1;
    return 0;
}

int delivery_enqueue(struct op *op, const struct notification *notification, struct err *err)
{
    const struct settings *settings = op->platform->settings;
    if (settings->notify_webhook && add(op, notification, DELIVERY_WEBHOOK, STR_NONE, err))
        return -1;
    if (settings->smtp_url && add_mail(op, notification, err))
        return -1;
    if (settings->notify_webhook || settings->smtp_url)
        op_event(op, &(struct event){.kind = EVENT_DELIVERY_DUE, .id = notification->id});
    return 0;
}

int delivery_first(struct op *op, const char *channel, struct arena *arena,
                   struct delivery_due *out, struct err *err)
{
    struct query query = {
        .filter = filter_and(filter_eq_text(entity, "channel", str_of(channel), op->arena),
                             filter_eq_text(entity, "state", STR("waiting"), op->arena), op->arena),
        .limit = 1,
        .sort_count = 1};
    void *rows;
    size_t count;
    query.sort[0] = (struct sort_key){.field = entity_field(entity, STR("nextAt")),
                                      .path = STR("")};
    *out = (struct delivery_due){0};
    if (tx_select(op->tx, entity, &query, arena, &rows, &count, err))
        return -1;
    if (count == 0)
        return 0;
    out->found = true;
    out->row = *(const struct notification_delivery *)rows;
    if (tx_get(op->tx, &notification_entity, out->row.notification_id, &out->notification, arena,
               err) == 0)
        return 0;
    if (err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    entity_clear(&notification_entity, &out->notification);
    return 0;
}

// ── attempts ─────────────────────────────────────────────────────────────────────────────────

int64_t delivery_retry_at(int64_t created_at, int64_t attempts, int64_t now, uint32_t random)
{
    int64_t wait = FIRST_MS;
    for (int64_t i = 1; i < attempts && wait < LONGEST_MS; i++)
        wait *= 2;
    if (wait > LONGEST_MS)
        wait = LONGEST_MS;
    wait = wait * 3 / 4 + (int64_t)(random % 1024) * (wait / 2) / 1023;
    // A clock that was set back must not make it wait for days.
    if (now < created_at)
        return now + wait;
    return now + wait - created_at > GIVE_UP_MS ? -1 : now + wait;
}

static int tell_failure(struct op *op, const struct delivery_due *due,
                        const struct notification_delivery *row, struct err *err)
{
    const struct notification *about = &due->notification;
    if (!str_is(about->entity_type, service_entity.name))
        return 0;
    struct service_note note = {
        .service_id = about->entity_id,
        .project_id = about->project_id,
        .kind = "service",
        .warning = true,
        .reason = "NotificationUndelivered",
        .message = arena_printf(op->arena,
                                "the notification \"" STR_FMT "\" was not delivered by " STR_FMT
                                " in %lld attempts: " STR_FMT,
                                STR_ARG(about->title), STR_ARG(row->channel),
                                (long long)row->attempts, STR_ARG(row->error)),
        .inputs = arena_printf(op->arena, "{\"attempts\":%lld,\"notificationId\":\"" STR_FMT "\"}",
                               (long long)row->attempts, STR_ARG(row->notification_id)),
    };
    return service_event_add(op, &note, err);
}

int delivery_record(struct op *op, const struct delivery_due *due, const struct err *why,
                    uint32_t random, enum delivery_result *result, struct err *err)
{
    struct notification_delivery row;
    *result = why->kind == ERR_NONE ? DELIVERY_DONE : DELIVERY_FAILED;
    if (tx_get(op->tx, entity, due->row.id, &row, op->arena, err)) {
        if (err->kind != ERR_NOT_FOUND)
            return -1;
        *err = ERR_INIT;
        return 0;
    }
    if (!str_is(row.state, "waiting"))
        return 0;
    row.attempts++;
    row.updated_at = op->now;
    row.error = why->kind == ERR_NONE ? STR_NONE : str_of(why->message);
    int64_t next = why->kind == ERR_NONE || why->kind == ERR_DENIED
                       ? -1
                       : delivery_retry_at(row.created_at, row.attempts, op->now, random);
    if (next >= 0)
        *result = DELIVERY_RETRY;
    row.next_at = next >= 0 ? next : INT_NONE;
    row.state = next >= 0 ? row.state : str_of(*result == DELIVERY_DONE ? "delivered" : "failed");
    if (*result == DELIVERY_FAILED && tell_failure(op, due, &row, err))
        return -1;
    return tx_update(op->tx, entity, &row, err);
}

// ── what is sent ─────────────────────────────────────────────────────────────────────────────

void delivery_json(const struct delivery_due *due, int64_t now, struct buf *out)
{
    struct json_writer w = JSON_WRITER(out);
    char at[TIME_TEXT_SIZE];
    time_format(now, at);
    json_w_object(&w);
    json_w_pair_str(&w, "deliveryId", due->row.id);
    json_w_pair_int(&w, "attempt", due->row.attempts + 1);
    json_w_pair_str(&w, "sentAt", str_of(at));
    json_w_key(&w, "notification");
    entity_encode(&notification_entity, &due->notification, &w);
    json_w_object_end(&w);
}

void delivery_sign(struct str secret, struct str body, char out[DELIVERY_SIGNATURE_SIZE])
{
    unsigned char mac[crypto_auth_hmacsha256_BYTES];
    crypto_auth_hmacsha256_state state;
    crypto_auth_hmacsha256_init(&state, (const unsigned char *)secret.at, secret.len);
    crypto_auth_hmacsha256_update(&state, (const unsigned char *)body.at, body.len);
    crypto_auth_hmacsha256_final(&state, mac);
    char hex[2 * sizeof(mac) + 1];
    sodium_bin2hex(hex, sizeof(hex), mac, sizeof(mac));
    snprintf(out, DELIVERY_SIGNATURE_SIZE, "sha256=%s", hex);
}

void delivery_text(const struct delivery_due *due, const char *public_url, struct buf *out)
{
    const struct notification *about = &due->notification;
    char at[TIME_TEXT_SIZE];
    time_format(about->first_at, at);
    buf_printf(out, STR_FMT ".\n\n" STR_FMT "\n\n", STR_ARG(about->title), STR_ARG(about->message));
    buf_printf(out, STR_FMT " " STR_FMT " (" STR_FMT "), " STR_FMT ", %s\n",
               STR_ARG(about->entity_type), STR_ARG(about->entity_name), STR_ARG(about->entity_id),
               STR_ARG(about->type), at);
    buf_printf(out, "%s/api/v1/notifications/" STR_FMT "\n", public_url, STR_ARG(about->id));
}

struct str delivery_subject(const struct delivery_due *due, struct arena *arena)
{
    return arena_printf(arena, "[Drover] " STR_FMT, STR_ARG(due->notification.title));
}
