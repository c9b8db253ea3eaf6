// SPDX-License-Identifier: Apache-2.0
// base/err: what went wrong, in a form that travels from the deepest call to the user.
//
// Functions that can fail return 0 or -1 (or a pointer or NULL) and take a `struct err *` last.
// The struct lives on the caller's stack; nothing is allocated. An error is logged or answered
// once, at the top; on the way up it is only given more context (err_wrap).
#ifndef DROVER_BASE_ERR_H
#define DROVER_BASE_ERR_H

#include <stdbool.h>

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

// Each kind is one HTTP status and one CLI exit code (err_status, err_name).
enum err_kind {
    ERR_NONE = 0,
    ERR_BAD_INPUT,        // 400: the caller's data is wrong; field says where
    ERR_UNAUTHENTICATED,  // 401: no valid token
    ERR_DENIED,           // 403: known caller without the permission
    ERR_NOT_FOUND,        // 404
    ERR_METHOD,           // 405: the path exists, the method does not
    ERR_TIMEOUT,          // 408
    ERR_CONFLICT,         // 409: a name is taken, a state forbids it
    ERR_TOO_LARGE,        // 413: over a configured limit, which the message names
    ERR_MEDIA_TYPE,       // 415
    ERR_RANGE,            // 416: a byte range outside the file
    ERR_DEPENDENCY,       // 424: something this needs has failed (git, pip)
    ERR_BUSY,             // 429: try again after retry_after seconds
    ERR_INTERNAL,         // 500: our fault; never retried by dtlpy
    ERR_UNAVAILABLE,      // 503: nothing took effect; safe to repeat
};

struct err {
    enum err_kind kind;
    int retry_after;    // seconds; with ERR_BUSY and ERR_UNAVAILABLE, 0: not said
    char field[192];    // path of the wrong field, "runtime.concurrency"; "" when none
    char message[768];  // one sentence or two: what, where, what to do
};

#define ERR_INIT ((struct err){.kind = ERR_NONE})

// Fills err (which may be NULL) and returns -1, so that `return err_set(...)` reads well.
int err_set(struct err *err, enum err_kind kind, const char *fmt, ...) PRINTF_LIKE(3, 4);

// As err_set with ERR_BAD_INPUT, naming the field at fault by its path.
int err_field(struct err *err, const char *path, const char *fmt, ...) PRINTF_LIKE(3, 4);

// As err_set, with strerror(errno_value) appended after ": ".
int err_errno(struct err *err, enum err_kind kind, int errno_value, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

// Puts "<context>: " before the message. Returns -1.
int err_wrap(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

// Puts "<parent>." (or "<parent>" before a "[") before the field path. Returns -1.
int err_under(struct err *err, const char *parent);

// The analysers see that what fails never returns 0 (tools/lint defines DROVER_ANALYSER for gcc's).
#if (defined(__clang_analyzer__) || defined(DROVER_ANALYSER)) && !defined(ERR_IMPLEMENTATION)
#define err_set(...)   (err_set(__VA_ARGS__), -1)
#define err_field(...) (err_field(__VA_ARGS__), -1)
#define err_errno(...) (err_errno(__VA_ARGS__), -1)
#define err_wrap(...)  (err_wrap(__VA_ARGS__), -1)
#define err_under(...) (err_under(__VA_ARGS__), -1)
#endif

int err_status(enum err_kind kind);        // HTTP status code
const char *err_name(enum err_kind kind);  // "bad-input"; stable, for logs and metrics

#endif
