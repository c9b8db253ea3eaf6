// SPDX-License-Identifier: Apache-2.0
// A store of any driver on a loop of its own, in a folder that is removed afterwards.
#ifndef DROVER_TESTS_CONTRACT_STORE_FIXTURE_H
#define DROVER_TESTS_CONTRACT_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

#include "base/mem.h"
#include "net/loop.h"
#include "store/store.h"

// Both take `struct err *err` from where they stand.
#define OK(call)                                                                                   \
    do {                                                                                           \
        if ((call) != 0) {                                                                         \
            print_error("%s: %s\n", #call, err->message);                                          \
            fail();                                                                                \
        }                                                                                          \
    } while (0)
#define FAILS(wanted, call)                                                                        \
    do {                                                                                           \
        *err = ERR_INIT;                                                                           \
        assert_int_equal((call), -1);                                                              \
        assert_int_equal(err->kind, (wanted));                                                     \
        assert_true(err->message[0] != '\0');                                                      \
        *err = ERR_INIT;                                                                           \
    } while (0)

struct fixture {
    char folder[64];
    struct loop *loop;
    struct log *log;
    struct store *store;
    struct arena *arena;
    int fatals;
    bool stop;
    void *arg;  // the test's
};

static inline int fixture_remove_one(const char *path, const struct stat *st, int flag,
                                     struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static inline void fixture_remove(const char *folder)
{
    nftw(folder, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline void fixture_folder(char folder[64])
{
    snprintf(folder, 64, "%s", "/tmp/drover-test-XXXXXX");
    assert_non_null(mkdtemp(folder));
}

static inline void fixture_fatal(void *arg, const struct err *err)
{
    (void)err;
    ((struct fixture *)arg)->fatals++;
}

// group_max, group_us: as in store.h; 0: its defaults.
static inline struct store *fixture_open_groups(struct fixture *fixture, const char *driver,
                                                int64_t group_max, int64_t group_us)
{
    struct err err = ERR_INIT;
    struct store *store = store_open(&(struct store_config){.driver = driver,
                                                            .path = fixture->folder,
                                                            .group_max = group_max,
                                                            .group_us = group_us,
                                                            .loop = fixture->loop,
                                                            .log = fixture->log,
                                                            .on_fatal = fixture_fatal,
                                                            .arg = fixture},
                                     &err);
    if (!store)
        print_error("store_open: %s\n", err.message);
    assert_non_null(store);
    return store;
}

static inline struct store *fixture_open(struct fixture *fixture, const char *driver)
{
    return fixture_open_groups(fixture, driver, 0, 0);
}

static inline struct fixture *fixture_new(const char *driver)
{
    struct fixture *fixture = mem_alloc(sizeof(*fixture));
    fixture_folder(fixture->folder);
    fixture->loop = loop_new();
    fixture->log = log_new(2, LOG_ERROR, LOG_TEXT);
    fixture->arena = arena_new();
    if (driver)
        fixture->store = fixture_open(fixture, driver);
    return fixture;
}

// Turns the loop until fixture_stop, any number of times (loop_stop is for good).
static inline void fixture_run(struct fixture *fixture)
{
    while (!fixture->stop)
        uv_run(loop_uv(fixture->loop), UV_RUN_ONCE);
    fixture->stop = false;
}

static inline void fixture_stop(struct fixture *fixture) { fixture->stop = true; }

// ── now: a job's work given as a function of the fixture ─────────────────────────────────────

typedef int work_fn(struct tx *tx, struct fixture *fixture, struct err *err);
struct call {
    work_fn *work;
    struct fixture *fixture;
};

static inline int run_call(struct tx *tx, void *arg, struct err *err)
{
    struct call *call = arg;
    return call->work(tx, call->fixture, err);
}

static inline int write_now(struct fixture *fixture, work_fn *work, struct err *err)
{
    return store_write_now(fixture->store, run_call, &(struct call){work, fixture}, err);
}

static inline int read_now(struct fixture *fixture, work_fn *work, struct err *err)
{
    return store_read_now(fixture->store, run_call, &(struct call){work, fixture}, err);
}

static inline struct execution execution_of(const char *id, const char *service, int64_t created_at)
{
    struct execution row;
    entity_clear(&execution_entity, &row);
    row.id = str_of(id);
    row.service_id = str_of(service);
    row.project_id = STR("p");
    row.status = STR("created");
    row.input = STR("{\"a\":0.1,\"b\":1180591620717411303424}");
    row.fence = 0;
    row.attempts = 0;
    row.percent = 0;
    row.created_at = row.updated_at = created_at;
    return row;
}

static inline void fixture_free(struct fixture *fixture)
{
    store_close(fixture->store);
    uv_run(loop_uv(fixture->loop), UV_RUN_NOWAIT);  // takes what was posted
    loop_free(fixture->loop);
    log_free(fixture->log);
    arena_free(fixture->arena);
    fixture_remove(fixture->folder);
    mem_free(fixture);
}

// Around each test of a suite: the initial state is the driver's name, the test's a fixture.
static inline int fixture_setup(void **state)
{
    *state = fixture_new(*state);
    return 0;
}

static inline int fixture_teardown(void **state)
{
    fixture_free(*state);
    return 0;
}

#define FIXTURE_TEST(function, driver)                                                             \
    cmocka_unit_test_prestate_setup_teardown(function, fixture_setup, fixture_teardown,            \
                                             (void *)(driver))

#endif
