// SPDX-License-Identifier: Apache-2.0
// What a server does before it serves: a new epoch at each start, which all fences rest on, and the
// organisation and the administrator at the first one; all of it or nothing.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/id.h"
#include "base/mem.h"
#include "failing_store.h"
#include "net/loop.h"
#include "operation/start.h"
#include "operation/token.h"

struct world {
    char folder[64];
    struct settings settings;
    struct fences fences;
    struct platform platform;
    struct arena *arena;
};

static int setup(void **state)
{
    struct world *world = mem_alloc(sizeof(*world));
    struct err err = ERR_INIT;
    snprintf(world->folder, sizeof(world->folder), "/tmp/drover-start-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    world->settings.data = world->folder;
    world->arena = arena_new();
    world->platform = (struct platform){.loop = loop_new(),
                                        .log = log_new(-1, LOG_ERROR, LOG_TEXT),
                                        .clock = clock_system(),
                                        .fences = &world->fences,
                                        .ids = id_source_new(),
                                        .settings = &world->settings};
    world->platform.tokens = tokens_open(world->folder, clock_system(), &err);
    world->platform.store = store_open(&(struct store_config){.driver = "memory",
                                                              .loop = world->platform.loop,
                                                              .log = world->platform.log},
                                       &err);
    assert_int_equal(store_write_now(world->platform.store, failing_install, NULL, &err), 0);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    static const char *const files[] = {"jwt-key", "admin-key", "admin-password"};
    store_close(world->platform.store);
    tokens_close(world->platform.tokens);
    id_source_free(world->platform.ids);
    loop_free(world->platform.loop);
    log_free(world->platform.log);
    for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++)
        unlink(arena_printf(world->arena, "%s/%s", world->folder, files[i]).at);
    rmdir(world->folder);
    arena_free(world->arena);
    mem_free(world);
    return 0;
}

static int start(struct world *world, struct start_result *result, struct err *err)
{
    *err = ERR_INIT;
    return start_prepare(&world->platform, result, world->arena, err);
}

static void each_start_has_an_epoch_of_its_own(void **state)
{
    struct world *world = *state;
    struct start_result result;
    struct err err;
    assert_int_equal(start(world, &result, &err), 0);
    assert_true(result.first);
    assert_int_equal(access(result.key_file, R_OK), 0);
    assert_int_equal(access(result.password_file, R_OK), 0);
    struct str org = world->platform.org_id;
    int64_t first = fence_next(&world->platform);
    for (int64_t epoch = 2; epoch < 5; epoch++) {
        world->platform.org_id = STR_NONE;
        world->fences = (struct fences){0};
        assert_int_equal(start(world, &result, &err), 0);
        assert_false(result.first);
        assert_int_equal(world->fences.epoch, epoch);
        assert_true(str_eq(world->platform.org_id, org));
        int64_t next = fence_next(&world->platform);
        assert_true(next > first);
        first = next;
    }
}

static int set_epoch(struct tx *tx, void *arg, struct err *err)
{
    return tx_meta_set(tx, "epoch", str_of(arg), err);
}

static void an_epoch_that_is_none_is_refused(void **state)
{
    struct world *world = *state;
    struct start_result result;
    struct err err;
    char text[] = "seven", negative[] = "-1", *const wrong[] = {text, negative};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(store_write_now(world->platform.store, set_epoch, wrong[i], &err), 0);
        assert_int_equal(start(world, &result, &err), -1);
        assert_int_equal(err.kind, ERR_INTERNAL);
        assert_non_null(strstr(err.message, "epoch"));
    }
}

static int add_execution(struct tx *tx, void *arg, struct err *err)
{
    struct execution execution;
    entity_clear(&execution_entity, &execution);
    execution.id = str_of(arg);
    execution.status = STR("created");
    return tx_insert(tx, &execution_entity, &execution, err);
}

// The clock was set back while no server ran.
static void ids_grow_over_starts(void **state)
{
    struct world *world = *state;
    struct start_result result;
    struct err err;
    char newest[] = "f00000000000000000000000";
    assert_int_equal(store_write_now(world->platform.store, add_execution, newest, &err), 0);
    struct id_source *ids = world->platform.ids;
    world->platform.ids = NULL;  // nobody asks for it
    assert_int_equal(start(world, &result, &err), 0);
    world->platform.ids = ids;
    assert_int_equal(start(world, &result, &err), 0);
    assert_true(str_cmp(id_next(ids, 1800000000000, world->arena), str_of(newest)) > 0);
}

// Whatever fails at a first start: nothing was made, and the next one begins anew.
static void a_first_start_is_whole_or_nothing(void **state)
{
    struct world *world = *state;
    struct start_result result;
    struct err err;
    int n = 1;
    for (;; n++) {
        failing.countdown = n;
        int rc = start(world, &result, &err);
        bool failed = failing.countdown == 0;
        failing.countdown = 0;
        if (!failed) {
            assert_int_equal(rc, 0);
            break;
        }
        assert_int_equal(rc, -1);
        assert_int_equal(err.kind, ERR_UNAVAILABLE);
    }
    assert_true(n > 8 && result.first);
    assert_int_equal(world->fences.epoch, 1);
}

static void without_a_place_for_the_password_it_fails(void **state)
{
    struct world *world = *state;
    struct start_result result;
    struct err err;
    world->settings.data = "/proc/nowhere";
    assert_int_equal(start(world, &result, &err), -1);
    assert_non_null(strstr(err.message, "/proc/nowhere/admin-password"));
    world->settings.data = world->folder;
    assert_int_equal(start(world, &result, &err), 0);
    assert_true(result.first);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(each_start_has_an_epoch_of_its_own),
        TEST(an_epoch_that_is_none_is_refused),
        TEST(ids_grow_over_starts),
        TEST(a_first_start_is_whole_or_nothing),
        TEST(without_a_place_for_the_password_it_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
