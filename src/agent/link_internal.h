// SPDX-License-Identifier: Apache-2.0
// Shared by the files of agent/link.
#ifndef DROVER_AGENT_LINK_INTERNAL_H
#define DROVER_AGENT_LINK_INTERNAL_H

#include "agent/link.h"
#include "base/list.h"

#define PROGRESS_MAX (4u << 20)  // bytes of progress that wait, beside the largest one

struct exchange {  // one under way
    struct list node;
    struct link *link;
    struct http_call *call;
    int64_t seq, sent_at;  // mono ms
    size_t reports;        // results and lost ones in it
    struct buf progress;   // what it carries, to be repeated when it fails
    bool failure;
};

struct link {
    struct link_config config;
    char *session;  // NULL: no exchanges (not greeted yet, or again)
    int64_t lease_ms;
    struct http_call *hello;
    struct list exchanges;  // struct exchange
    int under_way;
    int64_t seq;
    char state[16], phase[200];
    int64_t capacity, concurrency;
    bool result_soon;
    int64_t logs_stored;
    struct buf progress;  // objects separated by commas, not sent yet
    struct buf failure;   // JSON object; empty: none
    bool failure_sent, failure_told;
    bool urgent;      // something but reports and progress is to be told now
    bool one_by_one;  // an exchange was refused for its content: find out which report it is
    bool refused;
    int64_t renewed_at;  // mono ms of sending the newest answered exchange
    int64_t last_sent;
    int64_t retry_ms;
    int idle_answers;          // exchanges in a row that were answered at once with nothing
    struct loop_timer *retry;  // after a failure
    struct loop_timer *pause;  // before a poll that has nothing to say
    struct loop_timer *beat;
};

static inline int64_t link_now(const struct link *link) { return clock_mono(link->config.clock); }

// link_compose.c
struct buf link_compose_hello(struct link *link);
struct buf link_compose(struct link *link, struct exchange *exchange);
int64_t link_wait_ms(const struct link *link);

// link_answer.c
void link_take_back(struct exchange *exchange);  // what it carried is to be told again
void link_answered(struct exchange *exchange, struct str body);
void link_content_refused(struct exchange *exchange, int status, struct str body);
void link_confirm_held(struct link *link, struct json held);

#endif
