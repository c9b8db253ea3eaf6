// SPDX-License-Identifier: Apache-2.0
// Opens what a disk may hold after a power loss with the code of the real server, and checks what
// it promises: `power RECORD ROOT FOLDER SEED COUNT`. COUNT images (0: five at each fsync and each
// answer); FOLDER takes one at a time. Ends with 1 at the first broken promise.
#include <dirent.h>
#include <fcntl.h>
#include <sodium.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#include "base/map.h"
#include "base/mem.h"
#include "disk_model.h"
#include "model/status.h"
#include "net/loop.h"
#include "operation/token.h"
#include "preload/fault.h"
#include "queue/queue.h"
#include "store/blob.h"
#include "store/logs.h"
#include "store/store.h"

// ── what was promised ────────────────────────────────────────────────────────────────────────

struct promise {
    char id[25];
    bool final;  // an agent was told that its result is recorded; else a client got its 201
    size_t number;
};

struct answer {  // of one connection, as far as it was sent
    struct buf text;
    size_t number;  // of the record that began it
};

struct power {
    struct records records;
    struct promise *promises;  // in order
    size_t count, room;
    struct answer answers[4096];
    const char *folder;
    size_t images, opened, accepted, recorded, blobs, fresh;
};

static uint64_t random_state;

static uint64_t draw(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return random_state ^ random_state >> 29;
}

static void promise(struct power *power, const char *id, bool final, size_t number)
{
    if (power->count == power->room) {
        power->room = power->room ? power->room * 2 : 1024;
        power->promises = mem_resize(power->promises, power->room * sizeof(*power->promises));
    }
    struct promise *one = &power->promises[power->count++];
    *one = (struct promise){.final = final, .number = number};
    memcpy(one->id, id, 24);
}

static bool is_id(const char *at)
{
    for (int i = 0; i < 24; i++)
        if (!((at[i] >= '0' && at[i] <= '9') || (at[i] >= 'a' && at[i] <= 'f')))
            return false;
    return at[24] == '"';
}

// 201 of POST /executions: each object begins with its id. Of an agent's exchange: "recorded".
static void read_answer(struct power *power, struct answer *answer)
{
    static const char id_key[] = "{\"id\":\"", recorded_key[] = "\"recorded\":[";
    buf_add_char(&answer->text, '\0');
    const char *text = answer->text.at, *body = strstr(text, "\r\n\r\n"), *at;
    if (body && strncmp(text, "HTTP/1.1 201", 12) == 0 && strstr(body, "\"functionName\"")) {
        for (at = body; (at = strstr(at, id_key)); at++)
            if (is_id(at + sizeof(id_key) - 1))
                promise(power, at + sizeof(id_key) - 1, false, answer->number);
    } else if (body && (at = strstr(body, recorded_key))) {
        for (at += sizeof(recorded_key) - 1; *at == '[' || *at == ',';) {
            at += *at == ',';
            const char *end = strchr(at, ']');
            if (end && end - at > 32 && is_id(at + 2) && strncmp(end - 4, "true", 4) == 0)
                promise(power, at + 2, true, answer->number);
            at = end ? end + 1 : "";
        }
    }
    buf_clear(&answer->text);
}

static void read_promises(struct power *power)
{
    for (size_t i = 0; i < power->records.count; i++) {
        const struct record *record = &power->records.at[i];
        if (record->kind != RECORD_SEND || record->offset < 0 || record->offset >= 4096)
            continue;
        struct answer *answer = &power->answers[record->offset];
        if (str_starts(record->data, STR("HTTP/1.1 "))) {
            read_answer(power, answer);
            answer->number = i;
        }
        buf_add(&answer->text, record->data.at, record->data.len);
    }
    for (size_t i = 0; i < 4096; i++)
        read_answer(power, &power->answers[i]);
}

// ── what is there ────────────────────────────────────────────────────────────────────────────

struct check {
    struct power *power;
    size_t number;
    struct blobs *blobs;
    struct queue *queue;
    int64_t open, published, max_fence, epoch;
    struct arena *arena;
};

static void on_open(void *arg, struct str id, struct str service_id, struct str status,
                    int64_t fence)
{
    struct check *check = arg;
    struct err err = ERR_INIT;
    (void)status;
    if (fence != INT_NONE && fence > check->max_fence)
        check->max_fence = fence;
    check->open++;
    struct queue_message message = {.id = id};
    check->published += queue_publish(check->queue, service_id, &message, false, &err) == 0;
}

static int keeps(struct tx *tx, const struct promise *promise, struct arena *arena, struct err *err)
{
    struct execution row;
    if (tx_get(tx, &execution_entity, str_of(promise->id), &row, arena, err) < 0)
        return err_wrap(err, "accepted (record %zu) and gone", promise->number);
    if (promise->final && !status_final(status_parse(row.status)))
        return err_set(err, ERR_INTERNAL, "execution %s was recorded and is " STR_FMT, promise->id,
                       STR_ARG(row.status));
    return 0;
}

static int check_blob(struct check *check, const struct item *item, struct err *err)
{
    int64_t size;
    unsigned char digest[crypto_hash_sha256_BYTES], bytes[65536];
    char hex[2 * sizeof(digest) + 1];
    crypto_hash_sha256_state hash;
    if (!item->blob.at)
        return 0;
    _cleanup_fd_ int fd = blob_read_fd(check->blobs, item->blob, &size, err);
    if (fd < 0)
        return err_wrap(err, "item " STR_FMT, STR_ARG(item->id));
    crypto_hash_sha256_init(&hash);
    for (ssize_t n; (n = read(fd, bytes, sizeof(bytes))) > 0;)
        crypto_hash_sha256_update(&hash, bytes, (size_t)n);
    crypto_hash_sha256_final(&hash, digest);
    sodium_bin2hex(hex, sizeof(hex), digest, sizeof(digest));
    check->power->blobs++;
    return str_is(item->blob, hex)
               ? 0
               : err_set(err, ERR_INTERNAL, "the blob " STR_FMT " holds other bytes",
                         STR_ARG(item->blob));
}

static int check_rows(struct tx *tx, void *arg, struct err *err)
{
    struct check *check = arg;
    const struct power *power = check->power;
    struct query query = {.limit = 100000};
    void *rows;
    size_t count;
    struct str epoch;
    for (size_t i = 0; i < power->count && power->promises[i].number < check->number; i++)
        if (keeps(tx, &power->promises[i], check->arena, err) < 0)
            return -1;
    if (tx_execution_each_open(tx, on_open, check, err) < 0 ||
        tx_meta_get(tx, "epoch", check->arena, &epoch, err) < 0 ||
        tx_select(tx, &item_entity, &query, check->arena, &rows, &count, err) < 0)
        return -1;
    if (epoch.at)
        (void)str_int(epoch, &check->epoch);
    for (size_t i = 0; i < count; i++)
        if (check_blob(check, (const struct item *)rows + i, err) < 0)
            return -1;
    return 0;
}

static int check_sum(struct check *check, struct err *err)
{
    if (check->published != check->open)
        return err_set(err, ERR_INTERNAL, "%lld are open, %lld are queued", (long long)check->open,
                       (long long)check->published);
    // A fence of the next start has to be higher than all that were ever recorded.
    if (check->max_fence >> 32 > check->epoch)
        return err_set(err, ERR_INTERNAL, "a fence of epoch %lld, the epoch is %lld",
                       (long long)(check->max_fence >> 32), (long long)check->epoch);
    return 0;
}

static int raw_check(const char *folder, const char *name, const char *query, struct err *err)
{
    char path[4096];
    sqlite3 *sql = NULL;
    sqlite3_stmt *statement = NULL;
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    int failed = 0;
    if (access(path, F_OK) < 0)
        return 0;
    if (sqlite3_open(path, &sql) != SQLITE_OK ||
        sqlite3_prepare_v2(sql, query, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        failed = err_set(err, ERR_INTERNAL, "%s: %s", path, sqlite3_errmsg(sql));
    else if (strcmp((const char *)sqlite3_column_text(statement, 0), "ok") != 0)
        failed = err_set(err, ERR_INTERNAL, "%s: %s", query, sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    sqlite3_close(sql);
    return failed;
}

// Every file of log lines is whole: none was set aside.
static int check_logs(const char *folder, struct err *err)
{
    char path[4096];
    int failed = 0;
    snprintf(path, sizeof(path), "%s/logs", folder);
    DIR *days = opendir(path);
    for (struct dirent *day; !failed && days && (day = readdir(days));) {
        snprintf(path, sizeof(path), "logs/%s", day->d_name);
        if (str_ends(str_of(path), STR(".db")))
            failed = raw_check(folder, path, "SELECT quick_check FROM pragma_quick_check", err);
        else if (strstr(path, ".damaged"))
            failed = err_set(err, ERR_INTERNAL, "%s was damaged", path);
    }
    if (days)
        closedir(days);
    return failed;
}

// Those who are final twice have two final entries in their log.
static const char twice[] =
    "SELECT CASE WHEN count(*)=0 THEN 'ok' ELSE count(*)||' are final twice' END FROM "
    "(SELECT execution_id FROM execution_statuses WHERE status IN ('success','failed','terminated',"
    "'aborted','canceled','system-failure') GROUP BY execution_id HAVING count(*)>1)";

// What is counted while rows change, counted again.
static const char counted[] = "SELECT CASE WHEN count(*)=0 THEN 'ok' ELSE count(*)||' counts of "
                              "executions are wrong' END FROM ("
                              "SELECT service_id,function_name,status,project_id,n FROM "
                              "execution_counts WHERE n<>0 EXCEPT SELECT "
                              "coalesce(service_id,''),coalesce(function_name,''),coalesce(status,'"
                              "'),coalesce(project_id,''),"
                              "count(*) FROM executions GROUP BY 1,2,3,4)";

static const char spanned[] =
    "SELECT CASE WHEN count(*)=0 THEN 'ok' ELSE count(*)||' counts by time are wrong' END FROM ("
    "SELECT scope,sum(n) FROM execution_spans GROUP BY 1 HAVING sum(n)<>0 EXCEPT "
    "SELECT * FROM (SELECT project_id,count(*) FROM executions GROUP BY 1 UNION ALL "
    "SELECT service_id,count(*) FROM executions GROUP BY 1))";

static int check_image(struct power *power, size_t number, struct err *err)
{
    struct check check = {.power = power, .number = number, .arena = arena_new()};
    struct store_config config = {
        .driver = "sqlite", .path = power->folder, .readers = 1, .loop = loop_new()};
    struct logs_config log_config = {.path = power->folder, .loop = config.loop};
    struct queue_config queue_config = {.driver = "embedded"};
    struct store *store = NULL;
    struct logs *logs = NULL;
    struct tokens *tokens = NULL;
    char blobs[4096];
    snprintf(blobs, sizeof(blobs), "%s/blobs", power->folder);
    check.queue = queue_open(&queue_config, err);
    int failed = raw_check(power->folder, "drover.db",
                           "SELECT integrity_check FROM pragma_integrity_check", err) < 0 ||
                 !(store = store_open(&config, err)) ||
                 raw_check(power->folder, "drover.db", twice, err) < 0 ||
                 raw_check(power->folder, "drover.db", counted, err) < 0 ||
                 raw_check(power->folder, "drover.db", spanned, err) < 0 ||
                 !(check.blobs = blobs_open(blobs, err)) ||
                 store_read_now(store, check_rows, &check, err) < 0 || check_sum(&check, err) < 0 ||
                 !(logs = logs_open(&log_config, err)) || check_logs(power->folder, err) < 0 ||
                 !(tokens = tokens_open(power->folder, clock_system(), err));
    power->images++;
    if (tokens)
        tokens_close(tokens);
    logs_close(logs);
    if (store)
        store_close(store);
    blobs_close(check.blobs);
    queue_close(check.queue);
    uv_run(loop_uv(config.loop), UV_RUN_NOWAIT);
    loop_free(config.loop);
    arena_free(check.arena);
    return failed ? -1 : 0;
}

static void one_image(struct power *power, const struct disk *disk, size_t number,
                      enum survival survival)
{
    struct err err = ERR_INIT;
    disk_image(disk, survival, draw, power->folder);
    if (check_image(power, number, &err) == 0)
        return;
    printf("after record %zu of %zu, survival %d: %s\n", number, power->records.count, survival,
           err.message);
    exit(1);
}

// How many of the images to take here; on average `count` of `all`.
static bool chosen(size_t count, size_t all)
{
    return count == 0 || draw() >> 11 < count * ((UINT64_C(1) << 53) / all);
}

static bool interesting(const struct record *record)
{
    return record->kind == RECORD_SYNC_END || record->kind == RECORD_SYNC_BEGIN ||
           record->kind == RECORD_SEND || record->kind == RECORD_RENAME;
}

static void run(struct power *power, const char *root, size_t count)
{
    struct disk *disk = disk_new(root);
    size_t points = 0;
    for (size_t i = 0; i < power->records.count; i++)
        points += interesting(&power->records.at[i]);
    for (size_t i = 0; i < power->records.count; i++) {
        const struct record *record = &power->records.at[i];
        disk_apply(disk, record, i);
        for (enum survival how = 0; how < SURVIVALS; how++) {
            bool here = interesting(record) && chosen(count, points * SURVIVALS);
            if (here)
                one_image(power, disk, i + 1, how);
        }
    }
    one_image(power, disk, power->records.count, SURVIVE_ALL);
    one_image(power, disk, power->records.count, SURVIVE_NONE);
    disk_free(disk);
}

int main(int argc, char **argv)
{
    if (argc != 6) {
        fprintf(stderr, "Usage: power RECORD ROOT FOLDER SEED COUNT\n");
        return 2;
    }
    static struct power power;
    power.folder = argv[3];
    random_state = strtoull(argv[4], NULL, 10);
    for (size_t i = 0; i < 4096; i++)
        power.answers[i].text = BUF_INIT((size_t)1 << 28);
    records_read(argv[1], &power.records);
    read_promises(&power);
    for (size_t i = 0; i < power.count; i++)
        *(power.promises[i].final ? &power.recorded : &power.accepted) += 1;
    run(&power, argv[2], strtoul(argv[5], NULL, 10));
    printf("%zu images of %zu records: accepted %zu, recorded %zu, lost 0, final twice 0, "
           "blobs read %zu (seed %s)\n",
           power.images, power.records.count, power.accepted, power.recorded, power.blobs, argv[4]);
    for (size_t i = 0; i < 4096; i++)
        buf_deinit(&power.answers[i].text);
    records_free(&power.records);
    mem_free(power.promises);
    return 0;
}
