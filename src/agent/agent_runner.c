// SPDX-License-Identifier: Apache-2.0
// What the runner says, and what its end means.
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>

#include "agent/agent_internal.h"
#include "agent/child.h"
#include "agent/memory_limit.h"
#include "model/execution.h"
#include "net/frame.h"

#define CREDIT_STEP      (128 << 10)  // given back in pieces of at least so much
#define CREDIT_MOST      (64 << 20)   // a runner that overdraws by so much does not keep the rules
#define LAST_WORDS_BYTES 2048
#define BEGINNING_BYTES  512  // of a frame that is not JSON, in which to look for whose it is
#define DEATHS_MOST      3
#define RESTART_FIRST_MS 100
#define RESTART_MOST_MS  10000
#define STEADY_MS        60000  // a runner that was ready for so long starts the back-off anew

struct json agent_redacted(const struct agent *agent, struct json value, struct buf *out)
{
    return redact_json(agent->redactor, value.text, out) ? json_of(buf_str(out)) : value;
}

struct str agent_redacted_text(const struct agent *agent, struct str text, struct buf *out)
{
    return redact_text(agent->redactor, text, out) ? buf_str(out) : text;
}

// ── frames ───────────────────────────────────────────────────────────────────────────────────

static bool is_last(const struct log_line *line)
{
    return str_is(line->raw_message, "\"" EXECUTION_LAST_LINE "\"");
}

// Whose line it is: NULL also for one that was ended from outside, whose thread still says
// something. Its last line waits for what came through the pipes.
static struct slot *owner_of(struct agent *agent, const struct log_line *line, struct worker *from)
{
    struct str id = line->raw_execution;
    if (id.len < 2)
        return NULL;
    struct slot *slot = slots_find(&agent->slots, (struct str){id.at + 1, id.len - 2});
    if (!slot || slot->state != SLOT_RUNNING || slot->worker != from)
        return NULL;
    if (is_last(line) && from)
        worker_end_output(from);
    else if (is_last(line))
        runner_end_output(agent->runner, slot->run, slots_in_runner(&agent->slots) == 1);
    else
        slot->has_log = true;
    return slot;
}

// Lines on their way to the server cost their writer credit; one that overdraws it does not keep
// the rules.
static void charge(struct agent *agent, struct worker *from, int64_t bytes)
{
    int64_t *out = from ? &from->credit_out : &agent->credit_out;
    *out += bytes;
    credit_add(&agent->credit, from ? from->number : agent->credit_owner, bytes);
    if (*out > CREDIT_MOST && from)
        worker_kill(from);
    else if (*out > CREDIT_MOST)
        runner_kill(agent->runner);
}

void agent_take_log(struct agent *agent, struct json frame, struct worker *from)
{
    struct log_line line = {.credit = (int64_t)frame.text.len, .level = "INFO"};
    _cleanup_buf_ struct buf clean = BUF_INIT(SIZE_MAX);
    frame = agent_redacted(agent, frame, &clean);
    struct json_iter it = json_each(frame);
    struct str key;
    for (struct json value; json_next(&it, &key, &value);) {
        if (str_is(key, "at"))
            (void)json_int(value, &line.at);
        else if (str_is(key, "level") && json_is(value, JSON_STRING))
            line.raw_level = value.text;
        else if (str_is(key, "id") && json_is(value, JSON_STRING))
            line.raw_execution = value.text;
        else if (str_is(key, "function"))
            line.raw_function = value.text;
        else if (str_is(key, "message") && json_is(value, JSON_STRING))
            line.raw_message = value.text;
    }
    const struct slot *owner = line.raw_execution.len > 0 ? owner_of(agent, &line, from) : NULL;
    if (!owner)
        line.raw_execution = line.raw_function = STR_NONE;
    // The last line of a log without others is left out: whoever reads such a log is given it.
    if (owner && !owner->has_log && is_last(&line)) {
        if (from)
            from->credit_to_give += line.credit;
        else
            agent->credit_to_give += line.credit;
        return;
    }
    charge(agent, from, line.credit);
    log_sender_add(agent->logs, &line);
}

static void take_ready(struct agent *agent, struct json frame)
{
    log_info(agent->log, "agent", "the runner is ready: " STR_FMT, STR_ARG(frame.text));
    agent_loading_over(agent);
    runner_end_output(agent->runner, 0, true);
    agent->runner_ready = true;
    agent->ready_at = agent_now(agent);
    agent->deaths_before_ready = 0;
    if (agent->nursery)
        processes_ready(agent);
    if (agent->life == LIFE_STARTING) {
        agent_set_phase(agent, "");
        agent_enter(agent, LIFE_READY);
    }
}

static void take_failed(struct agent *agent, struct json frame)
{
    if (agent->life == LIFE_LEAVING)
        return;
    static const char *const types[] = {"codebase", "init", "authorization", "internal"};
    struct json type = {0}, error = {0}, message = {0};
    _cleanup_buf_ struct buf clean = BUF_INIT(SIZE_MAX);
    frame = agent_redacted(agent, frame, &clean);
    json_get(frame, "type", &type);
    json_get(frame, "error", &error);
    json_get(error, "message", &message);
    const char *known = "internal";
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
        if (json_is(type, JSON_STRING) && type.text.len == strlen(types[i]) + 2 &&
            memcmp(type.text.at + 1, types[i], strlen(types[i])) == 0)
            known = types[i];
    log_error(agent->log, "agent", "the service cannot start (%s): %.*s", known,
              (int)(message.text.len < 600 ? message.text.len : 600),
              message.text.at ? message.text.at : "");
    link_failure(agent->link, known, error, NULL);
    agent_leave(agent, AGENT_EXIT_FAILED);
}

void agent_on_frame(void *arg, struct str type, struct json frame)
{
    struct agent *agent = arg;
    if (str_is(type, "result"))
        work_result(agent, frame, NULL);
    else if (str_is(type, "log"))
        agent_take_log(agent, frame, NULL);
    else if (str_is(type, "progress"))
        work_progress(agent, frame, NULL);
    else if (str_is(type, "ready"))
        take_ready(agent, frame);
    else if (str_is(type, "failed"))
        take_failed(agent, frame);
    else if (str_is(type, "reset"))
        agent_replace_runner(agent, "user code asked for a new runner", INT64_MAX / 4);
}

// A frame that is not JSON may still say in its first members whose result it is; then only that
// execution suffers.
bool agent_bad_frame(struct agent *agent, struct str text, const char *why, struct worker *from)
{
    _cleanup_buf_ struct buf head = BUF_INIT(BEGINNING_BYTES + 1);
    for (size_t i = 0; i < text.len && i < BEGINNING_BYTES; i++) {
        struct json frame, type;
        struct err err = ERR_INIT;
        if (text.at[i] != ',')
            continue;
        buf_clear(&head);
        buf_add(&head, text.at, i);
        buf_add_char(&head, '}');
        if (json_parse(buf_str(&head), 0, &frame, &err) == 0 && json_get(frame, "t", &type) &&
            str_is(type.text, "\"result\"") && work_broken_result(agent, frame, why, from))
            return true;
    }
    return false;
}

bool agent_on_bad_frame(void *arg, struct str text, const char *why)
{
    return agent_bad_frame(arg, text, why, NULL);
}

// Output that does not come through the runner's own logging (from C code, or a program): whose it
// is can be said only when one execution runs.
int64_t agent_whose_output(void *arg)
{
    struct agent *agent = arg;
    struct slot *only = slots_first(&agent->slots, SLOT_RUNNING);
    return only && slots_in_runner(&agent->slots) == 1 ? only->run : 0;
}

static struct slot *slot_of_run(const struct agent *agent, int64_t run)
{
    list_each (&agent->slots.in[SLOT_RUNNING], it, next) {
        struct slot *slot = list_entry(it, struct slot, node);
        if (slot->run == run)
            return slot;
    }
    return NULL;
}

// A line without secrets.
static void output_line(struct agent *agent, struct str line, bool from_stderr, struct slot *slot)
{
    if (slot)
        slot->has_log = true;
    struct log_line out = {.at = clock_wall(agent->clock),
                           .level = from_stderr ? "ERROR" : "INFO",
                           .execution = slot ? slot_id(slot) : STR_NONE,
                           .raw_function = slot ? buf_str(&slot->function) : STR_NONE,
                           .message = line};
    log_sender_add(agent->logs, &out);
}

void agent_on_runner_line(void *arg, struct str line, bool from_stderr, int64_t run)
{
    struct agent *agent = arg;
    _cleanup_buf_ struct buf clean = BUF_INIT(SIZE_MAX);
    line = agent_redacted_text(agent, line, &clean);
    if (from_stderr) {
        buf_add_str(&agent->last_words, line);
        buf_add_char(&agent->last_words, '\n');
        if (agent->last_words.len > LAST_WORDS_BYTES)
            buf_drop_front(&agent->last_words, agent->last_words.len - LAST_WORDS_BYTES);
    }
    output_line(agent, line, from_stderr, slot_of_run(agent, run));
}

void agent_output_line(struct agent *agent, struct str line, bool from_stderr, struct slot *slot)
{
    _cleanup_buf_ struct buf clean = BUF_INIT(SIZE_MAX);
    output_line(agent, agent_redacted_text(agent, line, &clean), from_stderr, slot);
}

// ── credit for log frames ────────────────────────────────────────────────────────────────────

static void on_stored_of(void *arg, int64_t owner, int64_t bytes)
{
    struct agent *agent = arg;
    if (owner > 0) {
        processes_stored(agent, owner, bytes);
    } else if (owner == agent->credit_owner) {
        agent->credit_out -= bytes;
        agent->credit_to_give += bytes;
    }
}

void agent_on_stored(void *arg, int64_t credit)
{
    struct agent *agent = arg;
    credit_stored(&agent->credit, credit, on_stored_of, agent);
}

static void give(struct buf *out, int64_t *bytes)
{
    if (*bytes < CREDIT_STEP)
        return;
    size_t begun = frame_begin(out);
    struct json_writer w = JSON_WRITER(out);
    json_w_object(&w);
    json_w_pair_str(&w, "t", STR("credit"));
    json_w_pair_int(&w, "bytes", *bytes);
    json_w_object_end(&w);
    frame_end(out, begun);
    *bytes = 0;
}

void agent_give_credit(struct agent *agent)
{
    if (agent->runner)
        give(runner_out(agent->runner), &agent->credit_to_give);
    if (!agent->nursery)
        return;
    for (struct worker *at = NULL; (at = nursery_next(agent->nursery, at));)
        give(worker_out(at), &at->credit_to_give);
}

// ── its end ──────────────────────────────────────────────────────────────────────────────────

static void on_restart(void *arg)
{
    struct agent *agent = arg;
    agent->restart = NULL;
    agent_start_runner(agent);
}

static void restart_later(struct agent *agent, bool was_ready)
{
    bool steady = was_ready && agent_now(agent) - agent->ready_at > STEADY_MS;
    if (agent->restart_ms == 0 || steady)
        agent->restart_ms = RESTART_FIRST_MS;
    agent_set_phase(agent, "restarting the runner");
    agent_enter(agent, LIFE_STARTING);
    agent->restart = loop_timer_start(agent->loop, agent->restart_ms, 0, on_restart, agent);
    agent->restart_ms = agent->restart_ms * 2 > RESTART_MOST_MS ? RESTART_MOST_MS
                                                                : agent->restart_ms * 2;
}

static void died_unexpectedly(struct agent *agent, const char *reason, bool was_ready)
{
    log_error(agent->log, "agent", "%s", reason);
    if (!was_ready && ++agent->deaths_before_ready >= DEATHS_MOST) {
        char message[700];
        struct str words = str_trim(buf_str(&agent->last_words));
        snprintf(message, sizeof(message), "%s before it was ready%s%.*s", reason,
                 words.len > 0 ? ": " : "", (int)(words.len < 450 ? words.len : 450),
                 words.len < 450 ? words.at : words.at + words.len - 450);
        link_failure(agent->link, "init", (struct json){0}, message);
        agent_leave(agent, AGENT_EXIT_RUNNER);
        return;
    }
    work_return_queued(agent);
    restart_later(agent, was_ready);
}

// With cgroups v1 the kernel kills the runner alone; with v2 the whole replica goes at once.
bool agent_was_too_large(struct agent *agent, int status)
{
    int64_t before = agent->memory_kills;
    agent->memory_kills = memory_limit_kills(agent->spec->folder);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && agent->memory_kills > before;
}

void agent_on_runner_exit(void *arg, int status, const char *broken)
{
    struct agent *agent = arg;
    bool was_ready = agent->runner_ready, expected = agent->stop_sent || agent->kill_sent;
    agent_loading_over(agent);
    agent->runner = NULL;
    agent->runner_ready = agent->output_paused = false;
    agent->credit_owner--;
    agent->credit_out = agent->credit_to_give = 0;
    char how[96], reason[360];
    child_describe(status, how, sizeof(how));
    if (agent_was_too_large(agent, status))
        broken = "it used more memory than its pod type has (runtime.podType)";
    snprintf(reason, sizeof(reason), "the runner ended: %s%s%s", how, broken ? "; " : "",
             broken ? broken : "");
    if (agent->nursery)
        processes_runner_is(agent, NULL);  // executions go on in their processes
    else if (agent->life == LIFE_LEAVING)
        work_return_running(agent);
    else
        work_lose_running(agent,
                          expected ? "the runner was replaced to end another execution" : reason);
    if (!expected)
        agent_system_line(agent, "ERROR", str_of(reason));
    switch (agent->life) {
    case LIFE_LEAVING:
    case LIFE_DRAINING: return;
    case LIFE_RELOADING: link_hello(agent->link); return;
    case LIFE_REPLACING:
        if (expected) {
            agent_enter(agent, LIFE_STARTING);
            agent_start_runner(agent);
            return;
        }
        break;
    case LIFE_STARTING:
    case LIFE_READY: break;
    }
    died_unexpectedly(agent, reason, was_ready);
}
