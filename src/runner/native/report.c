// SPDX-License-Identifier: Apache-2.0
#include "runner/native/report.h"

#include <math.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/version.h"
#include "net/frame.h"

#define DONE           "[Done] Executing function."
#define PROGRESS_BYTES (64u << 10)
#define LINE_BYTES     16384

int64_t report_now(void) { return clock_wall(clock_system()); }

struct run *run_new(struct json invoke)
{
    struct json id = {0}, function = {0}, fence = {0}, input = {0}, execution = {0};
    int64_t number;
    json_get(invoke, "id", &id);
    json_get(invoke, "function", &function);
    json_get(invoke, "fence", &fence);
    json_get(invoke, "input", &input);
    json_get(invoke, "execution", &execution);
    if (!json_is(id, JSON_STRING) || !json_is(function, JSON_STRING) || !json_int(fence, &number))
        return NULL;
    struct arena *arena = arena_new();
    struct run *run = arena_new_of(arena, struct run);
    bool has_input = json_is(input, JSON_OBJECT), has_execution = json_is(execution, JSON_OBJECT);
    *run = (struct run){
        .arena = arena,
        .id = arena_copy(arena, id.text),
        .function = arena_copy(arena, function.text),
        .fence = json_of(arena_copy(arena, fence.text)),
        .input = json_of(arena_copy(arena, has_input ? input.text : STR("{}"))),
        .execution = json_of(arena_copy(arena, has_execution ? execution.text : STR("{}")))};
    return run;
}

void run_free(struct run *run) { arena_free(run->arena); }

// ── frames ───────────────────────────────────────────────────────────────────────────────────

static size_t begin(struct buf *out, struct json_writer *w, const char *type)
{
    size_t begun = frame_begin(out);
    *w = JSON_WRITER(out);
    json_w_object(w);
    json_w_pair_str(w, "t", str_of(type));
    return begun;
}

static void end(struct buf *out, struct json_writer *w, size_t begun)
{
    json_w_object_end(w);
    frame_end(out, begun);
}

// No text of ours holds NUL; the writer cleans what is not UTF-8.
static struct str without_nul(struct str text, struct arena *arena)
{
    size_t at = 0, len = 0;
    while (at < text.len && text.at[at] != '\0')
        at++;
    if (at == text.len)
        return text;
    char *out = arena_alloc(arena, text.len * 3);
    for (at = 0; at < text.len; at++) {
        if (text.at[at] == '\0') {
            memcpy(out + len, "\xEF\xBF\xBD", 3);
            len += 3;
        } else {
            out[len++] = text.at[at];
        }
    }
    return (struct str){out, len};
}

// Where text is to be cut so that at most `most` bytes stay and no character is split.
static size_t whole_characters(struct str text, size_t most)
{
    size_t len = most;
    while (len > 0 && most - len < 4 && ((unsigned char)text.at[len] & 0xC0) == 0x80)
        len--;
    return len;
}

static struct str cut(struct str text, size_t most, struct arena *arena)
{
    if (text.len <= most)
        return text;
    size_t kept = whole_characters(text, most);
    return arena_printf(arena, "%.*s [cut: %zu of %zu bytes]", (int)kept, text.at, kept, text.len);
}

const char *report_level(struct str level)
{
    static const char *const levels[] = {"DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"};
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++)
        if (str_is(level, levels[i]))
            return levels[i];
    return "INFO";
}

static int64_t log_frame(struct buf *out, const struct report_limits *limits, const struct run *run,
                         const char *level, struct str text)
{
    _cleanup_arena_ struct arena *scratch = arena_new();
    struct json_writer w;
    size_t most = limits->line_bytes > 0 ? (size_t)limits->line_bytes : LINE_BYTES;
    size_t begun = begin(out, &w, "log");
    json_w_pair_int(&w, "at", report_now());
    json_w_pair_str(&w, "level", str_of(level));
    json_w_pair_raw(&w, "id", run ? run->id : STR_NONE);
    json_w_pair_raw(&w, "function", run ? run->function : STR_NONE);
    text.at = text.at ? text.at : "";
    json_w_pair_str(&w, "message", cut(without_nul(text, scratch), most, scratch));
    end(out, &w, begun);
    return (int64_t)(out->len - begun) - 4;
}

int64_t report_log(struct buf *out, const struct report_limits *limits, struct run *run,
                   const char *level, struct str text)
{
    if (run && limits->lines > 0 && run->lines >= limits->lines) {
        run->dropped++;
        return 0;
    }
    if (run)
        run->lines++;
    return log_frame(out, limits, run, level, text);
}

void report_progress(struct buf *out, const struct run *run, double percent, struct str message)
{
    _cleanup_arena_ struct arena *scratch = arena_new();
    struct json_writer w;
    size_t begun = begin(out, &w, "progress");
    json_w_pair_raw(&w, "id", run->id);
    json_w_pair_raw(&w, "fence", run->fence.text);
    json_w_key(&w, "percent");
    json_w_double(&w, percent >= 0 && percent <= 100 ? percent : NAN);  // NaN is written as null
    json_w_pair_raw(&w, "status", STR_NONE);
    json_w_pair_str(&w, "message", cut(without_nul(message, scratch), PROGRESS_BYTES, scratch));
    json_w_pair_raw(&w, "output", STR_NONE);
    end(out, &w, begun);
}

static void write_error(struct json_writer *w, const struct outcome *outcome, struct str message)
{
    json_w_key(w, "error");
    json_w_object(w);
    json_w_pair_str(w, "message", message);
    json_w_pair_str(w, "type", outcome->type);
    json_w_pair_str(w, "stack", message);
    json_w_object_end(w);
}

int64_t report_result(struct buf *out, const struct report_limits *limits, struct run *run,
                      const struct outcome *outcome)
{
    static const char *const names[] = {"success", "failed", "terminated"};
    _cleanup_arena_ struct arena *scratch = arena_new();
    struct str id = run->id, fence = run->fence.text;
    struct str message = without_nul(outcome->message, scratch);
    int64_t cost = 0;
    struct json_writer w;
    if (outcome->status != OUTCOME_SUCCESS)
        cost += report_log(out, limits, run,
                           outcome->status == OUTCOME_FAILED ? "ERROR" : "WARNING", message);
    if (run->dropped > 0)
        cost += log_frame(out, limits, run, "WARNING",
                          arena_printf(scratch,
                                       "%lld more lines were dropped: the limit is %lld lines per "
                                       "execution",
                                       (long long)run->dropped, (long long)limits->lines));
    cost += log_frame(out, limits, run, "INFO", STR(DONE));
    size_t begun = begin(out, &w, "result");
    json_w_pair_raw(&w, "id", id);
    json_w_pair_raw(&w, "fence", fence);
    json_w_pair_str(&w, "status", str_of(names[outcome->status]));
    if (outcome->status == OUTCOME_SUCCESS)
        json_w_pair_raw(&w, "output", outcome->output);
    else
        write_error(&w, outcome, message);
    json_w_pair_int(&w, "startedAt", run->started);
    json_w_pair_int(&w, "endedAt", report_now());
    if (outcome->measured) {
        json_w_key(&w, "usage");
        json_w_object(&w);
        json_w_pair_int(&w, "peakMemoryKib", outcome->peak_kib);
        json_w_pair_int(&w, "cpuMs", outcome->cpu_ms);
        json_w_object_end(&w);
    }
    end(out, &w, begun);
    return cost;
}

void report_ready(struct buf *out)
{
    struct json_writer w;
    size_t begun = begin(out, &w, "ready");
    json_w_pair_str(&w, "native", STR(DROVER_VERSION));
    json_w_pair_int(&w, "pid", getpid());
    end(out, &w, begun);
}

void report_failed(struct buf *out, const char *type, struct str message)
{
    struct json_writer w;
    const struct outcome outcome = {.type = STR("LoadError")};
    size_t begun = begin(out, &w, "failed");
    json_w_pair_str(&w, "type", str_of(type));
    write_error(&w, &outcome, message);
    end(out, &w, begun);
}
