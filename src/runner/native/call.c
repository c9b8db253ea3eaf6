// SPDX-License-Identifier: Apache-2.0
#include "runner/native/call.h"

#include <stdio.h>
#include <stdlib.h>

#define OUTPUT_MAX ((size_t)63 << 20)  // what fits into a frame

static struct call *call_of(struct drover_call *call) { return (struct call *)(void *)call; }

static struct json value_at(const struct call *call, const char *path)
{
    struct json value = {0};
    if (!path || !*path)
        return call->input;
    json_path(call->input, str_of(path), &value);
    return value;
}

// ── the table ────────────────────────────────────────────────────────────────────────────────

static struct drover_span get(struct drover_call *head, const char *path)
{
    struct str text = value_at(call_of(head), path).text;
    return (struct drover_span){text.at, text.len};
}

static bool get_string(struct drover_call *head, const char *path, struct drover_span *out)
{
    struct call *call = call_of(head);
    struct json value = value_at(call, path);
    if (!json_is(value, JSON_STRING))
        return false;
    pthread_mutex_lock(&call->mutex);
    struct str text = json_str(value, call->arena);
    out->at = arena_cstr(call->arena, text);
    out->len = text.len;
    pthread_mutex_unlock(&call->mutex);
    return true;
}

static bool get_int(struct drover_call *head, const char *path, int64_t *out)
{
    return json_int(value_at(call_of(head), path), out);
}

static bool get_double(struct drover_call *head, const char *path, double *out)
{
    return json_double(value_at(call_of(head), path), out);
}

static bool get_bool(struct drover_call *head, const char *path, bool *out)
{
    return json_bool(value_at(call_of(head), path), out);
}

static void *state(struct drover_call *head) { return call_of(head)->state; }
static const char *id(struct drover_call *head) { return call_of(head)->id; }
static const char *creator(struct drover_call *head) { return call_of(head)->creator; }
static int64_t attempt(struct drover_call *head) { return call_of(head)->attempt; }

static struct drover_span context(struct drover_call *head)
{
    struct str text = call_of(head)->context.text;
    return (struct drover_span){text.at, text.len};
}

static bool cancelled(struct drover_call *head)
{
    const struct call *call = call_of(head);
    return call->cancelled && atomic_load(call->cancelled);
}

static void set_output(struct call *call, struct str output)
{
    pthread_mutex_lock(&call->mutex);
    call->output = arena_copy(call->arena, output);
    pthread_mutex_unlock(&call->mutex);
}

static int return_json(struct drover_call *head, const char *text, size_t len)
{
    set_output(call_of(head), (struct str){text ? text : "", len});
    return 0;
}

static int return_string(struct drover_call *head, const char *text, size_t len)
{
    _cleanup_buf_ struct buf json = BUF_INIT(SIZE_MAX);
    struct json_writer w = JSON_WRITER(&json);
    json_w_str(&w, (struct str){text ? text : "", len});
    set_output(call_of(head), buf_str(&json));
    return 0;
}

static int fail(struct drover_call *head, const char *format, va_list args)
{
    struct call *call = call_of(head);
    char text[4096];
    vsnprintf(text, sizeof(text), format, args);
    pthread_mutex_lock(&call->mutex);
    if (!call->reason.at)
        call->reason = arena_copy(call->arena, str_of(text));
    pthread_mutex_unlock(&call->mutex);
    return -1;
}

static void log_entry(struct drover_call *head, enum drover_level level, const char *format,
                      va_list args)
{
    static const char *const names[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};
    const struct call *call = call_of(head);
    const char *name = (unsigned)level < sizeof(names) / sizeof(names[0]) ? names[level] : "INFO";
    char *text = NULL;
    int len = vasprintf(&text, format, args);
    if (len < 0)
        return;
    call->outlet.log(call->outlet.arg, name, (struct str){text, (size_t)len});
    free(text);
}

static void progress(struct drover_call *head, double percent, const char *message)
{
    const struct call *call = call_of(head);
    call->outlet.progress(call->outlet.arg, percent, str_of(message));
}

static const struct drover_host host = {.size = sizeof(struct drover_host),
                                        .get = get,
                                        .get_string = get_string,
                                        .get_int = get_int,
                                        .get_double = get_double,
                                        .get_bool = get_bool,
                                        .state = state,
                                        .id = id,
                                        .creator = creator,
                                        .attempt = attempt,
                                        .context = context,
                                        .cancelled = cancelled,
                                        .return_json = return_json,
                                        .return_string = return_string,
                                        .fail = fail,
                                        .log = log_entry,
                                        .progress = progress};

// ── a call's life ────────────────────────────────────────────────────────────────────────────

void call_init(struct call *call)
{
    struct json value = {0};
    call->head.host = &host;
    pthread_mutex_init(&call->mutex, NULL);
    call->arena = arena_new();
    call->id = arena_cstr(call->arena, json_str(json_of(call->raw_id), call->arena));
    json_get(call->context, "creator", &value);
    call->creator = arena_cstr(call->arena, json_str(value, call->arena));
    value = (struct json){0};
    json_get(call->context, "attempt", &value);
    (void)json_int(value, &call->attempt);
}

void call_deinit(struct call *call)
{
    arena_free(call->arena);
    pthread_mutex_destroy(&call->mutex);
}

static struct outcome failed(const char *type, struct str message)
{
    return (struct outcome){.status = OUTCOME_FAILED, .type = str_of(type), .message = message};
}

static struct outcome check_output(const struct call *call)
{
    struct json value;
    struct err err = ERR_INIT;
    struct str output = call->output.at ? call->output : STR("null");
    size_t most = call->limits->output_bytes > 0 ? (size_t)call->limits->output_bytes : OUTPUT_MAX;
    if (output.len > most)
        return failed("ValueError",
                      arena_printf(call->arena,
                                   "the output has %zu bytes of JSON, the limit is %zu "
                                   "(--max-output)",
                                   output.len, most));
    if (json_parse(output, (int)call->limits->json_depth, &value, &err))
        return failed(
            "ValueError",
            arena_printf(call->arena, "the output is not JSON that Drover takes: %s", err.message));
    return (struct outcome){.status = OUTCOME_SUCCESS, .output = output};
}

struct outcome call_outcome(struct call *call, int code)
{
    if (call->reason.at)
        return failed("FunctionError", call->reason);
    if (code == 0)
        return check_output(call);
    if (code == DROVER_CANCELLED && cancelled(&call->head))
        return (struct outcome){.status = OUTCOME_TERMINATED,
                                .type = STR("InterruptedError"),
                                .message = STR(OUTCOME_CANCELLED)};
    if (code == DROVER_CANCELLED)
        return failed("FunctionError", STR("the function returned DROVER_CANCELLED, and nobody had "
                                           "asked it to end"));
    return failed("FunctionError", arena_printf(call->arena,
                                                "the function returned %d and gave no reason "
                                                "(drover_fail)",
                                                code));
}
