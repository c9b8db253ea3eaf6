// SPDX-License-Identifier: Apache-2.0
#include "control/notifier.h"

#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/id.h"
#include "base/mem.h"
#include "net/http_client.h"
#include "net/loop.h"
#include "net/mail.h"
#include "operation/delivery.h"
#include "operation/secret_file.h"

#define WAIT_MOST_MS (20 * 60 * 1000)  // longer, and the wall clock was set back: it is due
#define TROUBLE_MS   5000              // after the store did not take or give something
#define WEBHOOK_MS   10000
#define MAIL_MS      30000
#define ANSWER_MAX   65536
#define PAYLOAD_MAX  (4 << 20)
#define SECRET_BYTES 1024

// One of the two ways. A round: look for what is due, send it, record what became of it.
struct channel {
    struct notifier *notifier;
    const char *name;
    void (*send)(struct channel *channel);
    struct metric *results[3];  // by enum delivery_result
    bool wanted, busy, again;   // again: something new came while it was busy
    struct loop_timer *timer;
    struct arena *arena;  // of the round
    struct delivery_due due;
    struct err why;  // of the attempt
    enum delivery_result result;
    struct mail mail;
};

struct notifier {
    const struct platform *platform;
    struct channel webhook, mail;
    struct http_client *http;
    const char *path;  // of the webhook's URL
    struct arena *arena;
    struct str secret;
    char login[SECRET_BYTES];  // USER, NUL, PASSWORD
    size_t user_len;
    atomic_bool stopped;  // also told to the pool
};

static void look(struct channel *channel);

static bool is_stopped(const struct notifier *notifier) { return atomic_load(&notifier->stopped); }

static void on_timer(void *arg)
{
    struct channel *channel = arg;
    channel->timer = NULL;
    look(channel);
}

static void look_in(struct channel *channel, int64_t wait_ms)
{
    loop_timer_cancel(channel->timer);
    channel->timer = loop_timer_start(channel->notifier->platform->loop, wait_ms, 0, on_timer,
                                      channel);
}

// ── what became of an attempt ────────────────────────────────────────────────────────────────

static int record_work(struct op *op, void *arg, struct err *err)
{
    struct channel *channel = arg;
    uint32_t random;
    random_fill(&random, sizeof(random));
    return delivery_record(op, &channel->due, &channel->why, random, &channel->result, err);
}

static void record_done(void *arg, struct err *err)
{
    struct channel *channel = arg;
    struct log *log = channel->notifier->platform->log;
    channel->busy = false;
    if (is_stopped(channel->notifier))
        return;
    if (err->kind != ERR_NONE) {
        log_warn(log, "notifier", "what became of a notification is not recorded: %s",
                 err->message);
        look_in(channel, TROUBLE_MS);
        return;
    }
    metric_add(channel->results[channel->result], 1);
    if (channel->result == DELIVERY_FAILED)
        log_warn(log, "notifier", "a notification is given up: %s", channel->why.message);
    else if (channel->result == DELIVERY_RETRY && channel->due.row.attempts == 0)
        log_warn(log, "notifier", "a notification is tried again: %s", channel->why.message);
    look(channel);
}

static void attempted(struct channel *channel)
{
    if (is_stopped(channel->notifier))
        channel->busy = false;  // it may have arrived: the next server sends it once more
    else
        op_run(channel->notifier->platform, OP_WRITE_LAZY, record_work, record_done, channel);
}

// ── webhook ──────────────────────────────────────────────────────────────────────────────────

static void on_answer(void *arg, const struct http_answer *answer)
{
    struct channel *channel = arg;
    channel->why = answer->err;
    if (answer->status != 0 && (answer->status < 200 || answer->status > 299))
        err_set(&channel->why, ERR_UNAVAILABLE, "the webhook answered with status %d",
                answer->status);
    attempted(channel);
}

static void send_webhook(struct channel *channel)
{
    struct notifier *notifier = channel->notifier;
    struct buf body = BUF_INIT(PAYLOAD_MAX);
    char signature[DELIVERY_SIGNATURE_SIZE];
    delivery_json(&channel->due, clock_wall(notifier->platform->clock), &body);
    delivery_sign(notifier->secret, buf_str(&body), signature);
    const char *headers[] = {
        arena_printf(channel->arena, "x-drover-signature: %s", signature).at,
        arena_printf(channel->arena, "idempotency-key: " STR_FMT, STR_ARG(channel->due.row.id)).at,
        NULL};
    http_client_send(notifier->http, &(struct http_call_config){.method = "POST",
                                                                .path = notifier->path,
                                                                .headers = headers,
                                                                .body = body,
                                                                .to_fd = -1,
                                                                .timeout_ms = WEBHOOK_MS,
                                                                .on_done = on_answer,
                                                                .arg = channel});
}

// ── mail ─────────────────────────────────────────────────────────────────────────────────────

static void mail_work(void *arg)  // on the pool
{
    struct channel *channel = arg;
    channel->why = ERR_INIT;
    if (mail_send(&channel->mail, &channel->why) && channel->why.kind == ERR_NONE)
        err_set(&channel->why, ERR_INTERNAL, "the mail was not sent");
}

static void mail_done(void *arg) { attempted(arg); }

static void send_mail(struct channel *channel)
{
    struct notifier *notifier = channel->notifier;
    const struct platform *platform = notifier->platform;
    struct arena *arena = channel->arena;
    _cleanup_buf_ struct buf text = BUF_INIT(PAYLOAD_MAX);
    bool login = notifier->user_len > 0;
    delivery_text(&channel->due, platform->settings->public_url, &text);
    channel->mail = (struct mail){
        .server = platform->settings->smtp_url,
        .user = login ? notifier->login : NULL,
        .password = login ? notifier->login + notifier->user_len + 1 : NULL,
        .from = platform->settings->smtp_from,
        .to = arena_cstr(arena, channel->due.row.target),
        .subject = delivery_subject(&channel->due, arena),
        .text = arena_copy(arena, buf_str(&text)),
        .id = arena_cstr(arena, channel->due.row.id),
        .now = clock_wall(platform->clock),
        .timeout_ms = MAIL_MS,
        .stop = &notifier->stopped,
    };
    loop_work(platform->loop, mail_work, mail_done, channel);
}

// ── looking ──────────────────────────────────────────────────────────────────────────────────

static int look_work(struct op *op, void *arg, struct err *err)
{
    struct channel *channel = arg;
    return delivery_first(op, channel->name, channel->arena, &channel->due, err);
}

static void look_done(void *arg, struct err *err)
{
    struct channel *channel = arg;
    const struct platform *platform = channel->notifier->platform;
    int64_t wait = channel->due.found ? channel->due.row.next_at - clock_wall(platform->clock) : 0;
    if (wait > WAIT_MOST_MS)
        wait = 0;
    channel->busy = false;
    if (is_stopped(channel->notifier))
        return;
    if (err->kind != ERR_NONE) {
        log_warn(platform->log, "notifier", "%s", err->message);
        look_in(channel, TROUBLE_MS);
    } else if (channel->due.found && wait <= 0) {
        channel->busy = true;
        if (channel->due.notification.id.at) {
            channel->send(channel);
        } else {
            err_set(&channel->why, ERR_DENIED, "the notification was deleted");
            attempted(channel);
        }
    } else if (channel->again) {
        look(channel);
    } else if (channel->due.found) {
        look_in(channel, wait);
    }
}

static void look(struct channel *channel)
{
    if (!channel->wanted || is_stopped(channel->notifier))
        return;
    channel->again = channel->busy;
    if (channel->busy)
        return;
    channel->busy = true;
    loop_timer_cancel(channel->timer);
    channel->timer = NULL;
    arena_reset(channel->arena);
    op_run(channel->notifier->platform, OP_READ, look_work, look_done, channel);
}

static void on_due(void *arg, const struct event *event)
{
    struct notifier *notifier = arg;
    (void)event;
    look(&notifier->webhook);
    look(&notifier->mail);
}

// ── life ─────────────────────────────────────────────────────────────────────────────────────

static void channel_init(struct channel *channel, struct notifier *notifier, const char *name,
                         const char *const labels[3], void (*send)(struct channel *channel))
{
    channel->notifier = notifier;
    channel->name = name;
    channel->send = send;
    channel->arena = arena_new();
    for (int i = 0; i < 3; i++)
        channel->results[i] = metric_counter(notifier->platform->metrics,
                                             "drover_notification_deliveries_total", labels[i],
                                             "Attempts to deliver a notification.");
}

static int read_login(struct notifier *notifier, const char *path, struct err *err)
{
    size_t len;
    if (secret_file_read(path, notifier->login, sizeof(notifier->login), &len, err))
        return -1;
    char *colon = strchr(notifier->login, ':');
    if (!colon || colon == notifier->login)
        return err_set(err, ERR_BAD_INPUT, "--smtp-login: %s must hold USER:PASSWORD", path);
    *colon = '\0';
    notifier->user_len = (size_t)(colon - notifier->login);
    return 0;
}

static int read_secrets(struct notifier *notifier, struct err *err)
{
    const struct settings *settings = notifier->platform->settings;
    if (settings->smtp_login && read_login(notifier, settings->smtp_login, err))
        return -1;
    if (!settings->notify_secret)
        return 0;
    char *secret = arena_alloc(notifier->arena, SECRET_BYTES);
    size_t len;
    if (secret_file_read(settings->notify_secret, secret, SECRET_BYTES, &len, err))
        return -1;
    notifier->secret = (struct str){secret, len};
    return len > 0 ? 0
                   : err_set(err, ERR_BAD_INPUT, "--notify-secret: %s is empty",
                             settings->notify_secret);
}

struct notifier *notifier_new(const struct platform *platform, struct err *err)
{
    static const char *const webhook[] = {"channel=\"webhook\",result=\"delivered\"",
                                          "channel=\"webhook\",result=\"retried\"",
                                          "channel=\"webhook\",result=\"failed\""};
    static const char *const mail[] = {"channel=\"mail\",result=\"delivered\"",
                                       "channel=\"mail\",result=\"retried\"",
                                       "channel=\"mail\",result=\"failed\""};
    struct notifier *notifier = mem_alloc(sizeof(*notifier));
    notifier->platform = platform;
    notifier->arena = arena_new();
    channel_init(&notifier->webhook, notifier, DELIVERY_WEBHOOK, webhook, send_webhook);
    channel_init(&notifier->mail, notifier, DELIVERY_MAIL, mail, send_mail);
    if (read_secrets(notifier, err)) {
        notifier_free(notifier);
        return NULL;
    }
    events_subscribe(platform->events, EVENT_DELIVERY_DUE, on_due, notifier);
    return notifier;
}

void notifier_start(struct notifier *notifier)
{
    const struct settings *settings = notifier->platform->settings;
    notifier->mail.wanted = settings->smtp_url != NULL;
    if (settings->notify_webhook) {
        struct str url = str_of(settings->notify_webhook);
        size_t at = (size_t)(strstr(url.at, "://") - url.at) + 3;
        at += strcspn(url.at + at, "/?#");
        notifier->path = url.at + at;
        struct http_client_config config = {
            .base_url = arena_cstr(notifier->arena, (struct str){url.at, at}),
            .body_max = ANSWER_MAX};
        notifier->http = http_client_new(notifier->platform->loop, &config);
        notifier->webhook.wanted = true;
    }
    on_due(notifier, NULL);
}

void notifier_stop(struct notifier *notifier)
{
    if (!notifier)
        return;
    atomic_store(&notifier->stopped, true);
    loop_timer_cancel(notifier->webhook.timer);
    loop_timer_cancel(notifier->mail.timer);
    notifier->webhook.timer = notifier->mail.timer = NULL;
    http_client_free(notifier->http);
    notifier->http = NULL;
}

void notifier_free(struct notifier *notifier)
{
    if (!notifier)
        return;
    sodium_memzero(notifier->login, sizeof(notifier->login));
    if (notifier->secret.at)
        sodium_memzero((char *)(uintptr_t)notifier->secret.at, notifier->secret.len);
    arena_free(notifier->webhook.arena);
    arena_free(notifier->mail.arena);
    arena_free(notifier->arena);
    mem_free(notifier);
}
