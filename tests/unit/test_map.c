// SPDX-License-Identifier: Apache-2.0
#include "base/map.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/arena.h"

static void an_empty_map_has_nothing(void **state)
{
    (void)state;
    struct map *map = map_new();
    size_t cursor = 0;
    assert_null(map_get(map, STR("a")));
    assert_null(map_remove(map, STR("a")));
    assert_null(map_next(map, &cursor, NULL));
    assert_int_equal(map_count(map), 0);
    map_free(map);
    map_free(NULL);
}

static void keys_are_bytes_and_may_be_empty(void **state)
{
    (void)state;
    struct map *map = map_new();
    int a, b, c;
    assert_null(map_put(map, STR(""), &a));
    assert_null(map_put(map, STR("x\0y"), &b));
    assert_null(map_put(map, STR("x\0z"), &c));
    assert_ptr_equal(map_get(map, STR_NONE), &a);
    assert_ptr_equal(map_get(map, STR("x\0y")), &b);
    assert_ptr_equal(map_get(map, STR("x\0z")), &c);
    assert_null(map_get(map, STR("x")));
    map_free(map);
}

static void putting_again_gives_back_the_old_value(void **state)
{
    (void)state;
    struct map *map = map_new();
    int first, second;
    char key_a[] = "key", key_b[] = "key";
    map_put(map, str_of(key_a), &first);
    assert_ptr_equal(map_put(map, str_of(key_b), &second), &first);
    key_a[0] = 'x';  // the entry now holds the second key, as its owner expects
    assert_ptr_equal(map_get(map, STR("key")), &second);
    assert_int_equal(map_count(map), 1);
    assert_ptr_equal(map_remove(map, STR("key")), &second);
    assert_int_equal(map_count(map), 0);
    map_free(map);
}

static void walking_may_remove_what_it_stands_on(void **state)
{
    (void)state;
    struct arena *arena = arena_new();
    struct map *map = map_new();
    static int values[1000];
    for (int i = 0; i < 1000; i++)
        map_put(map, arena_printf(arena, "key-%d", i), &values[i]);
    struct str key;
    int *value, seen = 0;
    for (size_t i = 0; (value = map_next(map, &i, &key));) {
        seen++;
        if ((value - values) % 3 != 0)
            assert_ptr_equal(map_remove(map, key), value);
    }
    assert_int_equal(seen, 1000);
    assert_int_equal(map_count(map), 334);
    for (int i = 0; i < 1000; i++) {
        void *expected = i % 3 == 0 ? &values[i] : NULL;
        assert_ptr_equal(map_get(map, arena_printf(arena, "key-%d", i)), expected);
    }
    map_free(map);
    arena_free(arena);
}

// Random puts, gets and removes against an array indexed by the key's number.
static void agrees_with_a_plain_array(void **state)
{
    (void)state;
    enum { KEYS = 300, STEPS = 200000 };
    struct arena *arena = arena_new();
    struct str keys[KEYS];
    void *model[KEYS] = {0};
    for (int i = 0; i < KEYS; i++)
        keys[i] = arena_printf(arena, "%x", i * 7919);
    struct map *map = map_new();
    size_t count = 0;
    srandom(20261123);
    for (int step = 0; step < STEPS; step++) {
        int i = (int)(random() % KEYS);
        // Phases of mostly adding and mostly removing, so that marks pile up and go again.
        bool adding = random() % 10 < (step / 5000 % 2 ? 2 : 7);
        void *before = model[i];
        assert_ptr_equal(map_get(map, keys[i]), before);
        if (adding) {
            model[i] = &model[random() % KEYS];
            assert_ptr_equal(map_put(map, keys[i], model[i]), before);
            count += before == NULL;
        } else {
            model[i] = NULL;
            assert_ptr_equal(map_remove(map, keys[i]), before);
            count -= before != NULL;
        }
        assert_int_equal(map_count(map), count);
    }
    size_t walked = 0;
    for (size_t cursor = 0; map_next(map, &cursor, NULL);)
        walked++;
    assert_int_equal(walked, count);
    map_free(map);
    arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_map_has_nothing),
        cmocka_unit_test(keys_are_bytes_and_may_be_empty),
        cmocka_unit_test(putting_again_gives_back_the_old_value),
        cmocka_unit_test(walking_may_remove_what_it_stands_on),
        cmocka_unit_test(agrees_with_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
