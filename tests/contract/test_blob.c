// SPDX-License-Identifier: Apache-2.0
#include "store/blob.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>

#include "store_fixture.h"

// SHA-256 of "abc", and of nothing (FIPS 180-4).
#define ABC   "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define EMPTY "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

struct place {
    char folder[64], path[96];
    struct blobs *blobs;
};

static int setup(void **state)
{
    struct place *place = mem_alloc(sizeof(*place));
    struct err err = ERR_INIT;
    fixture_folder(place->folder);
    snprintf(place->path, sizeof(place->path), "%s/data/blobs", place->folder);
    place->blobs = blobs_open(place->path, &err);
    assert_non_null(place->blobs);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;
    blobs_close(place->blobs);
    fixture_remove(place->folder);
    mem_free(place);
    return 0;
}

static void put(struct blobs *blobs, const char *a, const char *b, char name[BLOB_NAME_LEN + 1])
{
    struct err err = ERR_INIT;
    int64_t size;
    struct blob_writer *writer = blob_writer_new(blobs, &err);
    assert_non_null(writer);
    assert_int_equal(blob_writer_add(writer, str_of(a), &err), 0);
    assert_int_equal(blob_writer_add(writer, str_of(b), &err), 0);
    assert_int_equal(blob_writer_finish(writer, name, &size, &err), 0);
    assert_int_equal(size, strlen(a) + strlen(b));
}

static int leftovers(const struct place *place)
{
    char command[160];
    snprintf(command, sizeof(command), "test -z \"$(ls -A %s/tmp)\"", place->path);
    return system(command) != 0;
}

static void test_put_and_read(void **state)
{
    struct place *place = *state;
    struct err err = ERR_INIT;
    char name[BLOB_NAME_LEN + 1], bytes[8];
    int64_t size;
    put(place->blobs, "a", "bc", name);
    assert_string_equal(name, ABC);
    put(place->blobs, "", "", name);
    assert_string_equal(name, EMPTY);
    int fd = blob_read_fd(place->blobs, str_of(ABC), &size, &err);
    assert_true(fd >= 0);
    assert_int_equal(size, 3);
    assert_int_equal(read(fd, bytes, sizeof(bytes)), 3);
    assert_memory_equal(bytes, "abc", 3);
    close(fd);
    assert_false(leftovers(place));
}

static void test_missing(void **state)
{
    struct place *place = *state;
    struct err err = ERR_INIT;
    int64_t size;
    static const char *const names[] = {ABC, "", "../../etc/passwd", "BA78",
                                        "../../../../../../../../../../../../../../../etc/passwd"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        err = ERR_INIT;
        assert_int_equal(blob_read_fd(place->blobs, str_of(names[i]), &size, &err), -1);
        assert_int_equal(err.kind, ERR_NOT_FOUND);
        assert_int_equal(blob_remove(place->blobs, str_of(names[i]), INT64_MAX, &err), -1);
        assert_int_equal(err.kind, ERR_NOT_FOUND);
    }
}

static void test_drop(void **state)
{
    struct place *place = *state;
    struct err err = ERR_INIT;
    struct blob_writer *writer = blob_writer_new(place->blobs, &err);
    assert_non_null(writer);
    assert_int_equal(blob_writer_add(writer, STR("abc"), &err), 0);
    assert_true(leftovers(place));
    blob_writer_drop(writer);
    blob_writer_drop(NULL);
    assert_false(leftovers(place));
}

static void test_leftovers_of_a_crash(void **state)
{
    struct place *place = *state;
    struct err err = ERR_INIT;
    struct blob_writer *writer = blob_writer_new(place->blobs, &err);
    assert_non_null(writer);
    assert_true(leftovers(place));
    struct blobs *again = blobs_open(place->path, &err);  // as the next start would
    assert_non_null(again);
    assert_false(leftovers(place));
    blobs_close(again);
    blob_writer_drop(writer);
}

struct seen {
    int count;
    int64_t size;
    char name[BLOB_NAME_LEN + 1];
};

static void see(void *arg, struct str name, int64_t size)
{
    struct seen *seen = arg;
    seen->count++;
    seen->size += size;
    memcpy(seen->name, name.at, BLOB_NAME_LEN);
}

static struct seen each_before(struct blobs *blobs, int64_t before)
{
    struct err err = ERR_INIT;
    struct seen seen = {0};
    assert_int_equal(blob_each(blobs, before, see, &seen, &err), 0);
    return seen;
}

// An unused blob that is put again must not be collected in that moment.
static void test_each_and_touch(void **state)
{
    struct place *place = *state;
    struct err err = ERR_INIT;
    char name[BLOB_NAME_LEN + 1], path[256];
    put(place->blobs, "abc", "", name);
    put(place->blobs, "", "", name);
    assert_int_equal(each_before(place->blobs, INT64_MAX).count, 2);
    assert_int_equal(each_before(place->blobs, INT64_MAX).size, 3);
    assert_int_equal(each_before(place->blobs, 0).count, 0);
    snprintf(path, sizeof(path), "%s/ba/" ABC, place->path);
    struct timespec old[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    struct seen seen = each_before(place->blobs, 2000000);
    assert_int_equal(seen.count, 1);
    assert_string_equal(seen.name, ABC);
    put(place->blobs, "abc", "", name);
    assert_int_equal(each_before(place->blobs, 2000000).count, 0);
    assert_int_equal(blob_remove(place->blobs, str_of(ABC), 2000000, &err), -1);
    assert_int_equal(err.kind, ERR_CONFLICT);
    assert_int_equal(each_before(place->blobs, INT64_MAX).count, 2);
    assert_int_equal(blob_remove(place->blobs, str_of(ABC), INT64_MAX, &err), 0);
    assert_int_equal(each_before(place->blobs, INT64_MAX).count, 1);
}

// A file of another size under the right name (a disk that lost data) is replaced.
static void test_damaged_is_replaced(void **state)
{
    struct place *place = *state;
    struct err err = ERR_INIT;
    char name[BLOB_NAME_LEN + 1], path[256];
    int64_t size;
    put(place->blobs, "abc", "", name);
    snprintf(path, sizeof(path), "%s/ba/" ABC, place->path);
    assert_int_equal(truncate(path, 1), 0);
    put(place->blobs, "abc", "", name);
    int fd = blob_read_fd(place->blobs, str_of(ABC), &size, &err);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(size, 3);
}

// A write that the system refuses is told, and leaves nothing behind.
static void test_refused_write(void **state)
{
    struct place *place = *state;
    struct err err = ERR_INIT;
    struct rlimit old, small = {100, 100};
    getrlimit(RLIMIT_FSIZE, &old);
    small.rlim_max = old.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    static char bytes[1000];
    struct blob_writer *writer = blob_writer_new(place->blobs, &err);
    assert_non_null(writer);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = blob_writer_add(writer, (struct str){bytes, sizeof(bytes)}, &err);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(rc, -1);
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    blob_writer_drop(writer);
    assert_false(leftovers(place));
}

#define BLOB_TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        BLOB_TEST(test_put_and_read),   BLOB_TEST(test_missing),
        BLOB_TEST(test_drop),           BLOB_TEST(test_leftovers_of_a_crash),
        BLOB_TEST(test_each_and_touch), BLOB_TEST(test_damaged_is_replaced),
        BLOB_TEST(test_refused_write),
    };
    return cmocka_run_group_tests_name("blob", tests, NULL, NULL);
}
