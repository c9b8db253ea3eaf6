// SPDX-License-Identifier: Apache-2.0
// What every queue must do (run for each implementation), and that the embedded one behaves as the
// plain one under random operations, in little memory.
#include <inttypes.h>
#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include "base/mem.h"
#include "queue/embedded/ready.h"
#include "queue/queue.h"

#define ONE   STR("5f1a00000000000000000001")
#define TWO   STR("5f1a00000000000000000002")
#define THREE STR("5f1a00000000000000000003")
#define NAME  STR("service-a")
#define OTHER STR("service-b")

static struct queue *open_with(const char *driver, int64_t body_memory)
{
    struct err err = ERR_INIT;
    struct queue_config config = {.driver = driver, .body_memory = body_memory};
    struct queue *queue = queue_open(&config, &err);
    assert_non_null(queue);
    return queue;
}

static struct queue *open_of(void **state) { return open_with(*state, 1 << 20); }

static void publish(struct queue *queue, struct str name, struct str id, struct str body,
                    bool front)
{
    struct err err = ERR_INIT;
    struct queue_message message = {.id = id, .body = body};
    assert_int_equal(queue_publish(queue, name, &message, front, &err), 0);
}

static struct queue_message consume_one(struct queue *queue, struct str name)
{
    struct queue_message message;
    assert_int_equal(queue_consume(queue, name, &message, 1), 1);
    return message;
}

static void expect_id(struct queue_message message, struct str id)
{
    if (!str_eq(message.id, id))
        fail_msg("got " STR_FMT ", wanted " STR_FMT, STR_ARG(message.id), STR_ARG(id));
}

static void test_first_in_first_out(void **state)
{
    struct queue *queue = open_of(state);
    publish(queue, NAME, ONE, STR_NONE, false);
    publish(queue, NAME, TWO, STR("{\"n\":2}"), false);
    publish(queue, NAME, THREE, STR(""), true);
    publish(queue, OTHER, ONE, STR_NONE, false);
    assert_int_equal(queue_depth(queue, NAME), 3);
    assert_int_equal(queue_depth(queue, OTHER), 1);
    struct queue_message got[4];
    assert_int_equal(queue_consume(queue, NAME, got, 4), 3);
    expect_id(got[0], THREE);
    expect_id(got[1], ONE);
    expect_id(got[2], TWO);
    assert_non_null(got[0].body.at);
    assert_int_equal(got[0].body.len, 0);
    assert_null(got[1].body.at);
    assert_true(str_is(got[2].body, "{\"n\":2}"));
    assert_false(got[2].redelivered);
    assert_int_equal(queue_depth(queue, NAME), 0);
    assert_int_equal(queue_consume(queue, NAME, got, 4), 0);
    assert_int_equal(queue_consume(queue, STR("unknown"), got, 4), 0);
    queue_close(queue);
}

static void test_nack_comes_back_first(void **state)
{
    struct queue *queue = open_of(state);
    publish(queue, NAME, ONE, STR("1"), false);
    publish(queue, NAME, TWO, STR_NONE, false);
    struct queue_message first = consume_one(queue, NAME);
    queue_nack(queue, NAME, first.tag);
    queue_nack(queue, NAME, first.tag);  // no longer good
    queue_ack(queue, NAME, first.tag);
    assert_int_equal(queue_depth(queue, NAME), 2);
    first = consume_one(queue, NAME);
    expect_id(first, ONE);
    assert_true(first.redelivered);
    assert_true(str_is(first.body, "1"));
    queue_ack(queue, NAME, first.tag);
    expect_id(consume_one(queue, NAME), TWO);
    queue_close(queue);
}

static void test_waiting_ids_are_waiting_once(void **state)
{
    struct queue *queue = open_of(state);
    publish(queue, NAME, ONE, STR("1"), false);
    publish(queue, NAME, TWO, STR_NONE, false);
    publish(queue, NAME, ONE, STR("other"), false);
    publish(queue, NAME, TWO, STR("other"), true);
    assert_int_equal(queue_depth(queue, NAME), 2);
    struct queue_message one = consume_one(queue, NAME);
    expect_id(one, ONE);
    publish(queue, NAME, ONE, STR("newer"), false);  // it does not wait any more
    assert_int_equal(queue_depth(queue, NAME), 2);
    assert_true(str_is(one.body, "1"));
    queue_nack(queue, NAME, one.tag);
    assert_int_equal(queue_depth(queue, NAME), 2);
    one = consume_one(queue, NAME);
    expect_id(one, ONE);
    assert_true(str_is(one.body, "newer"));
    expect_id(consume_one(queue, NAME), TWO);
    queue_close(queue);
}

static void test_remove_purge_delete(void **state)
{
    struct queue *queue = open_of(state);
    publish(queue, NAME, ONE, STR("1"), false);
    publish(queue, NAME, TWO, STR_NONE, false);
    publish(queue, NAME, THREE, STR_NONE, false);
    assert_false(queue_remove_message(queue, OTHER, TWO));
    assert_true(queue_remove_message(queue, NAME, TWO));
    assert_false(queue_remove_message(queue, NAME, TWO));
    struct queue_message one = consume_one(queue, NAME);
    assert_false(queue_remove_message(queue, NAME, ONE));
    queue_purge(queue, NAME);
    assert_int_equal(queue_depth(queue, NAME), 0);
    queue_nack(queue, NAME, one.tag);
    assert_int_equal(queue_depth(queue, NAME), 1);
    one = consume_one(queue, NAME);
    queue_delete(queue, NAME);
    queue_nack(queue, NAME, one.tag);
    assert_int_equal(queue_depth(queue, NAME), 0);
    queue_delete(queue, NAME);
    publish(queue, NAME, ONE, STR_NONE, false);
    assert_int_equal(queue_depth(queue, NAME), 1);
    queue_close(queue);
}

static void test_any_text_is_an_id(void **state)
{
    struct queue *queue = open_of(state);
    const char *ids[] = {"x",
                         "5F1A00000000000000000001",
                         "5f1a00000000000000000001",
                         "5f1a000000000000000000011",
                         "6a3b0e1c-8b0f-4a53-b1a5-3a9c0d7c0001",
                         "5f1a0000000000000000000z"};
    size_t count = sizeof(ids) / sizeof(ids[0]);
    for (size_t i = 0; i < count; i++)
        publish(queue, NAME, str_of(ids[i]), str_of(ids[i]), false);
    for (size_t i = 0; i < count; i++)
        publish(queue, NAME, str_of(ids[i]), STR_NONE, false);
    assert_int_equal(queue_depth(queue, NAME), count);
    assert_true(queue_remove_message(queue, NAME, str_of(ids[4])));
    for (size_t i = 0; i < count; i++) {
        if (i == 4)
            continue;
        struct queue_message message = consume_one(queue, NAME);
        expect_id(message, str_of(ids[i]));
        assert_true(str_is(message.body, ids[i]));
    }
    struct err err = ERR_INIT;
    struct queue_message nameless = {.id = STR("")};
    assert_int_equal(queue_publish(queue, NAME, &nameless, false, &err), -1);
    queue_close(queue);
}

struct ready_seen {
    struct queue *queue;
    int calls;
    bool take;
};

static void on_ready(void *arg, struct str name)
{
    struct ready_seen *seen = arg;
    seen->calls++;
    assert_true(str_eq(name, NAME));
    if (seen->take)
        queue_ack(seen->queue, NAME, consume_one(seen->queue, NAME).tag);
}

static void test_ready_is_told_once(void **state)
{
    struct queue *queue = open_of(state);
    struct ready_seen seen = {.queue = queue};
    queue_on_ready(queue, on_ready, &seen);
    publish(queue, NAME, ONE, STR_NONE, false);
    publish(queue, NAME, TWO, STR_NONE, false);
    assert_int_equal(seen.calls, 1);
    struct queue_message got[2];
    assert_int_equal(queue_consume(queue, NAME, got, 2), 2);
    queue_nack(queue, NAME, got[1].tag);
    assert_int_equal(seen.calls, 2);
    queue_nack(queue, NAME, got[0].tag);
    assert_int_equal(seen.calls, 2);
    queue_purge(queue, NAME);
    seen.take = true;
    publish(queue, NAME, THREE, STR("body"), false);
    assert_int_equal(seen.calls, 3);
    assert_int_equal(queue_depth(queue, NAME), 0);
    queue_close(queue);
}

static void test_unknown_driver(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    struct queue_config config = {.driver = "carrier-pigeon"};
    assert_null(queue_open(&config, &err));
    assert_int_equal(err.kind, ERR_BAD_INPUT);
    queue_close(NULL);
}

static void test_bodies_over_the_limit_are_left_out(void **state)
{
    (void)state;
    char text[1000];
    memset(text, 'x', sizeof(text));
    struct str body = {text, sizeof(text)};
    struct queue *queue = open_with("embedded", 2100);
    publish(queue, NAME, ONE, body, false);
    publish(queue, OTHER, TWO, body, false);
    publish(queue, NAME, THREE, body, false);
    struct queue_message got[2];
    assert_int_equal(queue_consume(queue, NAME, got, 2), 2);
    assert_int_equal(got[0].body.len, sizeof(text));
    assert_null(got[1].body.at);
    publish(queue, NAME, THREE, body, false);  // the first is not acknowledged: still no room
    assert_null(consume_one(queue, NAME).body.at);
    queue_ack(queue, NAME, got[0].tag);
    publish(queue, NAME, ONE, body, false);
    assert_int_equal(consume_one(queue, NAME).body.len, sizeof(text));
    queue_delete(queue, NAME);
    queue_purge(queue, OTHER);
    publish(queue, NAME, ONE, body, false);
    publish(queue, NAME, TWO, body, false);
    assert_int_equal(queue_consume(queue, NAME, got, 2), 2);
    assert_int_equal(got[1].body.len, sizeof(text));
    queue_close(queue);
}

// ── random operations: embedded against memory ───────────────────────────────────────────────
#define HELD_MAX 64

struct pair {
    struct queue *real, *model;
    struct queue_message real_held[HELD_MAX], model_held[HELD_MAX];
    struct str names[HELD_MAX];
    size_t held;
    uint64_t random;
    int real_ready, model_ready;
};

static uint64_t next_random(struct pair *pair)
{
    pair->random ^= pair->random << 13;
    pair->random ^= pair->random >> 7;
    return pair->random ^= pair->random << 17;
}

static void count_ready(void *arg, struct str name)
{
    (void)name;
    ++*(int *)arg;
}

static void random_publish(struct pair *pair, struct str name)
{
    static const char *const bodies[] = {NULL, "", "1", "{\"some\":\"input\"}"};
    char id[48];
    uint64_t number = next_random(pair) % 300;
    int len = snprintf(id, sizeof(id), number % 7 ? "%024" PRIx64 : "long-%030" PRIx64, number);
    struct str body = str_of(bodies[next_random(pair) % 4]);
    bool front = next_random(pair) % 4 == 0;
    publish(pair->real, name, (struct str){id, (size_t)len}, body, front);
    publish(pair->model, name, (struct str){id, (size_t)len}, body, front);
}

static void random_consume(struct pair *pair, struct str name)
{
    size_t max = next_random(pair) % 8;
    if (max > HELD_MAX - pair->held)
        max = HELD_MAX - pair->held;
    struct queue_message *real = pair->real_held + pair->held;
    struct queue_message *model = pair->model_held + pair->held;
    size_t count = queue_consume(pair->real, name, real, max);
    assert_int_equal(count, queue_consume(pair->model, name, model, max));
    for (size_t i = 0; i < count; i++) {
        expect_id(real[i], model[i].id);
        assert_true(str_eq(real[i].body, model[i].body));
        assert_int_equal(real[i].redelivered, model[i].redelivered);
        pair->names[pair->held++] = name;
    }
}

static void random_answer(struct pair *pair, bool ack)
{
    if (pair->held == 0)
        return;
    size_t at = next_random(pair) % pair->held, last = --pair->held;
    void (*answer)(struct queue *, struct str, uint64_t) = ack ? queue_ack : queue_nack;
    expect_id(pair->real_held[at], pair->model_held[at].id);  // texts are valid until now
    answer(pair->real, pair->names[at], pair->real_held[at].tag);
    answer(pair->model, pair->names[at], pair->model_held[at].tag);
    pair->real_held[at] = pair->real_held[last];
    pair->model_held[at] = pair->model_held[last];
    pair->names[at] = pair->names[last];
}

static void random_delete(struct pair *pair, struct str name)
{
    for (size_t i = 0; i < pair->held;) {
        if (!str_eq(pair->names[i], name)) {
            i++;
            continue;
        }
        pair->held--;
        pair->names[i] = pair->names[pair->held];
        pair->real_held[i] = pair->real_held[pair->held];
        pair->model_held[i] = pair->model_held[pair->held];
    }
    queue_delete(pair->real, name);
    queue_delete(pair->model, name);
}

static void random_remove(struct pair *pair, struct str name)
{
    char id[ID_LEN + 1];
    snprintf(id, sizeof(id), "%024" PRIx64, next_random(pair) % 300);
    assert_int_equal(queue_remove_message(pair->real, name, str_of(id)),
                     queue_remove_message(pair->model, name, str_of(id)));
}

static void random_step(struct pair *pair)
{
    struct str name = next_random(pair) % 3 ? NAME : OTHER;
    uint64_t dice = next_random(pair) % 1000;
    if (dice < 500)
        random_publish(pair, name);
    else if (dice < 650)
        random_consume(pair, name);
    else if (dice < 950)
        random_answer(pair, dice < 850);
    else if (dice < 995)
        random_remove(pair, name);
    else if (dice < 998)
        random_delete(pair, name);
    else {
        queue_purge(pair->real, name);
        queue_purge(pair->model, name);
        queue_reserve(pair->real, name, next_random(pair) % 200);
    }
    assert_int_equal(queue_depth(pair->real, name), queue_depth(pair->model, name));
}

static void test_embedded_is_as_memory(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct pair pair = {.real = open_with("embedded", 1 << 30),
                            .model = open_with("memory", 0),
                            .random = seed * 0x9e3779b97f4a7c15u};
        queue_on_ready(pair.real, count_ready, &pair.real_ready);
        queue_on_ready(pair.model, count_ready, &pair.model_ready);
        for (int step = 0; step < 5000; step++)
            random_step(&pair);
        assert_true(pair.real_ready > 10);
        assert_int_equal(pair.real_ready, pair.model_ready);
        queue_close(pair.real);
        queue_close(pair.model);
    }
}

// ── a million ────────────────────────────────────────────────────────────────────────────────
#define MILLION 1000000

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void million_id(char id[ID_LEN + 1], uint64_t i)
{
    char text[40];
    snprintf(text, sizeof(text), "%012" PRIx64 "%012" PRIx64, 0x18c000000000u + i / 7,
             i * 0x9e3779b97f4a7c15u >> 16);
    memcpy(id, text, ID_LEN);
    id[ID_LEN] = '\0';
}

static void test_a_million_wait_in_64_mib(void **state)
{
    (void)state;
    char id[ID_LEN + 1];
    struct queue *queue = open_with("embedded", 1 << 20);
    size_t before = mallinfo2().uordblks + mallinfo2().hblkhd;
    double begin = seconds(), slowest = 0;
    for (uint64_t i = 0; i < MILLION; i++) {
        million_id(id, i);
        double start = seconds();
        publish(queue, NAME, (struct str){id, ID_LEN}, STR_NONE, false);
        double took = seconds() - start;
        slowest = took > slowest ? took : slowest;
    }
    double published = seconds() - begin;
    size_t taken = mallinfo2().uordblks + mallinfo2().hblkhd - before;
    assert_int_equal(queue_depth(queue, NAME), MILLION);
    begin = seconds();
    for (uint64_t i = 0; i < MILLION; i++) {
        struct queue_message message = consume_one(queue, NAME);
        million_id(id, i);
        expect_id(message, (struct str){id, ID_LEN});
        queue_ack(queue, NAME, message.tag);
    }
    printf("1,000,000 waiting ids: %zu bytes; publish %.0f ns (slowest %.0f us), "
           "consume and ack %.0f ns each\n",
           taken, published * 1e3, slowest * 1e6, (seconds() - begin) * 1e3);
    assert_true(taken <= 64u << 20);
    queue_close(queue);
}

static void test_ready_memory_is_counted_and_given_back(void **state)
{
    (void)state;
    char id[ID_LEN + 1];
    struct queue_ready *ready = queue_ready_new();
    size_t small = queue_ready_memory(ready);
    assert_true(small < 2048);
    for (uint64_t i = 0; i < MILLION; i++) {
        million_id(id, i);
        assert_true(queue_ready_add(ready, (struct str){id, ID_LEN}, NULL, false, false));
    }
    assert_true(queue_ready_memory(ready) > 32u * MILLION);
    assert_true(queue_ready_memory(ready) <= 64u << 20);
    struct queue_ready_item item;
    for (uint64_t i = MILLION; i-- > 0;) {
        million_id(id, i);
        assert_true(queue_ready_remove(ready, (struct str){id, ID_LEN}, &item));
    }
    assert_int_equal(queue_ready_count(ready), 0);
    assert_int_equal(queue_ready_memory(ready), small);
    queue_ready_free(ready);
}

#define CONTRACT(fn, driver)                                                                       \
    {                                                                                              \
#fn "(" driver ")", fn, NULL, NULL, (void *)(uintptr_t)driver                              \
    }
#define CONTRACT_FOR(driver)                                                                       \
    CONTRACT(test_first_in_first_out, driver), CONTRACT(test_nack_comes_back_first, driver),       \
        CONTRACT(test_waiting_ids_are_waiting_once, driver),                                       \
        CONTRACT(test_remove_purge_delete, driver), CONTRACT(test_any_text_is_an_id, driver),      \
        CONTRACT(test_ready_is_told_once, driver)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT_FOR("embedded"),
        CONTRACT_FOR("memory"),
        cmocka_unit_test(test_unknown_driver),
        cmocka_unit_test(test_bodies_over_the_limit_are_left_out),
        cmocka_unit_test(test_embedded_is_as_memory),
        cmocka_unit_test(test_a_million_wait_in_64_mib),
        cmocka_unit_test(test_ready_memory_is_counted_and_given_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
