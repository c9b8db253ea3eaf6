// SPDX-License-Identifier: Apache-2.0
#include "base/id.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/map.h"

static void ids_sort_by_time_and_differ(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *arena = arena_new();
    struct map *seen = map_new();
    struct str before = id_new(0, arena);
    for (int i = 1; i < 5000; i++) {
        struct str id = id_new((int64_t)i * 1000003, arena);
        assert_true(id_valid(id));
        assert_true(str_cmp(before, id) < 0);
        assert_null(map_put(seen, (struct str){id.at + 12, 12}, arena));
        before = id;
    }
    assert_true(str_starts(id_new(0x123456789abc, arena), STR("123456789abc")));
    assert_true(str_starts(id_new(-1, arena), STR("000000000000")));
    map_free(seen);
}

static void validity_is_about_form(void **state)
{
    (void)state;
    assert_true(id_valid(STR("0123456789abcdef01234567")));
    assert_false(id_valid(STR("0123456789ABCDEF01234567")));
    assert_false(id_valid(STR("0123456789abcdef0123456")));
    assert_false(id_valid(STR("0123456789abcdef012345678")));
    assert_false(id_valid(STR("0123456789abcdef0123456g")));
    assert_false(id_valid(STR("")));
    assert_false(id_valid(STR_NONE));
}

static void uuids_are_version_4(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *arena = arena_new();
    struct str previous = STR_NONE;
    for (int i = 0; i < 1000; i++) {
        struct str uuid = uuid_new(arena);
        assert_int_equal(uuid.len, UUID_LEN);
        assert_int_equal(strlen(uuid.at), UUID_LEN);
        assert_int_equal(strspn(uuid.at, "0123456789abcdef-"), UUID_LEN);
        assert_true(uuid.at[8] == '-' && uuid.at[13] == '-' && uuid.at[18] == '-' &&
                    uuid.at[23] == '-');
        assert_int_equal(uuid.at[14], '4');
        assert_non_null(strchr("89ab", uuid.at[19]));
        assert_false(str_eq(uuid, previous));
        previous = uuid;
    }
}

static void secrets_have_the_length_asked_for(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *arena = arena_new();
    struct str a = secret_new(32, arena), b = secret_new(32, arena);
    assert_int_equal(a.len, 64);
    assert_int_equal(strspn(a.at, "0123456789abcdef"), 64);
    assert_false(str_eq(a, b));
    assert_int_equal(secret_new(0, arena).len, 0);
}

static void ids_tell_their_time(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *arena = arena_new();
    assert_int_equal(id_time(id_new(1790000000123, arena)), 1790000000123);
    assert_int_equal(id_time(id_new(0, arena)), 0);
    assert_int_equal(id_time(STR("x")), -1);
}

static void random_bytes_are_spread(void **state)
{
    (void)state;
    static unsigned char bytes[100000];
    size_t counts[256] = {0};
    random_fill(bytes, sizeof(bytes));
    for (size_t i = 0; i < sizeof(bytes); i++)
        counts[bytes[i]]++;
    for (int i = 0; i < 256; i++)  // 391 expected; these bounds are ten standard deviations
        assert_in_range(counts[i], 190, 590);
}

static void ids_grow_when_the_clock_steps_back(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *arena = arena_new();
    struct id_source *source = id_source_new();
    struct str previous = id_next(source, 1700000000000, arena);
    for (int i = 0; i < 100000; i++) {
        struct str id = id_next(source, 1700000000000 - 86400000 + i, arena);
        assert_true(str_cmp(id, previous) > 0);
        previous = id;
    }
    struct str later = id_next(source, 1700000100000, arena);
    assert_true(str_cmp(later, previous) > 0);
    id_source_free(source);
    // Another process goes on from the newest id.
    source = id_source_new();
    id_source_seen(source, later);
    id_source_seen(source, previous);
    id_source_seen(source, STR("no id"));
    assert_true(str_cmp(id_next(source, 1600000000000, arena), later) > 0);
    id_source_free(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_sort_by_time_and_differ),
        cmocka_unit_test(ids_grow_when_the_clock_steps_back),
        cmocka_unit_test(validity_is_about_form),
        cmocka_unit_test(uuids_are_version_4),
        cmocka_unit_test(secrets_have_the_length_asked_for),
        cmocka_unit_test(ids_tell_their_time),
        cmocka_unit_test(random_bytes_are_spread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
