// SPDX-License-Identifier: Apache-2.0
#include "agent/link_internal.h"
#include "base/mem.h"

#define BODY_MAX      (160u << 20)
#define REPORTS_BYTES (8u << 20)  // no further report goes into an exchange of this size
#define WAIT_MOST_MS  10000

int64_t link_wait_ms(const struct link *link)
{
    int64_t third = link->lease_ms / 3;
    return third < WAIT_MOST_MS ? third : WAIT_MOST_MS;
}

static void write_ref(struct json_writer *w, const struct slot *slot)
{
    json_w_array(w);
    json_w_str(w, slot_id(slot));
    json_w_int(w, slot->fence);
    json_w_array_end(w);
}

static void write_held(struct json_writer *w, const struct slots *slots)
{
    static const enum slot_state states[] = {SLOT_QUEUED, SLOT_RUNNING, SLOT_NEWS, SLOT_SENT};
    json_w_key(w, "held");
    json_w_array(w);
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        list_each (&slots->in[states[i]], it, next) {
            const struct slot *slot = list_entry(it, struct slot, node);
            bool reported = slot->state == SLOT_NEWS || slot->state == SLOT_SENT;
            if (!reported || slot->news != NEWS_RETURNED)
                write_ref(w, slot);
        }
    json_w_array_end(w);
}

static void write_report(struct json_writer *w, const struct link *link, const struct slot *slot)
{
    if (slot->news == NEWS_RETURNED) {
        write_ref(w, slot);
        return;
    }
    if (slot->news == NEWS_LOST) {
        json_w_array(w);
        json_w_str(w, slot_id(slot));
        json_w_int(w, slot->fence);
        json_w_raw(w, buf_str(&slot->text));
        json_w_array_end(w);
        return;
    }
    json_w_object(w);
    json_w_pair_str(w, "id", slot_id(slot));
    json_w_pair_int(w, "fence", slot->fence);
    if (slot->log_end > link->logs_stored)  // lines of it are still on their way
        json_w_pair_int(w, "logEnd", slot->log_end);
    buf_add_str(w->buf, buf_str(&slot->text));  // further members, each with its comma
    json_w_object_end(w);
}

static void write_news(struct json_writer *w, struct link *link, struct exchange *exchange,
                       enum slot_news news)
{
    static const char *const keys[] = {"results", "lost", "returned"};
    struct slots *slots = link->config.slots;
    bool open = false;
    list_each (&slots->in[SLOT_NEWS], it, next) {
        struct slot *slot = list_entry(it, struct slot, node);
        if (slot->news != news)
            continue;
        bool full = exchange->reports > 0 &&
                    (link->one_by_one || w->buf->len + slot->text.len > REPORTS_BYTES);
        if (news != NEWS_RETURNED && full)
            break;
        if (!open) {
            json_w_key(w, keys[news]);
            json_w_array(w);
            open = true;
        }
        write_report(w, link, slot);
        exchange->reports += news != NEWS_RETURNED;
        slot->sent_seq = exchange->seq;
        slot->sent_at = exchange->sent_at;
        slots_move(slots, slot, SLOT_SENT);
    }
    if (open)
        json_w_array_end(w);
}

static void write_head(struct json_writer *w, const struct link *link)
{
    json_w_pair_str(w, "replicaId", str_of(link->config.replica_id));
    json_w_pair_str(w, "session", str_of(link->session));
    json_w_pair_int(w, "seq", link->seq);
    json_w_pair_str(w, "state", str_of(link->state));
    json_w_pair_str(w, "phase", str_of(link->phase));
    json_w_pair_int(w, "capacity", link->capacity);
    if (link->concurrency > 0)
        json_w_pair_int(w, "concurrency", link->concurrency);
    json_w_pair_int(w, "waitMs", link_wait_ms(link));
}

struct buf link_compose(struct link *link, struct exchange *exchange)
{
    struct buf body = BUF_INIT(BODY_MAX);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    write_head(&w, link);
    write_held(&w, link->config.slots);
    write_news(&w, link, exchange, NEWS_RESULT);
    write_news(&w, link, exchange, NEWS_LOST);
    write_news(&w, link, exchange, NEWS_RETURNED);
    if (link->progress.len > 0) {
        exchange->progress = buf_take(&link->progress);
        link->progress.max = PROGRESS_MAX;
        json_w_key(&w, "progress");
        buf_add_char(&body, '[');
        buf_add_str(&body, buf_str(&exchange->progress));
        buf_add_char(&body, ']');
        w.comma = true;
    }
    if (link->failure.len > 0 && !link->failure_sent) {
        json_w_pair_raw(&w, "failure", buf_str(&link->failure));
        exchange->failure = link->failure_sent = true;
    }
    json_w_object_end(&w);
    return body;
}

struct buf link_compose_hello(struct link *link)
{
    struct buf body = BUF_INIT(BODY_MAX);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    json_w_pair_str(&w, "replicaId", str_of(link->config.replica_id));
    json_w_pair_str(&w, "revision", str_of(link->config.revision));
    write_held(&w, link->config.slots);
    json_w_object_end(&w);
    return body;
}
