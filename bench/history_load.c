// SPDX-License-Identifier: Apache-2.0
// Fills a data folder with executions that have ended, through the store's own statements, at some
// 50,000 rows a second: history for measuring lists, counts and filters. The server must not run.
// Usage: history_load FOLDER ROWS DAYS PROJECT ORG SERVICE[,SERVICE…]
// The rows are spread evenly over the last DAYS days and over the services, of ten functions
// f0…f9; of a hundred, 97 succeeded, two failed and one was terminated.
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "arguments.h"
#include "base/id.h"
#include "net/loop.h"
#include "store/store.h"

#define GROUP        20000  // rows of one commit
#define SERVICES_MAX 64

struct history {
    struct store *store;
    struct arena *arena;
    const char *project, *org;
    struct str services[SERVICES_MAX];
    size_t service_count;
    int64_t rows, made, begin, end;  // begin, end: ms
};

static void die(const struct err *err)
{
    fprintf(stderr, "history_load: %s\n", err->message);
    exit(1);
}

static int64_t wall_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

// As an attempt of some milliseconds leaves a row; kind: 0 to 99.
static void end(struct execution *row, int64_t kind, int64_t at)
{
    row->status = kind < 97 ? STR("success") : kind < 99 ? STR("failed") : STR("terminated");
    if (kind < 97)
        row->output = STR("{\"ok\":true,\"size\":[640,480]}");
    else if (kind < 99)
        row->error = STR("{\"message\":\"ValueError: no image\"}");
    row->percent = kind < 97 ? 100 : 0;
    row->replica_id = STR("65a0000000000000000000dd");
    row->attempts = row->fence = 1;
    row->max_attempts = 3;
    row->started_at = at + 5;
    row->ended_at = row->updated_at = at + 40 + kind;
}

static int insert(struct tx *tx, struct history *history, int64_t number, struct err *err)
{
    static const char *const functions[] = {"f0", "f1", "f2", "f3", "f4",
                                            "f5", "f6", "f7", "f8", "f9"};
    struct execution row;
    int64_t at = history->begin + (int64_t)((double)(history->end - history->begin) *
                                            (double)number / (double)history->rows);
    entity_clear(&execution_entity, &row);
    row.id = id_new(at, history->arena);
    row.project_id = str_of(history->project);
    row.org_id = str_of(history->org);
    row.service_id = history->services[(size_t)(number * 2654435761 >> 8) % history->service_count];
    row.service_name = STR("resize-images");
    row.service_version = STR("1.0.3");
    row.package_id = STR("65a0000000000000000000bb");
    row.package_name = STR("images");
    row.package_revision = STR("1.0.0");
    row.module_name = STR("default_module");
    row.function_name = str_of(functions[number % 10]);
    row.creator = STR("somebody@example.com");
    row.input = STR("{\"item\":{\"item_id\":\"65a0000000000000000000cc\"},\"width\":640}");
    row.created_at = at;
    end(&row, number * 7919 % 100, at);
    return tx_insert(tx, &execution_entity, &row, err);
}

static int insert_group(struct tx *tx, void *arg, struct err *err)
{
    struct history *history = arg;
    for (int i = 0; i < GROUP && history->made < history->rows; i++, history->made++) {
        if (insert(tx, history, history->made, err) < 0)
            return -1;
        arena_reset(history->arena);
    }
    return 0;
}

static void split(struct history *history, char *list)
{
    for (char *at = list; at && history->service_count < SERVICES_MAX;) {
        char *comma = strchr(at, ',');
        if (comma)
            *comma = 0;
        history->services[history->service_count++] = str_of(at);
        at = comma ? comma + 1 : NULL;
    }
}

int main(int argc, char **argv)
{
    check_arguments(argc, argv, 6, 6,
                    "history_load FOLDER ROWS DAYS PROJECT ORG SERVICE[,SERVICE...]");
    struct err err = ERR_INIT;
    int64_t now = wall_ms();
    struct history history = {.arena = arena_new(),
                              .rows = strtoll(argv[2], NULL, 10),
                              .begin = now - strtoll(argv[3], NULL, 10) * 24 * 3600 * 1000,
                              .end = now,
                              .project = argv[4],
                              .org = argv[5]};
    split(&history, argv[6]);
    struct loop *loop = loop_new();
    history.store = store_open(
        &(struct store_config){.driver = "sqlite", .path = argv[1], .loop = loop}, &err);
    if (!history.store)
        die(&err);
    for (int64_t told = 0; history.made < history.rows;) {
        if (store_write_now(history.store, insert_group, &history, &err) < 0)
            die(&err);
        if (history.made - told >= 1000000) {
            told = history.made;
            fprintf(stderr, "history: %lld of %lld rows\n", (long long)told,
                    (long long)history.rows);
        }
    }
    store_close(history.store);
    loop_free(loop);
    arena_free(history.arena);
    return 0;
}
