// SPDX-License-Identifier: Apache-2.0
#include "net/loop.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

#include "base/list.h"
#include "base/mem.h"

struct tasks {
    struct loop_task *first, **last;
};

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t before_poll;
    uv_check_t after_poll;
    uv_mutex_t mutex;
    struct tasks tasks;   // of other threads; guarded by mutex
    atomic_bool running;  // inside loop_run; `thread` is set before
    uv_thread_t thread;   // that runs the loop
    struct tasks own;     // posted by that thread: no wake-up is needed
    atomic_bool stop_asked;
    bool stopping;           // loop thread: stop was seen, nothing of ours keeps the loop alive
    struct list timers;      // struct loop_timer, not yet closed
    struct list stop_hooks;  // struct stop_hook
};

struct loop_timer {
    uv_timer_t uv;
    struct list node;
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
    bool repeats;
};

struct stop_hook {
    struct list node;
    uv_signal_t on_term, on_int;
    int open;  // handles not yet closed
    void (*fn)(void *arg, int signal);
    void *arg;
};

static void must(int rc, const char *what)
{
    if (rc == 0)
        return;
    fprintf(stderr, "drover: event loop: %s: %s\n", what, uv_strerror(rc));
    abort();
}

static void tasks_init(struct tasks *tasks)
{
    tasks->first = NULL;
    tasks->last = &tasks->first;
}

static void tasks_add(struct tasks *tasks, struct loop_task *task)
{
    task->next = NULL;
    *tasks->last = task;
    tasks->last = &task->next;
}

static void tasks_remove(struct tasks *tasks, struct loop_task *task)
{
    struct loop_task **at = &tasks->first;
    while (*at && *at != task)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = task->next;
    if (tasks->last == &task->next)
        tasks->last = at;
}

static void run_all(struct loop_task *task)
{
    while (task) {
        struct loop_task *next = task->next;  // fn may free or post the task again
        task->fn(task->arg);
        task = next;
    }
}

static void run_tasks(struct loop *loop)
{
    uv_mutex_lock(&loop->mutex);
    struct loop_task *task = loop->tasks.first;
    tasks_init(&loop->tasks);
    uv_mutex_unlock(&loop->mutex);
    run_all(task);
}

static void run_own_tasks(struct loop *loop)
{
    struct loop_task *task = loop->own.first;
    tasks_init(&loop->own);
    run_all(task);
}

static void on_after_poll(uv_check_t *handle) { run_own_tasks(handle->data); }

// Posted by timers, or by other handles of this phase: those before this one in it may have news
// now, so the loop takes one more turn before it sleeps.
static void on_before_poll(uv_prepare_t *handle)
{
    struct loop *loop = handle->data;
    if (!loop->own.first)
        return;
    run_own_tasks(loop);
    uv_async_send(&loop->wake);
}

static void on_signal_closed(uv_handle_t *handle)
{
    struct stop_hook *hook = handle->data;
    if (--hook->open > 0)
        return;
    list_remove(&hook->node);
    mem_free(hook);
}

static void close_hook(struct stop_hook *hook)
{
    if (uv_is_closing((uv_handle_t *)&hook->on_term))
        return;
    uv_close((uv_handle_t *)&hook->on_term, on_signal_closed);
    uv_close((uv_handle_t *)&hook->on_int, on_signal_closed);
}

// Tasks are still served, and timers still fire, for as long as other modules have open handles.
static void enter_stopping(struct loop *loop)
{
    if (loop->stopping)
        return;
    loop->stopping = true;
    uv_unref((uv_handle_t *)&loop->wake);
    list_each (&loop->timers, it, next)
        uv_unref((uv_handle_t *)&list_entry(it, struct loop_timer, node)->uv);
    list_each (&loop->stop_hooks, it, next)
        close_hook(list_entry(it, struct stop_hook, node));
}

static void on_wake(uv_async_t *handle)
{
    struct loop *loop = handle->data;
    run_tasks(loop);
    if (atomic_load(&loop->stop_asked))
        enter_stopping(loop);
}

struct loop *loop_new(void)
{
    // A peer that went away is an error of the write, not of the process.
    signal(SIGPIPE, SIG_IGN);
    struct loop *loop = mem_alloc(sizeof(*loop));
    must(uv_loop_init(&loop->uv), "uv_loop_init");
    must(uv_mutex_init(&loop->mutex), "uv_mutex_init");
    must(uv_async_init(&loop->uv, &loop->wake, on_wake), "uv_async_init");
    loop->wake.data = loop;
    must(uv_prepare_init(&loop->uv, &loop->before_poll), "uv_prepare_init");
    must(uv_check_init(&loop->uv, &loop->after_poll), "uv_check_init");
    loop->before_poll.data = loop->after_poll.data = loop;
    must(uv_prepare_start(&loop->before_poll, on_before_poll), "uv_prepare_start");
    must(uv_check_start(&loop->after_poll, on_after_poll), "uv_check_start");
    uv_unref((uv_handle_t *)&loop->before_poll);
    uv_unref((uv_handle_t *)&loop->after_poll);
    tasks_init(&loop->tasks);
    tasks_init(&loop->own);
    list_init(&loop->timers);
    list_init(&loop->stop_hooks);
    return loop;
}

void loop_run(struct loop *loop)
{
    loop->thread = uv_thread_self();
    atomic_store(&loop->running, true);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    atomic_store(&loop->running, false);
}

void loop_stop(struct loop *loop)
{
    atomic_store(&loop->stop_asked, true);
    uv_async_send(&loop->wake);
}

struct uv_loop_s *loop_uv(struct loop *loop) { return &loop->uv; }

static bool on_own_thread(struct loop *loop)
{
    uv_thread_t self = uv_thread_self();
    return atomic_load(&loop->running) && uv_thread_equal(&self, &loop->thread);
}

void loop_post(struct loop *loop, struct loop_task *task)
{
    if (on_own_thread(loop)) {
        tasks_add(&loop->own, task);
        return;
    }
    uv_mutex_lock(&loop->mutex);
    bool was_empty = loop->tasks.first == NULL;
    tasks_add(&loop->tasks, task);
    uv_mutex_unlock(&loop->mutex);
    if (was_empty)
        uv_async_send(&loop->wake);
}

void loop_unpost(struct loop *loop, struct loop_task *task)
{
    tasks_remove(&loop->own, task);
    uv_mutex_lock(&loop->mutex);
    tasks_remove(&loop->tasks, task);
    uv_mutex_unlock(&loop->mutex);
}

static void on_timer_closed(uv_handle_t *handle) { mem_free(handle->data); }

void loop_timer_cancel(struct loop_timer *timer)
{
    if (!timer || uv_is_closing((uv_handle_t *)&timer->uv))
        return;
    list_remove(&timer->node);
    uv_close((uv_handle_t *)&timer->uv, on_timer_closed);
}

static void on_timer(uv_timer_t *handle)
{
    struct loop_timer *timer = handle->data;
    void (*fn)(void *arg) = timer->fn;
    void *arg = timer->arg;
    if (!timer->repeats)
        loop_timer_cancel(timer);
    fn(arg);
}

struct loop_timer *loop_timer_start(struct loop *loop, int64_t delay_ms, int64_t repeat_ms,
                                    void (*fn)(void *arg), void *arg)
{
    struct loop_timer *timer = mem_alloc(sizeof(*timer));
    timer->loop = loop;
    timer->fn = fn;
    timer->arg = arg;
    timer->repeats = repeat_ms > 0;
    must(uv_timer_init(&loop->uv, &timer->uv), "uv_timer_init");
    timer->uv.data = timer;
    list_push_back(&loop->timers, &timer->node);
    // libuv's notion of now is that of the turn's start; a long turn must not shorten the delay.
    uv_update_time(&loop->uv);
    must(uv_timer_start(&timer->uv, on_timer, delay_ms > 0 ? (uint64_t)delay_ms : 0,
                        repeat_ms > 0 ? (uint64_t)repeat_ms : 0),
         "uv_timer_start");
    if (loop->stopping)
        uv_unref((uv_handle_t *)&timer->uv);
    return timer;
}

struct pool_work {
    uv_work_t uv;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
};

static void on_pool_work(uv_work_t *uv)
{
    struct pool_work *work = uv->data;
    work->work(work->arg);
}

static void on_pool_done(uv_work_t *uv, int status)
{
    (void)status;  // never cancelled
    struct pool_work *work = uv->data;
    void (*done)(void *arg) = work->done;
    void *arg = work->arg;
    mem_free(work);
    if (done)
        done(arg);
}

void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg)
{
    struct pool_work *item = mem_alloc(sizeof(*item));
    item->uv.data = item;
    item->work = work;
    item->done = done;
    item->arg = arg;
    must(uv_queue_work(&loop->uv, &item->uv, on_pool_work, on_pool_done), "uv_queue_work");
}

static void on_signal(uv_signal_t *handle, int signal)
{
    struct stop_hook *hook = handle->data;
    hook->fn(hook->arg, signal);
}

void loop_on_stop_signal(struct loop *loop, void (*fn)(void *arg, int signal), void *arg)
{
    struct stop_hook *hook = mem_alloc(sizeof(*hook));
    hook->fn = fn;
    hook->arg = arg;
    hook->open = 2;
    must(uv_signal_init(&loop->uv, &hook->on_term), "uv_signal_init");
    must(uv_signal_init(&loop->uv, &hook->on_int), "uv_signal_init");
    hook->on_term.data = hook->on_int.data = hook;
    must(uv_signal_start(&hook->on_term, on_signal, SIGTERM), "uv_signal_start");
    must(uv_signal_start(&hook->on_int, on_signal, SIGINT), "uv_signal_start");
    list_push_back(&loop->stop_hooks, &hook->node);
}

// Handles that other modules left open are closed without a callback: their memory is theirs.
static void close_foreign(uv_handle_t *handle, void *arg)
{
    (void)arg;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

void loop_free(struct loop *loop)
{
    if (!loop)
        return;
    run_own_tasks(loop);
    run_tasks(loop);  // what other threads posted after the last turn: their owners wait for it
    list_each (&loop->timers, it, next)
        loop_timer_cancel(list_entry(it, struct loop_timer, node));
    list_each (&loop->stop_hooks, it, next)
        close_hook(list_entry(it, struct stop_hook, node));
    uv_walk(&loop->uv, close_foreign, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    must(uv_loop_close(&loop->uv), "uv_loop_close");
    uv_mutex_destroy(&loop->mutex);
    mem_free(loop);
}
