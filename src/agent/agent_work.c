// SPDX-License-Identifier: Apache-2.0
// The executions: from the server's answer into the runner, and back as a report.
#include <stdio.h>

#include "agent/agent_internal.h"
#include "agent/runner_choice.h"
#include "base/mem.h"
#include "model/execution.h"
#include "net/frame.h"

// Executions that are short in the mean are asked for ahead, so that the runner has work while an
// exchange is under way: for each that may run as many as take AHEAD_US, at least one, at most
// AHEAD_EACH; and of all AHEAD_MOST, or as many as may run.
#define SHORT_US       50000
#define TINY_US        2000
#define AHEAD_US       16000
#define AHEAD_EACH     16
#define AHEAD_MOST     256
#define KILL_MS        10000       // from `kill` until the runner is replaced after all
#define WAIT_MOST_MS   250         // a prefetched one that waits longer goes back
#define REPORTS_LEAST  16          // and so many more reports on their way do not count as held
#define PROGRESS_TEXTS (1u << 20)  // bytes of a progress beside its output
#define END_MS         5000        // from a process's SIGKILL to the news of its end
#define CANCEL_GRACE   30000       // ms, for a service that says no drain time

// ── in ───────────────────────────────────────────────────────────────────────────────────────

struct delivery {
    struct str id;
    int64_t fence, since, timeout_s;
    struct json function, input, created_at, creator, trigger, context, attempt;
};

static bool read_delivery(struct json execution, struct delivery *out)
{
    *out = (struct delivery){.timeout_s = -1, .fence = -1};
    struct json_iter it = json_each(execution);
    struct str key;
    for (struct json value; json_next(&it, &key, &value);) {
        if (str_is(key, "id") && json_is(value, JSON_STRING))
            out->id = (struct str){value.text.at + 1, value.text.len - 2};
        else if (str_is(key, "fence"))
            (void)json_int(value, &out->fence);
        else if (str_is(key, "since"))
            (void)json_int(value, &out->since);
        else if (str_is(key, "timeoutS"))
            (void)json_int(value, &out->timeout_s);
        else if (str_is(key, "function"))
            out->function = value;
        else if (str_is(key, "input"))
            out->input = value;
        else if (str_is(key, "createdAt"))
            out->created_at = value;
        else if (str_is(key, "creator"))
            out->creator = value;
        else if (str_is(key, "triggerId"))
            out->trigger = value;
        else if (str_is(key, "eventContext"))
            out->context = value;
        else if (str_is(key, "attempt"))
            out->attempt = value;
    }
    return out->id.len > 0 && out->id.len <= SLOT_ID_MAX &&
           !memchr(out->id.at, '\\', out->id.len) && out->fence >= 0;
}

static void write_invoke(struct buf *buf, const struct delivery *delivery)
{
    size_t begun = frame_begin(buf);
    struct json_writer w = JSON_WRITER(buf);
    json_w_object(&w);
    json_w_pair_str(&w, "t", STR("invoke"));
    json_w_pair_str(&w, "id", delivery->id);
    json_w_pair_int(&w, "fence", delivery->fence);
    json_w_pair_raw(&w, "function", delivery->function.text);
    json_w_pair_raw(&w, "input", delivery->input.text.len > 0 ? delivery->input.text : STR("{}"));
    json_w_key(&w, "execution");
    json_w_object(&w);
    json_w_pair_raw(&w, "createdAt", delivery->created_at.text);
    json_w_pair_raw(&w, "creator", delivery->creator.text);
    json_w_pair_raw(&w, "triggerId", delivery->trigger.text);
    json_w_pair_raw(&w, "eventContext", delivery->context.text);
    json_w_pair_raw(&w, "attempt", delivery->attempt.text);
    json_w_object_end(&w);
    json_w_object_end(&w);
    frame_end(buf, begun);
}

static bool has_room(const struct agent *agent)
{
    return agent->life == LIFE_READY && agent->runner_ready &&
           (int64_t)agent_in_runner(agent) < agent->assignment.concurrency &&
           (!agent->nursery || processes_idle(agent));
}

// Where its frame is to go, once has_room has said that there is a place.
static struct buf *begin(struct agent *agent, struct slot *slot)
{
    struct worker *worker = agent->nursery ? processes_idle(agent) : NULL;
    slot->runner_fence = slot->fence;
    slot->run = ++agent->runs;
    slot->started_us = (int64_t)(uv_hrtime() / 1000);
    slot->deadline = slot->timeout_ms > 0 ? agent_now(agent) + slot->timeout_ms : INT64_MAX;
    slots_move(&agent->slots, slot, SLOT_RUNNING);
    if (!worker)
        return runner_out(agent->runner);
    slot->worker = worker;
    processes_begin(agent, worker);
    return worker_out(worker);
}

static void give_back(struct agent *agent, struct slot *slot)
{
    slot->news = NEWS_RETURNED;
    buf_clear(&slot->text);
    slots_move(&agent->slots, slot, SLOT_NEWS);
}

// What we have of this id already: true when it only takes the newer fence.
static bool adopt(struct agent *agent, struct slot *slot, int64_t fence)
{
    bool ended = slot->state == SLOT_NEWS || slot->state == SLOT_SENT;
    if (fence <= slot->fence)
        return !(ended && slot->news == NEWS_RETURNED);
    if (slot->state == SLOT_QUEUED || (ended && slot->news != NEWS_RESULT))
        return false;
    slot->fence = fence;
    if (slot->state == SLOT_SENT)  // its result has to be told again, under the new fence
        slots_move(&agent->slots, slot, SLOT_NEWS);
    return true;
}

void work_take(void *arg, struct json execution, int64_t lease_basis)
{
    struct agent *agent = arg;
    struct delivery delivery;
    if (!read_delivery(execution, &delivery)) {
        log_warn(agent->log, "agent", "the server sent an execution without a proper id or fence");
        return;
    }
    struct slot *slot = slots_find(&agent->slots, delivery.id);
    if (slot && slot->fence < delivery.since) {  // of before a rerun: its result is not wanted
        work_drop(agent, delivery.id, slot->fence);
        slot = NULL;
    }
    if (slot && adopt(agent, slot, delivery.fence))
        return;
    if (slot)
        slots_release(&agent->slots, slot);
    slot = slots_add(&agent->slots, delivery.id, delivery.fence);
    buf_add_str(&slot->function, delivery.function.text);
    slot->lease_basis = lease_basis;
    slot->arrived = agent_now(agent);
    slot->has_log = delivery.since > 0 || !str_is(delivery.attempt.text, "1");
    int64_t timeout_s = delivery.timeout_s >= 0 ? delivery.timeout_s
                                                : agent->assignment.execution_timeout_s;
    slot->timeout_ms = timeout_s < INT64_MAX / 4000 ? timeout_s * 1000 : 0;
    agent_watch(agent);
    if (has_room(agent) && agent->slots.count[SLOT_QUEUED] == 1) {
        write_invoke(begin(agent, slot), &delivery);
    } else if (agent->life == LIFE_READY) {
        write_invoke(&slot->text, &delivery);
    } else {
        give_back(agent, slot);
    }
}

void work_start_queued(struct agent *agent)
{
    while (has_room(agent)) {
        struct slot *slot = slots_first(&agent->slots, SLOT_QUEUED);
        if (!slot || !link_lease_fresh(agent->link, slot))
            return;
        buf_add_str(begin(agent, slot), buf_str(&slot->text));
        buf_clear(&slot->text);
    }
}

bool work_result_soon(const struct agent *agent)
{
    return agent->mean_us >= 0 && agent->mean_us < TINY_US &&
           agent->slots.count[SLOT_RUNNING] > 0 && agent->slots.count[SLOT_QUEUED] == 0;
}

static int64_t at_most(int64_t n, int64_t most) { return n < most ? n : most; }

static int64_t work_ahead(const struct agent *agent)
{
    int64_t concurrency = agent->assignment.concurrency, mean = agent->mean_us;
    if (mean < 0 || mean >= SHORT_US)
        return 0;
    int64_t each = at_most(AHEAD_US / (mean + 1), AHEAD_EACH);
    return each <= 1 || concurrency >= AHEAD_MOST ? concurrency
                                                  : at_most(concurrency * each, AHEAD_MOST);
}

int64_t work_capacity(const struct agent *agent)
{
    if (agent->life != LIFE_READY)
        return 0;
    int64_t reports = (int64_t)(agent->slots.count[SLOT_NEWS] + agent->slots.count[SLOT_SENT]);
    int64_t wanted = agent->assignment.concurrency + work_ahead(agent);
    return wanted + at_most(reports, wanted + REPORTS_LEAST);
}

// ── out ──────────────────────────────────────────────────────────────────────────────────────

// Its log has its last line by now.
static void tell_result(struct agent *agent, struct slot *slot)
{
    slot->log_end = log_sender_added(agent->logs);
    slots_move(&agent->slots, slot, SLOT_NEWS);
}

// What a result frame brings; the spans are the frame's.
struct outcome {
    struct str id;
    int64_t fence;
    struct json status, output, error, started_at, ended_at, percent, message, usage;
};

static bool read_outcome(struct json frame, struct outcome *out)
{
    *out = (struct outcome){.fence = -1};
    struct json_iter it = json_each(frame);
    struct str key;
    for (struct json value; json_next(&it, &key, &value);) {
        if (str_is(key, "id") && json_is(value, JSON_STRING))
            out->id = (struct str){value.text.at + 1, value.text.len - 2};
        else if (str_is(key, "fence"))
            (void)json_int(value, &out->fence);
        else if (str_is(key, "status"))
            out->status = value;
        else if (str_is(key, "output"))
            out->output = value;
        else if (str_is(key, "error"))
            out->error = value;
        else if (str_is(key, "startedAt"))
            out->started_at = value;
        else if (str_is(key, "endedAt"))
            out->ended_at = value;
        else if (str_is(key, "percent"))
            out->percent = value;
        else if (str_is(key, "message"))
            out->message = value;
        else if (str_is(key, "usage") && json_is(value, JSON_OBJECT))
            out->usage = value;
    }
    return out->id.len > 0;
}

// Whose frame it is; nobody can speak for what runs elsewhere.
static struct slot *slot_of(struct agent *agent, struct json frame, const struct worker *from,
                            struct outcome *out)
{
    struct slot *slot = read_outcome(frame, out)
                            ? slots_find_in_runner(&agent->slots, out->id, out->fence)
                            : NULL;
    return slot && slot->worker == from ? slot : NULL;
}

static void set_failed(struct agent *agent, struct slot *slot, const char *type,
                       const char *message, struct str usage)
{
    buf_clear(&slot->text);
    struct json_writer w = JSON_WRITER(&slot->text);
    w.comma = true;
    json_w_pair_str(&w, "status", STR("failed"));
    json_w_pair_str(&w, "message", str_of(message));
    json_w_key(&w, "error");
    json_w_object(&w);
    json_w_pair_str(&w, "message", str_of(message));
    json_w_pair_str(&w, "type", str_of(type));
    json_w_pair_raw(&w, "stack", STR("null"));
    json_w_object_end(&w);
    int64_t now = clock_wall(agent->clock);
    int64_t ran_ms = ((int64_t)(uv_hrtime() / 1000) - slot->started_us) / 1000;
    if (slot->started_us > 0)
        json_w_pair_int(&w, "startedAt", now - ran_ms);
    json_w_pair_int(&w, "endedAt", now);
    if (usage.len > 0)
        json_w_pair_raw(&w, "usage", usage);
    slot->news = NEWS_RESULT;
}

static void write_outcome(struct slot *slot, const struct outcome *outcome)
{
    buf_clear(&slot->text);
    struct json_writer w = JSON_WRITER(&slot->text);
    w.comma = true;
    bool failed = !str_is(outcome->status.text, "\"success\"") &&
                  !str_is(outcome->status.text, "\"terminated\"");
    json_w_pair_raw(&w, "status", failed ? STR("\"failed\"") : outcome->status.text);
    if (outcome->output.text.len > 0)
        json_w_pair_raw(&w, "output", outcome->output.text);
    if (json_is(outcome->error, JSON_OBJECT)) {
        struct json message = {0};
        json_get(outcome->error, "message", &message);
        json_w_pair_raw(&w, "message", message.text);
        json_w_pair_raw(&w, "error", outcome->error.text);
    }
    if (outcome->started_at.text.len > 0)
        json_w_pair_raw(&w, "startedAt", outcome->started_at.text);
    if (outcome->ended_at.text.len > 0)
        json_w_pair_raw(&w, "endedAt", outcome->ended_at.text);
    if (outcome->usage.text.len > 0)
        json_w_pair_raw(&w, "usage", outcome->usage.text);
    slot->news = NEWS_RESULT;
}

static void note_duration(struct agent *agent, const struct slot *slot)
{
    int64_t took = (int64_t)(uv_hrtime() / 1000) - slot->started_us;
    agent->mean_us = agent->mean_us < 0 ? took : agent->mean_us + (took - agent->mean_us) / 8;
}

void work_result(struct agent *agent, struct json frame, struct worker *from)
{
    struct outcome outcome;
    struct slot *slot = slot_of(agent, frame, from, &outcome);
    if (!slot) {
        log_warn(agent->log, "agent", "the runner reported an execution that it was not given");
        return;
    }
    if (slot->state == SLOT_ABANDONED) {
        slots_release(&agent->slots, slot);
        return;
    }
    note_duration(agent, slot);
    _cleanup_buf_ struct buf clean = BUF_INIT(SIZE_MAX);
    outcome.error = agent_redacted(agent, outcome.error, &clean);
    size_t size = outcome.output.text.len;
    if ((int64_t)size > agent->assignment.output_bytes) {
        char message[160];
        snprintf(message, sizeof(message), "the output has %zu bytes; at most %lld are kept", size,
                 (long long)agent->assignment.output_bytes);
        set_failed(agent, slot, "OutputTooLarge", message, outcome.usage.text);
    } else {
        write_outcome(slot, &outcome);
    }
    tell_result(agent, slot);
}

bool work_broken_result(struct agent *agent, struct json beginning, const char *why,
                        struct worker *from)
{
    struct outcome outcome;
    struct slot *slot = slot_of(agent, beginning, from, &outcome);
    if (!slot)
        return false;
    log_warn(agent->log, "agent", "a result of the runner is not JSON: %s", why);
    if (slot->state == SLOT_ABANDONED) {
        slots_release(&agent->slots, slot);
        return true;
    }
    char message[300];
    snprintf(message, sizeof(message), "the runner sent a result that is not JSON: %.220s", why);
    set_failed(agent, slot, "RunnerError", message, STR_NONE);
    tell_result(agent, slot);
    return true;
}

static void log_line(struct agent *agent, struct slot *slot, const char *level, const char *message)
{
    slot->has_log = true;
    struct log_line line = {.at = clock_wall(agent->clock),
                            .level = level,
                            .execution = slot_id(slot),
                            .raw_function = buf_str(&slot->function),
                            .message = str_of(message)};
    log_sender_add(agent->logs, &line);
}

void work_progress(struct agent *agent, struct json frame, struct worker *from)
{
    struct outcome outcome;
    struct slot *slot = slot_of(agent, frame, from, &outcome);
    if (!slot || slot->state != SLOT_RUNNING)
        return;
    _cleanup_buf_ struct buf members = BUF_INIT(PROGRESS_TEXTS +
                                                (size_t)agent->assignment.output_bytes);
    struct json_writer w = JSON_WRITER(&members);
    json_w_pair_str(&w, "id", slot_id(slot));
    json_w_pair_int(&w, "fence", slot->fence);
    json_w_pair_raw(&w, "percent", outcome.percent.text);
    _cleanup_buf_ struct buf clean = BUF_INIT(SIZE_MAX);
    json_w_pair_raw(&w, "status", outcome.status.text);
    json_w_pair_raw(&w, "message", agent_redacted(agent, outcome.message, &clean).text);
    json_w_pair_raw(&w, "output", outcome.output.text);
    json_w_pair_int(&w, "at", clock_wall(agent->clock));
    if (members.over)
        log_line(
            agent, slot, "WARNING",
            "a progress was left out: its output is over --max-output, or its message too long");
    else
        link_progress(agent->link, buf_str(&members));
}

// ── orders ───────────────────────────────────────────────────────────────────────────────────

static void send_about(struct agent *agent, const struct slot *slot, const char *type)
{
    struct buf *out = slot->worker ? worker_out(slot->worker) : runner_out(agent->runner);
    size_t begun = frame_begin(out);
    struct json_writer w = JSON_WRITER(out);
    json_w_object(&w);
    json_w_pair_str(&w, "t", str_of(type));
    json_w_pair_str(&w, "id", slot_id(slot));
    json_w_pair_int(&w, "fence", slot->runner_fence);
    json_w_object_end(&w);
    frame_end(out, begun);
}

static void send_cancel(struct agent *agent, struct slot *slot)
{
    if ((!agent->runner && !slot->worker) || slot->cancelled)
        return;
    slot->cancelled = true;
    send_about(agent, slot, "cancel");
}

static int64_t grace_ms(const struct agent *agent)
{
    return agent->assignment.drain_ms > 0 ? agent->assignment.drain_ms : CANCEL_GRACE;
}

// The last lines of one that the runner does not end.
static void log_end(struct agent *agent, struct slot *slot, const char *why)
{
    log_line(agent, slot, "ERROR", why);
    log_line(agent, slot, "INFO", EXECUTION_LAST_LINE);
}

void work_fail(struct agent *agent, struct slot *slot, const char *type, const char *message,
               struct str usage)
{
    log_end(agent, slot, message);
    set_failed(agent, slot, type, message, usage);
    tell_result(agent, slot);
}

static void report_terminated(struct agent *agent, struct slot *slot, const char *why,
                              struct str usage)
{
    log_end(agent, slot, why);
    buf_clear(&slot->text);
    struct json_writer w = JSON_WRITER(&slot->text);
    w.comma = true;
    json_w_pair_str(&w, "status", STR("terminated"));
    json_w_pair_str(&w, "message", str_of(why));
    json_w_pair_int(&w, "endedAt", clock_wall(agent->clock));
    if (usage.len > 0)
        json_w_pair_raw(&w, "usage", usage);
    slot->news = NEWS_RESULT;
    tell_result(agent, slot);
}

void work_terminate(void *arg, struct str id)
{
    struct agent *agent = arg;
    struct slot *slot = slots_find(&agent->slots, id);
    if (!slot)
        return;
    if (slot->state == SLOT_QUEUED) {
        report_terminated(agent, slot, "terminated before it ran", STR_NONE);
    } else if (slot->state == SLOT_RUNNING && !slot->cancelled) {
        send_cancel(agent, slot);
        int64_t limit = agent_now(agent) + grace_ms(agent);
        slot->terminating = true;
        slot->deadline = limit < slot->deadline ? limit : slot->deadline;
    }
}

void work_drop(void *arg, struct str id, int64_t fence)
{
    struct agent *agent = arg;
    struct slot *slot = slots_find(&agent->slots, id);
    if (!slot || slot->fence != fence)
        return;
    if (slot->state == SLOT_RUNNING && slot->worker) {
        send_cancel(agent, slot);
        slot->worker->deadline = agent_now(agent) + grace_ms(agent);
    } else if (slot->state == SLOT_RUNNING) {
        send_cancel(agent, slot);
        slots_abandon(&agent->slots, slot, agent_now(agent) + grace_ms(agent));
    }
    slots_release(&agent->slots, slot);
}

void work_return_queued(struct agent *agent)
{
    for (struct slot *slot; (slot = slots_first(&agent->slots, SLOT_QUEUED));)
        give_back(agent, slot);
}

static void forget_abandoned(struct agent *agent)
{
    for (struct slot *slot; (slot = slots_first(&agent->slots, SLOT_ABANDONED));)
        slots_release(&agent->slots, slot);
}

void work_return_running(struct agent *agent)
{
    forget_abandoned(agent);
    for (struct slot *slot; (slot = slots_first(&agent->slots, SLOT_RUNNING));)
        give_back(agent, slot);
}

void work_lose_running(struct agent *agent, const char *reason)
{
    forget_abandoned(agent);
    for (struct slot *slot; (slot = slots_first(&agent->slots, SLOT_RUNNING));) {
        buf_clear(&slot->text);
        struct json_writer w = JSON_WRITER(&slot->text);
        json_w_str(&w, str_of(reason));
        slot->news = NEWS_LOST;
        slots_move(&agent->slots, slot, SLOT_NEWS);
    }
}

// ── watching ─────────────────────────────────────────────────────────────────────────────────

void work_report_given_up(struct agent *agent, struct slot *slot, struct str usage)
{
    char why[200];
    if (slot->terminating) {
        snprintf(why, sizeof(why), "terminated, but it did not end within %lld s (drainTime)",
                 (long long)(grace_ms(agent) / 1000));
        report_terminated(agent, slot, why, usage);
    } else {
        snprintf(why, sizeof(why),
                 "timeout: the execution ran longer than %lld s (executionTimeout)",
                 (long long)(slot->timeout_ms / 1000));
        work_fail(agent, slot, "TimeoutError", why, usage);
    }
}

// A runner that makes processes ends this one alone; it is replaced should it fail to.
static void give_up_process_of_runner(struct agent *agent, struct slot *slot)
{
    send_about(agent, slot, "kill");
    runner_end_output(agent->runner, slot->run, slots_in_runner(&agent->slots) == 1);
    slots_abandon(&agent->slots, slot, agent_now(agent) + KILL_MS);
    work_report_given_up(agent, slot, STR_NONE);
}

// A thread cannot be ended from outside: its execution is reported, and the runner is replaced.
static void give_up_thread(struct agent *agent, struct slot *slot)
{
    char why[200] = "an execution was over its timeout";
    if (slot->terminating)
        snprintf(why, sizeof(why), "a terminated execution did not end within %lld s",
                 (long long)(grace_ms(agent) / 1000));
    send_cancel(agent, slot);
    if (agent->runner)
        runner_end_output(agent->runner, slot->run, slots_in_runner(&agent->slots) == 1);
    slots_abandon(&agent->slots, slot, INT64_MAX);
    work_report_given_up(agent, slot, STR_NONE);
    agent_replace_runner(agent, why, grace_ms(agent));
}

// The report of a process of ours waits for its end, which says what it used, unless nobody tells.
static void give_up(struct agent *agent, struct slot *slot)
{
    if (!slot->worker && agent->runner && runner_makes_processes(&agent->assignment)) {
        give_up_process_of_runner(agent, slot);
    } else if (!slot->worker) {
        give_up_thread(agent, slot);
    } else if (slot->given_up) {
        work_report_given_up(agent, slot, STR_NONE);
    } else {
        slot->given_up = true;
        slot->deadline = agent_now(agent) + END_MS;
        worker_kill(slot->worker);
    }
}

void work_watch(struct agent *agent)
{
    int64_t now = agent_now(agent);
    list_each (&agent->slots.in[SLOT_RUNNING], it, next) {
        struct slot *slot = list_entry(it, struct slot, node);
        if (slot->deadline <= now)
            give_up(agent, slot);
    }
    list_each (&agent->slots.in[SLOT_ABANDONED], at, after) {
        struct slot *slot = list_entry(at, struct slot, node);
        if (slot->deadline > now)
            continue;
        slot->deadline = INT64_MAX;
        agent_replace_runner(agent, "a dropped execution did not end", grace_ms(agent));
    }
    struct slot *oldest = slots_first(&agent->slots, SLOT_QUEUED);
    bool stuck = (int64_t)agent_in_runner(agent) >= agent->assignment.concurrency ||
                 agent->ask_after > now;  // else a process for it is being made
    if (oldest && now - oldest->arrived > WAIT_MOST_MS && !has_room(agent) && stuck) {
        // What runs now is long: others may have room sooner.
        work_return_queued(agent);
        agent->mean_us = SHORT_US * 4;
    }
}
