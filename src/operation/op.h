// SPDX-License-Identifier: Apache-2.0
// operation/op: the surroundings of an operation. An operation is a plain function over an open
// transaction: it reads and writes rows, notes what should happen after the commit (op_event) and
// what the audit log should say (op_audit). It knows no HTTP and no SQL, runs on a store thread,
// and touches nothing of the loop's memory.
#ifndef DROVER_OPERATION_OP_H
#define DROVER_OPERATION_OP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/err.h"
#include "base/log.h"
#include "base/metric.h"
#include "model/entities.h"
#include "operation/event.h"
#include "operation/settings.h"
#include "store/blob.h"
#include "store/logs.h"
#include "store/store.h"

struct loop;
struct id_source;
struct tokens;
struct master_keys;

// The numbers that order deliveries and reruns: (epoch of this start, counter), so they always grow
// and need no commit of their own. See ARCHITECTURE.md, "Leases and fences".
struct fences {
    int64_t epoch;  // committed at each start (start_prepare), constant after it
    _Atomic int64_t last;
};

// What one server process shares. Made in main/, borrowed by everyone, constant after start.
struct platform {
    struct loop *loop;
    const struct clock *clock;
    struct log *log;
    struct metrics *metrics;
    const struct settings *settings;
    struct store *store;
    struct blobs *blobs;
    struct logs *logs;
    struct log_ends *log_ends;  // operation/log_ends.h; may be NULL
    struct events *events;
    struct tokens *tokens;                  // signs and verifies JWTs (operation/token.h)
    const struct master_keys *master_keys;  // opens secrets (operation/sealed.h)
    struct fences *fences;
    struct id_source *ids;  // NULL: ids follow the clock, also backwards
    struct str org_id;      // the default organisation
};

enum caller_kind {
    CALLER_NONE,     // not logged in
    CALLER_USER,     // login token
    CALLER_API_KEY,  // long-lived token of a user
    CALLER_SERVICE,  // dtlpy inside a function: the service's bot, in its project only
    CALLER_AGENT,    // agent listener only
    CALLER_SYSTEM,   // the server itself (controllers)
};

struct caller {
    enum caller_kind kind;
    struct str user_id;                 // e-mail; bots: "<serviceId>@bot.drover"
    struct str key_id;                  // CALLER_API_KEY: to check that it is not revoked
    struct str service_id, project_id;  // CALLER_SERVICE, CALLER_AGENT
    struct str replica_id;
    int64_t token_epoch;  // CALLER_USER: must equal the user's
    bool admin;           // filled in by access_identify
    struct str address;   // client address for the audit log
};

struct op {
    const struct platform *platform;
    struct tx *tx;
    struct arena *arena;  // lives until the answer was sent
    int64_t now;          // wall ms, one instant for the whole operation
    struct caller caller;
    struct event *events, **events_tail;  // to publish after the commit, in order
};

// What is held against the data of a request.
static inline const struct limits *op_limits(const struct op *op)
{
    return &op->platform->settings->limits;
}

// A new row's id. Any thread.
struct str op_id(struct op *op);

// The next fence. Any thread.
int64_t fence_next(const struct platform *platform);

// Notes an event; texts must live in op->arena (or longer). Published on the loop after the commit,
// in commit order; not at all when the operation fails.
void op_event(struct op *op, const struct event *event);

// Writes an audit entry in the same transaction. before and after: rows of the entity, NULL for
// none.
MUST_CHECK int op_audit(struct op *op, const char *action, const struct entity *entity,
                        const void *before, const void *after, struct err *err);

// The same for what one row of the entity cannot say: `after` is a JSON object of its own.
MUST_CHECK int op_audit_more(struct op *op, const char *action, const struct entity *entity,
                             const void *row, const void *before, struct str after,
                             struct err *err);

// Publishes what op_event noted, in order, and forgets it. After the commit, loop thread.
void op_publish(struct op *op);

// Runs fn as a store job and done on the loop: events first, then done. For everything that is not
// an API call (controllers, dispatch); the API has the same inside (api/call.h). The arena is freed
// after done. Loop thread.
enum op_mode {
    OP_READ,
    OP_WRITE,
    OP_WRITE_LAZY,   // may wait for company (STORE_LAZY)
    OP_RECORD,       // what agents did: goes before callers' new work (STORE_AHEAD)
    OP_RECORD_LAZY,  // both
};
typedef int (*op_fn)(struct op *op, void *arg, struct err *err);
typedef void (*op_done_fn)(void *arg, struct err *err);
void op_run(const struct platform *platform, enum op_mode mode, op_fn fn, op_done_fn done,
            void *arg);

// The same at start-up, before the loop runs; events are dropped.
MUST_CHECK int op_run_now(const struct platform *platform, op_fn fn, void *arg, struct err *err);

#endif
