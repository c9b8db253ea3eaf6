// SPDX-License-Identifier: Apache-2.0
// What the agent knows of executions' processes: whose credit it is, and what they leave behind.
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/credit.h"
#include "agent/orphans.h"

// ── credit ───────────────────────────────────────────────────────────────────────────────────

struct told {
    int64_t owners[8], bytes[8];
    size_t count;
};

static void tell(void *arg, int64_t owner, int64_t bytes)
{
    struct told *told = arg;
    told->owners[told->count] = owner;
    told->bytes[told->count++] = bytes;
}

static void gives_credit_back_to_whose_it_was(void **state)
{
    (void)state;
    struct credit credit;
    struct told told = {0};
    credit_init(&credit);
    credit_stored(&credit, 100, tell, &told);
    assert_int_equal(told.count, 0);
    credit_add(&credit, 1, 10);
    credit_add(&credit, 1, 5);
    credit_add(&credit, -7, 20);
    credit_add(&credit, 1, 30);
    credit_stored(&credit, 12, tell, &told);
    assert_int_equal(told.count, 1);
    assert_true(told.owners[0] == 1 && told.bytes[0] == 12);
    credit_stored(&credit, 24, tell, &told);
    assert_int_equal(told.count, 4);
    assert_true(told.owners[1] == 1 && told.bytes[1] == 3);
    assert_true(told.owners[2] == -7 && told.bytes[2] == 20);
    assert_true(told.owners[3] == 1 && told.bytes[3] == 1);
    credit_stored(&credit, 1000, tell, &told);
    assert_int_equal(told.count, 5);
    assert_int_equal(told.bytes[4], 29);
    credit_deinit(&credit);
}

// ── orphans ──────────────────────────────────────────────────────────────────────────────────

static void nap(void) { nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL); }

static pid_t start_sleeper(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    assert_true(pid > 0);
    return pid;
}

// A process of an execution, whose child has a session of its own; gives the child's number.
static pid_t leave_orphan(void)
{
    int ends[2];
    pid_t orphan = 0;
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        pid_t child = fork();
        if (child == 0) {
            setsid();
            for (;;)
                pause();
        }
        ssize_t written = write(ends[1], &child, sizeof(child));
        _exit(written == (ssize_t)sizeof(child) ? 0 : 1);
    }
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    assert_int_equal(read(ends[0], &orphan, sizeof(orphan)), sizeof(orphan));
    close(ends[0]), close(ends[1]);
    return orphan;
}

static bool keep(void *arg, int pid) { return pid == *(pid_t *)arg; }

static bool ends(struct orphans *orphans, pid_t kept, pid_t pid)
{
    for (int i = 0; i < 2000; i++, nap()) {
        orphans_sweep(orphans, keep, &kept);
        if (kill(pid, 0) != 0)
            return true;
    }
    return false;
}

static void ends_what_was_left_behind(void **state)
{
    (void)state;
    struct orphans *orphans = orphans_new();
    pid_t spared = start_sleeper();
    orphans_spare_present(orphans);
    pid_t kept = start_sleeper(), orphan = leave_orphan();
    assert_int_equal(kill(orphan, 0), 0);
    assert_true(ends(orphans, kept, orphan));
    assert_int_equal(kill(spared, 0), 0);
    assert_int_equal(waitpid(spared, NULL, WNOHANG), 0);
    assert_int_equal(waitpid(kept, NULL, WNOHANG), 0);
    kill(spared, SIGKILL);
    assert_true(ends(orphans, kept, spared));  // reaped like the others
    kill(kept, SIGKILL);
    assert_int_equal(waitpid(kept, NULL, 0), kept);
    orphans_free(orphans);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gives_credit_back_to_whose_it_was),
        cmocka_unit_test(ends_what_was_left_behind),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
