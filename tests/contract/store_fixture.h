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

struct fixture {
    char folder[64];
    struct loop *loop;
    struct log *log;
    struct store *store;
    struct arena *arena;
    int fatals;
    bool stop;
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

static inline struct store *fixture_open(struct fixture *fixture, const char *driver)
{
    struct err err = ERR_INIT;
    struct store *store = store_open(&(struct store_config){.driver = driver,
                                                            .path = fixture->folder,
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

#endif
