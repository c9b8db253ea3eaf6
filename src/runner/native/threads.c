// SPDX-License-Identifier: Apache-2.0
#include "runner/native/threads.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/list.h"
#include "base/mem.h"

struct job {  // one execution, from its invoke to its result
    struct list node;
    struct run *run;
    atomic_bool cancelled;
    struct pool *pool;
};

struct pool {
    struct channel *channel;
    const struct library *library;
    pthread_mutex_t mutex;
    pthread_cond_t work;
    struct list waiting, running;
    bool stopping;
    pthread_t *threads;
    int64_t count, room;
};

// ── what a function says ─────────────────────────────────────────────────────────────────────

static void on_log(void *arg, const char *level, struct str text)
{
    struct job *job = arg;
    _cleanup_buf_ struct buf frame = BUF_INIT(SIZE_MAX);
    pthread_mutex_lock(&job->pool->mutex);  // the count of lines is the job's, its threads many
    int64_t cost = report_log(&frame, &job->pool->library->limits, job->run, level, text);
    pthread_mutex_unlock(&job->pool->mutex);
    if (cost > 0)
        channel_send(job->pool->channel, buf_str(&frame), cost);
}

static void on_progress(void *arg, double percent, struct str message)
{
    struct job *job = arg;
    _cleanup_buf_ struct buf frame = BUF_INIT(SIZE_MAX);
    report_progress(&frame, job->run, percent, message);
    channel_send(job->pool->channel, buf_str(&frame), 0);
}

// ── a worker ─────────────────────────────────────────────────────────────────────────────────

static struct job *take_job(struct pool *pool)
{
    struct job *job = NULL;
    pthread_mutex_lock(&pool->mutex);
    while (list_empty(&pool->waiting) && !pool->stopping)
        pthread_cond_wait(&pool->work, &pool->mutex);
    if (!list_empty(&pool->waiting)) {
        job = list_entry(pool->waiting.next, struct job, node);
        list_remove(&job->node);
        list_push_back(&pool->running, &job->node);
    }
    pthread_mutex_unlock(&pool->mutex);
    return job;
}

static void end_job(struct job *job, const struct outcome *outcome)
{
    struct pool *pool = job->pool;
    _cleanup_buf_ struct buf frames = BUF_INIT(SIZE_MAX);
    fflush(stdout);  // before the last entry: then it still is this execution's
    pthread_mutex_lock(&pool->mutex);
    list_remove(&job->node);
    int64_t cost = report_result(&frames, &pool->library->limits, job->run, outcome);
    pthread_mutex_unlock(&pool->mutex);
    channel_send(pool->channel, buf_str(&frames), cost);
    run_free(job->run);
    mem_free(job);
}

static void *work(void *arg)
{
    struct pool *pool = arg;
    for (struct job *job; (job = take_job(pool));) {
        job->run->started = report_now();
        if (atomic_load(&job->cancelled)) {
            const struct outcome outcome = {.status = OUTCOME_TERMINATED,
                                            .type = STR("InterruptedError"),
                                            .message = STR(OUTCOME_CANCELLED)};
            end_job(job, &outcome);
            continue;
        }
        struct call call = {.outlet = {on_log, on_progress, job}, .cancelled = &job->cancelled};
        struct outcome outcome = library_run(pool->library, job->run, &call);
        end_job(job, &outcome);
        call_deinit(&call);
    }
    return NULL;
}

// ── what the agent says ──────────────────────────────────────────────────────────────────────

static void add_job(struct pool *pool, struct json frame)
{
    struct job *job = mem_alloc(sizeof(*job));
    *job = (struct job){.run = run_new(frame), .pool = pool};
    if (!job->run)
        channel_give_up("an invoke frame without id, fence or function");
    pthread_mutex_lock(&pool->mutex);
    list_push_back(&pool->waiting, &job->node);
    pthread_cond_signal(&pool->work);
    pthread_mutex_unlock(&pool->mutex);
}

static void cancel_in(struct list *jobs, struct json id)
{
    list_each (jobs, it, next) {
        struct job *job = list_entry(it, struct job, node);
        if (str_eq(job->run->id, id.text))
            atomic_store(&job->cancelled, true);
    }
}

static void cancel(struct pool *pool, struct json frame)
{
    struct json id = {0};
    json_get(frame, "id", &id);
    pthread_mutex_lock(&pool->mutex);
    cancel_in(&pool->waiting, id);
    cancel_in(&pool->running, id);
    pthread_mutex_unlock(&pool->mutex);
}

// Starts threads up to so many; what is over stays, and just gets no work. The number that there
// are then.
static int64_t grow(struct pool *pool, int64_t wanted)
{
    if (wanted > pool->room) {
        pool->room = wanted;
        pool->threads = mem_resize(pool->threads, sizeof(*pool->threads) * (size_t)wanted);
    }
    while (pool->count < wanted &&
           pthread_create(&pool->threads[pool->count], NULL, work, pool) == 0)
        pool->count++;
    return pool->count;
}

static void take_settings(struct pool *pool, struct json frame)
{
    struct json value = {0};
    int64_t wanted = 0;
    json_get(frame, "concurrency", &value);
    if (json_int(value, &wanted) && !pool->stopping)
        grow(pool, wanted);  // where that many cannot be had, executions wait for each other
}

static void listen_to_agent(struct pool *pool)
{
    for (;;) {
        struct str type;
        struct json frame = channel_read(pool->channel, false, &type);
        if (str_is(type, "invoke"))
            add_job(pool, frame);
        else if (str_is(type, "credit"))
            channel_add_credit(pool->channel, frame);
        else if (str_is(type, "cancel"))
            cancel(pool, frame);
        else if (str_is(type, "settings"))
            take_settings(pool, frame);
        else if (str_is(type, "stop"))
            return;
    }
}

// The agent may still have to give credit for the last entries.
static void *listen_on(void *arg)
{
    struct pool *pool = arg;
    for (;;)
        listen_to_agent(pool);
    return NULL;
}

void threads_serve(struct channel *channel, const struct library *library)
{
    struct pool pool = {.channel = channel,
                        .library = library,
                        .mutex = PTHREAD_MUTEX_INITIALIZER,
                        .work = PTHREAD_COND_INITIALIZER};
    list_init(&pool.waiting);
    list_init(&pool.running);
    pthread_t listener;
    if (grow(&pool, library->concurrency) < library->concurrency)
        channel_give_up("cannot start as many threads as the service's concurrency");
    _cleanup_buf_ struct buf ready = BUF_INIT(4096);
    report_ready(&ready);
    channel_send(channel, buf_str(&ready), 0);
    listen_to_agent(&pool);
    pthread_mutex_lock(&pool.mutex);
    pool.stopping = true;
    pthread_cond_broadcast(&pool.work);
    pthread_mutex_unlock(&pool.mutex);
    if (pthread_create(&listener, NULL, listen_on, &pool) != 0)
        channel_give_up("cannot start a thread");
    for (int64_t i = 0; i < pool.count; i++)
        pthread_join(pool.threads[i], NULL);
    mem_free(pool.threads);
}
