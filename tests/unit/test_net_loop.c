// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "net/loop.h"

#define THREADS 4
#define TASKS   20000

struct posted {
    struct loop_task task;
    struct poster *poster;
    int number;
};

struct poster {
    struct loop *loop;
    struct posted *tasks;
    int expected;  // number of the next task, loop thread
    bool disordered;
    int *left;  // of all posters, loop thread
};

static void on_posted(void *arg)
{
    struct posted *posted = arg;
    struct poster *poster = posted->poster;
    poster->disordered |= posted->number != poster->expected++;
    if (--*poster->left == 0)
        loop_stop(poster->loop);
}

static void *post_many(void *arg)
{
    struct poster *poster = arg;
    for (int i = 0; i < TASKS; i++) {
        poster->tasks[i] = (struct posted){{.fn = on_posted, .arg = &poster->tasks[i]}, poster, i};
        loop_post(poster->loop, &poster->tasks[i].task);
    }
    return NULL;
}

static void tasks_of_many_threads_all_run_in_order(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    struct poster posters[THREADS];
    pthread_t threads[THREADS];
    int left = THREADS * TASKS;
    for (int i = 0; i < THREADS; i++) {
        posters[i] = (struct poster){.loop = loop, .left = &left};
        posters[i].tasks = calloc(TASKS, sizeof(struct posted));
        assert_int_equal(pthread_create(&threads[i], NULL, post_many, &posters[i]), 0);
    }
    loop_run(loop);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(posters[i].expected, TASKS);
        assert_false(posters[i].disordered);
        free(posters[i].tasks);
    }
    loop_free(loop);
}

struct ticks {
    struct loop *loop;
    struct loop_timer *timer;
    int once, repeated;
};

static void on_once(void *arg)
{
    struct ticks *ticks = arg;
    ticks->once++;
}
static void on_never(void *arg)
{
    (void)arg;
    fail();
}
static void on_repeat(void *arg)
{
    struct ticks *ticks = arg;
    if (++ticks->repeated < 5)
        return;
    loop_timer_cancel(ticks->timer);
    loop_stop(ticks->loop);
}

static void timers_run_once_or_until_cancelled(void **state)
{
    (void)state;
    struct ticks ticks = {.loop = loop_new()};
    loop_timer_start(ticks.loop, 1, 0, on_once, &ticks);
    ticks.timer = loop_timer_start(ticks.loop, 2, 2, on_repeat, &ticks);
    loop_timer_cancel(loop_timer_start(ticks.loop, 1, 0, on_never, NULL));
    loop_timer_cancel(NULL);
    loop_run(ticks.loop);
    assert_int_equal(ticks.once, 1);
    assert_int_equal(ticks.repeated, 5);
    loop_free(ticks.loop);
}

static void an_open_timer_does_not_keep_a_stopped_loop(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    loop_timer_start(loop, 3600 * 1000, 0, on_never, NULL);
    loop_timer_start(loop, 3600 * 1000, 1000, on_never, NULL);
    loop_stop(loop);
    loop_run(loop);
    loop_free(loop);
}

struct work {
    struct loop *loop;
    pthread_t loop_thread;
    atomic_int worked;
    int done;
};

static void do_work(void *arg)
{
    struct work *work = arg;
    if (!pthread_equal(pthread_self(), work->loop_thread))
        atomic_fetch_add(&work->worked, 1);
}
static void on_work_done(void *arg)
{
    struct work *work = arg;
    if (++work->done == 50)
        loop_stop(work->loop);
}

static void pool_work_runs_elsewhere_and_ends_here(void **state)
{
    (void)state;
    struct work work = {.loop = loop_new(), .loop_thread = pthread_self()};
    for (int i = 0; i < 50; i++)
        loop_work(work.loop, do_work, on_work_done, &work);
    loop_run(work.loop);
    assert_int_equal(atomic_load(&work.worked), 50);
    assert_int_equal(work.done, 50);
    loop_free(work.loop);
}

static void on_stop_signal(void *arg, int number)
{
    struct ticks *ticks = arg;
    ticks->once = number;
    loop_stop(ticks->loop);
}
static void raise_term(void *arg)
{
    (void)arg;
    kill(getpid(), SIGTERM);
}

static void a_stop_signal_reaches_the_loop(void **state)
{
    (void)state;
    struct ticks ticks = {.loop = loop_new()};
    loop_on_stop_signal(ticks.loop, on_stop_signal, &ticks);
    loop_timer_start(ticks.loop, 1, 0, raise_term, NULL);
    loop_run(ticks.loop);
    assert_int_equal(ticks.once, SIGTERM);
    loop_free(ticks.loop);
}

static void note_run(void *arg) { (*(int *)arg)++; }

static void stop_loop(void *arg) { loop_stop(arg); }

static void a_task_taken_back_does_not_run(void **state)
{
    (void)state;
    struct loop *loop = loop_new();
    int ran[3] = {0};
    struct loop_task tasks[3], last = {.fn = stop_loop, .arg = loop};
    for (int i = 0; i < 3; i++) {
        tasks[i] = (struct loop_task){.fn = note_run, .arg = &ran[i]};
        loop_post(loop, &tasks[i]);
    }
    loop_unpost(loop, &tasks[2]);  // the last one: what is posted next must not get lost
    loop_unpost(loop, &tasks[0]);
    loop_unpost(loop, &tasks[0]);
    loop_post(loop, &last);
    loop_run(loop);
    assert_int_equal(ran[0], 0);
    assert_int_equal(ran[1], 1);
    assert_int_equal(ran[2], 0);
    loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_task_taken_back_does_not_run),
        cmocka_unit_test(tasks_of_many_threads_all_run_in_order),
        cmocka_unit_test(timers_run_once_or_until_cancelled),
        cmocka_unit_test(an_open_timer_does_not_keep_a_stopped_loop),
        cmocka_unit_test(pool_work_runs_elsewhere_and_ends_here),
        cmocka_unit_test(a_stop_signal_reaches_the_loop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
