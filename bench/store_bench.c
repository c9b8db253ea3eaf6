// SPDX-License-Identifier: Apache-2.0
// How many executions a second the store takes through their whole life (created, started, ended
// with an output), with N of them in flight at any time: every commit carries what waits.
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "arguments.h"
#include "base/id.h"
#include "base/mem.h"
#include "net/loop.h"
#include "store/store.h"

struct bench {
    struct loop *loop;
    struct store *store;
    int64_t ended, in_flight, fence;
    bool stopping;
    struct arena *arena;
    int64_t queued;
};

struct life {  // of one execution at a time
    struct bench *bench;
    struct store_job insert, start, finish;
    char id[ID_LEN];
    int64_t fence;
    int service;
};

static const char services[8][ID_LEN + 1] = {
    "65a000000000000000000001", "65a000000000000000000002", "65a000000000000000000003",
    "65a000000000000000000004", "65a000000000000000000005", "65a000000000000000000006",
    "65a000000000000000000007", "65a000000000000000000008"};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static double cpu_seconds(void)
{
    struct rusage use;
    getrusage(RUSAGE_SELF, &use);
    return (double)use.ru_utime.tv_sec + (double)use.ru_utime.tv_usec / 1e6 +
           (double)use.ru_stime.tv_sec + (double)use.ru_stime.tv_usec / 1e6;
}

static void die(const struct err *err)
{
    fprintf(stderr, "store_bench: %s\n", err->message);
    exit(1);
}

static void fill(struct execution *row, struct str id, int service)
{
    entity_clear(&execution_entity, row);
    row->id = id;
    row->project_id = STR("0b7c6a52-8a51-4e7e-9d6e-000000000001");
    row->org_id = STR("65a0000000000000000000aa");
    row->service_id = str_of(services[service]);
    row->service_name = STR("resize-images");
    row->service_version = STR("1.0.3");
    row->package_id = STR("65a0000000000000000000bb");
    row->package_name = STR("images");
    row->package_revision = STR("1.0.0");
    row->module_name = STR("default_module");
    row->function_name = STR("run");
    row->creator = STR("somebody@example.com");
    row->input = STR("{\"item\":{\"item_id\":\"65a0000000000000000000cc\"},\"width\":640}");
    row->status = STR("created");
    row->percent = 0;
    row->attempts = row->fence = 0;
    row->max_attempts = 3;
    row->created_at = row->updated_at = wall_ms();
}

static int insert_work(struct tx *tx, void *arg, struct err *err)
{
    struct life *life = arg;
    struct execution row;
    fill(&row, (struct str){life->id, ID_LEN}, life->service);
    return tx_insert(tx, &execution_entity, &row, err);
}

static int start_work(struct tx *tx, void *arg, struct err *err)
{
    struct life *life = arg;
    bool applied;
    return tx_execution_start(tx, (struct str){life->id, ID_LEN}, life->fence,
                              STR("65a0000000000000000000dd"), wall_ms(), &applied, err);
}

static int finish_work(struct tx *tx, void *arg, struct err *err)
{
    struct life *life = arg;
    bool applied;
    int64_t now = wall_ms();
    struct execution_result result = {.id = {life->id, ID_LEN},
                                      .status = STR("success"),
                                      .output = STR("{\"ok\":true,\"size\":[640,480]}"),
                                      .replica_id = STR("65a0000000000000000000dd"),
                                      .fence = life->fence,
                                      .started_at = now,
                                      .ended_at = now,
                                      .attempts = 1};
    if (tx_execution_finish(tx, &result, &applied, err) < 0)
        return -1;
    return applied ? 0 : err_set(err, ERR_INTERNAL, "an execution did not end");
}

static void begin_life(struct life *life)
{
    struct bench *bench = life->bench;
    if (bench->stopping) {
        if (--bench->in_flight == 0)
            loop_stop(bench->loop);
        return;
    }
    memcpy(life->id, id_new(wall_ms(), bench->arena).at, ID_LEN);
    arena_reset(bench->arena);
    life->fence = ++bench->fence;
    life->service = (int)(life->fence % 8);
    store_write(bench->store, &life->insert);
}

static void insert_done(void *arg, struct err *err)
{
    struct life *life = arg;
    if (err->kind != ERR_NONE)
        die(err);
    store_write(life->bench->store, &life->start);
    store_write(life->bench->store, &life->finish);
}

static void start_done(void *arg, struct err *err)
{
    (void)arg;
    if (err->kind != ERR_NONE)
        die(err);
}

static void finish_done(void *arg, struct err *err)
{
    struct life *life = arg;
    if (err->kind != ERR_NONE)
        die(err);
    life->bench->ended++;
    begin_life(life);
}

static void stop(void *arg) { ((struct bench *)arg)->stopping = true; }

static int insert_queued(struct tx *tx, void *arg, struct err *err)
{
    struct bench *bench = arg;
    for (int i = 0; i < 10000; i++) {
        struct execution row;
        fill(&row, id_new(wall_ms(), bench->arena), i % 8);
        if (tx_insert(tx, &execution_entity, &row, err) < 0)
            return -1;
        arena_reset(bench->arena);
    }
    return 0;
}

static void count_open(void *arg, struct str id, struct str service_id, struct str status,
                       int64_t fence)
{
    (void)id;
    (void)service_id;
    (void)status;
    (void)fence;
    ++*(int64_t *)arg;
}

static int read_open(struct tx *tx, void *arg, struct err *err)
{
    return tx_execution_each_open(tx, count_open, arg, err);
}

static void queue_rows(struct bench *bench)
{
    struct err err = ERR_INIT;
    double began = seconds();
    for (int64_t i = 0; i < bench->queued; i += 10000)
        if (store_write_now(bench->store, insert_queued, bench, &err) < 0)
            die(&err);
    if (bench->queued == 0)
        return;
    printf("queued %lld rows: %.0f rows/s\n", (long long)bench->queued,
           (double)bench->queued / (seconds() - began));
    int64_t open = 0;
    began = seconds();
    if (store_read_now(bench->store, read_open, &open, &err) < 0)
        die(&err);
    printf("read %lld open executions in %.3f s\n", (long long)open, seconds() - began);
}

static void run(const char *folder, int64_t width, int64_t ms, int64_t queued)
{
    struct err err = ERR_INIT;
    struct bench bench = {.loop = loop_new(), .arena = arena_new(), .queued = queued};
    char path[512];
    snprintf(path, sizeof(path), "%s/%lld", folder, (long long)width);
    bench.store = store_open(
        &(struct store_config){.driver = "sqlite", .path = path, .loop = bench.loop}, &err);
    if (!bench.store)
        die(&err);
    queue_rows(&bench);
    struct life *lives = mem_alloc((size_t)width * sizeof(*lives));
    for (int64_t i = 0; i < width; i++) {
        struct life *life = &lives[i];
        life->bench = &bench;
        life->insert = (struct store_job){
            .flags = STORE_SINGLE, .work = insert_work, .done = insert_done, .arg = life};
        life->start = (struct store_job){.flags = STORE_SINGLE | STORE_LAZY,
                                         .work = start_work,
                                         .done = start_done,
                                         .arg = life};
        life->finish = (struct store_job){
            .flags = STORE_SINGLE, .work = finish_work, .done = finish_done, .arg = life};
    }
    bench.in_flight = width;
    loop_timer_start(bench.loop, ms, 0, stop, &bench);
    double began = seconds(), cpu = cpu_seconds();
    for (int64_t i = 0; i < width; i++)
        begin_life(&lives[i]);
    loop_run(bench.loop);
    double took = seconds() - began;
    cpu = cpu_seconds() - cpu;
    printf("%5lld in flight: %8.0f executions/s  %6.1f us CPU each\n", (long long)width,
           (double)bench.ended / took, cpu * 1e6 / (double)bench.ended);
    fflush(stdout);
    store_close(bench.store);
    loop_free(bench.loop);
    arena_free(bench.arena);
    mem_free(lives);
}

int main(int argc, char **argv)
{
    check_arguments(argc, argv, 0, 3,
                    "store_bench [FOLDER [SECONDS [QUEUED]]]; QUEUED rows are inserted before, for "
                    "the effect of a large table");
    const char *folder = argc > 1 ? argv[1] : "store-bench";
    int64_t ms = argc > 2 ? (int64_t)(strtod(argv[2], NULL) * 1000) : 3000;
    int64_t queued = argc > 3 ? strtoll(argv[3], NULL, 10) : 0;
    static const int64_t widths[] = {1, 10, 64, 100, 1000};
    for (size_t i = 0; i < sizeof(widths) / sizeof(*widths); i++)
        run(folder, widths[i], ms, queued);
    return 0;
}
