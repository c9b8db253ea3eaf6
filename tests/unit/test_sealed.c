// SPDX-License-Identifier: Apache-2.0
// Values at rest: sealed, opened, changed by hand, under other keys, and while a key is replaced.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "operation/sealed.h"

#define HEX_A "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define HEX_B "ff0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
// The bytes of HEX_A.
#define BASE64_A "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

struct world {
    char folder[64], path[80];
    struct master_source source;
    struct arena *arena;
};

static int set_up(void **state)
{
    struct world *world = calloc(1, sizeof(*world));
    snprintf(world->folder, sizeof(world->folder), "/tmp/drover-sealed-XXXXXX");
    assert_non_null(mkdtemp(world->folder));
    snprintf(world->path, sizeof(world->path), "%s/master-key", world->folder);
    world->source.file = world->path;
    world->arena = arena_new();
    *state = world;
    return 0;
}

static int tear_down(void **state)
{
    struct world *world = *state;
    unlink(world->path);
    rmdir(world->folder);
    arena_free(world->arena);
    free(world);
    return 0;
}

static void write_file(const struct world *world, const char *text)
{
    int fd = open(world->path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static struct master_keys *load(const struct world *world)
{
    struct master_keys *keys = NULL;
    struct err err = ERR_INIT;
    bool made;
    if (master_keys_load(&world->source, false, &made, &keys, &err))
        fail_msg("%s", err.message);
    return keys;
}

static struct master_keys *keys_of(const struct world *world, const char *text)
{
    write_file(world, text);
    return load(world);
}

static bool opens(const struct world *world, const struct master_keys *keys, struct str sealed)
{
    struct str value;
    struct err err = ERR_INIT;
    if (sealed_open(keys, STR("id"), sealed, world->arena, &value, &err)) {
        assert_int_equal(err.kind, ERR_CONFLICT);
        return false;
    }
    assert_true(str_is(value, "hush"));
    return true;
}

static void test_round_trip(void **state)
{
    struct world *world = *state;
    struct master_keys *keys = keys_of(world, HEX_A "\n");
    struct str value, sealed = sealed_make(keys, STR("id"), STR("hush"), world->arena);
    struct str again = sealed_make(keys, STR("id"), STR("hush"), world->arena);
    struct err err = ERR_INIT;
    size_t at;
    assert_true(opens(world, keys, sealed) && opens(world, keys, again));
    assert_false(str_eq(sealed, again));
    assert_false(str_find(sealed, STR("hush"), &at));
    assert_true(str_eq(sealed_key_id(sealed), master_keys_id(keys)));
    struct str empty = sealed_make(keys, STR("id"), STR(""), world->arena);
    assert_int_equal(sealed_open(keys, STR("id"), empty, world->arena, &value, &err), 0);
    assert_int_equal(value.len, 0);
    master_keys_free(keys);
    master_keys_free(NULL);
}

static void test_tampered(void **state)
{
    struct world *world = *state;
    struct master_keys *keys = keys_of(world, HEX_A);
    struct str value, sealed = sealed_make(keys, STR("id"), STR("hush"), world->arena);
    struct err err = ERR_INIT;
    for (size_t i = 0; i < sealed.len; i++) {
        char *changed = arena_cstr(world->arena, sealed);
        changed[i] = changed[i] == 'A' ? 'B' : 'A';
        if (opens(world, keys, str_of(changed)))
            fail_msg("byte %zu of %s can be changed", i, sealed.at);
        assert_false(opens(world, keys, (struct str){sealed.at, i}));
    }
    assert_false(opens(world, keys, STR_NONE));
    assert_int_equal(sealed_open(keys, STR("other"), sealed, world->arena, &value, &err), -1);
    assert_non_null(strstr(err.message, "another integration"));
    master_keys_free(keys);
}

static void test_other_keys(void **state)
{
    struct world *world = *state;
    struct master_keys *a = keys_of(world, HEX_A), *b = keys_of(world, HEX_B);
    struct master_keys *both = keys_of(world, HEX_B "\n\n" HEX_A "\n");
    struct master_keys *base64 = keys_of(world, BASE64_A);
    struct str value, sealed = sealed_make(a, STR("id"), STR("hush"), world->arena);
    struct err err = ERR_INIT;
    assert_int_equal(sealed_open(b, STR("id"), sealed, world->arena, &value, &err), -1);
    assert_non_null(strstr(err.message, master_keys_id(a).at));
    assert_true(opens(world, both, sealed) && opens(world, base64, sealed));
    assert_true(str_eq(master_keys_id(both), master_keys_id(b)));
    assert_true(opens(world, b, sealed_make(both, STR("id"), STR("hush"), world->arena)));
    master_keys_free(a);
    master_keys_free(b);
    master_keys_free(both);
    master_keys_free(base64);
}

static void refused(const struct world *world, const struct master_source *source,
                    const char *reason, const char *hidden)
{
    struct master_keys *keys = NULL;
    struct err err = ERR_INIT;
    bool made;
    (void)world;
    assert_int_equal(master_keys_load(source, false, &made, &keys, &err), -1);
    if (!strstr(err.message, reason))
        fail_msg("'%s' says nothing of '%s'", err.message, reason);
    assert_null(strstr(err.message, hidden));
}

static void test_bad_sources(void **state)
{
    struct world *world = *state;
    refused(world, &world->source, world->path, "#");
    write_file(world, "hidden-words\n");
    refused(world, &world->source, "line 1 is no master key", "hidden");
    write_file(world, HEX_A "\nhidden-words\n");
    refused(world, &world->source, "line 2 is no master key", "hidden");
    write_file(world, "\n");
    refused(world, &world->source, "gives no master key", "#");
    write_file(world, HEX_A "00\n");
    refused(world, &world->source, "line 1", "0001");
    write_file(world, HEX_A "\n");
    assert_int_equal(chmod(world->path, 0640), 0);
    refused(world, &world->source, "chmod 600", "0001");
    refused(world, &(struct master_source){.command = "echo hidden; exit 7"}, "exit code 7",
            "hidden");
    refused(world, &(struct master_source){.command = "kill -9 $$"}, "signal 9", "#");
    refused(world, &(struct master_source){.command = "yes"}, "--master-key-command", "#");
    refused(world, &(struct master_source){.command = "true"}, "gives no master key", "#");
}

static void test_command(void **state)
{
    struct world *world = *state;
    struct master_keys *a = keys_of(world, HEX_A), *keys = NULL;
    struct err err = ERR_INIT;
    const struct master_source source = {.command = "echo " BASE64_A};
    bool made;
    assert_int_equal(master_keys_load(&source, true, &made, &keys, &err), 0);
    assert_false(made);
    assert_true(str_eq(master_keys_id(keys), master_keys_id(a)));
    master_keys_free(a);
    master_keys_free(keys);
}

// Whoever dies between two steps of a change leaves a file that opens everything.
static void test_change(void **state)
{
    struct world *world = *state;
    struct master_keys *first = NULL;
    struct err err = ERR_INIT;
    struct stat stat_of;
    bool made;
    assert_int_equal(master_keys_load(&world->source, true, &made, &first, &err), 0);
    assert_true(made);
    assert_int_equal(stat(world->path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 0777, 0600);
    struct str old = sealed_make(first, STR("id"), STR("hush"), world->arena);

    assert_int_equal(master_keys_add(&world->source, &err), 0);
    struct master_keys *both = load(world);
    assert_false(str_eq(master_keys_id(both), master_keys_id(first)));
    struct str fresh = sealed_make(both, STR("id"), STR("hush"), world->arena);
    assert_true(opens(world, both, old) && opens(world, both, fresh));

    assert_int_equal(master_keys_drop_old(&world->source, &err), 0);
    struct master_keys *second = load(world);
    assert_true(str_eq(master_keys_id(second), master_keys_id(both)));
    assert_true(opens(world, second, fresh));
    assert_false(opens(world, second, old));
    assert_int_equal(stat(world->path, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 0777, 0600);
    for (int i = 1; i < 16; i++)
        assert_int_equal(master_keys_add(&world->source, &err), 0);
    assert_int_equal(master_keys_add(&world->source, &err), -1);
    assert_int_equal(err.kind, ERR_CONFLICT);
    master_keys_free(first);
    master_keys_free(both);
    master_keys_free(second);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_round_trip, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_tampered, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_other_keys, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_bad_sources, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_command, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_change, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
