// SPDX-License-Identifier: Apache-2.0
// agent/log_sender: log lines on their way to the server: kept in batches, one call under way,
// repeated until the server has stored them. Who writes lines learns what was stored, and may
// write on only then, so a flood waits where it begins. Loop thread only.
#ifndef DROVER_AGENT_LOG_SENDER_H
#define DROVER_AGENT_LOG_SENDER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/str.h"

struct loop;
struct http_client;
struct log_sender;

struct log_sender_config {
    struct loop *loop;
    struct http_client *http;
    struct log *log;
    const struct clock *clock;
    const char *replica_id;
    // So many bytes of credit (log_line.credit) are with the server, or given up.
    void (*on_stored)(void *arg, int64_t credit);
    void (*on_unknown)(void *arg);  // 410: the server wants to be greeted again
    void *arg;
};

struct log_line {  // texts that are JSON already (with quotes, or null) are given as raw
    int64_t at;    // ms
    const char *level;
    struct str raw_level, raw_execution, raw_function, raw_message;
    struct str execution, message;
    bool system;
    int64_t credit;
};

struct log_sender *log_sender_new(const struct log_sender_config *config);
void log_sender_free(struct log_sender *sender);
void log_sender_add(struct log_sender *sender, const struct log_line *line);
// How far the lines go that were added, and those of them that the server has or will never have.
// Positions grow by one with each line, also from one process of an agent to the next.
int64_t log_sender_added(const struct log_sender *sender);
int64_t log_sender_stored(const struct log_sender *sender);
void log_sender_flush(struct log_sender *sender);  // sends what waits, when nothing is under way
bool log_sender_idle(const struct log_sender *sender);     // everything is stored
bool log_sender_crowded(const struct log_sender *sender);  // so much waits that writers should too

#endif
