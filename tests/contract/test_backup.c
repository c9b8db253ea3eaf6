// SPDX-License-Identifier: Apache-2.0
// A backup that is made while the store writes, and what of an archive is refused.
#include <fcntl.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "store/backup.h"
#include "store/blob.h"
#include "store_fixture.h"

#define EXECUTIONS 2000

struct world {
    struct fixture *fixture;
    struct blobs *blobs;
    char blob[BLOB_NAME_LEN + 1];
    char archive[4200], target[4200];
    int damages;
    atomic_bool ended;
};

static void must(int rc, const struct err *err)
{
    if (rc) {
        print_error("%s\n", err->message);
        fail();
    }
}

static int insert_item(struct tx *tx, void *arg, struct err *err)
{
    struct world *world = arg;
    struct item row;
    entity_clear(&item_entity, &row);
    row.id = STR("0000000000000000000000aa");
    row.dataset_id = STR("d");
    row.filename = STR("/photo.jpg");
    row.blob = str_of(world->blob);
    if (tx_meta_set(tx, "epoch", STR("7"), err))
        return -1;
    return tx_insert(tx, &item_entity, &row, err);
}

struct span {
    int from, count;
};

static int insert_executions(struct tx *tx, void *arg, struct err *err)
{
    const struct span *span = arg;
    for (int i = span->from; i < span->from + span->count; i++) {
        char id[32];
        struct execution row;
        snprintf(id, sizeof(id), "%024x", i);
        entity_clear(&execution_entity, &row);
        row.id = str_of(id);
        row.service_id = STR("s");
        row.status = STR("created");
        row.fence = row.attempts = 0;
        row.percent = 0;
        if (tx_insert(tx, &execution_entity, &row, err))
            return -1;
    }
    return 0;
}

static int setup(void **state)
{
    struct err err = ERR_INIT;
    struct world *world = calloc(1, sizeof(*world));
    char path[4200];
    world->fixture = fixture_new("sqlite");
    snprintf(path, sizeof(path), "%s/blobs", world->fixture->folder);
    world->blobs = blobs_open(path, &err);
    assert_non_null(world->blobs);
    struct blob_writer *writer = blob_writer_new(world->blobs, &err);
    int64_t size;
    must(blob_writer_add(writer, STR("the bytes of a photograph"), &err), &err);
    must(blob_writer_finish(writer, world->blob, &size, &err), &err);
    must(store_write_now(world->fixture->store, insert_item, world, &err), &err);
    must(store_write_now(world->fixture->store, insert_executions, &(struct span){0, EXECUTIONS},
                         &err),
         &err);
    snprintf(path, sizeof(path), "%s/jwt-key", world->fixture->folder);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "secret\n", 7), 7);
    close(fd);
    snprintf(world->archive, sizeof(world->archive), "%s.tar", world->fixture->folder);
    snprintf(world->target, sizeof(world->target), "%s-restored", world->fixture->folder);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    char command[9000];
    snprintf(command, sizeof(command), "rm -rf '%s' '%s'", world->archive, world->target);
    assert_int_equal(system(command), 0);
    blobs_close(world->blobs);
    fixture_free(world->fixture);
    free(world);
    return 0;
}

static void on_damage(void *arg, const char *blob, const char *why)
{
    struct world *world = arg;
    assert_string_equal(blob, world->blob);
    assert_non_null(why);
    world->damages++;
}

static struct backup_report back_up(struct world *world, bool keys)
{
    struct err err = ERR_INIT;
    struct backup_report report;
    struct backup_config config = {.data = world->fixture->folder,
                                   .work = world->fixture->folder,
                                   .version = "test",
                                   .keys = keys,
                                   .on_damage = on_damage,
                                   .arg = world};
    int fd = open(world->archive, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    must(backup_write(&config, fd, &report, &err), &err);
    close(fd);
    return report;
}

static int restore(struct world *world, struct backup_report *report, struct err *err)
{
    struct restore_config config = {.data = world->target, .on_damage = on_damage, .arg = world};
    int fd = open(world->archive, O_RDONLY);
    int rc = backup_restore(&config, fd, report, err);
    close(fd);
    return rc;
}

static int64_t number_in(struct world *world, const char *text)
{
    char path[4300];
    sqlite3 *sql;
    sqlite3_stmt *statement;
    snprintf(path, sizeof(path), "%s/drover.db", world->target);
    assert_int_equal(sqlite3_open(path, &sql), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(sql, text, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t n = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    sqlite3_close(sql);
    return n;
}

static bool in_target(struct world *world, const char *name)
{
    char path[4400];
    snprintf(path, sizeof(path), "%s/%s", world->target, name);
    return access(path, F_OK) == 0;
}

// ── the way there and back ───────────────────────────────────────────────────────────────────

static void test_round_trip(void **state)
{
    struct world *world = *state;
    struct err err = ERR_INIT;
    struct backup_report report = back_up(world, false);
    assert_int_equal(report.blobs, 1);
    assert_int_equal(report.damaged, 0);
    must(restore(world, &report, &err), &err);
    assert_int_equal(report.blobs, 1);
    assert_int_equal(number_in(world, "SELECT count(*) FROM executions"), EXECUTIONS);
    assert_false(in_target(world, "jwt-key"));
    char name[100];
    snprintf(name, sizeof(name), "blobs/%.2s/%s", world->blob, world->blob);
    assert_true(in_target(world, name));
    // Fences of the old server, also after many of its starts, are lower.
    int64_t epoch = number_in(world, "SELECT value FROM meta WHERE key='epoch'");
    assert_true(epoch >= 7 + 1000);
    assert_true(epoch < 1 << 21);
    struct store_config config = {.driver = "sqlite",
                                  .path = world->target,
                                  .loop = world->fixture->loop,
                                  .log = world->fixture->log};
    struct store *store = store_open(&config, &err);
    assert_non_null(store);
    store_close(store);
}

static void test_keys_on_request(void **state)
{
    struct world *world = *state;
    struct err err = ERR_INIT;
    struct backup_report report = back_up(world, true);
    must(restore(world, &report, &err), &err);
    assert_true(report.keys);
    assert_true(in_target(world, "jwt-key"));
}

static void *back_up_main(void *arg)
{
    struct world *world = arg;
    back_up(world, false);
    atomic_store(&world->ended, true);
    return NULL;
}

// Every group of the writer is in the copy whole or not at all, and what was there before is there.
static void test_while_writing(void **state)
{
    struct world *world = *state;
    struct err err = ERR_INIT;
    struct backup_report report;
    pthread_t thread;
    int written = EXECUTIONS;
    pthread_create(&thread, NULL, back_up_main, world);
    while (!atomic_load(&world->ended)) {
        must(store_write_now(world->fixture->store, insert_executions, &(struct span){written, 10},
                             &err),
             &err);
        written += 10;
    }
    pthread_join(thread, NULL);
    must(restore(world, &report, &err), &err);
    int64_t count = number_in(world, "SELECT count(*) FROM executions");
    assert_in_range(count, EXECUTIONS, written);
    assert_int_equal(count % 10, 0);
}

// ── damage ───────────────────────────────────────────────────────────────────────────────────

static void test_damaged_blob_is_told(void **state)
{
    struct world *world = *state;
    struct err err = ERR_INIT;
    char path[4400];
    snprintf(path, sizeof(path), "%s/blobs/%.2s/%s", world->fixture->folder, world->blob,
             world->blob);
    int fd = open(path, O_WRONLY);
    assert_int_equal(pwrite(fd, "X", 1, 3), 1);
    close(fd);
    struct backup_report report = back_up(world, false);
    assert_int_equal(report.damaged, 1);
    assert_int_equal(world->damages, 1);
    must(restore(world, &report, &err), &err);  // the rest is worth having
    assert_int_equal(report.damaged, 1);
    assert_int_equal(world->damages, 2);
}

static void refused(struct world *world, enum err_kind kind)
{
    struct err err = ERR_INIT;
    struct backup_report report;
    assert_int_equal(restore(world, &report, &err), -1);
    if (err.kind != kind)
        print_error("%s\n", err.message);
    assert_int_equal(err.kind, kind);
}

static void test_cut_archives_are_refused(void **state)
{
    struct world *world = *state;
    struct stat st;
    back_up(world, false);
    assert_int_equal(stat(world->archive, &st), 0);
    const off_t cuts[] = {0, 100, 512, 2000, st.st_size / 2, st.st_size - 2600};
    for (size_t i = sizeof(cuts) / sizeof(cuts[0]); i-- > 0;) {
        assert_int_equal(truncate(world->archive, cuts[i]), 0);
        refused(world, ERR_BAD_INPUT);
        assert_false(in_target(world, ""));
    }
}

// Whatever byte of the rows is flipped: refused, and nothing is left behind.
static void test_changed_archives_are_refused(void **state)
{
    struct world *world = *state;
    struct stat st;
    char c;
    back_up(world, false);
    assert_int_equal(stat(world->archive, &st), 0);
    int fd = open(world->archive, O_RDWR);
    for (off_t at = 2048; at < st.st_size - 3500; at += st.st_size / 23) {
        assert_int_equal(pread(fd, &c, 1, at), 1);
        c ^= 0x10;
        assert_int_equal(pwrite(fd, &c, 1, at), 1);
        refused(world, ERR_BAD_INPUT);
        assert_false(in_target(world, ""));
        c ^= 0x10;
        assert_int_equal(pwrite(fd, &c, 1, at), 1);
    }
    close(fd);
    struct err err = ERR_INIT;
    struct backup_report report;
    must(restore(world, &report, &err), &err);
}

static void test_folder_with_something_in_it_is_left_alone(void **state)
{
    struct world *world = *state;
    struct err err = ERR_INIT;
    struct backup_report report;
    char path[4400];
    back_up(world, false);
    assert_int_equal(mkdir(world->target, 0700), 0);
    must(restore(world, &report, &err), &err);  // an empty one is taken
    snprintf(path, sizeof(path), "%s/mine", world->target);
    close(open(path, O_WRONLY | O_CREAT, 0600));
    refused(world, ERR_CONFLICT);
    assert_true(in_target(world, "mine"));
    assert_true(in_target(world, "drover.db"));
    // The folder of a running store.
    snprintf(world->target, sizeof(world->target), "%s", world->fixture->folder);
    assert_int_equal(restore(world, &report, &err), -1);
    assert_non_null(strstr(err.message, "held by another server"));
    snprintf(world->target, sizeof(world->target), "%s-restored", world->fixture->folder);
}

static void test_no_data_folder(void **state)
{
    struct world *world = *state;
    struct err err = ERR_INIT;
    struct backup_report report;
    struct backup_config config = {.data = "/nonexistent", .work = "/tmp", .version = "test"};
    (void)world;
    assert_int_equal(backup_write(&config, 1, &report, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
}

// Nowhere to write to, and somebody who wants no more of it: an error, nothing left behind, no
// leak.
static void test_cut_short(void **state)
{
    struct world *world = *state;
    struct err err = ERR_INIT;
    struct backup_report report;
    atomic_bool stop = false;
    struct backup_config config = {.data = world->fixture->folder,
                                   .work = world->fixture->folder,
                                   .version = "test",
                                   .stop = &stop};
    int fd = open("/dev/full", O_WRONLY);
    assert_int_equal(backup_write(&config, fd, &report, &err), -1);
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "disk full"));
    close(fd);
    err = ERR_INIT;
    atomic_store(&stop, true);
    fd = open(world->archive, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(backup_write(&config, fd, &report, &err), -1);
    assert_non_null(strstr(err.message, "stopped"));
    err = ERR_INIT;
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(backup_look(fd, &report, &err), -1);
    assert_int_equal(err.kind, ERR_BAD_INPUT);
    close(fd);
    char left[4400];
    snprintf(left, sizeof(left), "ls '%s' | grep -q '^backup-'", world->fixture->folder);
    assert_int_not_equal(system(left), 0);
}

// ── who removes blobs meanwhile ──────────────────────────────────────────────────────────────

static void test_blobs_are_kept(void **state)
{
    struct world *world = *state;
    struct err err = ERR_INIT;
    int keep = blobs_hold(world->blobs, true, &err), other = blobs_hold(world->blobs, true, &err);
    assert_true(keep >= 0 && other >= 0);
    assert_int_equal(blobs_hold(world->blobs, false, &err), -1);
    assert_int_equal(err.kind, ERR_BUSY);
    close(keep);
    close(other);
    int removal = blobs_hold(world->blobs, false, &err);
    assert_true(removal >= 0);
    close(removal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_round_trip),
        TEST(test_keys_on_request),
        TEST(test_while_writing),
        TEST(test_damaged_blob_is_told),
        TEST(test_cut_archives_are_refused),
        TEST(test_changed_archives_are_refused),
        TEST(test_folder_with_something_in_it_is_left_alone),
        TEST(test_no_data_folder),
        TEST(test_cut_short),
        TEST(test_blobs_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
