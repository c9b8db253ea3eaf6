// SPDX-License-Identifier: Apache-2.0
// What SQLite alone does of a durable execution's life: a plain table, one partial index, and three
// synced commits (created, taken, ended with 200 bytes) for each group.
// Usage: sqlite_floor FOLDER [SECONDS [GROUP]]
// Prints a line for groups of 1, 10 and 100, or of the one size.
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "arguments.h"

#define GROUP_MAX 100
#define INPUT     440  // bytes of the row beside its keys
#define OUTPUT    200
#define TIMES_MAX 100000

struct floor {
    sqlite3 *sql;
    sqlite3_stmt *begin, *commit, *insert, *take, *finish;
    long made;
    char input[INPUT], output[OUTPUT];
};

static void must(const struct floor *floor, int rc)
{
    if (rc == SQLITE_OK || rc == SQLITE_DONE)
        return;
    fprintf(stderr, "sqlite_floor: %s\n", floor->sql ? sqlite3_errmsg(floor->sql) : "no memory");
    exit(1);
}

static double seconds_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void run(const struct floor *floor, sqlite3_stmt *statement)
{
    must(floor, sqlite3_step(statement));
    must(floor, sqlite3_reset(statement));
}

static sqlite3_stmt *prepare(const struct floor *floor, const char *text)
{
    sqlite3_stmt *statement = NULL;
    must(floor, sqlite3_prepare_v2(floor->sql, text, -1, &statement, NULL));
    return statement;
}

static void floor_open(struct floor *floor, const char *folder)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/floor.db", folder);
    memset(floor->input, 'i', INPUT);
    memset(floor->output, 'o', OUTPUT);
    must(floor, sqlite3_open(path, &floor->sql));
    must(floor,
         sqlite3_exec(floor->sql,
                      "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;"
                      "CREATE TABLE lives(id TEXT PRIMARY KEY,service TEXT,status TEXT,agent TEXT,"
                      "created INTEGER,input TEXT,output TEXT) WITHOUT ROWID;"
                      "CREATE INDEX waiting ON lives(service,created) WHERE status='created'",
                      NULL, NULL, NULL));
    floor->begin = prepare(floor, "BEGIN IMMEDIATE");
    floor->commit = prepare(floor, "COMMIT");
    floor->insert = prepare(
        floor, "INSERT INTO lives VALUES(?1,'service-000001','created',NULL,?2,?3,NULL)");
    floor->take = prepare(floor,
                          "UPDATE lives SET status='in-progress',agent='agent-1' WHERE id=?1");
    floor->finish = prepare(floor, "UPDATE lives SET status='success',output=?2 WHERE id=?1");
}

static void floor_close(struct floor *floor)
{
    sqlite3_stmt *const all[] = {floor->begin, floor->commit, floor->insert, floor->take,
                                 floor->finish};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        sqlite3_finalize(all[i]);
    sqlite3_close(floor->sql);
}

static void insert_one(struct floor *floor, char id[25])
{
    long number = floor->made++;
    snprintf(id, 25, "%08lx%016lx", number, (unsigned long)number * 0x9E3779B97F4A7C15);
    sqlite3_bind_text(floor->insert, 1, id, 24, SQLITE_STATIC);
    sqlite3_bind_int64(floor->insert, 2, number);
    sqlite3_bind_text(floor->insert, 3, floor->input, INPUT, SQLITE_STATIC);
    run(floor, floor->insert);
}

// One group through its life.
static void live(struct floor *floor, int group)
{
    char ids[GROUP_MAX][25];
    for (int step = 0; step < 3; step++) {
        run(floor, floor->begin);
        for (int i = 0; i < group; i++) {
            sqlite3_stmt *update = step == 1 ? floor->take : floor->finish;
            if (step == 0) {
                insert_one(floor, ids[i]);
                continue;
            }
            sqlite3_bind_text(update, 1, ids[i], 24, SQLITE_STATIC);
            if (step == 2)
                sqlite3_bind_text(update, 2, floor->output, OUTPUT, SQLITE_STATIC);
            run(floor, update);
        }
        run(floor, floor->commit);
    }
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(struct floor *floor, int group, double seconds)
{
    double *times = calloc(TIMES_MAX, sizeof(*times));
    if (!times)
        must(floor, SQLITE_NOMEM);
    double begun = seconds_of(CLOCK_MONOTONIC), cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID), now;
    size_t count = 0;
    do {
        double at = seconds_of(CLOCK_MONOTONIC);
        live(floor, group);
        now = seconds_of(CLOCK_MONOTONIC);
        times[count++] = now - at;
    } while (now - begun < seconds && count < TIMES_MAX);
    cpu = seconds_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    qsort(times, count, sizeof(*times), by_size);
    double lives = (double)count * group;
    printf("groups of %d: %.0f lives/s, %.1f us CPU each, p50 %.3f ms, p99 %.3f ms\n", group,
           lives / (now - begun), cpu * 1e6 / lives, times[count / 2] * 1e3,
           times[count * 99 / 100] * 1e3);
    free(times);
}

int main(int argc, char **argv)
{
    static const char usage[] = "sqlite_floor FOLDER [SECONDS [GROUP]]";
    check_arguments(argc, argv, 1, 3, usage);
    struct floor floor = {0};
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 1.5;
    long only = argc > 3 ? strtol(argv[3], NULL, 10) : 0;
    if (!(seconds > 0) || only < 0 || only > GROUP_MAX) {
        fprintf(stderr, "usage: %s\n", usage);
        return 2;
    }
    floor_open(&floor, argv[1]);
    for (int group = 1; group <= GROUP_MAX && only == 0; group *= 10)
        measure(&floor, group, seconds);
    if (only > 0)
        measure(&floor, (int)only, seconds);
    floor_close(&floor);
    return 0;
}
