// SPDX-License-Identifier: Apache-2.0
#include "api/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "api/download.h"
#include "api/schema.h"

static const struct route routes[] = {
    {"POST", "/executions/{serviceId}", .operation_id = "create"},
    {"GET", "/executions/{id}", .operation_id = "get"},
    {"POST", "/executions/rerun", .operation_id = "rerun"},
    {"POST", "/executions/{id}/terminate", .operation_id = "terminate"},
    {"GET", "/a/{x}/b/{y}", .operation_id = "two"},
    {"GET", "/a/{x}/c", .operation_id = "one"},
    {"POST", "/token", .operation_id = "token", .at_root = true},
};
static const struct route_list list = {routes, sizeof(routes) / sizeof(routes[0])};
static const struct route_list *const lists[] = {&list};

static struct err err;

static int match(const char *method, const char *path, struct route_match *out, struct arena *arena)
{
    struct router *router = router_new(lists, 1);
    err = ERR_INIT;
    int rc = router_match(router, str_of(method), str_of(path), out, arena, &err);
    router_free(router);
    return rc;
}

static void assert_route(const char *method, const char *path, const char *id)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct route_match found;
    if (match(method, path, &found, arena))
        fail_msg("%s %s: %s", method, path, err.message);
    assert_string_equal(found.route->operation_id, id);
}

static void assert_error(const char *method, const char *path, enum err_kind kind)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct route_match found;
    assert_int_equal(match(method, path, &found, arena), -1);
    assert_int_equal(err.kind, kind);
}

static void literals_win_over_parameters(void **state)
{
    (void)state;
    assert_route("POST", "/api/v1/executions/rerun", "rerun");
    assert_route("POST", "/api/v1/executions/abc", "create");
    assert_route("GET", "/api/v1/executions/rerun", "get");
    assert_route("HEAD", "/api/v1/executions/x", "get");
    assert_route("POST", "/api/v1/executions/rerun/terminate", "terminate");
    assert_route("POST", "/token", "token");
    assert_route("GET", "/api/v1/a/1/c", "one");
}

static void tells_missing_from_wrong_method(void **state)
{
    (void)state;
    assert_error("GET", "/token", ERR_METHOD);
    assert_error("DELETE", "/api/v1/executions/x", ERR_METHOD);
    assert_error("POST", "/api/v1/token", ERR_NOT_FOUND);
    assert_error("GET", "/api/v1/executions", ERR_NOT_FOUND);
    assert_error("GET", "/api/v1/executions/", ERR_NOT_FOUND);
    assert_error("GET", "/", ERR_NOT_FOUND);
    assert_error("GET", "", ERR_NOT_FOUND);
    assert_error("GET", "/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", ERR_NOT_FOUND);
    assert_error("GET", "/api/v1/executions/%zz", ERR_BAD_INPUT);
    assert_error("GET", "/api/v1/executions/%00", ERR_BAD_INPUT);
    assert_error("GET", "/api/v1/executions/%ff", ERR_BAD_INPUT);
    assert_error("GET", "/api/v1/executions/%4", ERR_BAD_INPUT);
}

static void decodes_parameters_one_by_one(void **state)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct route_match found;
    (void)state;
    assert_int_equal(match("GET", "/api/v1/a/x%2Fy/b/%C3%A4+z", &found, arena), 0);
    assert_true(str_is(found.params[0], "x/y"));
    assert_true(str_is(found.params[1], "ä+z"));
    assert_null(found.params[2].at);
    assert_int_equal(match("PUT", "/api/v1/executions/x", &found, arena), -1);
    assert_true(str_is(found.allow, "POST, GET"));
}

static void reads_byte_ranges(void **state)
{
    static const struct {
        const char *header;
        int64_t size, offset, length;
        int rc;
    } cases[] = {
        {"bytes=0-", 10, 0, 10, 1},
        {"bytes=3-", 10, 3, 7, 1},
        {"bytes=3-5", 10, 3, 3, 1},
        {"bytes=3-99", 10, 3, 7, 1},
        {"bytes=-4", 10, 6, 4, 1},
        {"bytes=-99", 10, 0, 10, 1},
        {"bytes=10-", 10, 0, 0, -1},
        {"bytes=-0", 10, 0, 0, -1},
        {"bytes=0-", 0, 0, 0, 0},
        {"bytes=5-3", 10, 0, 10, 0},
        {"bytes=0-1,3-4", 10, 0, 10, 0},
        {"bytes=x-", 10, 0, 10, 0},
        {"items=0-1", 10, 0, 10, 0},
        {"bytes=-", 10, 0, 10, 0},
        {"bytes=99999999999999999999-", 10, 0, 0, -1},
        {"bytes=0-99999999999999999999", 10, 0, 10, 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t offset, length;
        err = ERR_INIT;
        int rc = download_range(str_of(cases[i].header), cases[i].size, &offset, &length, &err);
        if (rc != cases[i].rc ||
            (rc >= 0 && (offset != cases[i].offset || length != cases[i].length)))
            fail_msg("%s of %lld: %d, %lld+%lld", cases[i].header, (long long)cases[i].size, rc,
                     (long long)offset, (long long)length);
        if (rc < 0)
            assert_int_equal(err.kind, ERR_RANGE);
    }
}

static void knows_its_schemas(void **state)
{
    (void)state;
    assert_true(schema_known("Service"));
    assert_true(schema_known("ServicePage"));
    assert_true(schema_known("Service[]"));
    assert_true(schema_known("Error"));
    assert_false(schema_known("Servic"));
    assert_false(schema_known("ServicePages"));
    assert_false(schema_known("[]"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(literals_win_over_parameters),
        cmocka_unit_test(tells_missing_from_wrong_method),
        cmocka_unit_test(decodes_parameters_one_by_one),
        cmocka_unit_test(reads_byte_ranges),
        cmocka_unit_test(knows_its_schemas),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
