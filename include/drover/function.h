// SPDX-License-Identifier: Apache-2.0
// drover/function.h: functions for Drover in C, or in a language that can speak C.
//
// A package's entry point is a shared object that exports one table, `drover_module`:
//
//     #include <drover/function.h>
//
//     static int greet(struct drover_call *call)
//     {
//         struct drover_span name;
//         if (!drover_get_string(call, "name", &name))
//             return drover_fail(call, "greet needs an input \"name\"");
//         drover_log(call, DROVER_INFO, "greeting %s", name.at);
//         return drover_return_string(call, name.at, name.len);
//     }
//
//     static const struct drover_function functions[] = {{"greet", greet}, {0}};
//     const struct drover_module drover_module = {.abi = DROVER_ABI, .functions = functions};
//
// and is built with nothing but this header: cc -shared -fPIC -o functions.so functions.c
//
// All that a call can do goes through a table that the call carries, so a shared object needs no
// symbol of the runner. The table only grows: what was built for one ABI number runs with every
// later Drover.
#ifndef DROVER_FUNCTION_H
#define DROVER_FUNCTION_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DROVER_ABI 1

// What a function returns: 0, it succeeded; anything else, it failed (drover_fail says why).
// DROVER_CANCELLED: it heeded its kill event, and the execution is `terminated`.
#define DROVER_CANCELLED (-2)

// A piece of text. What the API gives out is valid until the function returns. Texts that
// drover_get_string gives end with a NUL; pieces of JSON (drover_get) do not.
struct drover_span {
    const char *at;  // NULL: absent
    size_t len;
};

enum drover_level { DROVER_DEBUG, DROVER_INFO, DROVER_WARNING, DROVER_ERROR, DROVER_CRITICAL };

// One execution of a function, or the call of init. Any thread may use it until the function
// returns; nobody may afterwards.
struct drover_call;

struct drover_function {
    const char *name;                      // as the package declares it
    int (*run)(struct drover_call *call);  // at most `concurrency` at a time, on several threads
};

struct drover_module {
    uint32_t abi;                             // DROVER_ABI
    const struct drover_function *functions;  // ends with an entry whose name is NULL
    // Once, before any function; its inputs are the service's init parameters. What it puts into
    // *state is what drover_state gives. May be NULL.
    int (*init)(struct drover_call *call, void **state);
    void (*fini)(void *state);  // once, when the runner stops in an orderly way. May be NULL.
};

// The one symbol that a shared object exports, also under -fvisibility=hidden.
#if defined(__GNUC__)
#define DROVER_FORMAT(text, first) __attribute__((format(printf, text, first), unused))
__attribute__((visibility("default")))
#else
#define DROVER_FORMAT(text, first)
#endif
extern const struct drover_module drover_module;

// ── the table behind the functions below ─────────────────────────────────────────────────────

struct drover_host {
    size_t size;  // bytes of the table that the runner has
    struct drover_span (*get)(struct drover_call *, const char *path);
    bool (*get_string)(struct drover_call *, const char *path, struct drover_span *out);
    bool (*get_int)(struct drover_call *, const char *path, int64_t *out);
    bool (*get_double)(struct drover_call *, const char *path, double *out);
    bool (*get_bool)(struct drover_call *, const char *path, bool *out);
    void *(*state)(struct drover_call *);
    const char *(*id)(struct drover_call *);
    const char *(*creator)(struct drover_call *);
    int64_t (*attempt)(struct drover_call *);
    struct drover_span (*context)(struct drover_call *);
    bool (*cancelled)(struct drover_call *);
    int (*return_json)(struct drover_call *, const char *text, size_t len);
    int (*return_string)(struct drover_call *, const char *text, size_t len);
    int (*fail)(struct drover_call *, const char *format, va_list args);
    void (*log)(struct drover_call *, enum drover_level level, const char *format, va_list args);
    void (*progress)(struct drover_call *, double percent, const char *message);
};

struct drover_call {
    const struct drover_host *host;
};

// ── inputs ───────────────────────────────────────────────────────────────────────────────────

// The JSON of an input; a path such as "box.width" reaches into objects, NULL or "" is the object
// of all inputs. Absent: at is NULL.
static inline struct drover_span drover_get(struct drover_call *call, const char *path)
{
    return call->host->get(call, path);
}

// False, and *out as it was, when the input is absent or not of that type. A string comes as UTF-8,
// with its escapes resolved; an int is any number without a fraction that fits.
static inline bool drover_get_string(struct drover_call *call, const char *path,
                                     struct drover_span *out)
{
    return call->host->get_string(call, path, out);
}
static inline bool drover_get_int(struct drover_call *call, const char *path, int64_t *out)
{
    return call->host->get_int(call, path, out);
}
static inline bool drover_get_double(struct drover_call *call, const char *path, double *out)
{
    return call->host->get_double(call, path, out);
}
static inline bool drover_get_bool(struct drover_call *call, const char *path, bool *out)
{
    return call->host->get_bool(call, path, out);
}

// ── the module and the execution ─────────────────────────────────────────────────────────────

static inline void *drover_state(struct drover_call *call) { return call->host->state(call); }

// Of the execution; in init the id and the creator are "" and the attempt is 0.
static inline const char *drover_id(struct drover_call *call) { return call->host->id(call); }
static inline const char *drover_creator(struct drover_call *call)
{
    return call->host->creator(call);
}
static inline int64_t drover_attempt(struct drover_call *call) { return call->host->attempt(call); }

// All that is known of it, as a JSON object: createdAt, creator, triggerId, eventContext, attempt.
static inline struct drover_span drover_context(struct drover_call *call)
{
    return call->host->context(call);
}

// The kill event: true once somebody wants the execution to end. A function that takes long asks
// now and then, and returns DROVER_CANCELLED.
static inline bool drover_cancelled(struct drover_call *call)
{
    return call->host->cancelled(call);
}

// ── outputs ──────────────────────────────────────────────────────────────────────────────────

// The output: JSON, or a text that becomes a JSON string. It is copied; the last one counts;
// without any it is null. Both give 0, so that a function can end with `return
// drover_return_json(…)`. What is not JSON fails the execution and says where.
static inline int drover_return_json(struct drover_call *call, const char *text, size_t len)
{
    return call->host->return_json(call, text, len);
}
static inline int drover_return_string(struct drover_call *call, const char *text, size_t len)
{
    return call->host->return_string(call, text, len);
}

// Says why the execution fails, whatever the function returns; the first reason counts. Gives -1.
DROVER_FORMAT(2, 3)
static int drover_fail(struct drover_call *call, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int result = call->host->fail(call, format, args);
    va_end(args);
    return result;
}

// An entry of the execution's log. Waits while the log's reader is behind.
DROVER_FORMAT(3, 4)
static void drover_log(struct drover_call *call, enum drover_level level, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    call->host->log(call, level, format, args);
    va_end(args);
}

// How far it is: 0 to 100, and a text or NULL.
static inline void drover_progress(struct drover_call *call, double percent, const char *message)
{
    call->host->progress(call, percent, message);
}

#ifdef __cplusplus
}
#endif
#endif
