// SPDX-License-Identifier: Apache-2.0
// A store whose calls fail on demand: install it on a transaction (it stays there), and the call of
// `countdown` fails. For tests of what is done about trouble below.
#ifndef DROVER_TESTS_FAILING_STORE_H
#define DROVER_TESTS_FAILING_STORE_H

#include "store/store_internal.h"

static struct failing_store {
    struct store_driver driver;
    const struct store_driver *real;
    int64_t countdown;   // 1: the next call fails; 0: none does
    enum err_kind kind;  // of the failure; ERR_NONE: ERR_UNAVAILABLE
} failing;

static bool failing_now(struct err *err)
{
    if (failing.countdown == 0 || --failing.countdown > 0)
        return false;
    err_set(err, failing.kind ? failing.kind : ERR_UNAVAILABLE, "the disk said no");
    return true;
}

#define FAILING(name, parameters, arguments)                                                       \
    static int failing_##name parameters                                                           \
    {                                                                                              \
        return failing_now(err) ? -1 : failing.real->name arguments;                               \
    }
typedef void failing_open_fn(void *arg, struct str id, struct str service_id, struct str status,
                             int64_t fence);

FAILING(get,
        (struct tx * tx, const struct entity *entity, struct str id, void *row, struct arena *arena,
         struct err *err),
        (tx, entity, id, row, arena, err))
FAILING(insert, (struct tx * tx, const struct entity *entity, const void *row, struct err *err),
        (tx, entity, row, err))
FAILING(update, (struct tx * tx, const struct entity *entity, const void *row, struct err *err),
        (tx, entity, row, err))
FAILING(select,
        (struct tx * tx, const struct entity *entity, const struct query *query,
         struct arena *arena, void **rows, size_t *count, struct err *err),
        (tx, entity, query, arena, rows, count, err))
FAILING(meta_get,
        (struct tx * tx, const char *key, struct arena *arena, struct str *value, struct err *err),
        (tx, key, arena, value, err))
FAILING(meta_set, (struct tx * tx, const char *key, struct str value, struct err *err),
        (tx, key, value, err))
FAILING(execution_start,
        (struct tx * tx, struct str id, int64_t fence, struct str replica_id, int64_t now,
         bool *applied, struct err *err),
        (tx, id, fence, replica_id, now, applied, err))
FAILING(execution_finish,
        (struct tx * tx, const struct execution_result *result, bool *applied, struct err *err),
        (tx, result, applied, err))
FAILING(execution_requeue,
        (struct tx * tx, struct str id, int64_t fence, int64_t attempts, struct str message,
         bool *applied, struct err *err),
        (tx, id, fence, attempts, message, applied, err))
FAILING(execution_each_open, (struct tx * tx, failing_open_fn *each, void *arg, struct err *err),
        (tx, each, arg, err))

// A job's work: the transaction's connection fails on demand from now on.
static inline int failing_install(struct tx *tx, void *arg, struct err *err)
{
    (void)arg, (void)err;
    failing.real = tx->driver == &failing.driver ? failing.real : tx->driver;
    failing.driver = *failing.real;
    failing.driver.get = failing_get;
    failing.driver.insert = failing_insert;
    failing.driver.update = failing_update;
    failing.driver.select = failing_select;
    failing.driver.meta_get = failing_meta_get;
    failing.driver.meta_set = failing_meta_set;
    failing.driver.execution_start = failing_execution_start;
    failing.driver.execution_finish = failing_execution_finish;
    failing.driver.execution_requeue = failing_execution_requeue;
    failing.driver.execution_each_open = failing_execution_each_open;
    tx->driver = &failing.driver;
    failing.countdown = 0;
    failing.kind = ERR_NONE;
    return 0;
}

#endif
