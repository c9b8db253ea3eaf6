// SPDX-License-Identifier: Apache-2.0
#include "store/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "base/mem.h"
#include "store/mailbox.h"

// Job flags of our own, above those of store.h.
#define JOB_WAITED  (1u << 16)  // somebody sleeps until it is finished; no done
#define JOB_SERVICE (1u << 17)  // upkeep of the driver, not a caller's job
#define JOB_READY   (1u << 18)  // of a waited job: it is finished

#define REST_MS 5000  // a thread without work for so long gives memory back

struct reader {
    struct workers *workers;
    struct tx *tx;
    pthread_t thread;
};

struct workers {
    const struct store_driver *driver;
    struct store_config config;
    struct mailbox *mailbox;

    pthread_mutex_t lock;
    pthread_cond_t write_ready, read_ready, waited_ready;
    struct jobs ahead, writes, reads;  // guarded by lock, as all down to `stopping`
    int64_t write_count;               // in ahead and writes
    int64_t urgent;                    // of the waiting writes: those that are not lazy
    int64_t lazy_at;  // ms, monotonic: when the oldest lazy one must go; 0: none waits
    bool writer_asleep;
    bool rested;        // the writer gave its memory back since it last worked
    bool stopping;      // writer: finish what is queued and end
    bool stop_readers;  // the same for the readers, later
    bool ended;         // the threads are gone: what comes now is refused

    atomic_int_fast64_t backlog;
    atomic_bool failed;

    int64_t sync_us;  // what the last commit took; the writer's own
    struct tx *writer;
    pthread_t writer_thread;
    bool writer_started;
    struct reader *readers;
    size_t reader_count, readers_started;
    struct store_job fatal;    // tells on_fatal, once
    struct store_job service;  // the one job of upkeep, in use while service_queued
    bool service_queued;
};

static int64_t mono_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static int64_t mono_ms(void) { return mono_us() / 1000; }

// ── results ──────────────────────────────────────────────────────────────────────────────────

// Hands finished jobs to whoever waits for them: the loop, or a thread in workers_*_wait.
static void hand_out(struct workers *workers, struct store_job *job)
{
    struct jobs posted;
    jobs_init(&posted);
    bool waited = false;
    while (job) {
        struct store_job *next = job->next;
        if (job->flags & JOB_WAITED) {
            pthread_mutex_lock(&workers->lock);
            job->flags |= JOB_READY;
            pthread_mutex_unlock(&workers->lock);
            waited = true;
        } else {
            jobs_push(&posted, job);
        }
        job = next;
    }
    if (waited)
        pthread_cond_broadcast(&workers->waited_ready);
    mailbox_add(workers->mailbox, &posted);
}

// ── the writer ───────────────────────────────────────────────────────────────────────────────

// Sleeps until `ready` or, the first time after work, for so long that the memory kept for speed is
// better given back. The lock is held, but not while that is done.
static void sleep_or_rest(struct workers *workers, pthread_cond_t *ready, struct tx *tx,
                          bool *rested)
{
    if (*rested) {
        pthread_cond_wait(ready, &workers->lock);
        return;
    }
    int64_t at = mono_ms() + REST_MS;
    struct timespec until = {.tv_sec = at / 1000, .tv_nsec = at % 1000 * 1000000};
    if (pthread_cond_timedwait(ready, &workers->lock, &until) != ETIMEDOUT)
        return;
    *rested = true;
    pthread_mutex_unlock(&workers->lock);
    workers->driver->rest(tx);
    mem_trim();
    pthread_mutex_lock(&workers->lock);
}

// Sleeps until there is something to commit. A lazy job alone waits for company until lazy_at.
static void wait_for_writes(struct workers *workers)
{
    while (!workers->stopping && workers->urgent == 0 &&
           workers->write_count < workers->config.group_max) {
        workers->writer_asleep = true;
        if (workers->lazy_at == 0) {
            sleep_or_rest(workers, &workers->write_ready, workers->writer, &workers->rested);
        } else {
            struct timespec until = {.tv_sec = workers->lazy_at / 1000,
                                     .tv_nsec = workers->lazy_at % 1000 * 1000000};
            if (pthread_cond_timedwait(&workers->write_ready, &workers->lock, &until) == ETIMEDOUT)
                break;
        }
    }
    workers->writer_asleep = false;
    workers->rested = false;
}

// Moves up to `most` jobs over. The lock is held.
static int64_t take_from(struct workers *workers, struct jobs *from, int64_t most,
                         struct jobs *group)
{
    int64_t count = 0;
    for (struct store_job *job; count < most && (job = jobs_pop(from)); count++) {
        workers->urgent -= !(job->flags & STORE_LAZY);
        jobs_push(group, job);
    }
    workers->write_count -= count;
    return count;
}

// The next group: what is ahead, then the others, each in order of arrival. However much is ahead,
// one of the others gets in. NULL when the store closes and nothing is left.
static struct store_job *take_group(struct workers *workers)
{
    struct jobs group;
    jobs_init(&group);
    int64_t most = workers->config.group_max;
    pthread_mutex_lock(&workers->lock);
    wait_for_writes(workers);
    int64_t others = workers->writes.first && most > 1;
    int64_t count = take_from(workers, &workers->ahead, most - others, &group);
    take_from(workers, &workers->writes, most - count, &group);
    // What is left was too much for one group, so the next one starts at once.
    if (workers->write_count == 0)
        workers->lazy_at = 0;
    pthread_mutex_unlock(&workers->lock);
    return group.first;
}

// The group has run long enough: the jobs from first on come first in the next one, which starts
// at once.
static void put_back(struct workers *workers, struct store_job *first)
{
    struct jobs back;
    jobs_init(&back);
    pthread_mutex_lock(&workers->lock);
    for (struct store_job *job = first, *next; job; job = next) {
        next = job->next;
        workers->urgent += !(job->flags & STORE_LAZY);
        workers->write_count++;
        jobs_push(&back, job);
    }
    workers->lazy_at = mono_ms();
    if (!workers->writes.first)
        workers->writes.last = back.last;
    *back.last = workers->writes.first;
    workers->writes.first = back.first;
    pthread_mutex_unlock(&workers->lock);
}

static void fail_jobs(struct store_job *first, const struct store_job *end, const struct err *err)
{
    for (struct store_job *job = first; job != end; job = job->next)
        if (job->err.kind == ERR_NONE)
            job->err = *err;
}

static void run_work(struct store_job *job, struct tx *tx)
{
    if (job->work(tx, job->arg, &job->err) == 0)
        job->err.kind = ERR_NONE;
    else if (job->err.kind == ERR_NONE)
        err_set(&job->err, ERR_INTERNAL, "store: a job failed without saying why");
}

static void run_in_savepoint(const struct store_driver *driver, struct store_job *job,
                             struct tx *tx)
{
    if (job->flags & STORE_SINGLE) {
        run_work(job, tx);
        return;
    }
    if (driver->mark(tx, &job->err) < 0)
        return;
    run_work(job, tx);
    if (!driver->alive(tx))
        return;
    if (job->err.kind != ERR_NONE)
        driver->undo(tx);
    else if (driver->keep(tx, &job->err) < 0)
        driver->undo(tx);
}

static void fatal_done(void *arg, struct err *err)
{
    struct workers *workers = arg;
    if (workers->config.on_fatal)
        workers->config.on_fatal(workers->config.arg, err);
}

static void writer_failed(struct workers *workers, const struct err *err)
{
    struct jobs jobs;
    if (atomic_exchange(&workers->failed, true))
        return;  // a reader, which copies the WAL, was first
    log_error(workers->config.log, "store", "the writer stopped: %s", err->message);
    workers->fatal = (struct store_job){.done = fatal_done, .arg = workers, .err = *err};
    jobs_init(&jobs);
    jobs_push(&jobs, &workers->fatal);
    mailbox_add(workers->mailbox, &jobs);
}

// Commits the jobs from first to the end of the list, which all ran.
static void commit_jobs(struct workers *workers, struct store_job *first)
{
    struct err err = ERR_INIT;
    bool fatal = false;
    int64_t began = mono_us();
    int rc = workers->driver->commit(workers->writer, &fatal, &err);
    workers->sync_us = mono_us() - began;
    if (rc == 0)
        return;
    fail_jobs(first, NULL, &err);
    if (fatal)
        writer_failed(workers, &err);
    else
        log_error(workers->config.log, "store", "%s", err.message);
}

// Whether the group is better committed before this next job of it: results of its first jobs have
// waited long, and so has what came meanwhile and is ahead.
static bool group_is_over(const struct workers *workers, const struct store_job *next,
                          int64_t began_us)
{
    int64_t most = workers->config.group_us;
    if (most < 2 * workers->sync_us)
        most = 2 * workers->sync_us;
    return next && !(next->flags & STORE_AHEAD) && mono_us() - began_us > most;
}

// Runs and commits the jobs of the group, or its first ones; the others are put back.
static void run_group(struct workers *workers, struct store_job *group)
{
    const struct store_driver *driver = workers->driver;
    struct tx *tx = workers->writer;
    struct err err = ERR_INIT;
    if (atomic_load(&workers->failed)) {
        err_set(&err, ERR_UNAVAILABLE,
                "the store stopped writing after a disk error; see the server's log");
        fail_jobs(group, NULL, &err);
        return;
    }
    if (driver->begin(tx, &err) < 0) {
        fail_jobs(group, NULL, &err);
        return;
    }
    struct store_job *first = group;  // of those that the open transaction holds
    int64_t began = mono_us();
    for (struct store_job *job = group; job; job = job->next) {
        run_in_savepoint(driver, job, tx);
        if (driver->alive(tx)) {
            if (group_is_over(workers, job->next, began)) {
                put_back(workers, job->next);
                job->next = NULL;
            }
            continue;
        }
        // The failure took the whole transaction with it: nothing of it was kept.
        err = job->err;
        if (err.kind == ERR_NONE)
            err_set(&err, ERR_UNAVAILABLE, "the store undid a group of changes; try again");
        err.kind = ERR_UNAVAILABLE;
        fail_jobs(first, job->next, &err);
        first = job->next;
        if (first && driver->begin(tx, &err) < 0) {
            fail_jobs(first, NULL, &err);
            return;
        }
    }
    if (first)
        commit_jobs(workers, first);
}

static void request_service(struct workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    if (!workers->service_queued && !workers->stopping) {
        workers->service_queued = true;
        workers->service.flags = JOB_SERVICE;
        jobs_push(&workers->reads, &workers->service);
        pthread_cond_signal(&workers->read_ready);
    }
    pthread_mutex_unlock(&workers->lock);
}

static void after_group(struct workers *workers)
{
    struct err err = ERR_INIT;
    bool wanted = false;
    if (atomic_load(&workers->failed))
        return;
    if (workers->driver->after_commit(workers->writer, &wanted, &err) < 0)
        writer_failed(workers, &err);
    else if (wanted)
        request_service(workers);
}

static void *writer_main(void *arg)
{
    struct workers *workers = arg;
    pthread_setname_np(pthread_self(), "store-writer");
    for (;;) {
        struct store_job *group = take_group(workers);
        if (!group) {
            pthread_mutex_lock(&workers->lock);
            bool end = workers->stopping && workers->write_count == 0;
            pthread_mutex_unlock(&workers->lock);
            if (end)
                return NULL;
            continue;
        }
        run_group(workers, group);
        int64_t count = 0;
        for (const struct store_job *job = group; job; job = job->next)
            count++;
        atomic_fetch_sub(&workers->backlog, count);
        hand_out(workers, group);
        after_group(workers);
    }
}

// ── the readers ──────────────────────────────────────────────────────────────────────────────

static void run_read(struct reader *reader, struct store_job *job)
{
    const struct store_driver *driver = reader->workers->driver;
    if (driver->begin(reader->tx, &job->err) < 0)
        return;
    run_work(job, reader->tx);
    driver->rollback(reader->tx);
}

static void *reader_main(void *arg)
{
    struct reader *reader = arg;
    struct workers *workers = reader->workers;
    bool rested = true;  // it holds nothing yet
    pthread_setname_np(pthread_self(), "store-reader");
    pthread_mutex_lock(&workers->lock);
    for (;;) {
        struct store_job *job = jobs_pop(&workers->reads);
        if (!job && workers->stop_readers)
            break;
        if (!job) {
            sleep_or_rest(workers, &workers->read_ready, reader->tx, &rested);
            continue;
        }
        rested = false;
        pthread_mutex_unlock(&workers->lock);
        if (job->flags & JOB_SERVICE) {
            struct err err = ERR_INIT;
            if (!atomic_load(&workers->failed) && workers->driver->service(reader->tx, &err) < 0)
                writer_failed(workers, &err);
            pthread_mutex_lock(&workers->lock);
            workers->service_queued = false;
            continue;
        }
        run_read(reader, job);
        job->next = NULL;
        hand_out(workers, job);
        pthread_mutex_lock(&workers->lock);
    }
    pthread_mutex_unlock(&workers->lock);
    return NULL;
}

// ── from outside ─────────────────────────────────────────────────────────────────────────────

static void job_reset(struct store_job *job, unsigned flags)
{
    job->flags = (job->flags & (STORE_LAZY | STORE_SINGLE | STORE_AHEAD)) | flags;
    job->err.kind = ERR_NONE;
    job->err.retry_after = 0;
    job->err.field[0] = job->err.message[0] = '\0';
}

// A job given to a store whose threads have ended.
static void refuse(struct workers *workers, struct store_job *job)
{
    err_set(&job->err, ERR_UNAVAILABLE, "the store is closing; nothing was changed");
    job->next = NULL;
    hand_out(workers, job);
}

static void queue_write(struct workers *workers, struct store_job *job)
{
    if (workers->ended) {
        refuse(workers, job);
        return;
    }
    bool lazy = job->flags & STORE_LAZY;
    atomic_fetch_add(&workers->backlog, 1);
    int64_t lazy_at = lazy ? mono_ms() + workers->config.lazy_ms : 0;
    pthread_mutex_lock(&workers->lock);
    jobs_push(job->flags & STORE_AHEAD ? &workers->ahead : &workers->writes, job);
    workers->write_count++;
    workers->urgent += !lazy;
    bool wake = !lazy || workers->write_count >= workers->config.group_max;
    if (lazy && workers->lazy_at == 0) {
        workers->lazy_at = lazy_at;
        wake = true;  // it sleeps without an end so far
    }
    if (wake && workers->writer_asleep)
        pthread_cond_signal(&workers->write_ready);
    pthread_mutex_unlock(&workers->lock);
}

static void queue_read(struct workers *workers, struct store_job *job)
{
    if (workers->ended) {
        refuse(workers, job);
        return;
    }
    pthread_mutex_lock(&workers->lock);
    jobs_push(&workers->reads, job);
    pthread_cond_signal(&workers->read_ready);
    pthread_mutex_unlock(&workers->lock);
}

void workers_write(struct workers *workers, struct store_job *job)
{
    job_reset(job, 0);
    queue_write(workers, job);
}

void workers_read(struct workers *workers, struct store_job *job)
{
    job_reset(job, 0);
    queue_read(workers, job);
}

static void wait_ready(struct workers *workers, const struct store_job *job)
{
    pthread_mutex_lock(&workers->lock);
    while (!(job->flags & JOB_READY))
        pthread_cond_wait(&workers->waited_ready, &workers->lock);
    pthread_mutex_unlock(&workers->lock);
}

void workers_write_wait(struct workers *workers, struct store_job *job)
{
    job_reset(job, JOB_WAITED);
    queue_write(workers, job);
    wait_ready(workers, job);
}

void workers_read_wait(struct workers *workers, struct store_job *job)
{
    job_reset(job, JOB_WAITED);
    queue_read(workers, job);
    wait_ready(workers, job);
}

bool workers_failed(const struct workers *workers) { return atomic_load(&workers->failed); }
int64_t workers_backlog(const struct workers *workers) { return atomic_load(&workers->backlog); }

// ── life ─────────────────────────────────────────────────────────────────────────────────────

static struct workers *workers_new(const struct store_driver *driver,
                                   const struct store_config *config)
{
    struct workers *workers = mem_alloc(sizeof(*workers));
    workers->driver = driver;
    workers->config = *config;
    workers->mailbox = mailbox_new(config->loop);
    pthread_mutex_init(&workers->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&workers->write_ready, &monotonic);
    pthread_cond_init(&workers->read_ready, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_cond_init(&workers->waited_ready, NULL);
    jobs_init(&workers->ahead);
    jobs_init(&workers->writes);
    jobs_init(&workers->reads);
    workers->reader_count = (size_t)config->readers;
    workers->readers = mem_alloc(sizeof(*workers->readers) * workers->reader_count);
    return workers;
}

static int open_connections(struct workers *workers, struct store_db *db, struct err *err)
{
    workers->writer = workers->driver->tx_open(db, true, err);
    if (!workers->writer)
        return -1;
    for (size_t i = 0; i < workers->reader_count; i++) {
        workers->readers[i].workers = workers;
        workers->readers[i].tx = workers->driver->tx_open(db, false, err);
        if (!workers->readers[i].tx)
            return -1;
    }
    return 0;
}

static int start_threads(struct workers *workers, struct err *err)
{
    int rc = pthread_create(&workers->writer_thread, NULL, writer_main, workers);
    if (rc != 0)
        return err_errno(err, ERR_INTERNAL, rc, "store: starting the writer thread");
    workers->writer_started = true;
    for (size_t i = 0; i < workers->reader_count; i++) {
        rc = pthread_create(&workers->readers[i].thread, NULL, reader_main, &workers->readers[i]);
        if (rc != 0)
            return err_errno(err, ERR_INTERNAL, rc, "store: starting a reader thread");
        workers->readers_started++;
    }
    return 0;
}

struct workers *workers_start(const struct store_driver *driver, struct store_db *db,
                              const struct store_config *config, struct err *err)
{
    struct workers *workers = workers_new(driver, config);
    if (open_connections(workers, db, err) < 0 || start_threads(workers, err) < 0) {
        workers_stop(workers);
        return NULL;
    }
    return workers;
}

static void join_threads(struct workers *workers)
{
    pthread_mutex_lock(&workers->lock);
    workers->stopping = true;
    pthread_cond_signal(&workers->write_ready);
    pthread_mutex_unlock(&workers->lock);
    if (workers->writer_started)
        pthread_join(workers->writer_thread, NULL);
    pthread_mutex_lock(&workers->lock);
    workers->stop_readers = true;
    pthread_cond_broadcast(&workers->read_ready);
    pthread_mutex_unlock(&workers->lock);
    for (size_t i = 0; i < workers->readers_started; i++)
        pthread_join(workers->readers[i].thread, NULL);
    workers->ended = true;
}

void workers_stop(struct workers *workers)
{
    join_threads(workers);
    mailbox_close(workers->mailbox);
    if (workers->writer)
        workers->driver->tx_close(workers->writer);
    for (size_t i = 0; i < workers->reader_count; i++)
        if (workers->readers[i].tx)
            workers->driver->tx_close(workers->readers[i].tx);
    pthread_cond_destroy(&workers->write_ready);
    pthread_cond_destroy(&workers->read_ready);
    pthread_cond_destroy(&workers->waited_ready);
    pthread_mutex_destroy(&workers->lock);
    mem_free(workers->readers);
    mem_free(workers);
}
