// SPDX-License-Identifier: Apache-2.0
#include "base/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void fresh_memory_is_zero(void **state)
{
    (void)state;
    for (size_t size = 0; size < 3000; size += 97) {
        _cleanup_free_ unsigned char *at = mem_alloc(size);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(at[i], 0);
        memset(at, 0xAA, size);
    }
}

static void resizing_keeps_and_copying_ends_with_nul(void **state)
{
    (void)state;
    char *at = mem_copy("hello\0there", 11);
    assert_memory_equal(at, "hello\0there", 12);
    at = mem_resize(at, 100000);
    assert_memory_equal(at, "hello\0there", 12);
    mem_free(at);
    _cleanup_free_ char *empty = mem_copy(NULL, 0);
    assert_string_equal(empty, "");
    mem_free(NULL);
}

// Calls in a child; gives what it wrote to stderr, having checked that it died by SIGABRT.
static void dies_saying(void (*call)(void), char *said, size_t size)
{
    int ends[2], status;
    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        call();
        _exit(0);
    }
    close(ends[1]);
    ssize_t n = read(ends[0], said, size - 1);
    said[n > 0 ? n : 0] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGABRT);
}

static void ask_too_much(void) { mem_free(mem_alloc(SIZE_MAX - 100)); }
static void resize_too_much(void) { mem_free(mem_resize(NULL, SIZE_MAX)); }

static void out_of_memory_is_one_line_and_an_abort(void **state)
{
    (void)state;
    char said[200];
    dies_saying(ask_too_much, said, sizeof(said));
    assert_string_equal(said, "drover: out of memory asking for 18446744073709551515 bytes\n");
    dies_saying(resize_too_much, said, sizeof(said));
    assert_non_null(strstr(said, "out of memory"));
}

static void descriptors_close_with_their_scope(void **state)
{
    (void)state;
    int seen;
    {
        _cleanup_fd_ int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        seen = fd;
        assert_true(fcntl(seen, F_GETFD) >= 0);
    }
    assert_int_equal(fcntl(seen, F_GETFD), -1);
    int none = -1;
    fd_close_at(&none);
    assert_int_equal(none, -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fresh_memory_is_zero),
        cmocka_unit_test(resizing_keeps_and_copying_ends_with_nul),
        cmocka_unit_test(out_of_memory_is_one_line_and_an_abort),
        cmocka_unit_test(descriptors_close_with_their_scope),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
