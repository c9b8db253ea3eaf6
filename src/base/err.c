// SPDX-License-Identifier: Apache-2.0
#define ERR_IMPLEMENTATION
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
    int status;
    const char *name;
} kinds[] = {
    [ERR_NONE] = {200, "none"},
    [ERR_BAD_INPUT] = {400, "bad-input"},
    [ERR_UNAUTHENTICATED] = {401, "unauthenticated"},
    [ERR_DENIED] = {403, "denied"},
    [ERR_NOT_FOUND] = {404, "not-found"},
    [ERR_METHOD] = {405, "method-not-allowed"},
    [ERR_TIMEOUT] = {408, "timeout"},
    [ERR_CONFLICT] = {409, "conflict"},
    [ERR_TOO_LARGE] = {413, "too-large"},
    [ERR_MEDIA_TYPE] = {415, "media-type"},
    [ERR_RANGE] = {416, "range"},
    [ERR_DEPENDENCY] = {424, "dependency"},
    [ERR_BUSY] = {429, "busy"},
    [ERR_INTERNAL] = {500, "internal"},
    [ERR_UNAVAILABLE] = {503, "unavailable"},
};

// vsnprintf that never leaves half a UTF-8 character at the cut.
static void PRINTF_LIKE(3, 0) print_cut(char *out, size_t size, const char *fmt, va_list args)
{
    int n = vsnprintf(out, size, fmt, args);
    if (n < 0) {
        out[0] = '\0';
        return;
    }
    if ((size_t)n < size)
        return;
    size_t len = size - 1, start = len;
    while (start > 0 && len - start < 3 && ((unsigned char)out[start - 1] & 0xC0) == 0x80)
        start--;
    if (start == 0 || (unsigned char)out[start - 1] < 0xC0)
        return;
    unsigned char lead = (unsigned char)out[start - 1];
    size_t need = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (len - (start - 1) < need)
        out[start - 1] = '\0';
}

static void PRINTF_LIKE(3, 4) print_cut_of(char *out, size_t size, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    print_cut(out, size, fmt, args);
    va_end(args);
}

// The arguments may point into err itself, so the text is made before anything is overwritten.
static void fill(struct err *err, enum err_kind kind, const char *field, const char *message)
{
    char path[sizeof(err->field)];
    print_cut_of(path, sizeof(path), "%s", field);
    *err = (struct err){.kind = kind};
    memcpy(err->field, path, strlen(path) + 1);
    memcpy(err->message, message, strlen(message) + 1);
}

int err_set(struct err *err, enum err_kind kind, const char *fmt, ...)
{
    if (!err)
        return -1;
    char message[sizeof(err->message)];
    va_list args;
    va_start(args, fmt);
    print_cut(message, sizeof(message), fmt, args);
    va_end(args);
    fill(err, kind, "", message);
    return -1;
}

int err_field(struct err *err, const char *path, const char *fmt, ...)
{
    if (!err)
        return -1;
    char message[sizeof(err->message)];
    va_list args;
    va_start(args, fmt);
    print_cut(message, sizeof(message), fmt, args);
    va_end(args);
    fill(err, ERR_BAD_INPUT, path ? path : "", message);
    return -1;
}

int err_errno(struct err *err, enum err_kind kind, int errno_value, const char *fmt, ...)
{
    if (!err)
        return -1;
    char context[sizeof(err->message)], message[sizeof(err->message)], reason[128];
    va_list args;
    va_start(args, fmt);
    print_cut(context, sizeof(context), fmt, args);
    va_end(args);
    print_cut_of(message, sizeof(message), "%s: %s", context,
                 strerror_r(errno_value, reason, sizeof(reason)));
    fill(err, kind, "", message);
    return -1;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (!err)
        return -1;
    char context[sizeof(err->message)], message[sizeof(err->message)];
    va_list args;
    va_start(args, fmt);
    print_cut(context, sizeof(context), fmt, args);
    va_end(args);
    print_cut_of(message, sizeof(message), "%s: %s", context, err->message);
    memcpy(err->message, message, strlen(message) + 1);
    return -1;
}

int err_under(struct err *err, const char *parent)
{
    if (!err)
        return -1;
    char path[sizeof(err->field)];
    bool joined = err->field[0] == '\0' || err->field[0] == '[' || parent[0] == '\0';
    print_cut_of(path, sizeof(path), "%s%s%s", parent, joined ? "" : ".", err->field);
    memcpy(err->field, path, strlen(path) + 1);
    return -1;
}

static bool known(enum err_kind kind) { return (unsigned)kind < sizeof(kinds) / sizeof(kinds[0]); }

int err_status(enum err_kind kind) { return known(kind) ? kinds[kind].status : 500; }

const char *err_name(enum err_kind kind) { return known(kind) ? kinds[kind].name : "internal"; }
