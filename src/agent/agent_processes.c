// SPDX-License-Identifier: Apache-2.0
// Executions with a process each (runExecutionAsProcess): kept in store ahead of need, given their
// execution, and ended.
#include <stdio.h>
#include <sys/wait.h>

#include "agent/agent_internal.h"
#include "agent/child.h"
#include "base/mem.h"

#define SPARES       4     // processes that wait for an execution, at most
#define SPARES_FRESH 2     // the same where each is an interpreter of its own
#define LEAVE_MS     2000  // from its result to its end
#define AGAIN_MS     500   // after a failure to make one
#define USAGE_MAX    256

static struct slot *slot_of(const struct agent *agent, const struct worker *worker)
{
    list_each (&agent->slots.in[SLOT_RUNNING], it, next) {
        struct slot *slot = list_entry(it, struct slot, node);
        if (slot->worker == worker)
            return slot;
    }
    return NULL;
}

static void not_now(struct agent *agent)
{
    agent->ask_after = agent_now(agent) + AGAIN_MS;
    agent_watch(agent);
}

// ── beginnings ───────────────────────────────────────────────────────────────────────────────

static void note_threads(struct agent *agent, int64_t threads)
{
    char phase[sizeof(agent->phase)];
    if (agent->module_threads > 0)
        return;
    agent->module_threads = threads;
    snprintf(phase, sizeof(phase),
             "each execution starts a new interpreter: the module keeps %lld %s of its own, which "
             "a fork would lack",
             (long long)threads, threads == 1 ? "thread" : "threads");
    log_warn(agent->log, "agent", "%s", phase);
    agent_system_line(agent, "WARNING", str_of(phase));
    if (agent->life == LIFE_READY)
        agent_set_phase(agent, phase);
}

static void on_born(void *arg, struct worker *worker, int64_t threads)
{
    struct agent *agent = arg;
    if (threads <= 0) {
        worker->ready = true;
        return;
    }
    note_threads(agent, threads);
    int64_t limit_s = agent->assignment.execution_timeout_s;
    if (limit_s > 0 && limit_s < INT64_MAX / 4000)
        worker->deadline = agent_now(agent) + limit_s * 1000;
    agent_write_load(agent, "one", worker_out(worker));
    agent_watch(agent);
}

static void on_unborn(void *arg, const char *why)
{
    struct agent *agent = arg;
    if (!agent->runner || agent->life != LIFE_READY)
        return;
    char line[300];
    _cleanup_buf_ struct buf clean = BUF_INIT(SIZE_MAX);
    struct str text = agent_redacted_text(agent, str_of(why), &clean);
    snprintf(line, sizeof(line), "no process for an execution could be made: %.*s",
             (int)(text.len < 200 ? text.len : 200), text.at);
    log_error(agent->log, "agent", "%s", line);
    agent_system_line(agent, "ERROR", str_of(line));
    not_now(agent);
}

static void take_failed(struct agent *agent, struct worker *worker, struct json frame)
{
    struct json error = {0}, message = {0};
    _cleanup_arena_ struct arena *arena = arena_new();
    if (worker->ready)
        return;
    json_get(frame, "error", &error);
    json_get(error, "message", &message);
    on_unborn(agent, arena_cstr(arena, json_str(message, arena)));
    worker_kill(worker);
}

static void on_frame(void *arg, struct worker *worker, struct str type, struct json frame)
{
    struct agent *agent = arg;
    if (str_is(type, "result")) {
        work_result(agent, frame, worker);
        worker->deadline = agent_now(agent) + LEAVE_MS;
    } else if (str_is(type, "log")) {
        agent_take_log(agent, frame, worker);
    } else if (str_is(type, "progress")) {
        work_progress(agent, frame, worker);
    } else if (str_is(type, "reset")) {
        agent_replace_runner(agent, "user code asked for a new runner", INT64_MAX / 4);
    } else if (str_is(type, "failed")) {
        take_failed(agent, worker, frame);
    } else if (str_is(type, "ready") && !worker->ready) {
        worker->ready = true;
        worker->deadline = INT64_MAX;
    }
}

static bool on_bad_frame(void *arg, struct worker *worker, struct str text, const char *why)
{
    return agent_bad_frame(arg, text, why, worker);
}

static void on_line(void *arg, struct worker *worker, struct str line, bool from_stderr)
{
    struct agent *agent = arg;
    agent_output_line(agent, line, from_stderr, slot_of(agent, worker));
}

// ── ends ─────────────────────────────────────────────────────────────────────────────────────

static struct str write_usage(const struct worker_end *end, char *out)
{
    const char *key = WIFSIGNALED(end->status) ? "signal" : "exitCode";
    int code = WIFSIGNALED(end->status) ? WTERMSIG(end->status) : WEXITSTATUS(end->status);
    if (!end->known)
        return STR_NONE;
    snprintf(out, USAGE_MAX, "{\"peakMemoryKib\":%lld,\"cpuMs\":%lld,\"%s\":%d}",
             (long long)end->peak_kib, (long long)end->cpu_ms, key, code);
    return str_of(out);
}

static void fail_ended(struct agent *agent, struct slot *slot, const struct worker_end *end)
{
    char how[96] = "nobody saw how", why[400], usage[USAGE_MAX];
    bool too_large = end->known && !slot->given_up && agent_was_too_large(agent, end->status);
    const char *more = too_large ? "it used more memory than its pod type has (runtime.podType)"
                                 : end->broken;
    if (end->known)
        child_describe(end->status, how, sizeof(how));
    if (slot->given_up) {
        work_report_given_up(agent, slot, write_usage(end, usage));
        return;
    }
    snprintf(why, sizeof(why), "the execution's process ended: %s%s%s", how, more ? "; " : "",
             more ? more : "");
    work_fail(agent, slot, too_large ? "OutOfMemory" : "ProcessEnded", why,
              write_usage(end, usage));
}

static void on_end(void *arg, struct worker *worker, const struct worker_end *end)
{
    struct agent *agent = arg;
    if (worker->used) {
        agent->busy--;
    } else if (agent->life == LIFE_READY && agent->runner_ready && !worker->leaving) {
        not_now(agent);  // one that could not even wait
    }
    struct slot *slot = slot_of(agent, worker);
    if (slot)
        fail_ended(agent, slot, end);
}

void processes_begin(struct agent *agent, struct worker *worker)
{
    worker->used = true;
    agent->busy++;
}

void processes_watch(struct agent *agent)
{
    int64_t now = agent_now(agent);
    if (!agent->nursery)
        return;
    for (struct worker *at = NULL; (at = nursery_next(agent->nursery, at));) {
        if (at->deadline > now)
            continue;
        at->deadline = INT64_MAX;
        if (!at->used && !at->ready)
            on_unborn(agent, "timeout: importing the module and its init took longer than "
                             "executionTimeout");
        worker_kill(at);
    }
}

// ── all of them ──────────────────────────────────────────────────────────────────────────────

void processes_start(struct agent *agent)
{
    struct nursery_config config = {.loop = agent->loop,
                                    .line_bytes = (size_t)agent->assignment.log_line_bytes,
                                    .on_born = on_born,
                                    .on_unborn = on_unborn,
                                    .on_frame = on_frame,
                                    .on_bad_frame = on_bad_frame,
                                    .on_line = on_line,
                                    .on_end = on_end,
                                    .arg = agent};
    if (agent->nursery)
        return;
    agent->nursery = nursery_new(&config);
}

void processes_runner_is(struct agent *agent, struct runner *runner)
{
    if (!runner)
        processes_stop_idle(agent);
    agent->module_threads = 0;
    nursery_set_runner(agent->nursery, runner);
}

void processes_ready(struct agent *agent) { nursery_loaded(agent->nursery); }

struct worker *processes_idle(const struct agent *agent)
{
    for (struct worker *at = NULL; (at = nursery_next(agent->nursery, at));)
        if (at->ready && !at->used && !at->leaving && at->pid > 0)
            return at;
    return NULL;
}

void processes_ask(struct agent *agent)
{
    struct err err = ERR_INIT;
    if (agent->life != LIFE_READY || !agent->runner_ready || agent_now(agent) < agent->ask_after)
        return;
    size_t most = (size_t)agent->assignment.concurrency, waiting = 0;
    size_t wanted = (agent->module_threads > 0 ? SPARES_FRESH : SPARES) +
                    agent->slots.count[SLOT_QUEUED];
    for (struct worker *at = NULL; (at = nursery_next(agent->nursery, at));)
        waiting += !at->used;
    for (; waiting < wanted && waiting < most; waiting++)
        if (nursery_ask(agent->nursery, &err)) {
            on_unborn(agent, err.message);
            return;
        }
}

void processes_stop_idle(struct agent *agent)
{
    if (!agent->nursery)
        return;
    for (struct worker *at = NULL; (at = nursery_next(agent->nursery, at));)
        if (!at->used) {
            at->leaving = true;
            worker_kill(at);
        }
}

void processes_kill(struct agent *agent)
{
    for (struct worker *at = NULL; (at = nursery_next(agent->nursery, at));) {
        at->leaving = true;
        worker_kill(at);
    }
}

void processes_tell(struct agent *agent, struct str frame)
{
    for (struct worker *at = NULL; (at = nursery_next(agent->nursery, at));)
        buf_add_str(worker_out(at), frame);
}

void processes_stored(struct agent *agent, int64_t owner, int64_t bytes)
{
    for (struct worker *at = NULL; (at = nursery_next(agent->nursery, at));) {
        if (at->number != owner)
            continue;
        at->credit_out -= bytes;
        at->credit_to_give += bytes;
    }
}
