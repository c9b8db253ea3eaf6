// SPDX-License-Identifier: Apache-2.0
// operation/settings: every option of `drover server`, and the one table that describes them.
#ifndef DROVER_OPERATION_SETTINGS_H
#define DROVER_OPERATION_SETTINGS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/option.h"
#include "model/limits.h"

struct settings {  // times in ms, sizes in bytes
    // where
    const char *data, *listen, *public_url, *agent_listen, *agent_url, *tls_cert, *tls_key;
    const char *master_key_file, *master_key_command;  // NULL: DIR/master-key
    bool core_dumps;
    const char *config, *store, *queue, *driver, *cache, *python, *node;
    // log
    const char *log_level, *log_format;
    // limits of requests
    int64_t body_max;    // a buffered JSON body
    int64_t upload_max;  // one uploaded file
    int64_t json_depth;
    int64_t input_max, output_max;  // an execution's input and output
    int64_t answer_max;             // one answer
    int64_t bulk_max;               // executions in one array, people, ids
    struct limits limits;           // of what the model takes from a request
    int64_t connections_max, connections_per_address;
    int64_t idle_ms;
    int64_t backlog_max;  // write jobs waiting before callers get 429
    int64_t wait_max_ms;  // waitUntilExecutionIsFinished
    int64_t archive_max, archive_entries;
    // accounts
    int64_t login_ttl_ms, refresh_ttl_ms, api_key_ttl_ms, service_token_ttl_ms;
    int64_t login_tries;  // failures per minute and account (and per address) before 429
    // executions
    int64_t lease_ms, drain_default_s, timeout_default_s, attempts_default;
    int64_t log_line_max, log_lines_per_execution;
    const char *dtlpy_version;  // versions.dtlpy when a service does not say; "none": no dtlpy
    // driver
    int64_t backoff_first_ms, backoff_max_ms, backoff_reset_ms;
    int64_t rollout_failures, crash_failures;
    int64_t preempt_after_ms, preempt_notice_ms, preempt_per_mille;
    // notifications
    const char *notify_webhook, *notify_secret, *smtp_url, *smtp_from, *smtp_to, *smtp_login;
    // housekeeping
    int64_t collect_ms;        // how often unused code and blobs are looked for
    int64_t collect_grace_ms;  // an unused blob lives at least so long
    int64_t keep_executions_days, keep_executions;  // 0: all; keep_executions: of one service
    int64_t keep_logs_days, keep_logs_mib;          // 0: all
    int64_t keep_commands_days;
    int64_t audit_days, event_days, event_max, notification_days;
};

extern const struct option_table settings_table;

// Fills in what follows from other options (agent_listen, agent_url, public_url, cache) and checks
// pairs (tls_cert with tls_key).
MUST_CHECK int settings_complete(struct settings *settings, struct arena *arena, struct err *err);

#endif
