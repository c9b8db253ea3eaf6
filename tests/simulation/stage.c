// SPDX-License-Identifier: Apache-2.0
#include "stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/mem.h"
#include "store/mailbox.h"

// ── random numbers ───────────────────────────────────────────────────────────────────────────

static uint64_t draws, system_draws;  // xorshift64*; interposing getrandom leaves no other place

static uint64_t next_of(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717ULL;
}

void stage_seed(uint64_t seed)
{
    draws = (seed + 1) * 0x9E3779B97F4A7C15ULL;
    system_draws = draws ^ 0x5DEECE66DULL;
}

uint64_t stage_random(void) { return next_of(&draws); }

// In place of libc's: ids, sessions and the order of hash maps are the same in a replay.
ssize_t getrandom(void *at, size_t len, unsigned flags)
{
    (void)flags;
    unsigned char *to = at;
    if (system_draws == 0)
        stage_seed(0);
    for (size_t i = 0; i < len; i++)
        to[i] = (unsigned char)(next_of(&system_draws) >> 40);
    return (ssize_t)len;
}

// ── the loop ─────────────────────────────────────────────────────────────────────────────────

struct loop_timer {
    struct loop_timer *next;
    struct loop *loop;
    int64_t at, repeat;
    void (*fn)(void *arg);
    void *arg;
};

struct loop {
    struct loop_task *first, **last;
    struct loop_timer *timers;
    int64_t now;
};

struct loop *loop_new(void)
{
    struct loop *loop = mem_alloc(sizeof(*loop));
    loop->last = &loop->first;
    return loop;
}

void loop_free(struct loop *loop)
{
    stage_forget(loop);
    mem_free(loop);
}

void loop_post(struct loop *loop, struct loop_task *task)
{
    task->next = NULL;
    *loop->last = task;
    loop->last = &task->next;
}

void loop_unpost(struct loop *loop, struct loop_task *task)
{
    struct loop_task **at = &loop->first;
    while (*at && *at != task)
        at = &(*at)->next;
    if (!*at)
        return;
    *at = task->next;
    if (loop->last == &task->next)
        loop->last = at;
}

struct loop_timer *loop_timer_start(struct loop *loop, int64_t delay_ms, int64_t repeat_ms,
                                    void (*fn)(void *arg), void *arg)
{
    struct loop_timer *timer = mem_alloc(sizeof(*timer));
    *timer = (struct loop_timer){loop->timers, loop, loop->now + delay_ms, repeat_ms, fn, arg};
    loop->timers = timer;
    return timer;
}

void loop_timer_cancel(struct loop_timer *timer)
{
    if (!timer)
        return;
    struct loop_timer **at = &timer->loop->timers;
    while (*at != timer)
        at = &(*at)->next;
    *at = timer->next;
    mem_free(timer);
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

bool stage_turn(struct loop *loop)
{
    struct loop_task *task = loop->first;
    if (!task)
        return false;
    loop->first = task->next;
    if (!loop->first)
        loop->last = &loop->first;
    task->fn(task->arg);
    return true;
}

size_t stage_tasks(const struct loop *loop)
{
    size_t count = 0;
    for (const struct loop_task *task = loop->first; task; task = task->next)
        count++;
    return count;
}

static struct loop_timer *timer_due(struct loop *loop)
{
    for (struct loop_timer *timer = loop->timers; timer; timer = timer->next)
        if (timer->at <= loop->now)
            return timer;
    return NULL;
}

void stage_timers(struct loop *loop, int64_t now)
{
    loop->now = now;
    for (struct loop_timer *timer; (timer = timer_due(loop));) {
        void (*fn)(void *) = timer->fn;
        void *arg = timer->arg;
        timer->at = now + (timer->repeat ? timer->repeat : 1);
        if (timer->repeat == 0)
            loop_timer_cancel(timer);
        fn(arg);
    }
}

void stage_forget(struct loop *loop)
{
    loop->first = NULL;
    loop->last = &loop->first;
    while (loop->timers)
        loop_timer_cancel(loop->timers);
}

// ── the store's threads ──────────────────────────────────────────────────────────────────────

struct workers {
    const struct store_driver *driver;
    struct tx *writer, *reader;
    struct jobs ahead, writes, reads;
    struct jobs committed, answered;  // done, not yet told: a read may be told after later commits
    void (*on_write)(void *arg, struct tx *tx);
    void *arg;
};

static struct workers *newest;  // store_open does not tell which are its own

struct workers *stage_workers(void) { return newest; }

void stage_on_write(struct workers *workers, void (*fn)(void *arg, struct tx *tx), void *arg)
{
    workers->on_write = fn;
    workers->arg = arg;
}

struct workers *workers_start(const struct store_driver *driver, struct store_db *db,
                              const struct store_config *config, struct err *err)
{
    (void)config;
    struct workers *workers = mem_alloc(sizeof(*workers));
    workers->driver = driver;
    jobs_init(&workers->ahead);
    jobs_init(&workers->writes);
    jobs_init(&workers->reads);
    jobs_init(&workers->committed);
    jobs_init(&workers->answered);
    workers->writer = driver->tx_open(db, true, err);
    workers->reader = workers->writer ? driver->tx_open(db, false, err) : NULL;
    newest = workers;
    if (workers->reader)
        return workers;
    workers_stop(workers);
    return NULL;
}

void workers_stop(struct workers *workers)
{
    stage_kill(workers);
    if (workers->writer)
        workers->driver->tx_close(workers->writer);
    if (workers->reader)
        workers->driver->tx_close(workers->reader);
    mem_free(workers);
    newest = NULL;
}

static void job_run(struct store_job *job, struct tx *tx)
{
    job->err = ERR_INIT;
    if (job->work(tx, job->arg, &job->err) == 0)
        job->err.kind = ERR_NONE;
}

// The simulation knows no driver that fails by itself: that would be a finding.
static void must(int rc, const struct err *err)
{
    if (rc == 0)
        return;
    fprintf(stderr, "the store's driver failed: %s\n", err->message);
    abort();
}

static void job_write(struct workers *workers, struct store_job *job)
{
    const struct store_driver *driver = workers->driver;
    struct tx *tx = workers->writer;
    struct err err = ERR_INIT;
    must(driver->mark(tx, &err), &err);
    job_run(job, tx);
    if (job->err.kind != ERR_NONE) {
        driver->undo(tx);
        return;
    }
    must(driver->keep(tx, &err), &err);
    if (workers->on_write)
        workers->on_write(workers->arg, tx);
}

static void job_refuse(struct store_job *job)
{
    job->err = ERR_INIT;
    err_set(&job->err, ERR_UNAVAILABLE, "the simulated disk said no");
}

// Those ahead go before the others, unless these were taken before those came.
static struct store_job *next_write(struct workers *workers)
{
    struct store_job *job = stage_chance(80) ? jobs_pop(&workers->ahead) : NULL;
    job = job ? job : jobs_pop(&workers->writes);
    return job ? job : jobs_pop(&workers->ahead);
}

bool stage_commit(struct workers *workers, size_t count, bool fail)
{
    const struct store_driver *driver = workers->driver;
    struct err err = ERR_INIT;
    bool fatal = false;
    if (!workers->writes.first && !workers->ahead.first)
        return false;
    if (!fail)
        must(driver->begin(workers->writer, &err), &err);
    for (struct store_job *job; count-- > 0 && (job = next_write(workers));) {
        if (fail)
            job_refuse(job);
        else
            job_write(workers, job);
        jobs_push(&workers->committed, job);
    }
    if (!fail)
        must(driver->commit(workers->writer, &fatal, &err), &err);
    return true;
}

static void read_run(struct workers *workers, struct store_job *job)
{
    struct err err = ERR_INIT;
    must(workers->driver->begin(workers->reader, &err), &err);
    job_run(job, workers->reader);
    workers->driver->rollback(workers->reader);
}

bool stage_read(struct workers *workers, bool fail)
{
    struct store_job *job = jobs_pop(&workers->reads);
    if (!job)
        return false;
    if (fail)
        job_refuse(job);
    else
        read_run(workers, job);
    jobs_push(&workers->answered, job);
    return true;
}

bool stage_finish(struct workers *workers)
{
    bool read_first = stage_chance(50);
    struct store_job *job = jobs_pop(read_first ? &workers->answered : &workers->committed);
    job = job ? job : jobs_pop(read_first ? &workers->committed : &workers->answered);
    if (!job)
        return false;
    job->done(job->arg, &job->err);
    return true;
}

void stage_kill(struct workers *workers)
{
    for (bool more = true; more;) {
        struct store_job *job = jobs_pop(&workers->committed);
        job = job ? job : jobs_pop(&workers->answered);
        job = job ? job : jobs_pop(&workers->ahead);
        job = job ? job : jobs_pop(&workers->writes);
        job = job ? job : jobs_pop(&workers->reads);
        more = job != NULL;
        if (!more)
            continue;
        job_refuse(job);
        job->done(job->arg, &job->err);
    }
}

void workers_write(struct workers *workers, struct store_job *job)
{
    jobs_push(job->flags & STORE_AHEAD ? &workers->ahead : &workers->writes, job);
}

void workers_read(struct workers *workers, struct store_job *job)
{
    jobs_push(&workers->reads, job);
}

void workers_write_wait(struct workers *workers, struct store_job *job)
{
    struct err err = ERR_INIT;
    bool fatal = false;
    must(workers->driver->begin(workers->writer, &err), &err);
    job_write(workers, job);
    must(workers->driver->commit(workers->writer, &fatal, &err), &err);
}

void workers_read_wait(struct workers *workers, struct store_job *job) { read_run(workers, job); }

bool workers_failed(const struct workers *workers)
{
    (void)workers;
    return false;
}

int64_t workers_backlog(const struct workers *workers)
{
    (void)workers;
    return 0;
}
