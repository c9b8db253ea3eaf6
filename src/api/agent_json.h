// SPDX-License-Identifier: Apache-2.0
// api/agent_json: the JSON of the agent link (docs/agent-link.md), into dispatch's structs and
// back. Pure; what is read lives in the arena given or is borrowed from the body.
#ifndef DROVER_API_AGENT_JSON_H
#define DROVER_API_AGENT_JSON_H

#include "operation/assignment.h"
#include "operation/attempt.h"
#include "operation/dispatch.h"

// Fills in what the agent says; x->arena must be set. `now`: wall ms, for entries without a time.
MUST_CHECK int agent_read_exchange(struct json body, int64_t now, struct dispatch_exchange *x,
                                   int64_t *seq, struct err *err);
MUST_CHECK int agent_read_hello(struct json body, struct arena *arena, struct str *replica_id,
                                struct dispatch_ref **held, size_t *count, struct err *err);
// `common`: service, project and the time of lines that say none. *first: the number of the first
// line, 0 when it is not said.
MUST_CHECK int agent_read_lines(struct json body, const struct log_line *common,
                                struct arena *arena, int64_t *first, struct log_line **out,
                                size_t *count, struct err *err);

struct agent_token {
    struct str text;     // absent: no new one
    int64_t expires_at;  // ms
};
void agent_write_exchange(const struct dispatch_exchange *x, int64_t seq,
                          const struct agent_token *token, struct buf *out);

struct agent_hello {
    struct str replica_id, session;
    const struct dispatch_ref *held;
    size_t held_count;
    const struct assignment *assignment;  // NULL: it keeps the one it has, to finish what it holds
    const struct settings *settings;
    struct str certificate;  // PEM, or absent
};
// {"env":[{"key","value"}]}
void agent_write_env(const struct variable *env, size_t count, struct buf *out);
void agent_write_hello(const struct agent_hello *hello, struct arena *arena, struct buf *out);

#endif
