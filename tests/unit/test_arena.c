// SPDX-License-Identifier: Apache-2.0
#include "base/arena.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

// Allocates at random sizes, fills each piece, and checks at the end that none was touched.
static void pieces_are_zeroed_aligned_and_apart(void **state)
{
    (void)state;
    enum { PIECES = 400 };
    struct arena *arena = arena_new();
    srandom(20261123);
    for (int round = 0; round < 20; round++) {
        unsigned char *pieces[PIECES];
        size_t sizes[PIECES], total = 0;
        for (int i = 0; i < PIECES; i++) {
            sizes[i] = (size_t)random() % (random() % 20 ? 200 : 300000);
            total += sizes[i];
            pieces[i] = arena_alloc(arena, sizes[i]);
            assert_int_equal((uintptr_t)pieces[i] % _Alignof(max_align_t), 0);
            for (size_t j = 0; j < sizes[i]; j += 1 + j / 16)
                assert_int_equal(pieces[i][j], 0);
            memset(pieces[i], i & 0xFF, sizes[i]);
        }
        assert_int_equal(arena_used(arena), total);
        for (int i = 0; i < PIECES; i++)
            for (size_t j = 0; j < sizes[i]; j += 1 + j / 16)
                assert_int_equal(pieces[i][j], i & 0xFF);
        arena_reset(arena);
        assert_int_equal(arena_used(arena), 0);
    }
    arena_free(arena);
    arena_free(NULL);
}

static void a_reset_arena_uses_its_first_block_again(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *arena = arena_new();
    void *first = arena_alloc(arena, 8);
    arena_alloc(arena, 1 << 20);
    arena_alloc(arena, 5000);
    arena_reset(arena);
    assert_ptr_equal(arena_alloc(arena, 8), first);
}

static void texts_are_copied_and_terminated(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *arena = arena_new();
    char source[] = "text";
    struct str copy = arena_copy(arena, str_of(source));
    source[0] = 'n';
    assert_string_equal(copy.at, "text");
    assert_int_equal(copy.len, 4);
    assert_null(arena_copy(arena, STR_NONE).at);
    assert_non_null(arena_copy(arena, STR("")).at);
    assert_string_equal(arena_cstr(arena, STR_NONE), "");
    struct pair {
        int64_t a, b;
    } *pair = arena_new_of(arena, struct pair);
    assert_int_equal(pair->a + pair->b, 0);
    assert_int_equal(arena_array_of(arena, struct pair, 10)[9].b, 0);
}

static void printing_takes_any_length(void **state)
{
    (void)state;
    _cleanup_arena_ struct arena *arena = arena_new();
    for (int width = 0; width < 600; width++) {
        struct str s = arena_printf(arena, "%*s", width, "");
        assert_int_equal(s.len, width);
        assert_int_equal(strlen(s.at), width);
    }
    assert_string_equal(arena_printf(arena, "%d-%s", 5, "x").at, "5-x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_zeroed_aligned_and_apart),
        cmocka_unit_test(a_reset_arena_uses_its_first_block_again),
        cmocka_unit_test(texts_are_copied_and_terminated),
        cmocka_unit_test(printing_takes_any_length),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
