// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void starts_empty_and_grows(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf buf = BUF_INIT(100000);
    assert_string_equal(buf_str(&buf).at, "");
    for (int i = 0; i < 1000; i++)
        buf_printf(&buf, "%03d", i);
    assert_int_equal(buf.len, 3000);
    assert_memory_equal(buf.at + 2997, "999", 3);
    assert_true(buf.cap <= buf.max);
    buf_printf(&buf, "%0500d", 7);
    assert_int_equal(buf.len, 3500);
    assert_int_equal(buf.at[3499], '7');
}

static void what_does_not_fit_is_dropped_whole_and_remembered(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf buf = BUF_INIT(10);
    buf_add_cstr(&buf, "12345");
    buf_add_cstr(&buf, "678901");
    assert_true(buf.over);
    assert_true(str_is(buf_str(&buf), "12345"));
    buf_clear(&buf);
    assert_false(buf.over);
    buf_add_cstr(&buf, "1234567890");
    assert_false(buf.over);
    buf_add_char(&buf, 'x');
    assert_true(buf.over);
    assert_int_equal(buf.len, 10);
    assert_true(buf.cap <= 10);
}

static void printing_respects_the_cap_exactly(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf buf = BUF_INIT(300);
    buf_printf(&buf, "%0300d", 1);
    assert_false(buf.over);
    assert_int_equal(buf.len, 300);
    buf_clear(&buf);
    buf_printf(&buf, "%0301d", 1);
    assert_true(buf.over);
    assert_int_equal(buf.len, 0);
}

static void reserve_gives_room_or_nothing(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf buf = BUF_INIT(1000);
    char *room = buf_reserve(&buf, 1000);
    assert_non_null(room);
    memset(room, 'a', 1000);
    buf.len = 1000;
    assert_null(buf_reserve(&buf, 1));
    assert_true(buf.over);
    assert_null(buf_reserve(&buf, SIZE_MAX));
}

static void taking_moves_the_bytes(void **state)
{
    (void)state;
    struct buf buf = BUF_INIT(100);
    buf_add_str(&buf, STR("moved"));
    struct buf taken = buf_take(&buf);
    assert_null(buf.at);
    assert_int_equal(buf.len, 0);
    buf_add_cstr(&buf, "next");
    assert_true(str_is(buf_str(&taken), "moved"));
    buf_deinit(&taken);
    buf_deinit(&buf);
    buf_deinit(&buf);
    assert_int_equal(buf.max, 100);
}

// Random writes and drops against a fixed array that follows the same rules.
static void agrees_with_a_plain_array(void **state)
{
    (void)state;
    enum { MAX = 2000 };
    static char model[MAX];
    size_t len = 0;
    _cleanup_buf_ struct buf buf = BUF_INIT(MAX);
    srandom(20261123);
    for (int step = 0; step < 50000; step++) {
        char piece[400];
        size_t size = (size_t)random() % sizeof(piece);
        memset(piece, 'a' + step % 26, sizeof(piece));
        bool over = false;
        switch (random() % 4) {
        case 0:
            size = 1;
            buf_add_char(&buf, piece[0]);
            break;
        case 1: buf_printf(&buf, "%.*s", (int)size, piece); break;
        case 2: buf_add(&buf, piece, size); break;
        default:
            size = size * 2 < len + 5 ? size * 2 : len + 5;
            buf_drop_front(&buf, size);
            len -= size < len ? size : len;
            if (len > 0)
                memmove(model, model + size, len);
            size = 0;
        }
        over = len + size > MAX;
        if (!over) {
            memcpy(model + len, piece, size);
            len += size;
        }
        assert_int_equal(buf.over, over);
        assert_int_equal(buf.len, len);
        if (len > 0)
            assert_memory_equal(buf.at, model, len);
        if (over)
            buf.over = false;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(starts_empty_and_grows),
        cmocka_unit_test(what_does_not_fit_is_dropped_whole_and_remembered),
        cmocka_unit_test(printing_respects_the_cap_exactly),
        cmocka_unit_test(reserve_gives_room_or_nothing),
        cmocka_unit_test(taking_moves_the_bytes),
        cmocka_unit_test(agrees_with_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
