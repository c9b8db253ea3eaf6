// SPDX-License-Identifier: Apache-2.0
// What an agent is told to run: the service's package at its revision, its code, its environment.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "failing_store.h"
#include "net/loop.h"
#include "operation/assignment.h"
#include "operation/token.h"

#define PACKAGE                                                                                    \
    "{\"id\":\"pk\",\"name\":\"code\",\"projectId\":\"p1\",\"version\":\"1.0.1\","                 \
    "\"codebase\":{\"type\":\"item\",\"itemId\":\"zip\"},\"modules\":[{\"name\":\"a\"},"           \
    "{\"name\":\"b\"}],\"requirements\":[{\"name\":\"\"},{\"name\":\"x\"},{\"name\":\"y\","        \
    "\"version\":\"1\"},{\"name\":\"z\",\"version\":\"2\",\"operator\":\">=\"}]}"

struct world {
    struct settings settings;
    struct fences fences;
    struct platform platform;
    void (*test)(struct op *op);
};

static void put(struct op *op, const struct entity *entity, const char *text)
{
    _Alignas(16) char row[2048];
    struct err err = ERR_INIT;
    if (entity_load(entity, json_of(str_of(text)), row, op->arena, &err) ||
        (tx_update(op->tx, entity, row, &err) && tx_insert(op->tx, entity, row, &err)))
        fail_msg("%s", err.message);
}

static void put_service(struct op *op, const char *more)
{
    put(op, &service_entity,
        arena_printf(op->arena,
                     "{\"id\":\"s1\",\"name\":\"sv\",\"projectId\":\"p1\",\"packageId\":\"pk\","
                     "\"active\":true,\"runtime\":{\"concurrency\":3}%s}",
                     more)
            .at);
}

static int world_work(struct op *op, void *arg, struct err *err)
{
    (void)failing_install(op->tx, NULL, err);
    put(op, &project_entity, "{\"id\":\"p1\",\"name\":\"p\"}");
    put(op, &item_entity, "{\"id\":\"zip\",\"filename\":\"/c.zip\",\"blob\":\"ab\",\"size\":7}");
    put(op, &package_entity, PACKAGE);
    put(op, &revision_entity, "{\"id\":\"pk:1.0.0\",\"body\":" PACKAGE "}");
    put_service(op, "");
    ((struct world *)arg)->test(op);
    return 0;
}

static void with_world(void (*test)(struct op *op))
{
    struct world world = {.settings = {.dtlpy_version = "1.2.3", .service_token_ttl_ms = 60000},
                          .test = test};
    char folder[] = "/tmp/drover-assignment-XXXXXX", key[64];
    struct err err = ERR_INIT;
    assert_non_null(mkdtemp(folder));
    world.platform = (struct platform){.loop = loop_new(),
                                       .log = log_new(-1, LOG_ERROR, LOG_TEXT),
                                       .clock = clock_system(),
                                       .fences = &world.fences,
                                       .settings = &world.settings,
                                       .tokens = tokens_open(folder, clock_system(), &err)};
    world.platform.store = store_open(&(struct store_config){.driver = "memory",
                                                             .loop = world.platform.loop,
                                                             .log = world.platform.log},
                                      &err);
    assert_non_null(world.platform.store);
    if (op_run_now(&world.platform, world_work, &world, &err))
        fail_msg("%s", err.message);
    store_close(world.platform.store);
    tokens_close(world.platform.tokens);
    loop_free(world.platform.loop);
    log_free(world.platform.log);
    snprintf(key, sizeof(key), "%s/jwt-key", folder);
    unlink(key);
    rmdir(folder);
}

static struct assignment read_it(struct op *op)
{
    struct assignment a;
    struct err err = ERR_INIT;
    if (assignment_read(op, STR("s1"), &a, &err))
        fail_msg("%s", err.message);
    return a;
}

static void refused(struct op *op, enum err_kind kind, const char *word)
{
    struct assignment a;
    struct err err = ERR_INIT;
    assert_int_equal(assignment_read(op, STR("s1"), &a, &err), -1);
    assert_int_equal(err.kind, kind);
    if (!strstr(err.message, word))
        fail_msg("\"%s\" does not say \"%s\"", err.message, word);
}

static void it_holds_code_and_environment(struct op *op)
{
    struct assignment a = read_it(op);
    struct token_claims claims;
    struct err err = ERR_INIT;
    assert_true(str_is(a.blob, "ab") && a.blob_size == 7 && !a.git.at);
    assert_true(str_is(a.module_json, "{\"name\":\"a\"}"));  // the first one, when none is named
    assert_int_equal(a.concurrency, 3);
    assert_true(str_is(a.dtlpy, "1.2.3"));
    assert_int_equal(a.requirement_count, 3);
    assert_true(str_is(a.requirements[0], "x") && str_is(a.requirements[1], "y==1") &&
                str_is(a.requirements[2], "z>=2"));
    assert_int_equal(token_verify(op->platform->tokens, a.token, &claims, op->arena, &err), 0);
    assert_true(claims.kind == TOKEN_SERVICE && str_is(claims.service_id, "s1") &&
                str_is(claims.project_id, "p1") && str_is(claims.user_id, "s1@bot.drover"));
    put_service(op, ",\"moduleName\":\"b\",\"versions\":{\"dtlpy\":\"9.9\"}");
    a = read_it(op);
    assert_true(str_is(a.module_json, "{\"name\":\"b\"}") && str_is(a.dtlpy, "9.9"));
    put_service(op, ",\"versions\":{\"dtlpy\":\"none\"}");
    assert_false(read_it(op).dtlpy.at);
}

static void the_revision_decides(struct op *op)
{
    put(op, &package_entity,
        "{\"id\":\"pk\",\"name\":\"code\",\"version\":\"1.0.1\",\"codebase\":{\"type\":\"git\","
        "\"gitUrl\":\"https://h/r\"},\"modules\":[{},{\"name\":\"n\"}]}");
    struct assignment a = read_it(op);
    assert_true(a.git.at && !a.blob.at && a.requirement_count == 0);
    static const char *const now[] = {"", "latest", "1.0.1"};
    for (size_t i = 0; i < sizeof(now) / sizeof(*now); i++) {
        put_service(
            op,
            arena_printf(op->arena, ",\"moduleName\":\"n\",\"packageRevision\":\"%s\"", now[i]).at);
        assert_true(read_it(op).git.at);
    }
    put_service(op, ",\"packageRevision\":\"1.0.0\"");
    assert_true(str_is(read_it(op).blob, "ab"));
    put_service(op, ",\"packageRevision\":\"0.9.0\"");
    refused(op, ERR_NOT_FOUND, "revision 0.9.0 of package code");
}

static void it_says_what_is_missing(struct op *op)
{
    put_service(op, ",\"moduleName\":\"nobody\"");
    refused(op, ERR_CONFLICT, "no module \"nobody\"");
    put_service(op, ",\"active\":false");
    refused(op, ERR_CONFLICT, "is paused");
    put_service(op, ",\"packageId\":\"none\"");
    refused(op, ERR_NOT_FOUND, "the service's package");
    put_service(op, ",\"runtime\":{\"concurrency\":\"many\"}");
    refused(op, ERR_BAD_INPUT, "concurrency");
    put_service(op, "");
    put(op, &package_entity,
        "{\"id\":\"pk\",\"name\":\"code\",\"codebase\":{},\"modules\":[{\"name\":\"a\"}]}");
    refused(op, ERR_CONFLICT, "package code has no code");
    put(op, &package_entity,
        "{\"id\":\"pk\",\"name\":\"code\",\"codebase\":{\"type\":\"item\",\"itemId\":\"gone\"},"
        "\"modules\":[{\"name\":\"a\"}]}");
    refused(op, ERR_NOT_FOUND, "the code of package code");
}

// Without its secrets it starts nothing, and its agent is told why.
static void a_secret_that_is_gone(struct op *op)
{
    put_service(op, ",\"secrets\":[\"lost\"]");
    struct assignment a = read_it(op);
    assert_non_null(strstr(arena_cstr(op->arena, a.refusal), "no integration lost"));
    assert_int_equal(a.env_count, 0);
    put_service(op, "");
    assert_int_equal(read_it(op).refusal.len, 0);
}

static void code_is_an_archive_or_git(struct op *op)
{
    struct str blob;
    int64_t size;
    struct err err = ERR_INIT;
    assert_int_equal(assignment_code(op, STR("s1"), &blob, &size, &err), 0);
    assert_true(str_is(blob, "ab") && size == 7);
    assert_int_equal(assignment_code(op, STR("s2"), &blob, &size, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    put(op, &package_entity, "{\"id\":\"pk\",\"name\":\"code\",\"codebase\":{\"type\":\"git\"}}");
    assert_int_equal(assignment_code(op, STR("s1"), &blob, &size, &err), -1);
    assert_non_null(strstr(err.message, "comes from git"));
}

static void trouble_is_passed_on(struct op *op)
{
    struct assignment a;
    struct str blob;
    int64_t size;
    put_service(op, ",\"packageRevision\":\"1.0.0\",\"secrets\":[\"lost\"]");
    for (int n = 1; n <= 6; n++) {
        struct err err = ERR_INIT;
        failing.countdown = n;
        assert_int_equal(assignment_read(op, STR("s1"), &a, &err), -1);
        assert_int_equal(err.kind, ERR_UNAVAILABLE);
    }
    for (int n = 1; n <= 4; n++) {
        struct err err = ERR_INIT;
        failing.countdown = n;
        assert_int_equal(assignment_code(op, STR("s1"), &blob, &size, &err), -1);
        assert_int_equal(err.kind, ERR_UNAVAILABLE);
    }
}

#define TEST(name)                                                                                 \
    static void test_##name(void **state)                                                          \
    {                                                                                              \
        (void)state;                                                                               \
        with_world(name);                                                                          \
    }
TEST(it_holds_code_and_environment)
TEST(the_revision_decides)
TEST(it_says_what_is_missing)
TEST(a_secret_that_is_gone)
TEST(code_is_an_archive_or_git)
TEST(trouble_is_passed_on)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_holds_code_and_environment),
        cmocka_unit_test(test_the_revision_decides),
        cmocka_unit_test(test_it_says_what_is_missing),
        cmocka_unit_test(test_a_secret_that_is_gone),
        cmocka_unit_test(test_code_is_an_archive_or_git),
        cmocka_unit_test(test_trouble_is_passed_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
