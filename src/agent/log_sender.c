// SPDX-License-Identifier: Apache-2.0
#include "agent/log_sender.h"

#include "base/list.h"
#include "base/mem.h"
#include "net/http_client.h"
#include "net/loop.h"

#define BATCH_BYTES   (512u << 10)  // a batch that has reached this takes no more lines
#define BATCH_MAX     (8u << 20)    // with its longest line
#define CROWDED_BYTES (4u << 20)
#define CALL_MS       30000
#define RETRY_FIRST   50
#define RETRY_LONGEST 2000
#define POSITION_BITS 20  // lines of a millisecond, at most: a later process begins higher

struct batch {
    struct list node;
    struct buf lines;  // JSON objects, separated by commas
    int64_t credit;
    int64_t first, count;  // positions of its lines
};

struct log_sender {
    struct log_sender_config config;
    struct list batches;  // oldest first; the first one is under way when `call` is set
    size_t bytes;
    int64_t added, stored;  // positions
    struct http_call *call;
    struct loop_timer *retry;
    int64_t retry_ms;
};

struct log_sender *log_sender_new(const struct log_sender_config *config)
{
    struct log_sender *sender = mem_alloc(sizeof(*sender));
    sender->config = *config;
    sender->retry_ms = RETRY_FIRST;
    list_init(&sender->batches);
    sender->added = sender->stored = clock_wall(config->clock) << POSITION_BITS;
    return sender;
}

static int64_t drop_batch(struct log_sender *sender, struct batch *batch)
{
    int64_t credit = batch->credit;
    sender->bytes -= batch->lines.len;
    list_remove(&batch->node);
    buf_deinit(&batch->lines);
    mem_free(batch);
    return credit;
}

void log_sender_free(struct log_sender *sender)
{
    if (!sender)
        return;
    if (sender->call)
        http_call_cancel(sender->call);
    loop_timer_cancel(sender->retry);
    list_each (&sender->batches, it, next)
        drop_batch(sender, list_entry(it, struct batch, node));
    mem_free(sender);
}

static struct batch *open_batch(struct log_sender *sender)
{
    struct list *newest = sender->batches.prev;
    if (newest != &sender->batches) {
        struct batch *batch = list_entry(newest, struct batch, node);
        bool under_way = sender->call && newest == sender->batches.next;
        if (!under_way && batch->lines.len < BATCH_BYTES)
            return batch;
    }
    struct batch *batch = mem_alloc(sizeof(*batch));
    batch->lines = BUF_INIT(BATCH_MAX);
    batch->first = sender->added + 1;
    list_push_back(&sender->batches, &batch->node);
    return batch;
}

static void write_line(struct json_writer *w, const struct log_line *line)
{
    json_w_object(w);
    json_w_pair_int(w, "at", line->at);
    if (line->raw_level.len > 0)
        json_w_pair_raw(w, "level", line->raw_level);
    else
        json_w_pair_str(w, "level", str_of(line->level));
    if (line->raw_execution.len > 0)
        json_w_pair_raw(w, "execution", line->raw_execution);
    else
        json_w_pair_str(w, "execution", line->execution);
    json_w_pair_raw(w, "function", line->raw_function);
    if (line->raw_message.len > 0)
        json_w_pair_raw(w, "message", line->raw_message);
    else
        json_w_pair_str(w, "message", line->message);
    json_w_pair_bool(w, "system", line->system);
    json_w_object_end(w);
}

void log_sender_add(struct log_sender *sender, const struct log_line *line)
{
    struct batch *batch = open_batch(sender);
    size_t before = batch->lines.len;
    if (before > 0)
        buf_add_char(&batch->lines, ',');
    struct json_writer w = JSON_WRITER(&batch->lines);
    write_line(&w, line);
    if (batch->lines.over) {  // a line over the cap is left out; its credit is not
        batch->lines.len = before;
        batch->lines.over = false;
    } else {
        sender->added++;
        batch->count++;
    }
    sender->bytes += batch->lines.len - before;
    batch->credit += line->credit;
}

static void on_retry(void *arg)
{
    struct log_sender *sender = arg;
    sender->retry = NULL;
    log_sender_flush(sender);
}

static void retry_later(struct log_sender *sender)
{
    sender->retry = loop_timer_start(sender->config.loop, sender->retry_ms, 0, on_retry, sender);
    sender->retry_ms = sender->retry_ms * 2 > RETRY_LONGEST ? RETRY_LONGEST : sender->retry_ms * 2;
}

static void on_answer(void *arg, const struct http_answer *answer)
{
    struct log_sender *sender = arg;
    sender->call = NULL;
    int status = answer->status;
    bool stored = status >= 200 && status < 300;
    bool refused = status == 400 || status == 413 || status == 422;
    if (!stored && !refused) {
        retry_later(sender);
        if (status == 410)
            sender->config.on_unknown(sender->config.arg);
        return;
    }
    if (refused)
        log_warn(sender->config.log, "agent", "the server refused log lines (%d): " STR_FMT, status,
                 STR_ARG(answer->body));
    sender->retry_ms = RETRY_FIRST;
    struct batch *batch = list_entry(sender->batches.next, struct batch, node);
    sender->stored = batch->first + batch->count - 1;
    int64_t credit = drop_batch(sender, batch);
    sender->config.on_stored(sender->config.arg, credit);
}

void log_sender_flush(struct log_sender *sender)
{
    if (sender->call || sender->retry || list_empty(&sender->batches))
        return;
    struct batch *batch = list_entry(sender->batches.next, struct batch, node);
    struct buf body = BUF_INIT(BATCH_MAX + 1024);
    struct json_writer w = JSON_WRITER(&body);
    json_w_object(&w);
    json_w_pair_str(&w, "replicaId", str_of(sender->config.replica_id));
    json_w_pair_int(&w, "first", batch->first);
    json_w_key(&w, "lines");
    buf_add_char(&body, '[');
    buf_add_str(&body, buf_str(&batch->lines));
    buf_add_cstr(&body, "]}");
    struct http_call_config call = {.method = "POST",
                                    .path = "/agent/logs",
                                    .body = body,
                                    .to_fd = -1,
                                    .timeout_ms = CALL_MS,
                                    .on_done = on_answer,
                                    .arg = sender};
    sender->call = http_client_send(sender->config.http, &call);
}

int64_t log_sender_added(const struct log_sender *sender) { return sender->added; }

int64_t log_sender_stored(const struct log_sender *sender) { return sender->stored; }

bool log_sender_idle(const struct log_sender *sender) { return list_empty(&sender->batches); }

bool log_sender_crowded(const struct log_sender *sender) { return sender->bytes > CROWDED_BYTES; }
