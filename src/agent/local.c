// SPDX-License-Identifier: Apache-2.0
#include "agent/local.h"

#include <stdio.h>

#include "agent/child.h"
#include "agent/environment.h"
#include "agent/runner_choice.h"
#include "agent/runner_process.h"
#include "agent/runner_setup.h"
#include "base/clock.h"
#include "net/frame.h"
#include "net/loop.h"

#define RUN_ID      "000000000000000000000001"
#define CREDIT_STEP (128 << 10)  // as an agent gives it back
#define STOP_MS     2000         // from `stop` to the kill
#define WORDS_BYTES 2048         // of stderr, for a runner that dies before it can say why

struct local {
    const struct local_config *config;
    struct local_result *result;
    struct arena *arena;
    struct loop *loop;
    struct environment_job *environment;
    struct runner *runner;
    struct loop_timer *limit;  // of loading, then of the execution, then of the stop
    const char *python;
    struct err err;  // kind set: it could not be run
    struct buf words;
    int64_t begun, credit;
    bool ready, invoked, ended;
    int signals;
};

static int64_t now_ms(void) { return clock_mono(clock_system()); }

static void phase(void *arg, const char *text)
{
    struct local *local = arg;
    local->config->on_phase(local->config->arg, text);
}

static struct str member(struct local *local, struct json frame, const char *key)
{
    struct json value;
    return json_get(frame, key, &value) ? json_str(value, local->arena) : STR_NONE;
}

// ── the end ──────────────────────────────────────────────────────────────────────────────────

static void on_limit(void *arg);

static void limit_set(struct local *local, int64_t ms)
{
    loop_timer_cancel(local->limit);
    local->limit = ms > 0 ? loop_timer_start(local->loop, ms, 0, on_limit, local) : NULL;
}

static size_t frame_open(struct local *local, struct json_writer *w, const char *type)
{
    struct buf *out = runner_out(local->runner);
    size_t begun = frame_begin(out);
    *w = JSON_WRITER(out);
    json_w_object(w);
    json_w_pair_str(w, "t", str_of(type));
    return begun;
}

static void frame_close(struct local *local, struct json_writer *w, size_t begun)
{
    json_w_object_end(w);
    frame_end(runner_out(local->runner), begun);
    runner_flush(local->runner);
}

// The result is known: the runner is to leave, with all that it started.
static void finish(struct local *local)
{
    local->ended = true;
    if (!local->runner) {
        limit_set(local, 0);
        loop_stop(local->loop);
        return;
    }
    struct json_writer w;
    size_t begun = frame_open(local, &w, "stop");
    frame_close(local, &w, begun);
    limit_set(local, STOP_MS);
}

static void fail(struct local *local, const struct err *err)
{
    if (local->err.kind == ERR_NONE)
        local->err = *err;
    finish(local);
}

static void end_failed(struct local *local, const char *type, const char *message)
{
    struct local_result *result = local->result;
    result->status = STR("failed");
    result->type = str_of(type);
    result->message = arena_copy(local->arena, str_of(message));
    result->ran_ms = now_ms() - local->begun;
}

static void on_limit(void *arg)
{
    struct local *local = arg;
    local->limit = NULL;
    long long limit_s = (long long)local->config->assignment->execution_timeout_s;
    char why[200];
    if (!local->ended && local->ready) {
        snprintf(why, sizeof(why),
                 "timeout: the execution ran longer than %lld s (executionTimeout)", limit_s);
        end_failed(local, "TimeoutError", why);
    } else if (!local->ended) {
        err_set(&local->err, ERR_TIMEOUT,
                "timeout: importing the module and its init took longer than %lld s "
                "(executionTimeout)",
                limit_s);
    }
    local->ended = true;
    if (local->runner)
        runner_kill(local->runner);
}

// ── what the runner says ─────────────────────────────────────────────────────────────────────

static void invoke(struct local *local)
{
    struct json_writer w;
    char at[TIME_TEXT_SIZE];
    time_format(clock_wall(clock_system()), at);
    local->invoked = true;
    local->result->started_ms = now_ms() - local->begun;
    local->begun = now_ms();
    phase(local, "running");
    size_t begun = frame_open(local, &w, "invoke");
    json_w_pair_str(&w, "id", STR(RUN_ID));
    json_w_pair_int(&w, "fence", 1);
    json_w_pair_str(&w, "function", str_of(local->config->function));
    json_w_pair_raw(&w, "input", local->config->input);
    json_w_key(&w, "execution");
    json_w_object(&w);
    json_w_pair_str(&w, "createdAt", str_of(at));
    json_w_pair_str(&w, "creator", STR("local"));
    json_w_pair_raw(&w, "triggerId", STR("null"));
    json_w_pair_raw(&w, "eventContext", STR("null"));
    json_w_pair_int(&w, "attempt", 1);
    json_w_object_end(&w);
    frame_close(local, &w, begun);
    int64_t limit_s = local->config->assignment->execution_timeout_s;
    limit_set(local, limit_s > 0 && limit_s < INT64_MAX / 4000 ? limit_s * 1000 : 0);
}

static void take_log(struct local *local, struct json frame)
{
    _cleanup_arena_ struct arena *scratch = arena_new();
    struct json level = {0}, message = {0};
    json_get(frame, "level", &level);
    json_get(frame, "message", &message);
    local->config->on_line(local->config->arg, json_str(level, scratch), json_str(message, scratch),
                           false);
    local->credit += (int64_t)frame.text.len;
    if (local->credit < CREDIT_STEP)
        return;
    struct json_writer w;
    size_t begun = frame_open(local, &w, "credit");
    json_w_pair_int(&w, "bytes", local->credit);
    frame_close(local, &w, begun);
    local->credit = 0;
}

static void take_error(struct local *local, struct json frame)
{
    struct json error = {0};
    json_get(frame, "error", &error);
    local->result->message = member(local, error, "message");
    local->result->type = member(local, error, "type");
    local->result->stack = member(local, error, "stack");
}

static void take_result(struct local *local, struct json frame)
{
    struct json output = {0};
    struct local_result *result = local->result;
    if (local->ended)
        return;
    result->ran_ms = now_ms() - local->begun;
    result->status = member(local, frame, "status");
    if (json_get(frame, "output", &output) && output.type != JSON_ABSENT)
        result->output = arena_copy(local->arena, output.text);
    take_error(local, frame);
    finish(local);
}

static void take_failed(struct local *local, struct json frame)
{
    struct err err = ERR_INIT;
    take_error(local, frame);
    struct str why = local->result->stack.len > 0 ? local->result->stack : local->result->message;
    size_t skip = why.len > 600 ? why.len - 600 : 0;
    err_set(&err, ERR_BAD_INPUT, "the code cannot be loaded: %.*s", (int)(why.len - skip),
            why.at ? why.at + skip : "the runner does not say why");
    fail(local, &err);
}

static void take_progress(struct local *local, struct json frame)
{
    struct json percent = {0};
    _cleanup_arena_ struct arena *scratch = arena_new();
    struct json status = {0}, message = {0};
    json_get(frame, "percent", &percent);
    json_get(frame, "status", &status);
    json_get(frame, "message", &message);
    if (local->config->on_progress)
        local->config->on_progress(local->config->arg, percent, json_str(status, scratch),
                                   json_str(message, scratch));
}

static void on_frame(void *arg, struct str type, struct json frame)
{
    struct local *local = arg;
    if (str_is(type, "log"))
        take_log(local, frame);
    else if (str_is(type, "progress"))
        take_progress(local, frame);
    else if (str_is(type, "result"))
        take_result(local, frame);
    else if (str_is(type, "failed"))
        take_failed(local, frame);
    if (!str_is(type, "ready"))
        return;
    local->ready = true;
    if (!local->ended)
        invoke(local);
}

static bool on_bad_frame(void *arg, struct str text, const char *why)
{
    (void)arg, (void)text, (void)why;
    return false;
}

static void on_runner_line(void *arg, struct str line, bool from_stderr, int64_t run)
{
    struct local *local = arg;
    (void)run;
    if (from_stderr) {
        buf_add_str(&local->words, line);
        buf_add_char(&local->words, '\n');
        if (local->words.len > WORDS_BYTES)
            buf_drop_front(&local->words, local->words.len - WORDS_BYTES);
    }
    local->config->on_line(local->config->arg, from_stderr ? STR("ERROR") : STR("INFO"), line,
                           false);
}

static int64_t whose(void *arg)
{
    (void)arg;
    return 1;
}

static void on_runner_exit(void *arg, int status, const char *broken)
{
    struct local *local = arg;
    char how[96], reason[300];
    child_describe(status, how, sizeof(how));
    const struct assignment *assignment = local->config->assignment;
    bool own = assignment->run_as_process && !runner_makes_processes(assignment) && local->invoked;
    snprintf(reason, sizeof(reason), "the %s ended: %s%s%s", own ? "execution's process" : "runner",
             how, broken ? "; " : "", broken ? broken : "");
    local->runner = NULL;
    if (!local->ended && local->invoked)
        end_failed(local, own ? "ProcessEnded" : "RunnerError", reason);
    else if (!local->ended)
        err_set(&local->err, ERR_DEPENDENCY, "%s before it was ready", reason);
    local->ended = true;
    finish(local);
}

// ── the way to it ────────────────────────────────────────────────────────────────────────────

// For one execution the Python runner needs no second process.
static const char *mode_of(const struct assignment *assignment)
{
    if (runner_makes_processes(assignment))
        return "processes";
    return assignment->run_as_process ? "one" : "threads";
}

static void start_runner(struct local *local)
{
    const struct local_config *config = local->config;
    _cleanup_arena_ struct arena *scratch = arena_new();
    const struct runner_setup setup = {.assignment = config->assignment,
                                       .folder = config->work,
                                       .code = config->code,
                                       .python = local->python,
                                       .base_python = config->python,
                                       .replica_id = "local"};
    const struct runner_programs programs = {config->runner, local->python, config->node};
    struct runner_config runner = {
        .loop = local->loop,
        .argv = runner_choice_program(config->assignment, &programs, scratch),
        .env = runner_setup_env(&setup, scratch),
        .folder = config->code,
        .line_bytes = (size_t)config->assignment->log_line_bytes,
        .on_frame = on_frame,
        .on_bad_frame = on_bad_frame,
        .on_line = on_runner_line,
        .whose = whose,
        .on_exit = on_runner_exit,
        .arg = local};
    struct err err = ERR_INIT;
    phase(local, "starting the runner");
    local->result->prepared_ms = now_ms() - local->begun;
    local->begun = now_ms();
    local->runner = runner_start(&runner, &err);
    if (!local->runner) {
        runner_choice_explain(config->assignment, &err);
        fail(local, &err);
        return;
    }
    int64_t limit_s = config->assignment->execution_timeout_s;
    limit_set(local, limit_s > 0 && limit_s < INT64_MAX / 4000 ? limit_s * 1000 : 0);
    runner_setup_load(&setup, mode_of(config->assignment), runner_out(local->runner));
    runner_flush(local->runner);
}

static void on_environment(void *arg, const char *python, const struct err *err)
{
    struct local *local = arg;
    local->environment = NULL;
    if (!python) {
        struct err failed = *err;
        failed.kind = ERR_DEPENDENCY;
        fail(local, &failed);
        return;
    }
    local->python = arena_cstr(local->arena, str_of(python));
    start_runner(local);
}

static void on_environment_line(void *arg, struct str line, bool from_stderr)
{
    struct local *local = arg;
    struct str text = str_trim(line);
    if (text.len > 0)
        local->config->on_line(local->config->arg, from_stderr ? STR("WARNING") : STR("INFO"), text,
                               true);
}

static void on_start(void *arg)
{
    struct local *local = arg;
    const struct local_config *config = local->config;
    if (!config->install || runner_choice(config->assignment) != MODULE_PYTHON) {
        local->python = config->python;
        start_runner(local);
        return;
    }
    struct environment_config environment = {.loop = local->loop,
                                             .log = config->log,
                                             .cache = config->cache,
                                             .folder = config->work,
                                             .python = config->python,
                                             .assignment = config->assignment,
                                             .on_phase = phase,
                                             .on_line = on_environment_line,
                                             .on_done = on_environment,
                                             .arg = local};
    local->environment = environment_start(&environment);
}

// The first one as `drover terminate` would; whoever insists gets the end.
static void on_signal(void *arg, int signal)
{
    struct local *local = arg;
    (void)signal;
    local->result->interrupted = true;
    if (local->signals++ > 0 || !local->invoked || local->ended) {
        struct err err = ERR_INIT;
        err_set(&err, ERR_TIMEOUT, "interrupted");
        environment_cancel(local->environment);
        local->environment = NULL;
        if (!local->ended && !local->invoked)
            local->err = err;
        else if (!local->ended)
            end_failed(local, "InterruptedError", "killed");
        if (local->runner)
            runner_kill(local->runner);
        else
            finish(local);
        local->ended = true;
        return;
    }
    phase(local, "asking the function to end; once more kills it");
    struct json_writer w;
    size_t begun = frame_open(local, &w, "cancel");
    json_w_pair_str(&w, "id", STR(RUN_ID));
    json_w_pair_int(&w, "fence", 1);
    frame_close(local, &w, begun);
}

int local_run(const struct local_config *config, struct local_result *result, struct arena *arena,
              struct err *err)
{
    *result = (struct local_result){0};
    struct local local = {.config = config,
                          .result = result,
                          .arena = arena,
                          .loop = loop_new(),
                          .words = BUF_INIT(WORDS_BYTES * 40),
                          .begun = now_ms()};
    if (runner_setup_folders(config->work, err)) {
        loop_free(local.loop);
        return -1;
    }
    loop_on_stop_signal(local.loop, on_signal, &local);
    loop_timer_start(local.loop, 0, 0, on_start, &local);
    loop_run(local.loop);
    loop_free(local.loop);
    buf_deinit(&local.words);
    if (local.err.kind == ERR_NONE)
        return 0;
    *err = local.err;
    return -1;
}
