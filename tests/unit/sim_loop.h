// SPDX-License-Identifier: Apache-2.0
// The event loop for simulations, in place of net/loop.c: tasks run when the test says so, timers
// by a clock that the test sets. Tasks still come from the store's threads.
#ifndef DROVER_TESTS_SIM_LOOP_H
#define DROVER_TESTS_SIM_LOOP_H

#include <pthread.h>
#include <stdlib.h>

#include "base/mem.h"
#include "net/loop.h"

struct loop_timer {
    struct loop_timer *next;
    int64_t at, repeat;
    void (*fn)(void *arg);
    void *arg;
};

struct loop {
    pthread_mutex_t lock;
    pthread_cond_t posted;
    struct loop_task *first, **last;
    struct loop_timer *timers;
    int64_t now;                      // ms
    const struct loop_task *refused;  // its owner is going: as when the loop has ended
};

struct loop *loop_new(void)
{
    struct loop *loop = mem_alloc(sizeof(*loop));
    pthread_mutex_init(&loop->lock, NULL);
    pthread_cond_init(&loop->posted, NULL);
    loop->last = &loop->first;
    return loop;
}

void loop_free(struct loop *loop)
{
    for (struct loop_timer *timer; (timer = loop->timers);) {
        loop->timers = timer->next;
        mem_free(timer);
    }
    pthread_cond_destroy(&loop->posted);
    pthread_mutex_destroy(&loop->lock);
    mem_free(loop);
}

void loop_post(struct loop *loop, struct loop_task *task)
{
    if (task == loop->refused)
        return;
    pthread_mutex_lock(&loop->lock);
    task->next = NULL;
    *loop->last = task;
    loop->last = &task->next;
    pthread_cond_signal(&loop->posted);
    pthread_mutex_unlock(&loop->lock);
}

struct loop_timer *loop_timer_start(struct loop *loop, int64_t delay_ms, int64_t repeat_ms,
                                    void (*fn)(void *arg), void *arg)
{
    struct loop_timer *timer = mem_alloc(sizeof(*timer));
    *timer = (struct loop_timer){loop->timers, loop->now + delay_ms, repeat_ms, fn, arg};
    loop->timers = timer;
    return timer;
}

static struct loop *sim_loop;  // of the test under way: a timer does not know its loop

void loop_timer_cancel(struct loop_timer *timer)
{
    if (!timer)
        return;
    for (struct loop_timer **at = &sim_loop->timers; *at; at = &(*at)->next) {
        if (*at != timer)
            continue;
        *at = timer->next;
        mem_free(timer);
        return;
    }
}

void loop_run(struct loop *loop) { (void)loop; }
void loop_stop(struct loop *loop) { (void)loop; }
struct uv_loop_s *loop_uv(struct loop *loop)
{
    (void)loop;
    return NULL;
}
void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    (void)loop;
    work(arg);
    done(arg);
}
void loop_on_stop_signal(struct loop *loop, void (*fn)(void *arg, int signal), void *arg)
{
    (void)loop;
    (void)fn;
    (void)arg;
}

// Runs one task, waiting for it.
static inline void sim_loop_turn(struct loop *loop)
{
    pthread_mutex_lock(&loop->lock);
    while (!loop->first)
        pthread_cond_wait(&loop->posted, &loop->lock);
    struct loop_task *task = loop->first;
    loop->first = task->next;
    if (!loop->first)
        loop->last = &loop->first;
    pthread_mutex_unlock(&loop->lock);
    task->fn(task->arg);
}

// Runs what is posted by now.
static inline void sim_loop_drain(struct loop *loop)
{
    for (;;) {
        pthread_mutex_lock(&loop->lock);
        bool idle = loop->first == NULL;
        pthread_mutex_unlock(&loop->lock);
        if (idle)
            return;
        sim_loop_turn(loop);
    }
}

// Runs the timers that are due; a timer's function may start and cancel others.
static inline void sim_loop_timers(struct loop *loop)
{
    for (bool ran = true; ran;) {
        ran = false;
        for (struct loop_timer *timer = loop->timers; timer && !ran; timer = timer->next) {
            if (timer->at > loop->now)
                continue;
            void (*fn)(void *) = timer->fn;
            void *arg = timer->arg;
            timer->at = loop->now + timer->repeat;
            if (timer->repeat == 0)
                loop_timer_cancel(timer);
            fn(arg);
            ran = true;
        }
    }
}

#endif
