// SPDX-License-Identifier: Apache-2.0
#include "agent/link.h"

#include <stdio.h>

#include "agent/link_internal.h"
#include "base/mem.h"
#include "net/http_client.h"
#include "net/loop.h"

#define UNDER_WAY_MOST  2
#define HELLO_MS        30000
#define ANSWER_EXTRA_MS 15000  // beyond waitMs, until a call counts as failed
#define RETRY_FIRST_MS  50
#define RETRY_MOST_MS   2000
#define FULL_PAUSE_MS   5     // before asking for work when there is no room for it
#define UNRECORDED_MS   3000  // a report that is not answered for so long is repeated
#define FAILURE_MAX     (256u << 10)
#define IDLE_FREE       20  // so many idle answers in a row are no sign of trouble

struct link *link_new(const struct link_config *config)
{
    struct link *link = mem_alloc(sizeof(*link));
    link->config = *config;
    link->progress = BUF_INIT(PROGRESS_MAX);
    link->failure = BUF_INIT(FAILURE_MAX);
    link->retry_ms = RETRY_FIRST_MS;
    list_init(&link->exchanges);
    snprintf(link->state, sizeof(link->state), "starting");
    return link;
}

static void drop_exchange(struct exchange *exchange)
{
    list_remove(&exchange->node);
    exchange->link->under_way--;
    buf_deinit(&exchange->progress);
    mem_free(exchange);
}

static void cut_exchanges(struct link *link)
{
    list_each (&link->exchanges, it, next) {
        struct exchange *exchange = list_entry(it, struct exchange, node);
        http_call_cancel(exchange->call);
        link_take_back(exchange);
        drop_exchange(exchange);
    }
}

static void cancel_timer(struct loop_timer **timer)
{
    loop_timer_cancel(*timer);
    *timer = NULL;
}

void link_free(struct link *link)
{
    if (!link)
        return;
    cut_exchanges(link);
    if (link->hello)
        http_call_cancel(link->hello);
    cancel_timer(&link->retry);
    cancel_timer(&link->pause);
    cancel_timer(&link->beat);
    buf_deinit(&link->progress);
    buf_deinit(&link->failure);
    mem_free(link->session);
    mem_free(link);
}

static void on_retry(void *arg)
{
    struct link *link = arg;
    link->retry = NULL;
    if (link->session)
        link_flush(link);
    else
        link_hello(link);
}

static void retry_later(struct link *link)
{
    if (link->retry)
        return;
    link->retry = loop_timer_start(link->config.loop, link->retry_ms, 0, on_retry, link);
    link->retry_ms = link->retry_ms * 2 > RETRY_MOST_MS ? RETRY_MOST_MS : link->retry_ms * 2;
}

static bool refuses(int status)
{
    return status == 401 || status == 403 || status == 404 || status == 409;
}

static void refuse(struct link *link, const struct http_answer *answer)
{
    char why[400];
    size_t len = answer->body.len < 300 ? answer->body.len : 300;
    snprintf(why, sizeof(why), "the server answered %d: %.*s", answer->status, (int)len,
             answer->body.at);
    link->refused = true;
    link->config.on_refused(link->config.arg, why);
}

static void on_hello(void *arg, const struct http_answer *answer)
{
    struct link *link = arg;
    link->hello = NULL;
    if (answer->status == 200) {
        struct json all, held;
        struct err err = ERR_INIT;
        if (json_parse(answer->body, JSON_DEPTH_LIMIT, &all, &err) == 0 &&
            json_get(all, "held", &held))
            link_confirm_held(link, held);
        else
            link_confirm_held(link, (struct json){0});
        link->config.on_assignment(link->config.arg, answer->body);
        return;
    }
    if (refuses(answer->status)) {
        refuse(link, answer);
        return;
    }
    log_warn(link->config.log, "agent", "hello was not answered (%d): %s", answer->status,
             answer->err.message);
    retry_later(link);
}

void link_hello(struct link *link)
{
    if (link->hello || link->refused)
        return;
    cut_exchanges(link);
    cancel_timer(&link->retry);
    mem_free(link->session);
    link->session = NULL;
    struct http_call_config call = {.method = "POST",
                                    .path = "/agent/hello",
                                    .body = link_compose_hello(link),
                                    .to_fd = -1,
                                    .timeout_ms = HELLO_MS,
                                    .on_done = on_hello,
                                    .arg = link};
    link->hello = http_client_send(link->config.http, &call);
}

// Repeats reports that an answered exchange carried and nobody recorded, and renews the leases.
static void on_beat(void *arg)
{
    struct link *link = arg;
    int64_t now = link_now(link);
    struct slots *slots = link->config.slots;
    list_each (&slots->in[SLOT_SENT], it, next) {
        struct slot *slot = list_entry(it, struct slot, node);
        bool under_way = false;
        list_each (&link->exchanges, at, after)
            under_way |= list_entry(at, struct exchange, node)->seq == slot->sent_seq;
        if (!under_way && now - slot->sent_at > UNRECORDED_MS)
            slots_move(slots, slot, SLOT_NEWS);
    }
    if (now - link->last_sent >= link_wait_ms(link))
        link->urgent = true;
    link_flush(link);
}

void link_open(struct link *link, const char *session, int64_t lease_ms)
{
    mem_free(link->session);
    link->session = mem_copy(session, strlen(session));
    link->lease_ms = lease_ms;
    link->retry_ms = RETRY_FIRST_MS;
    link->renewed_at = link_now(link);
    link->urgent = true;
    cancel_timer(&link->beat);
    int64_t beat = link_wait_ms(link) / 2;
    link->beat = loop_timer_start(link->config.loop, beat, beat < 1 ? 1 : beat, on_beat, link);
}

void link_set_state(struct link *link, const char *state, const char *phase)
{
    if (strcmp(link->state, state) == 0 && strcmp(link->phase, phase) == 0)
        return;
    snprintf(link->state, sizeof(link->state), "%s", state);
    snprintf(link->phase, sizeof(link->phase), "%s", phase);
    link->urgent = true;
}

void link_set_capacity(struct link *link, int64_t capacity, bool soon)
{
    link->capacity = capacity;
    link->result_soon = soon;
}

void link_set_concurrency(struct link *link, int64_t concurrency)
{
    link->concurrency = concurrency;
}

void link_set_logs(struct link *link, int64_t stored) { link->logs_stored = stored; }

void link_progress(struct link *link, struct str members)
{
    size_t size = members.len + 3;
    size_t max = PROGRESS_MAX + size > link->progress.max ? PROGRESS_MAX + size
                                                          : link->progress.max;
    if (link->progress.len + size > max) {  // the newest is what counts
        buf_clear(&link->progress);
        max = PROGRESS_MAX + size;
    }
    link->progress.max = max;
    if (link->progress.len > 0)
        buf_add_char(&link->progress, ',');
    buf_add_char(&link->progress, '{');
    buf_add_str(&link->progress, members);
    buf_add_char(&link->progress, '}');
}

void link_failure(struct link *link, const char *type, struct json error, const char *message)
{
    struct json text = {0}, stack = {0};
    json_get(error, "message", &text);
    json_get(error, "stack", &stack);
    buf_clear(&link->failure);
    struct json_writer w = JSON_WRITER(&link->failure);
    json_w_object(&w);
    json_w_pair_str(&w, "type", str_of(type));
    if (json_is(text, JSON_STRING))
        json_w_pair_raw(&w, "message", text.text);
    else
        json_w_pair_str(&w, "message", str_of(message ? message : "no reason was given"));
    bool fits = stack.text.len < FAILURE_MAX / 2;
    json_w_pair_raw(&w, "stack", json_is(stack, JSON_STRING) && fits ? stack.text : STR_NONE);
    json_w_object_end(&w);
    if (link->failure.over) {
        buf_clear(&link->failure);
        buf_printf(&link->failure, "{\"type\":\"%s\",\"message\":\"the reason is too long\"}",
                   type);
    }
    link->failure_sent = link->failure_told = false;
    link->urgent = true;
}

static void on_answer(void *arg, const struct http_answer *answer)
{
    struct exchange *exchange = arg;
    struct link *link = exchange->link;
    int status = answer->status;
    bool content = status == 413 || status == 400 || status == 422;
    list_remove(&exchange->node);
    link->under_way--;
    if (status == 200) {
        link->retry_ms = RETRY_FIRST_MS;
        link_answered(exchange, answer->body);
    } else if (refuses(status)) {
        link_take_back(exchange);
        refuse(link, answer);
    } else if (content) {
        link_content_refused(exchange, status, answer->body);
        retry_later(link);
    } else {
        link_take_back(exchange);
        if (status != 410)
            retry_later(link);
    }
    buf_deinit(&exchange->progress);
    mem_free(exchange);
    if (status == 410)
        link_hello(link);
    else
        link->config.on_answered(link->config.arg);
}

static void send_exchange(struct link *link)
{
    struct exchange *exchange = mem_alloc(sizeof(*exchange));
    exchange->link = link;
    exchange->seq = ++link->seq;
    exchange->sent_at = link->last_sent = link_now(link);
    list_push_back(&link->exchanges, &exchange->node);
    link->under_way++;
    link->urgent = false;
    cancel_timer(&link->pause);
    struct http_call_config call = {.method = "POST",
                                    .path = "/agent/exchange",
                                    .body = link_compose(link, exchange),
                                    .to_fd = -1,
                                    .timeout_ms = link_wait_ms(link) + ANSWER_EXTRA_MS,
                                    .on_done = on_answer,
                                    .arg = exchange};
    exchange->call = http_client_send(link->config.http, &call);
}

static bool has_news(const struct link *link)
{
    return link->urgent || link->config.slots->count[SLOT_NEWS] > 0 || link->progress.len > 0 ||
           (link->failure.len > 0 && !link->failure_sent);
}

static void on_pause_over(void *arg)
{
    struct link *link = arg;
    link->pause = NULL;
    if (link->session && !link->retry && link->under_way == 0)
        send_exchange(link);
}

// A poll with nothing to say can wait a little when a result will soon do for both, because the
// functions are tiny or there is no room for work anyway, and must wait when the server answers
// polls without holding them.
static int64_t pause_before_poll(const struct link *link)
{
    if (link->idle_answers > IDLE_FREE)
        return 10 * (int64_t)link->idle_answers < 1000 ? 10 * link->idle_answers : 1000;
    bool full = link->capacity > 0 && (int64_t)slots_held(link->config.slots) >= link->capacity;
    return full || link->result_soon ? FULL_PAUSE_MS : 0;
}

void link_flush(struct link *link)
{
    if (!link->session || link->retry || link->refused || link->hello)
        return;
    bool news = has_news(link);
    if (link->under_way >= UNDER_WAY_MOST || (link->under_way == 1 && !news))
        return;
    int64_t pause = link->under_way == 0 && !news ? pause_before_poll(link) : 0;
    if (pause == 0)
        send_exchange(link);
    else if (!link->pause)
        link->pause = loop_timer_start(link->config.loop, pause, 0, on_pause_over, link);
}

bool link_settled(const struct link *link)
{
    return link->config.slots->count[SLOT_NEWS] == 0 && link->config.slots->count[SLOT_SENT] == 0 &&
           link->progress.len == 0 && (link->failure.len == 0 || link->failure_told);
}

bool link_lease_fresh(const struct link *link, const struct slot *slot)
{
    int64_t basis = slot->lease_basis;
    if (slot->arrived <= link->renewed_at && link->renewed_at > basis)
        basis = link->renewed_at;
    return link_now(link) - basis <= link->lease_ms;
}
