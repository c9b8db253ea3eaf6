// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share. A target is a libFuzzer program: it takes any bytes, and ends by
// abort() when what it checks does not hold, so that the input is kept.
#ifndef DROVER_TESTS_FUZZ_H
#define DROVER_TESTS_FUZZ_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// Says what does not hold and ends the program.
#define HOLDS(condition, ...)                                                                      \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            fprintf(stderr, "  " __VA_ARGS__);                                                     \
            fputc('\n', stderr);                                                                   \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

// The input, taken from its front.
struct input {
    const char *at;
    size_t len;
};

static inline struct input input_of(const uint8_t *data, size_t size)
{
    return (struct input){(const char *)data, size};
}

static inline unsigned char input_byte(struct input *in)  // 0 at the end
{
    if (in->len == 0)
        return 0;
    in->len--;
    return (unsigned char)*in->at++;
}

// Up to the next line end, which is dropped; the rest when there is none.
static inline struct str input_line(struct input *in)
{
    const char *end = in->len ? memchr(in->at, '\n', in->len) : NULL;
    struct str line = {in->at ? in->at : "", end ? (size_t)(end - in->at) : in->len};
    size_t used = line.len + (end ? 1 : 0);
    in->at += used;
    in->len -= used;
    return line;
}

// A choice that texts can be written for: the number of a letter or digit, below `count`.
static inline size_t input_choice(struct input *in, size_t count)
{
    unsigned char c = input_byte(in);
    return (c >= 'a' ? (size_t)(c - 'a') : c >= '0' ? (size_t)(c - '0') : c) % count;
}

// What is left, in memory of exactly its size, so that a step past the end is seen. The caller
// frees it.
static inline struct str input_rest(struct input *in)
{
    char *copy = malloc(in->len ? in->len : 1);
    if (!copy)
        abort();
    if (in->len)
        memcpy(copy, in->at, in->len);
    return (struct str){copy, in->len};
}

static inline void input_free(struct str *rest) { free((char *)rest->at); }
#define _cleanup_input_ __attribute__((cleanup(input_free)))

static inline bool fuzz_json(struct str text, struct json *out)
{
    struct err err = ERR_INIT;
    return json_parse(text, 0, out, &err) == 0;
}

// What a program of ours wrote as JSON; deeper than what it read, as it puts things into others.
static inline struct json fuzz_written(struct str text)
{
    struct err err = ERR_INIT;
    struct json json;
    HOLDS(json_parse(text, JSON_DEPTH_LIMIT, &json, &err) == 0, "%s: " STR_FMT, err.message,
          STR_ARG(text));
    return json;
}

// An error has a kind and a sentence, both in UTF-8, since it becomes JSON for the caller.
static inline void fuzz_error(const struct err *err)
{
    HOLDS(err->kind != ERR_NONE && err->message[0], "an error without a sentence");
    HOLDS(err->kind != ERR_INTERNAL, "an input causes an internal error: %s", err->message);
    HOLDS(str_utf8_valid(str_of(err->message)) && str_utf8_valid(str_of(err->field)),
          "an error that is not UTF-8: %s", err->message);
}

// A folder of this process in memory, removed at its end.
static char fuzz_root[64];

static inline int fuzz_remove_one(const char *path, const struct stat *st, int flag,
                                  struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static inline void fuzz_folder_remove(void)
{
    nftw(fuzz_root, fuzz_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static inline const char *fuzz_folder(void)
{
    if (!fuzz_root[0]) {
        const char *memory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
        snprintf(fuzz_root, sizeof(fuzz_root), "%s/drover-fuzz-XXXXXX", memory);
        if (!mkdtemp(fuzz_root))
            abort();
        atexit(fuzz_folder_remove);
    }
    return fuzz_root;
}

#endif
