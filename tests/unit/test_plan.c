// SPDX-License-Identifier: Apache-2.0
// The replacement of replicas, a few at a time, in thousands of random orders of events.
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "driver/plan.h"

#define ALL_MOST 400
#define SEEDS    20000

struct place {
    int64_t revision;
    bool alive, ready, kept, leaving;
};

struct field {
    struct place all[ALL_MOST];
    size_t count;
    struct plan_wish wish;
    int64_t revision;
    uint64_t seed, random;
};

static size_t below(struct field *field, size_t n)
{
    field->random = field->random * 6364136223846793005u + 1442695040888963407u;
    return (size_t)(field->random >> 33) % n;
}

static int64_t count_kept(const struct field *field, bool ready_only)
{
    int64_t count = 0;
    for (size_t i = 0; i < field->count; i++)
        count += field->all[i].kept &&
                 (!ready_only || (field->all[i].alive && field->all[i].ready));
    return count;
}

static int64_t count_leaving(const struct field *field)
{
    int64_t count = 0;
    for (size_t i = 0; i < field->count; i++)
        count += field->all[i].alive && field->all[i].leaving;
    return count;
}

static void drop(struct field *field, size_t at)
{
    memmove(&field->all[at], &field->all[at + 1], (--field->count - at) * sizeof(field->all[0]));
}

// What a driver does with the plan, and what must hold of it.
static void act(struct field *field)
{
    struct plan_replica facts[ALL_MOST];
    bool go[ALL_MOST];
    for (size_t i = 0; i < field->count; i++) {
        const struct place *place = &field->all[i];
        facts[i] = (struct plan_replica){.current = place->revision == field->revision,
                                         .alive = place->alive,
                                         .ready = place->ready,
                                         .kept = place->kept,
                                         .leaving = place->leaving && place->alive};
    }
    int64_t ready = count_kept(field, true), served = 0;
    int64_t start = driver_plan(&field->wish, facts, field->count, go);
    for (size_t i = field->count; i-- > 0;) {
        struct place *place = &field->all[i];
        if (!go[i])
            continue;
        assert_true(place->kept);
        place->kept = false;
        place->leaving = place->revision != field->revision;
        served += place->leaving && place->ready;
        if (!place->alive)
            drop(field, i);
    }
    for (int64_t i = 0; i < start; i++) {
        assert_true(field->count < ALL_MOST);
        field->all[field->count++] = (struct place){
            .revision = field->revision, .alive = true, .kept = true};
    }
    int64_t promised = field->wish.replicas < ready ? field->wish.replicas : ready;
    if (count_kept(field, true) < promised)
        fail_msg("seed %" PRIu64 ": %" PRId64 " of %" PRId64 " ready are kept, %" PRId64
                 " are promised",
                 field->seed, count_kept(field, true), ready, promised);
    const struct plan_wish *wish = &field->wish;
    if (served > 0 && wish->replicas > 0)
        assert_true(count_leaving(field) <= wish->surge);
    if (start > 0)
        assert_true(count_kept(field, false) + count_leaving(field) <=
                    wish->replicas + wish->surge);
}

// One thing happens to one replica. calm: nothing fails.
static void happen(struct field *field, bool calm)
{
    if (field->count == 0)
        return;
    size_t at = below(field, field->count);
    struct place *place = &field->all[at];
    if (place->alive && !place->kept) {
        drop(field, at);  // it has finished
    } else if (!place->alive) {
        place->alive = place->revision == field->revision;  // its back-off is over
    } else if (!place->ready) {
        if (calm || below(field, 3) > 0)
            place->ready = true;
        else
            place->alive = false;
    } else if (!calm && below(field, 8) == 0) {
        place->alive = place->ready = false;
        if (place->revision != field->revision)
            drop(field, at);
    }
}

static bool is_settled(const struct field *field)
{
    for (size_t i = 0; i < field->count; i++)
        if (field->all[i].revision != field->revision || !field->all[i].ready ||
            !field->all[i].kept)
            return false;
    return (int64_t)field->count == field->wish.replicas;
}

static void wish_anew(struct field *field)
{
    if (below(field, 2)) {
        field->revision++;
        for (size_t i = 0; i < field->count; i++)
            field->all[i].leaving = false;
    } else {
        field->wish.replicas = (int64_t)below(field, 12);
    }
    field->wish.surge = field->wish.replicas > 4 ? field->wish.replicas / 4 : 1;
}

static void run_seed(uint64_t seed)
{
    struct field field = {.seed = seed, .random = seed * 2654435761u + 1};
    wish_anew(&field);
    for (int step = 0; step < 120; step++) {
        if (below(&field, 12) == 0)
            wish_anew(&field);
        act(&field);
        happen(&field, false);
    }
    for (int step = 0; step < 4000 && !is_settled(&field); step++) {
        act(&field);
        happen(&field, true);
    }
    if (!is_settled(&field))
        fail_msg("seed %" PRIu64 ": the rollout does not end", seed);
}

static void never_fewer_than_promised_and_always_an_end(void **state)
{
    (void)state;
    const char *one = getenv("DROVER_TEST_SEED_ONE");
    if (one) {
        run_seed(strtoull(one, NULL, 10));
        return;
    }
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run_seed(seed);
}

// A few at a time: with eight replicas two new ones first, then two old ones may go.
static void a_few_at_a_time(void **state)
{
    (void)state;
    struct plan_replica all[12] = {0};
    bool go[12];
    const struct plan_wish wish = {8, 2};
    for (size_t i = 0; i < 8; i++)
        all[i] = (struct plan_replica){.alive = true, .ready = true, .kept = true};
    assert_int_equal(driver_plan(&wish, all, 8, go), 2);
    for (size_t i = 0; i < 8; i++)
        assert_false(go[i]);
    all[8] = all[9] = (struct plan_replica){
        .current = true, .alive = true, .ready = false, .kept = true};
    assert_int_equal(driver_plan(&wish, all, 10, go), 0);
    assert_false(go[0]);
    all[8].ready = all[9].ready = true;
    assert_int_equal(driver_plan(&wish, all, 10, go), 0);
    assert_true(go[0] && go[1] && !go[2]);
    for (size_t i = 0; i < 2; i++)
        all[i] = (struct plan_replica){.alive = true, .ready = true, .leaving = true};
    assert_int_equal(driver_plan(&wish, all, 10, go), 0);  // their places are not free yet
    for (size_t i = 0; i < 10; i++)
        assert_false(go[i]);
    all[0].leaving = all[0].alive = false;  // one has finished
    assert_int_equal(driver_plan(&wish, all, 10, go), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_few_at_a_time),
        cmocka_unit_test(never_fewer_than_promised_and_always_an_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
