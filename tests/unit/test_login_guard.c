// SPDX-License-Identifier: Apache-2.0
#include "operation/login_guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define TRIES 10

struct guess {
    struct login_try attempt;
    char account[32], address[32];
    int granted, refused;
    struct err err;
};

static void on_decided(void *arg, const struct err *err)
{
    struct guess *guess = arg;
    if (err) {
        guess->refused++;
        guess->err = *err;
    } else {
        guess->granted++;
    }
}

static struct guess *enter(struct login_guard *guard, struct guess *guess, const char *account,
                           const char *address, int64_t now)
{
    *guess = (struct guess){.err = ERR_INIT};
    snprintf(guess->account, sizeof(guess->account), "%s", account);
    snprintf(guess->address, sizeof(guess->address), "%s", address);
    guess->attempt = (struct login_try){.account = str_of(guess->account),
                                        .address = str_of(guess->address),
                                        .go = on_decided,
                                        .arg = guess};
    login_guard_enter(guard, &guess->attempt, now);
    return guess;
}

static bool once(struct login_guard *guard, const char *account, const char *address,
                 enum login_outcome outcome, int64_t now)
{
    struct guess guess;
    enter(guard, &guess, account, address, now);
    if (guess.granted)
        login_guard_leave(guard, &guess.attempt, outcome, now);
    return guess.granted;
}

static void says_whose_failures_and_for_how_long(void **state)
{
    struct login_guard *guard = login_guard_new(TRIES);
    struct guess guess;
    (void)state;
    for (int i = 0; i < TRIES; i++)
        assert_true(once(guard, "a@x", i % 2 ? "10.0.0.1" : "10.0.0.2", LOGIN_BAD, 1000));
    enter(guard, &guess, "a@x", "10.0.0.3", 31000);
    assert_int_equal(guess.refused, 1);
    assert_int_equal(guess.err.kind, ERR_BUSY);
    assert_int_equal(guess.err.retry_after, 30);
    assert_non_null(strstr(guess.err.message, "for this account"));
    assert_true(once(guard, "b@x", "10.0.0.3", LOGIN_BAD, 31000));
    assert_true(once(guard, "a@x", "10.0.0.3", LOGIN_BAD, 61000));
    login_guard_free(guard);
}

static void a_blocked_address_harms_no_account(void **state)
{
    struct login_guard *guard = login_guard_new(TRIES);
    struct guess guess;
    char account[32];
    (void)state;
    for (int i = 0; i < TRIES; i++) {
        snprintf(account, sizeof(account), "u%d@x", i);
        assert_true(once(guard, account, "10.0.0.1", LOGIN_BAD, 0));
    }
    size_t before = login_guard_count(guard);
    for (int i = 0; i < 20000; i++) {
        snprintf(account, sizeof(account), "v%d@x", i % 2 ? i : 0);
        enter(guard, &guess, account, "10.0.0.1", 10);
        assert_int_equal(guess.refused, 1);
    }
    assert_non_null(strstr(guess.err.message, "from this address"));
    assert_int_equal(login_guard_count(guard), before);
    assert_true(once(guard, "v0@x", "10.0.0.2", LOGIN_GOOD, 10));
    login_guard_free(guard);
}

static void good_logins_do_not_count(void **state)
{
    struct login_guard *guard = login_guard_new(TRIES);
    struct guess guesses[3 * TRIES];
    int granted = 0;
    (void)state;
    for (int i = 0; i < 3 * TRIES; i++) {
        enter(guard, &guesses[i], "a@x", "10.0.0.1", 0);
        assert_int_equal(guesses[i].refused, 0);
        granted += guesses[i].granted;
    }
    assert_int_equal(granted, TRIES);  // the others wait
    for (int i = 0; i < 3 * TRIES; i++) {
        assert_int_equal(guesses[i].granted, 1);
        login_guard_leave(guard, &guesses[i].attempt, LOGIN_GOOD, 0);
    }
    assert_int_equal(login_guard_count(guard), 0);
    login_guard_free(guard);
}

static void guesses_at_once_do_not_slip_through(void **state)
{
    struct login_guard *guard = login_guard_new(TRIES);
    struct guess guesses[3 * TRIES];
    char address[32];
    int granted = 0, refused = 0;
    (void)state;
    for (int i = 0; i < 3 * TRIES; i++) {
        snprintf(address, sizeof(address), "10.0.0.%d", i);
        enter(guard, &guesses[i], "a@x", address, 0);
    }
    for (int i = 0; i < 3 * TRIES; i++) {
        if (guesses[i].granted)
            login_guard_leave(guard, &guesses[i].attempt, LOGIN_BAD, 0);
    }
    for (int i = 0; i < 3 * TRIES; i++) {
        granted += guesses[i].granted;
        refused += guesses[i].refused;
    }
    assert_int_equal(granted, TRIES);
    assert_int_equal(refused, 2 * TRIES);
    login_guard_free(guard);
}

static void what_was_not_verified_does_not_count(void **state)
{
    struct login_guard *guard = login_guard_new(TRIES);
    (void)state;
    for (int i = 0; i < 5 * TRIES; i++)
        assert_true(once(guard, "a@x", "10.0.0.1", LOGIN_VOID, 0));
    assert_int_equal(login_guard_count(guard), 0);
    login_guard_free(guard);
}

static void few_wait(void **state)
{
    struct login_guard *guard = login_guard_new(1);
    static struct guess guesses[200];
    int refused = 0;
    (void)state;
    for (int i = 0; i < 200; i++) {
        enter(guard, &guesses[i], "a@x", "", 0);
        refused += guesses[i].refused;
    }
    assert_in_range(refused, 1, 198);
    assert_int_equal(guesses[199].err.kind, ERR_BUSY);
    assert_int_equal(guesses[199].err.retry_after, 1);
    for (int i = 0; i < 200; i++) {
        if (guesses[i].granted)
            login_guard_leave(guard, &guesses[i].attempt, LOGIN_GOOD, 0);
    }
    login_guard_free(guard);
}

// Fresh failures of ever new accounts from ever new addresses.
static void remembers_a_bounded_number(void **state)
{
    struct login_guard *guard = login_guard_new(TRIES);
    char account[32], address[32];
    (void)state;
    for (int i = 0; i < 100000; i++) {
        snprintf(account, sizeof(account), "u%d@x", i);
        snprintf(address, sizeof(address), "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255);
        assert_true(once(guard, account, address, LOGIN_BAD, i / 100));
        assert_true(login_guard_count(guard) <= 50002);
    }
    for (int i = 0; i < 10000; i++)
        assert_true(once(guard, "late@x", "10.9.9.9", LOGIN_GOOD, 70000));
    assert_true(login_guard_count(guard) <= 1);  // past windows went, a few with each call
    login_guard_free(guard);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_whose_failures_and_for_how_long),
        cmocka_unit_test(a_blocked_address_harms_no_account),
        cmocka_unit_test(good_logins_do_not_count),
        cmocka_unit_test(guesses_at_once_do_not_slip_through),
        cmocka_unit_test(what_was_not_verified_does_not_count),
        cmocka_unit_test(few_wait),
        cmocka_unit_test(remembers_a_bounded_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
