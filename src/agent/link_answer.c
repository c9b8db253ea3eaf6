// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "agent/link_internal.h"
#include "base/mem.h"

#define IDLE_ANSWER_MS 10

static void move_sent(struct link *link, int64_t seq, bool answered)
{
    struct slots *slots = link->config.slots;
    list_each (&slots->in[SLOT_SENT], it, next) {
        struct slot *slot = list_entry(it, struct slot, node);
        if (slot->sent_seq != seq)
            continue;
        if (!answered)
            slots_move(slots, slot, SLOT_NEWS);
        else if (slot->news == NEWS_RETURNED)
            slots_release(slots, slot);
    }
}

void link_take_back(struct exchange *exchange)
{
    struct link *link = exchange->link;
    move_sent(link, exchange->seq, false);
    struct buf *older = &exchange->progress, *newer = &link->progress;
    older->max = newer->max > older->max ? newer->max : older->max;
    if (older->len > 0 && older->len + newer->len < older->max) {
        if (newer->len > 0) {
            buf_add_char(older, ',');
            buf_add_str(older, buf_str(newer));
        }
        buf_deinit(newer);
        *newer = buf_take(older);
    }
    if (exchange->failure && !link->failure_told)
        link->failure_sent = false;
}

// [id, fence, …]: false when it is not that.
static bool take_ref(struct json pair, struct str *id, int64_t *fence, struct json *third)
{
    struct json_iter it = json_each(pair);
    struct str key;
    struct json value;
    if (!json_next(&it, &key, &value) || !json_is(value, JSON_STRING))
        return false;
    *id = (struct str){value.text.at + 1, value.text.len - 2};
    if (!json_next(&it, &key, &value) || !json_int(value, fence))
        return false;
    if (third && !json_next(&it, &key, third))
        *third = (struct json){0};
    return true;
}

static void take_recorded(struct link *link, struct json list)
{
    struct slots *slots = link->config.slots;
    struct json_iter it = json_each(list);
    struct str key, id;
    int64_t fence;
    struct json applied;
    for (struct json pair; json_next(&it, &key, &pair);) {
        if (!take_ref(pair, &id, &fence, &applied))
            continue;
        struct slot *slot = slots_find(slots, id);
        bool reported = slot && (slot->state == SLOT_NEWS || slot->state == SLOT_SENT);
        if (!reported || slot->news == NEWS_RETURNED || slot->fence != fence)
            continue;
        if (json_is(applied, JSON_FALSE))
            log_info(link->config.log, "agent",
                     "the result of " STR_FMT " was refused: somebody else has the execution",
                     STR_ARG(id));
        slots_release(slots, slot);
    }
}

static void take_executions(struct link *link, const struct exchange *exchange, struct json list)
{
    size_t count = json_count(list);
    if (count == 0)
        return;
    if (link_now(link) - exchange->sent_at > link->lease_ms) {
        log_warn(link->config.log, "agent",
                 "%zu executions came later than their lease runs: they are not started", count);
        return;
    }
    struct json_iter it = json_each(list);
    struct str key;
    for (struct json execution; json_next(&it, &key, &execution);)
        link->config.on_execution(link->config.arg, execution, exchange->sent_at);
}

static void take_orders(struct link *link, struct json drop, struct json terminate,
                        struct json command)
{
    struct json_iter it = json_each(drop);
    struct str key, id;
    int64_t fence;
    for (struct json pair; json_next(&it, &key, &pair);)
        if (take_ref(pair, &id, &fence, NULL))
            link->config.on_drop(link->config.arg, id, fence);
    it = json_each(terminate);
    for (struct json value; json_next(&it, &key, &value);)
        if (json_is(value, JSON_STRING))
            link->config.on_terminate(link->config.arg,
                                      (struct str){value.text.at + 1, value.text.len - 2});
    if (json_is(command, JSON_STRING))
        link->config.on_command(link->config.arg,
                                (struct str){command.text.at + 1, command.text.len - 2});
}

static void take_token(struct link *link, struct json token)
{
    struct json value;
    if (!json_is(token, JSON_OBJECT) || !json_get(token, "token", &value))
        return;
    _cleanup_arena_ struct arena *arena = arena_new();
    struct str text = json_str(value, arena);
    if (text.len > 0)
        link->config.on_token(link->config.arg, text);
}

struct answer {
    struct json executions, recorded, terminate, drop, command, token, concurrency;
};

static bool read_answer(struct str body, struct answer *out, struct err *err)
{
    struct json all;
    *out = (struct answer){0};
    if (json_parse(body, JSON_DEPTH_LIMIT, &all, err))
        return false;
    struct json_iter it = json_each(all);
    struct str key;
    for (struct json value; json_next(&it, &key, &value);) {
        if (str_is(key, "executions"))
            out->executions = value;
        else if (str_is(key, "recorded"))
            out->recorded = value;
        else if (str_is(key, "terminate"))
            out->terminate = value;
        else if (str_is(key, "drop"))
            out->drop = value;
        else if (str_is(key, "command"))
            out->command = value;
        else if (str_is(key, "token"))
            out->token = value;
        else if (str_is(key, "concurrency"))
            out->concurrency = value;
    }
    return true;
}

static void count_idle(struct link *link, const struct exchange *exchange,
                       const struct answer *answer)
{
    bool empty = json_count(answer->executions) == 0 && json_count(answer->recorded) == 0;
    bool at_once = link_now(link) - exchange->sent_at < IDLE_ANSWER_MS;
    link->idle_answers = empty && at_once && link->under_way == 0 ? link->idle_answers + 1 : 0;
}

void link_answered(struct exchange *exchange, struct str body)
{
    struct link *link = exchange->link;
    struct err err = ERR_INIT;
    struct answer answer;
    if (!read_answer(body, &answer, &err)) {
        log_warn(link->config.log, "agent", "the server's answer is not JSON: %s", err.message);
        link_take_back(exchange);
        return;
    }
    if (exchange->sent_at > link->renewed_at)
        link->renewed_at = exchange->sent_at;
    if (exchange->failure)
        link->failure_told = true;
    if (exchange->reports > 0)
        link->one_by_one = false;
    count_idle(link, exchange, &answer);
    take_token(link, answer.token);
    int64_t concurrency;
    if (json_is(answer.concurrency, JSON_NUMBER) && json_int(answer.concurrency, &concurrency))
        link->config.on_concurrency(link->config.arg, concurrency);
    take_recorded(link, answer.recorded);
    move_sent(link, exchange->seq, true);
    take_orders(link, answer.drop, (struct json){0}, (struct json){0});
    take_executions(link, exchange, answer.executions);
    take_orders(link, (struct json){0}, answer.terminate, answer.command);
}

// The one report that the server would not take is replaced by the news that it was refused.
static void replace_report(struct link *link, struct slot *slot, int status, struct str body)
{
    buf_deinit(&slot->text);
    slot->news = NEWS_RESULT;
    char text[512];
    snprintf(text, sizeof(text), "the server refused the execution's result (%d): %.300s", status,
             status == 413  ? "it is too large"
             : body.len > 0 ? "it is not well formed"
                            : "");
    struct json_writer w = JSON_WRITER(&slot->text);
    w.comma = true;
    json_w_pair_str(&w, "status", STR("failed"));
    json_w_pair_str(&w, "message", str_of(text));
    json_w_key(&w, "error");
    json_w_object(&w);
    json_w_pair_str(&w, "message", str_of(text));
    json_w_pair_str(&w, "type", STR("ResultRefused"));
    json_w_pair_raw(&w, "stack", STR("null"));
    json_w_object_end(&w);
    json_w_pair_int(&w, "endedAt", clock_wall(link->config.clock));
}

void link_content_refused(struct exchange *exchange, int status, struct str body)
{
    struct link *link = exchange->link;
    log_warn(link->config.log, "agent", "the server refused an exchange (%d): %.*s", status,
             (int)(body.len < 300 ? body.len : 300), body.at);
    buf_clear(&exchange->progress);  // told or not: it must not stand in the way of results
    if (exchange->reports == 1) {
        list_each (&link->config.slots->in[SLOT_SENT], it, next) {
            struct slot *slot = list_entry(it, struct slot, node);
            if (slot->sent_seq != exchange->seq || slot->news == NEWS_RETURNED || slot->shrunk)
                continue;
            replace_report(link, slot, status, body);
            slot->shrunk = true;
        }
    }
    link->one_by_one = true;
    link_take_back(exchange);
}

void link_confirm_held(struct link *link, struct json held)
{
    struct slots *slots = link->config.slots;
    static const enum slot_state states[] = {SLOT_QUEUED, SLOT_RUNNING, SLOT_NEWS, SLOT_SENT};
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        list_each (&slots->in[states[i]], it, next)
            list_entry(it, struct slot, node)->confirmed = false;
    struct json_iter it = json_each(held);
    struct str key, id;
    int64_t fence;
    for (struct json pair; json_next(&it, &key, &pair);) {
        struct slot *slot = take_ref(pair, &id, &fence, NULL) ? slots_find(slots, id) : NULL;
        if (slot && slot->fence == fence)
            slot->confirmed = true;
    }
    for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
        list_each (&slots->in[states[i]], at, next) {
            struct slot *slot = list_entry(at, struct slot, node);
            if (!slot->confirmed)
                link->config.on_drop(link->config.arg, slot_id(slot), slot->fence);
        }
}
