// SPDX-License-Identifier: Apache-2.0
// One suite for every store driver: jobs, their groups, their order, and snapshots.
#include "store_fixture.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>

static const char *driver;  // of the suite that runs

#define JOBS 200

struct counted {
    struct store_job job;
    struct fixture *fixture;
    int number;
    bool fails;
    int *finished;  // how many are done; the last one stops the loop
    int done_at;
};

static int counted_work(struct tx *tx, void *arg, struct err *err)
{
    struct counted *counted = arg;
    char id[16];
    snprintf(id, sizeof(id), "e%03d", counted->number);
    struct execution row = execution_of(id, "s", counted->number);
    if (tx_insert(tx, &execution_entity, &row, err) < 0)
        return -1;
    return counted->fails ? err_set(err, ERR_BAD_INPUT, "number %d", counted->number) : 0;
}

static void counted_done(void *arg, struct err *err)
{
    struct counted *counted = arg;
    if (counted->fails) {
        assert_int_equal(err->kind, ERR_BAD_INPUT);
        char wanted[32];
        snprintf(wanted, sizeof(wanted), "number %d", counted->number);
        assert_string_equal(err->message, wanted);
    } else {
        assert_int_equal(err->kind, ERR_NONE);
    }
    counted->done_at = (*counted->finished)++;
    if (*counted->finished == JOBS)
        fixture_stop(counted->fixture);
}

static int count_all(struct tx *tx, struct fixture *fixture, struct err *err)
{
    int64_t count;
    if (tx_count(tx, &execution_entity, NULL, &count, err) < 0)
        return -1;
    fixture->fatals = (int)count;
    return 0;
}

// A failing job undoes itself, never its group; callbacks come in order of arrival.
static void test_jobs(void **state)
{
    struct fixture *f = *state;
    struct err failure = ERR_INIT, *err = &failure;
    struct counted jobs[JOBS];
    int finished = 0;
    for (int i = 0; i < JOBS; i++) {
        jobs[i] = (struct counted){.job = {.work = counted_work, .done = counted_done},
                                   .fixture = f,
                                   .number = i,
                                   .fails = i % 7 == 3,
                                   .finished = &finished};
        jobs[i].job.arg = &jobs[i];
        jobs[i].job.flags = i % 5 == 0 ? STORE_LAZY : 0;
        store_write(f->store, &jobs[i].job);
    }
    fixture_run(f);
    int kept = 0;
    for (int i = 0; i < JOBS; i++) {
        assert_int_equal(jobs[i].done_at, i);
        kept += !jobs[i].fails;
    }
    assert_int_equal(store_backlog(f->store), 0);
    OK(read_now(f, count_all, err));
    assert_int_equal(f->fatals, kept);
}

static void stop_loop(void *arg, struct err *err)
{
    assert_int_equal(err->kind, ERR_NONE);
    fixture_stop(((struct counted *)arg)->fixture);
}

// A lazy job alone is committed too, after a while.
static void test_lazy_alone(void **state)
{
    struct fixture *f = *state;
    struct err failure = ERR_INIT, *err = &failure;
    int finished = 0;
    struct counted lazy = {.job = {.work = counted_work, .done = stop_loop, .flags = STORE_LAZY},
                           .fixture = f,
                           .finished = &finished};
    lazy.job.arg = &lazy;
    store_write(f->store, &lazy.job);
    fixture_run(f);
    OK(read_now(f, count_all, err));
    assert_int_equal(f->fatals, 1);
}

// What was queued is done before the store closes, callbacks included.
static void test_close_finishes(void **state)
{
    struct fixture *f = *state;
    struct counted jobs[50];
    int finished = 0;
    for (int i = 0; i < 50; i++) {
        jobs[i] = (struct counted){.job = {.work = counted_work, .done = counted_done},
                                   .fixture = f,
                                   .number = i,
                                   .finished = &finished};
        jobs[i].job.arg = &jobs[i];
        jobs[i].job.flags = i % 2 ? STORE_LAZY : STORE_SINGLE;
        store_write(f->store, &jobs[i].job);
    }
    store_close(f->store);
    f->store = NULL;
    assert_int_equal(finished, 50);
}

struct parallel_read {
    struct store_job job;
    struct fixture *fixture;
    int *finished;
};

static int count_work(struct tx *tx, void *arg, struct err *err)
{
    (void)arg;
    int64_t before, after;
    if (tx_count(tx, &execution_entity, NULL, &before, err) < 0)
        return -1;
    usleep(200);
    if (tx_count(tx, &execution_entity, NULL, &after, err) < 0)
        return -1;
    return before == after ? 0 : err_set(err, ERR_INTERNAL, "a snapshot changed");
}

static void read_done(void *arg, struct err *err)
{
    struct parallel_read *read = arg;
    assert_int_equal(err->kind, ERR_NONE);
    if (++*read->finished == JOBS)
        fixture_stop(read->fixture);
}

// Readers see one state from their beginning to their end, while writers go on.
static void test_snapshots(void **state)
{
    struct fixture *f = *state;
    struct counted writes[JOBS / 2];
    struct parallel_read reads[JOBS / 2];
    int finished = 0;
    for (int i = 0; i < JOBS / 2; i++) {
        writes[i] = (struct counted){.job = {.work = counted_work, .done = counted_done},
                                     .fixture = f,
                                     .number = i,
                                     .finished = &finished};
        writes[i].job.arg = &writes[i];
        store_write(f->store, &writes[i].job);
        reads[i] = (struct parallel_read){
            .job = {.work = count_work, .done = read_done}, .fixture = f, .finished = &finished};
        reads[i].job.arg = &reads[i];
        store_read(f->store, &reads[i].job);
    }
    fixture_run(f);
    assert_int_equal(finished, JOBS);
}

// ── the order of groups ──────────────────────────────────────────────────────────────────────

#define ORDERED 60

// A job that notes when its callback ran; `gate`, when it has one, is waited for inside its work.
struct ordered {
    struct store_job job;
    struct fixture *fixture;
    int *finished, total;
    int done_at;
    sem_t *gate, *opens;  // `opens`: told when it is done
    bool gate_timed_out;
    unsigned nap_us;  // its work takes so long
};

static int ordered_work(struct tx *tx, void *arg, struct err *err)
{
    struct ordered *ordered = arg;
    (void)tx;
    (void)err;
    struct timespec end;
    clock_gettime(CLOCK_REALTIME, &end);
    end.tv_sec += 20;
    usleep(ordered->nap_us);
    ordered->gate_timed_out = ordered->gate && sem_timedwait(ordered->gate, &end) != 0;
    return 0;
}

static void ordered_done(void *arg, struct err *err)
{
    struct ordered *ordered = arg;
    assert_int_equal(err->kind, ERR_NONE);
    ordered->done_at = (*ordered->finished)++;
    if (ordered->opens)
        sem_post(ordered->opens);
    if (*ordered->finished == ordered->total)
        fixture_stop(ordered->fixture);
}

// The store is opened anew with these groups; jobs[0] holds the writer until all are queued.
static void run_ordered(struct fixture *f, int64_t group_max, int64_t group_us,
                        struct ordered *jobs, int count, int *finished)
{
    sem_t gate;
    sem_init(&gate, 0, 0);
    store_close(f->store);
    f->store = fixture_open_groups(f, driver, group_max, group_us);
    jobs[0].gate = &gate;
    for (int i = 0; i < count; i++) {
        jobs[i].job.work = ordered_work;
        jobs[i].job.done = ordered_done;
        jobs[i].job.arg = &jobs[i];
        jobs[i].fixture = f;
        jobs[i].finished = finished;
        jobs[i].total = count;
        store_write(f->store, &jobs[i].job);
        while (i == 0) {  // until the writer has taken it, alone
            int waiting;
            sem_getvalue(&gate, &waiting);
            if (store_backlog(f->store) == 1 && waiting == 0)
                break;
        }
        if (i == 0)
            usleep(20000);
    }
    sem_post(&gate);
    fixture_run(f);
    sem_destroy(&gate);
    for (int i = 0; i < count; i++)
        assert_false(jobs[i].gate_timed_out);
}

// Those ahead go before what was queued earlier; each kind keeps its order.
static void test_ahead(void **state)
{
    struct ordered jobs[ORDERED] = {0};
    int finished = 0, ahead = 0, others = 0;
    for (int i = 1; i < ORDERED; i++)
        jobs[i].job.flags = i % 3 == 0 ? STORE_AHEAD : i % 3 == 1 ? STORE_LAZY : 0;
    run_ordered(*state, 0, 0, jobs, ORDERED, &finished);
    for (int i = 1; i < ORDERED; i++)
        ahead += i % 3 == 0;
    assert_int_equal(jobs[0].done_at, 0);
    for (int i = 1, seen = 0; i < ORDERED; i++) {
        bool is_ahead = i % 3 == 0;
        assert_int_equal(jobs[i].done_at, is_ahead ? 1 + seen++ : 1 + ahead + others++);
    }
}

// However much is ahead, each group takes one of the others.
static void test_others_get_in(void **state)
{
    struct ordered jobs[ORDERED] = {0};
    int finished = 0;
    for (int i = 1; i < ORDERED - 2; i++)
        jobs[i].job.flags = STORE_AHEAD;
    run_ordered(*state, 4, 0, jobs, ORDERED, &finished);
    assert_int_equal(jobs[ORDERED - 2].done_at, 4);
    assert_int_equal(jobs[ORDERED - 1].done_at, 8);
}

// A group that has run for long is committed before its other jobs run: one of these waits until
// the first one's callback has run.
static void test_long_group(void **state)
{
    struct ordered jobs[ORDERED] = {0};
    int finished = 0;
    sem_t first_done;
    sem_init(&first_done, 0, 0);
    for (int i = 1; i < ORDERED; i++)
        jobs[i].nap_us = 1000;
    jobs[1].opens = &first_done;
    jobs[ORDERED / 2].gate = &first_done;
    run_ordered(*state, 0, 1, jobs, ORDERED, &finished);
    sem_destroy(&first_done);
    for (int i = 0; i < ORDERED; i++)
        assert_int_equal(jobs[i].done_at, i);
}

static int run_suite(const char *name)
{
    const struct CMUnitTest tests[] = {
        FIXTURE_TEST(test_jobs, name),           FIXTURE_TEST(test_lazy_alone, name),
        FIXTURE_TEST(test_close_finishes, name), FIXTURE_TEST(test_snapshots, name),
        FIXTURE_TEST(test_ahead, name),          FIXTURE_TEST(test_others_get_in, name),
        FIXTURE_TEST(test_long_group, name),
    };
    driver = name;
    return cmocka_run_group_tests_name(name, tests, NULL, NULL);
}

int main(void) { return run_suite("sqlite") + run_suite("memory"); }
