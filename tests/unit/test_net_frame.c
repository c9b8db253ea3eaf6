// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/frame.h"

static void frames_come_whole_whatever_the_splits(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf sent = BUF_INIT(1 << 20);
    const char *texts[] = {"{}", "{\"op\":\"invoke\"}", "[1,2,3]"};
    for (size_t i = 0; i < 3; i++) {
        size_t begun = frame_begin(&sent);
        buf_add_cstr(&sent, texts[i]);
        frame_end(&sent, begun);
    }
    for (size_t step = 1; step <= sent.len; step++) {
        size_t used = 0, got = 0;
        struct err err = ERR_INIT;
        for (size_t have = 0; have <= sent.len; have += step) {
            struct str json;
            while (frame_next((struct str){sent.at, have}, &used, &json, &err) == 1)
                assert_true(str_is(json, texts[got++]));
        }
        struct str json;
        while (frame_next(buf_str(&sent), &used, &json, &err) == 1)
            assert_true(str_is(json, texts[got++]));
        assert_int_equal(got, 3);
        assert_int_equal(used, sent.len);
        assert_int_equal(err.kind, ERR_NONE);
    }
}

static void a_frame_too_long_or_empty_is_refused(void **state)
{
    (void)state;
    struct str json;
    struct err err = ERR_INIT;
    size_t used = 0;
    assert_int_equal(frame_next(STR("\0\0\0\0"), &used, &json, &err), -1);
    assert_int_equal(err.kind, ERR_BAD_INPUT);
    assert_int_equal(frame_next(STR("\x04\0\0\x01"), &used, &json, &err), -1);
    assert_int_equal(frame_next(STR("\xff\xff\xff\xff"), &used, &json, &err), -1);
    assert_int_equal(frame_next(STR("\x04\0\0\0"), &used, &json, &err), 0);
    assert_int_equal(used, 0);
}

static void the_length_is_big_endian(void **state)
{
    (void)state;
    _cleanup_buf_ struct buf buf = BUF_INIT(1 << 20);
    buf_add_cstr(&buf, "before");
    size_t begun = frame_begin(&buf);
    char *at = buf_reserve(&buf, 70000);
    assert_non_null(at);
    for (size_t i = 0; i < 70000; i++)
        buf_add_char(&buf, 'x');
    frame_end(&buf, begun);
    assert_memory_equal(buf.at + 6, "\x00\x01\x11\x70", 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_whole_whatever_the_splits),
        cmocka_unit_test(a_frame_too_long_or_empty_is_refused),
        cmocka_unit_test(the_length_is_big_endian),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
