// SPDX-License-Identifier: Apache-2.0
// How many log lines a second the store takes, and how long first pages take among many lines.
// Lines of some 100 bytes, by 100 services in batches as agents send them, 100 lines an execution,
// spread over days.
#include <dirent.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "arguments.h"
#include "base/clock.h"
#include "base/mem.h"
#include "net/loop.h"
#include "store/logs.h"

#define BATCH     3000
#define UNDER_WAY 4
#define SERVICES  100
#define ASKED     200
#define DAY       86400000LL
#define FIRST_DAY (20000 * DAY)
#define EXECUTION 100  // lines of one

struct bench {
    struct loop *loop;
    struct log *log;
    struct logs *logs;
    struct clock_fake clock;
    const char *folder;
    int64_t lines, days, sent, stored;
    struct log_line batch[BATCH];
    char texts[BATCH][160], executions[BATCH][32], service[32], replica[32];
    bool stop;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_seconds(int who)
{
    struct rusage use;
    getrusage(who, &use);
    return (double)use.ru_utime.tv_sec + (double)use.ru_utime.tv_usec / 1e6 +
           (double)use.ru_stime.tv_sec + (double)use.ru_stime.tv_usec / 1e6;
}

static double process_cpu(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void die(const struct err *err)
{
    fprintf(stderr, "log_bench: %s\n", err->message);
    exit(1);
}

static void run(struct bench *b)  // until something stops it
{
    b->stop = false;
    while (!b->stop)
        uv_run(loop_uv(b->loop), UV_RUN_ONCE);
}

static int64_t time_of(const struct bench *b, int64_t line)
{
    return FIRST_DAY + (int64_t)((double)line / (double)b->lines * (double)(b->days * DAY));
}

static void execution_id(const struct bench *b, int64_t line, char out[32])
{
    int64_t number = line / EXECUTION;
    snprintf(out, 32, "%012llx%012llx", (long long)time_of(b, number * EXECUTION),
             (long long)number);
}

static void fill(struct bench *b)
{
    int64_t number = b->sent / BATCH;
    snprintf(b->service, sizeof(b->service), "65a00000000000000000%04lld",
             (long long)(number % SERVICES));
    snprintf(b->replica, sizeof(b->replica), "65b00000000000000000%04lld",
             (long long)(number % SERVICES));
    for (int i = 0; i < BATCH; i++) {
        int64_t line = b->sent + i;
        unsigned noise = (unsigned)line * 2654435761u;
        snprintf(b->texts[i], sizeof(b->texts[i]),
                 "request %08x: item %lld of folder /photos/%u was resized in %u ms by worker %u, "
                 "status ok%s",
                 noise, (long long)line, noise % 5000, noise % 700, noise % 16,
                 line % 100000 == 77 ? " Traceback: ValueError" : ", next one");
        execution_id(b, line, b->executions[i]);
        b->batch[i] = (struct log_line){.at = time_of(b, line),
                                        .level = line % 50 ? LINE_INFO : LINE_ERROR,
                                        .service_id = str_of(b->service),
                                        .project_id = STR("0b7c6a52-8a51-4e7e-9d6e-000000000001"),
                                        .execution_id = str_of(b->executions[i]),
                                        .function_name = STR("run"),
                                        .replica_id = str_of(b->replica),
                                        .message = str_of(b->texts[i])};
    }
    b->clock.wall_ms = b->batch[0].at;
}

static void send_batch(struct bench *b);

static void stored(void *arg, const struct err *err)
{
    struct bench *b = arg;
    if (err->kind != ERR_NONE)
        die(err);
    b->stored += BATCH;
    send_batch(b);
    if (b->stored >= b->lines)
        b->stop = true;
}

static void send_batch(struct bench *b)
{
    if (b->sent >= b->lines)
        return;
    fill(b);
    logs_append(b->logs, b->batch, BATCH, stored, b);
    b->sent += BATCH;
}

// ── pages ────────────────────────────────────────────────────────────────────────────────────

static void was_read(void *arg, struct logs_read *read)
{
    struct bench *b = arg;
    if (read->err.kind != ERR_NONE)
        die(&read->err);
    b->stop = true;
}

static const struct logs_query any = {.system = true,
                                      .start = INT64_MIN,
                                      .end = INT64_MAX,
                                      .after_seq = -1,
                                      .before_seq = INT64_MAX,
                                      .limit = 100};

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void ask(struct bench *b, const char *what,
                void (*vary)(struct bench *, int, struct logs_query *, char text[64]))
{
    double times[ASKED], cpu[ASKED];
    size_t found = 0, more = 0;
    for (int i = 0; i < ASKED; i++) {
        struct arena *arena = arena_new();
        struct logs_read read = {.query = any, .arena = arena, .done = was_read, .arg = b};
        char text[64];
        vary(b, i, &read.query, text);
        double start = seconds(), cpu_start = process_cpu();
        logs_read(b->logs, &read);
        run(b);
        times[i] = (seconds() - start) * 1e3;
        cpu[i] = (process_cpu() - cpu_start) * 1e3;
        found += read.count;
        more += read.more;
        arena_free(arena);
    }
    qsort(cpu, ASKED, sizeof(cpu[0]), by_size);
    qsort(times, ASKED, sizeof(times[0]), by_size);
    printf(
        "%-33s p50 %6.2f ms  p99 %6.2f ms  CPU p50 %6.2f  p99 %6.2f ms  %5.1f lines, %3zu%% to go "
        "on\n",
        what, times[ASKED / 2], times[ASKED * 99 / 100], cpu[ASKED / 2], cpu[ASKED * 99 / 100],
        (double)found / ASKED, more * 100 / ASKED);
}

static void of_service(struct bench *b, int i, struct logs_query *q, char text[64])
{
    (void)b;
    snprintf(text, 64, "65a00000000000000000%04d", i * 7 % SERVICES);
    q->service_id = str_of(text);
}

static void of_service_down(struct bench *b, int i, struct logs_query *q, char text[64])
{
    of_service(b, i, q, text);
    q->descending = true;
}

static void of_service_in_time(struct bench *b, int i, struct logs_query *q, char text[64])
{
    of_service(b, i, q, text);
    q->start = time_of(b, b->lines / ASKED * i);
    q->end = q->start + 600000;
}

static void of_execution(struct bench *b, int i, struct logs_query *q, char text[64])
{
    static struct str id;
    execution_id(b, b->lines / ASKED * i, text);
    id = str_of(text);
    q->executions = &id;
    q->execution_count = 1;
}

static void of_rare_text(struct bench *b, int i, struct logs_query *q, char text[64])
{
    snprintf(text, 64, "Item %lld of", (long long)(b->lines / ASKED * i));
    q->text = str_of(text);
}

static void of_common_text(struct bench *b, int i, struct logs_query *q, char text[64])
{
    (void)b;
    (void)i;
    (void)text;
    q->text = STR("status OK");
    q->descending = true;
}

static void of_scarce_text(struct bench *b, int i, struct logs_query *q, char text[64])
{
    (void)b;
    (void)text;
    q->text = STR("traceback: valueerror");
    q->descending = i % 2;
}

static void of_absent_text(struct bench *b, int i, struct logs_query *q, char text[64])
{
    (void)b;
    (void)i;
    (void)text;
    q->text = STR("segmentation fault");
}

static void of_text_in_service(struct bench *b, int i, struct logs_query *q, char text[64])
{
    of_service(b, i, q, text);
    q->text = STR("traceback: valueerror");
}

static void of_errors(struct bench *b, int i, struct logs_query *q, char text[64])
{
    of_service(b, i, q, text);
    q->level_min = LINE_ERROR;
    q->descending = true;
}

static void of_short_text(struct bench *b, int i, struct logs_query *q, char text[64])
{
    of_service(b, i, q, text);
    q->text = STR("~~");
}

// ── the index ────────────────────────────────────────────────────────────────────────────────

static int64_t sum_of(const struct bench *b, const char *ending, bool indexed)
{
    char path[4096];
    int64_t sum = 0;
    snprintf(path, sizeof(path), "%s/logs", b->folder);
    DIR *folder = opendir(path);
    for (struct dirent *one; folder && (one = readdir(folder));) {
        struct stat st;
        if (!str_ends(str_of(one->d_name), str_of(ending)))
            continue;
        snprintf(path, sizeof(path), "%s/logs/%s", b->folder, one->d_name);
        if (!indexed && stat(path, &st) == 0)
            sum += st.st_size;
        sqlite3 *sql = NULL;
        sqlite3_stmt *s = NULL;
        if (indexed && sqlite3_open_v2(path, &sql, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
            sqlite3_prepare_v2(sql, "SELECT indexed&0xffffffff FROM progress", -1, &s, NULL) ==
                SQLITE_OK &&
            sqlite3_step(s) == SQLITE_ROW)
            sum += sqlite3_column_int64(s, 0);
        sqlite3_finalize(s);
        sqlite3_close(sql);
    }
    if (folder)
        closedir(folder);
    return sum;
}

static void on_tick(void *arg) { ((struct bench *)arg)->stop = true; }

static void wait_for_index(struct bench *b)
{
    double start = seconds(), cpu = cpu_seconds(RUSAGE_SELF);
    int64_t before = sum_of(b, ".index", true), indexed = before, last = -1;
    for (int still = 0; indexed < b->lines - 128 && still < 30; last = indexed) {
        loop_timer_start(b->loop, 500, 0, on_tick, b);
        run(b);
        indexed = sum_of(b, ".index", true);
        still = indexed == last ? still + 1 : 0;
    }
    double took = seconds() - start;
    printf("indexed: %lld lines meanwhile, %lld in %.1f s after it (%.2f us of CPU a line)\n",
           (long long)before, (long long)(indexed - before), took,
           (cpu_seconds(RUSAGE_SELF) - cpu) / (double)(indexed > before ? indexed - before : 1) *
               1e6);
    printf("size: %.1f MiB of lines, %.1f MiB of indexes\n",
           (double)sum_of(b, ".db", false) / (1 << 20),
           (double)sum_of(b, ".index", false) / (1 << 20));
}

static void write_lines(struct bench *b)
{
    double start = seconds(), cpu = cpu_seconds(RUSAGE_SELF), own = 0;
    for (int i = 0; i < UNDER_WAY; i++)
        send_batch(b);
    double loop_cpu = cpu_seconds(RUSAGE_THREAD);
    run(b);
    own = cpu_seconds(RUSAGE_THREAD) - loop_cpu;
    double took = seconds() - start, all = cpu_seconds(RUSAGE_SELF) - cpu;
    printf("stored: %lld lines, %.0f lines/s, CPU %.2f us a line beside %.2f us of making them\n",
           (long long)b->stored, (double)b->stored / took, (all - own) / (double)b->stored * 1e6,
           own / (double)b->stored * 1e6);
}

int main(int argc, char **argv)
{
    check_arguments(argc, argv, 0, 4,
                    "log_bench [FOLDER [LINES [DAYS [again]]]]; again: the lines are there from a "
                    "run before");
    struct err err = ERR_INIT;
    struct bench *b = mem_alloc(sizeof(*b));
    b->folder = argc > 1 ? argv[1] : "log-bench-data";
    b->lines = argc > 2 ? (atoll(argv[2]) + BATCH - 1) / BATCH * BATCH : 999000;
    b->days = argc > 3 ? atoll(argv[3]) : 1;
    b->loop = loop_new();
    b->log = log_new(2, LOG_WARN, LOG_TEXT);
    clock_fake_init(&b->clock);
    b->clock.wall_ms = FIRST_DAY;
    b->logs = logs_open(
        &(struct logs_config){
            .path = b->folder, .loop = b->loop, .log = b->log, .clock = &b->clock.clock},
        &err);
    if (!b->logs)
        die(&err);
    if (argc > 4)
        b->sent = b->stored = b->lines;  // written by a run before
    else
        write_lines(b);
    setvbuf(stdout, NULL, _IOLBF, 0);
    wait_for_index(b);
    ask(b, "service", of_service);
    ask(b, "service, newest first", of_service_down);
    ask(b, "service, ten minutes", of_service_in_time);
    ask(b, "service, errors, newest first", of_errors);
    ask(b, "execution", of_execution);
    ask(b, "text of one line", of_rare_text);
    ask(b, "text of every line, newest first", of_common_text);
    ask(b, "text of a line in 100,000", of_scarce_text);
    ask(b, "text of no line", of_absent_text);
    ask(b, "text and service", of_text_in_service);
    ask(b, "two characters and service", of_short_text);
    logs_close(b->logs);
    return 0;
}
