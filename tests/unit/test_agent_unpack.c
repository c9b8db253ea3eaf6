// SPDX-License-Identifier: Apache-2.0
// Archives made by an enemy: nothing may land outside, nothing odd may be made, sizes are capped.
#include <archive.h>
#include <archive_entry.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/code.h"
#include "agent/folder.h"
#include "agent/unpack.h"
#include "base/str.h"

struct place {
    char root[64], archive[96], out[96];
    struct archive *writer;
};

static void place_make(struct place *place, bool zip)
{
    snprintf(place->root, sizeof(place->root), "/tmp/drover-unpack-XXXXXX");
    assert_non_null(mkdtemp(place->root));
    snprintf(place->archive, sizeof(place->archive), "%s/archive", place->root);
    snprintf(place->out, sizeof(place->out), "%s/out", place->root);
    assert_int_equal(mkdir(place->out, 0755), 0);
    place->writer = archive_write_new();
    if (zip) {
        archive_write_set_format_zip(place->writer);
    } else {
        archive_write_set_format_pax_restricted(place->writer);
        archive_write_add_filter_gzip(place->writer);
    }
    assert_int_equal(archive_write_open_filename(place->writer, place->archive), ARCHIVE_OK);
}

static void add(struct place *place, const char *name, mode_t mode, const char *data, size_t len)
{
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, name);
    archive_entry_set_mode(entry, mode);
    if (S_ISLNK(mode))
        archive_entry_set_symlink(entry, data);
    else
        archive_entry_set_size(entry, (la_int64_t)len);
    assert_int_equal(archive_write_header(place->writer, entry), ARCHIVE_OK);
    if (S_ISREG(mode) && len > 0)
        assert_int_equal(archive_write_data(place->writer, data, len), (int)len);
    archive_entry_free(entry);
}

static void add_text(struct place *place, const char *name, const char *text)
{
    add(place, name, S_IFREG | 0644, text, strlen(text));
}

static int unpack_with(struct place *place, struct unpack_limits limits, struct err *err)
{
    if (place->writer)
        archive_write_free(place->writer);
    place->writer = NULL;
    atomic_bool stop = false;
    return unpack_archive(place->archive, place->out, &limits, &stop, err);
}

static void place_remove(struct place *place)
{
    struct err err;
    assert_int_equal(folder_remove(place->root, &err), 0);
    assert_false(folder_exists(place->root));
}

static void refused(struct place *place, enum err_kind kind, const char *word)
{
    struct err err = ERR_INIT;
    assert_int_equal(unpack_with(place, UNPACK_LIMITS, &err), -1);
    assert_int_equal(err.kind, kind);
    if (!strstr(err.message, word))
        fail_msg("\"%s\" does not say \"%s\"", err.message, word);
    char outside[128];
    snprintf(outside, sizeof(outside), "%s/outside", place->root);
    assert_int_not_equal(access(outside, F_OK), 0);
    place_remove(place);
}

static void unpacks_files_folders_and_inward_links(void **state)
{
    (void)state;
    for (int zip = 0; zip < 2; zip++) {
        struct place place;
        place_make(&place, zip);
        add(&place, "pkg/", S_IFDIR | 0700, NULL, 0);
        add_text(&place, "./pkg/main.py", "print(1)\n");
        add(&place, "pkg/tool", S_IFREG | 06755, "#!/bin/sh\n", 10);
        add(&place, "pkg/deep/link", S_IFLNK | 0777, "../main.py", 0);
        struct err err = ERR_INIT;
        if (unpack_with(&place, UNPACK_LIMITS, &err))
            fail_msg("%s", err.message);
        assert_int_equal(folder_seal(place.out, &err), 0);
        char path[160];
        struct stat found;
        snprintf(path, sizeof(path), "%s/pkg/deep/link", place.out);
        assert_int_equal(stat(path, &found), 0);
        assert_int_equal(found.st_size, 9);
        assert_int_equal(found.st_mode & 07777, 0444);
        snprintf(path, sizeof(path), "%s/pkg/tool", place.out);
        assert_int_equal(stat(path, &found), 0);
        assert_int_equal(found.st_mode & 07777, 0555);  // no set-id bits
        place_remove(&place);
    }
}

// As Python's zipfile and tarfile write them, read by a program that runs in the C locale.
static void unpacks_names_beyond_ascii(void **state)
{
    (void)state;
    for (int zip = 0; zip < 2; zip++) {
        struct place place;
        struct err err = ERR_INIT;
        locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
        assert_non_null(utf8);
        uselocale(utf8);
        place_make(&place, zip);
        add_text(&place, "日本/ü.txt", "x");
        add(&place, "ü", S_IFLNK | 0777, "日本/ü.txt", 0);
        archive_write_free(place.writer);
        place.writer = NULL;
        uselocale(LC_GLOBAL_LOCALE);
        freelocale(utf8);
        if (unpack_with(&place, UNPACK_LIMITS, &err))
            fail_msg("%s", err.message);
        assert_true(uselocale((locale_t)0) == LC_GLOBAL_LOCALE);
        char path[160];
        struct stat found;
        snprintf(path, sizeof(path), "%s/ü", place.out);
        assert_int_equal(stat(path, &found), 0);
        assert_int_equal(found.st_size, 1);
        place_remove(&place);
    }
}

static void refuses_names_that_are_not_utf8(void **state)
{
    (void)state;
    struct place place;
    place_make(&place, true);
    add_text(&place, "a", "x");
    add_text(&place, "\xFC.txt", "x");
    refused(&place, ERR_BAD_INPUT, "entry 2 has a name or a link's target that is not UTF-8");
    place_make(&place, true);
    add(&place, "a", S_IFLNK | 0777, "\xFC.txt", 0);
    refused(&place, ERR_BAD_INPUT, "entry 1 has a name or a link's target that is not UTF-8");
}

static void refuses_names_that_are_too_long(void **state)
{
    (void)state;
    char name[1200];
    struct place place;
    memset(name, 'a', sizeof(name));
    name[300] = '\0';
    place_make(&place, true);
    add_text(&place, name, "x");
    refused(&place, ERR_BAD_INPUT, "has a name over 255 bytes");
    name[300] = 'a';
    for (size_t i = 99; i < sizeof(name); i += 100)
        name[i] = '/';
    name[1199] = '\0';
    place_make(&place, true);
    add_text(&place, name, "x");
    refused(&place, ERR_BAD_INPUT, "has a path over 1024 bytes");
}

// Wherever it is cut: in a file, between two, in the list of files, in the record behind it. What
// is left may end with a whole zip that was packed into it.
static void refuses_zips_that_were_cut_off(void **state)
{
    (void)state;
    struct place place;
    place_make(&place, true);
    assert_int_equal(archive_write_zip_set_compression_store(place.writer), ARCHIVE_OK);
    add_text(&place, "main.py", "print(1)\n");
    add(&place, "inner.zip", S_IFREG | 0644, "PK\5\6\0\0\0\0\1\0\1\0\56\0\0\0\4\0\0\0\0\0", 22);
    struct err err = ERR_INIT;
    if (unpack_with(&place, UNPACK_LIMITS, &err))
        fail_msg("%s", err.message);
    struct stat whole;
    assert_int_equal(stat(place.archive, &whole), 0);
    for (off_t size = whole.st_size - 1; size >= 4; size--) {
        assert_int_equal(truncate(place.archive, size), 0);
        assert_int_equal(folder_remove(place.out, &err), 0);
        assert_int_equal(folder_make(place.out, &err), 0);
        err = ERR_INIT;
        assert_int_equal(unpack_with(&place, UNPACK_LIMITS, &err), -1);
        assert_int_equal(err.kind, ERR_BAD_INPUT);
        if (!strstr(err.message, "was cut off"))
            fail_msg("%lld bytes: \"%s\"", (long long)size, err.message);
    }
    place_remove(&place);
}

static void refuses_names_that_lead_out(void **state)
{
    (void)state;
    static const char *const names[] = {"../outside", "/tmp/outside", "a/../../outside", "a\\b"};
    for (size_t i = 0; i < 4; i++) {
        struct place place;
        place_make(&place, false);
        add_text(&place, names[i], "x");
        refused(&place, ERR_BAD_INPUT, "entry");
    }
}

static void refuses_links_that_lead_out(void **state)
{
    (void)state;
    static const char *const targets[] = {"/etc/passwd", "../outside", "../../outside",
                                          "d/../../../outside"};
    for (size_t i = 0; i < 4; i++) {
        struct place place;
        place_make(&place, false);
        add(&place, i == 1 ? "link" : "a/link", S_IFLNK | 0777, targets[i], 0);
        refused(&place, ERR_BAD_INPUT, "points outside");
    }
    // Each link is inside by its text, but the second one walks through the first.
    struct place place;
    place_make(&place, false);
    add(&place, "d1/d2/up", S_IFLNK | 0777, "..", 0);
    add(&place, "x", S_IFLNK | 0777, "d1/d2/up/../..", 0);
    refused(&place, ERR_BAD_INPUT, "points outside");
}

static void does_not_write_through_links(void **state)
{
    (void)state;
    struct place place;
    place_make(&place, false);
    add(&place, "real/", S_IFDIR | 0755, NULL, 0);
    add(&place, "link", S_IFLNK | 0777, "real", 0);
    add_text(&place, "link/file", "x");
    refused(&place, ERR_BAD_INPUT, "both as a folder");
}

static void refuses_devices_and_pipes(void **state)
{
    (void)state;
    static const mode_t kinds[] = {S_IFIFO, S_IFCHR, S_IFBLK};
    for (size_t i = 0; i < 3; i++) {
        struct place place;
        place_make(&place, false);
        add(&place, "odd", kinds[i] | 0644, NULL, 0);
        refused(&place, ERR_BAD_INPUT, "device, pipe or socket");
    }
}

static void refuses_hard_links(void **state)
{
    (void)state;
    struct place place;
    place_make(&place, false);
    add_text(&place, "a", "x");
    struct archive_entry *entry = archive_entry_new();
    archive_entry_set_pathname(entry, "b");
    archive_entry_set_hardlink(entry, "a");
    archive_entry_set_filetype(entry, AE_IFREG);
    assert_int_equal(archive_write_header(place.writer, entry), ARCHIVE_OK);
    archive_entry_free(entry);
    refused(&place, ERR_BAD_INPUT, "hard link");
}

static void caps_size_entries_and_ratio(void **state)
{
    (void)state;
    struct err err = ERR_INIT;
    static char zeroes[8 << 20];
    struct place place;
    place_make(&place, false);
    add(&place, "zeroes", S_IFREG | 0644, zeroes, sizeof(zeroes));
    refused(&place, ERR_TOO_LARGE, "times its size");

    place_make(&place, true);
    for (int i = 0; i < 12; i++) {
        char name[16];
        snprintf(name, sizeof(name), "f%d", i);
        add_text(&place, name, "0123456789");
    }
    assert_int_equal(unpack_with(&place, (struct unpack_limits){1 << 20, 10, 100}, &err), -1);
    assert_int_equal(err.kind, ERR_TOO_LARGE);
    assert_non_null(strstr(err.message, "10 entries"));
    struct unpack_limits small = {100, 1000, 100};
    assert_int_equal(folder_remove(place.out, &err), 0);
    assert_int_equal(folder_make(place.out, &err), 0);
    assert_int_equal(unpack_with(&place, small, &err), -1);
    assert_non_null(strstr(err.message, "100 bytes"));
    place_remove(&place);
}

static void refuses_what_is_no_archive(void **state)
{
    (void)state;
    struct place place;
    place_make(&place, false);
    archive_write_free(place.writer);
    place.writer = NULL;
    FILE *file = fopen(place.archive, "w");
    for (int i = 0; i < 3000; i++)
        fputs("this is no archive ", file);
    fclose(file);
    refused(&place, ERR_BAD_INPUT, "archive");
}

static void stops_when_told(void **state)
{
    (void)state;
    struct place place;
    place_make(&place, false);
    add_text(&place, "a", "x");
    archive_write_free(place.writer);
    atomic_bool stop = true;
    struct err err = ERR_INIT;
    struct unpack_limits limits = UNPACK_LIMITS;
    assert_int_equal(unpack_archive(place.archive, place.out, &limits, &stop, &err), -1);
    assert_int_equal(err.kind, ERR_UNAVAILABLE);
    place_remove(&place);
}

static void locks_exclude_each_other(void **state)
{
    (void)state;
    struct place place;
    place_make(&place, false);
    archive_write_free(place.writer);
    char path[128];
    snprintf(path, sizeof(path), "%s/lock", place.root);
    struct err err = ERR_INIT;
    int one = folder_lock(path, &err);
    assert_true(one >= 0);
    assert_int_equal(folder_lock(path, &err), -1);
    assert_int_equal(err.kind, ERR_BUSY);
    close(one);
    int two = folder_lock(path, &err);
    assert_true(two >= 0);
    close(two);
    place_remove(&place);
}

static void hashes_files(void **state)
{
    (void)state;
    char path[] = "/tmp/drover-sha-XXXXXX", hex[65];
    int fd = mkstemp(path);
    assert_int_equal(write(fd, "abc", 3), 3);
    close(fd);
    struct err err = ERR_INIT;
    assert_int_equal(code_sha256(path, hex, &err), 0);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    unlink(path);
    assert_int_equal(code_sha256(path, hex, &err), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(unpacks_files_folders_and_inward_links),
        cmocka_unit_test(unpacks_names_beyond_ascii),
        cmocka_unit_test(refuses_names_that_are_not_utf8),
        cmocka_unit_test(refuses_names_that_are_too_long),
        cmocka_unit_test(refuses_zips_that_were_cut_off),
        cmocka_unit_test(refuses_names_that_lead_out),
        cmocka_unit_test(refuses_links_that_lead_out),
        cmocka_unit_test(does_not_write_through_links),
        cmocka_unit_test(refuses_devices_and_pipes),
        cmocka_unit_test(refuses_hard_links),
        cmocka_unit_test(caps_size_entries_and_ratio),
        cmocka_unit_test(refuses_what_is_no_archive),
        cmocka_unit_test(stops_when_told),
        cmocka_unit_test(locks_exclude_each_other),
        cmocka_unit_test(hashes_files),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
