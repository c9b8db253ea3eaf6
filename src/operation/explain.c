// SPDX-License-Identifier: Apache-2.0
#include "operation/explain.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "model/execution.h"
#include "model/status.h"

#define WORDS_MAX 300  // bytes of an error in a sentence
#define LINE_MAX  1024

static void say(struct explain *out, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void say(struct explain *out, const char *fmt, ...)
{
    char line[LINE_MAX];
    va_list args;
    if (out->count == EXPLAIN_MAX)
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    char *clean = arena_alloc(out->arena, 3 * sizeof(line));
    size_t len = str_utf8_clean(str_of(line), clean);
    out->lines[out->count++] = (struct str){clean, len};
}

// The last line that is not empty says most of a traceback.
static struct str last_line(struct str text)
{
    struct str last = STR("");
    for (struct str rest = text; rest.at && rest.len;) {
        struct str line = str_trim(str_cut(&rest, '\n'));
        if (line.len)
            last = line;
    }
    last.len = last.len > WORDS_MAX ? WORDS_MAX : last.len;
    return last;
}

// A message as people wrote it: further lines are indented. Of a traceback the last line says most.
static struct str message_lines(struct arena *arena, struct str text)
{
    _cleanup_buf_ struct buf lines = BUF_INIT(2 * LINE_MAX);
    if (str_starts(text, STR("Traceback (")))
        return last_line(text);
    for (struct str rest = text; rest.at && rest.len > 0;) {
        struct str line = str_trim(str_cut(&rest, '\n'));
        if (line.len == 0)
            continue;
        if (lines.len > 0)
            buf_add_cstr(&lines, "\n  ");
        size_t left = lines.len < WORDS_MAX ? WORDS_MAX - lines.len : 0;
        buf_add(&lines, line.at, line.len < left ? line.len : left);
        if (line.len > left) {
            buf_add_cstr(&lines, " …");
            break;
        }
    }
    return arena_copy(arena, buf_str(&lines));
}

static struct str first_line(struct str text)
{
    struct str rest = text, first = str_trim(str_cut(&rest, '\n'));
    first.len = first.len > WORDS_MAX ? WORDS_MAX : first.len;
    return first;
}

static const char *time_text(struct arena *arena, int64_t ms)
{
    char *text = arena_alloc(arena, TIME_TEXT_SIZE);
    time_format(ms, text);
    return text;
}

static const char *span_text(struct arena *arena, int64_t ms)
{
    if (ms < 0)
        ms = 0;
    if (ms < 60000)
        return arena_printf(arena, "%.1f s", (double)ms / 1000).at;
    if (ms < 3600000)
        return arena_printf(arena, "%lld min", (long long)(ms / 60000)).at;
    return arena_printf(arena, "%lld h %lld min", (long long)(ms / 3600000),
                        (long long)(ms / 60000 % 60))
        .at;
}

static const struct inspect_agent *look_of(const struct explain_service *in, struct str id)
{
    for (size_t i = 0; i < in->look.agent_count; i++)
        if (str_eq(in->look.agents[i].replica_id, id))
            return &in->look.agents[i];
    return NULL;
}

static const char *waiting(struct arena *arena, int64_t count)
{
    return arena_printf(arena, "%lld execution%s", (long long)count,
                        count == 1 ? " waits" : "s wait")
        .at;
}

// ── a service ────────────────────────────────────────────────────────────────────────────────

static void explain_agent(const struct explain_service *in, const struct explain_agent *agent,
                          struct explain *out)
{
    const struct replica_status *status = &agent->status;
    const struct inspect_agent *look = look_of(in, agent->id);
    struct str words = last_line(status->message.len ? status->message : agent->doing);
    const char *dots = words.len ? ": " : "";
    long long leases = look ? (long long)look->leases : 0;
    if (status->phase == REPLICA_WAITING) {
        say(out,
            "Agent " STR_FMT " ended (" STR_FMT ") and starts again in %s (restart %lld)"
            "%s" STR_FMT,
            STR_ARG(agent->id), STR_ARG(status->reason.len ? status->reason : STR("Error")),
            span_text(out->arena, status->next_start_at - in->now), (long long)status->restarts + 1,
            dots, STR_ARG(words));
    } else if (status->phase == REPLICA_STOPPING) {
        say(out,
            "Agent " STR_FMT " of revision " STR_FMT
            " is draining: it takes nothing new and has %lld execution%s to finish",
            STR_ARG(agent->id), STR_ARG(status->revision), leases, leases == 1 ? "" : "s");
    } else if (look && look->silent) {
        say(out, "Agent " STR_FMT " was silent for a lease time and is being killed",
            STR_ARG(agent->id));
    } else if (agent->ready && look && look->ready) {
        say(out,
            "Agent " STR_FMT " of revision " STR_FMT
            " is ready and holds %lld of at most %lld executions, those it took ahead included",
            STR_ARG(agent->id), STR_ARG(status->revision), leases, (long long)look->capacity);
    } else {
        struct str doing = last_line(agent->doing);
        say(out, "Agent " STR_FMT " of revision " STR_FMT " is starting since %s%s" STR_FMT,
            STR_ARG(agent->id), STR_ARG(status->revision),
            span_text(out->arena, in->now - status->started_at), doing.len ? ": " : "",
            STR_ARG(doing));
    }
}

// What keeps all of the service's queue from moving. False: nothing.
static bool explain_standstill(const struct explain_service *in, struct explain *out)
{
    const struct service *service = in->service;
    size_t ready = 0;
    int64_t room = 0;
    if (!service->active) {
        say(out,
            "Service " STR_FMT " is paused (last changed by " STR_FMT " at %s): nothing runs until "
            "it is resumed (`drover resume " STR_FMT "`)",
            STR_ARG(service->name), STR_ARG(service->updated_by),
            time_text(out->arena, service->updated_at), STR_ARG(service->name));
        return true;
    }
    if (in->look.expected > 0) {
        say(out,
            "The server was restarted: executions are held back until %lld agent%s from before "
            "said what %s, at most %s more",
            (long long)in->look.expected, in->look.expected == 1 ? " has" : "s have",
            in->look.expected == 1 ? "it runs" : "they run",
            span_text(out->arena, in->look.held_ms));
        return true;
    }
    for (size_t i = 0; i < in->look.agent_count; i++) {
        const struct inspect_agent *agent = &in->look.agents[i];
        ready += agent->ready && !agent->silent;
        if (agent->ready && !agent->silent && agent->capacity > agent->leases)
            room += agent->capacity - agent->leases;
    }
    if (ready == 0) {
        if (in->wanted == 0) {
            say(out,
                "Service " STR_FMT " is to have 0 replicas: nothing runs until it has some "
                "(`drover scale " STR_FMT " 1`)",
                STR_ARG(service->name), STR_ARG(service->name));
            return true;
        }
        say(out, "No agent of service " STR_FMT " is ready", STR_ARG(service->name));
        if (in->agent_count == 0)
            say(out, "None has been started yet; it should have %lld", (long long)in->wanted);
        return true;
    }
    if (room == 0 && in->look.queued > 0) {
        say(out, "All slots of the %zu ready agent%s are busy", ready, ready == 1 ? "" : "s");
        return true;
    }
    return false;
}

static void explain_agents(const struct explain_service *in, struct explain *out)
{
    for (size_t i = 0; i < in->agent_count; i++)
        explain_agent(in, &in->agents[i], out);
}

void explain_service(const struct explain_service *in, struct explain *out)
{
    if (!explain_standstill(in, out))
        say(out, "Service " STR_FMT " takes executions", STR_ARG(in->service->name));
    explain_agents(in, out);
    say(out, "%s, %lld run%s", waiting(out->arena, in->look.queued), (long long)in->look.running,
        in->look.running == 1 ? "s" : "");
}

// ── an execution ─────────────────────────────────────────────────────────────────────────────

static void explain_attempts(const struct explain_execution *in, struct explain *out)
{
    for (size_t i = 0; i < in->rerun_count; i++)
        say(out, "An attempt ended at %s and it was queued again: " STR_FMT,
            time_text(out->arena, in->reruns[i].timestamp),
            STR_ARG(first_line(in->reruns[i].message.len ? in->reruns[i].message
                                                         : STR("it was asked for"))));
}

static int64_t timeout_of(const struct explain_execution *in)
{
    if (in->execution->timeout_s != INT_NONE)
        return in->execution->timeout_s;
    return in->of->service ? in->of->service->execution_timeout : INT_NONE;
}

// When it is ended whatever its function does; since: when it started, INT_NONE: unknown.
static void explain_end(const struct explain_execution *in, int64_t since, struct explain *out)
{
    const struct service *service = in->of->service;
    int64_t timeout_s = timeout_of(in);
    int64_t drain_s = service && service->drain_time > 0 ? service->drain_time
                                                         : EXECUTION_CANCEL_GRACE_S;
    int64_t over_at = timeout_s != INT_NONE && since != INT_NONE ? since + timeout_s * 1000
                                                                 : INT64_MAX;
    int64_t forced_at = INT64_MAX;
    if (in->execution->to_terminate && service) {
        // Each is the time of the asking or later: a restart moves the one, progress the other.
        int64_t asked_at = in->execution->updated_at;
        if (in->look.asked_at > 0 && in->look.asked_at < asked_at)
            asked_at = in->look.asked_at;
        forced_at = asked_at + drain_s * 1000;
    }
    if (in->execution->to_terminate)
        say(out, "It was asked to end: its function has to look at its kill event");
    if (forced_at < over_at)
        say(out, "If it does not end by itself, it is ended by force at %s (drainTime, %lld s)",
            time_text(out->arena, forced_at), (long long)drain_s);
    else if (over_at < INT64_MAX)
        say(out, "Its time (executionTimeout, %lld s) is over at %s", (long long)timeout_s,
            time_text(out->arena, over_at));
}

static void explain_running(const struct explain_execution *in, struct explain *out)
{
    const struct execution *execution = in->execution;
    int64_t now = in->of->now;
    // A lease that was taken over at a restart of the server is younger than what runs.
    bool noted = str_is(execution->status, "in-progress") && execution->started_at != INT_NONE;
    int64_t since = !noted && in->look.started_at > 0 ? in->look.started_at : execution->started_at;
    struct str agent = in->look.replica_id.at ? in->look.replica_id : execution->replica_id;
    if (in->look.place == INSPECT_ORPHAN) {
        say(out,
            "It ran when the server was restarted; its agent " STR_FMT
            " has not spoken since, and is waited for at most %s more",
            STR_ARG(execution->replica_id), span_text(out->arena, in->of->look.held_ms));
        return;
    }
    if (in->look.place == INSPECT_ENDING) {
        say(out, "Its end is being recorded%s", in->look.again ? "; then it is queued again" : "");
        return;
    }
    say(out, "It runs in agent " STR_FMT " since %s, for %s", STR_ARG(agent),
        since == INT_NONE ? "just now" : time_text(out->arena, since),
        span_text(out->arena, since == INT_NONE ? 0 : now - since));
    explain_end(in, since, out);
}

static void explain_queued(const struct explain_execution *in, struct explain *out)
{
    const struct execution *execution = in->execution;
    if (!in->of->service) {
        say(out, "Its service is deleted: it will be cancelled");
        return;
    }
    say(out, "It waits in the queue of service " STR_FMT " since %s, for %s",
        STR_ARG(in->of->service->name), time_text(out->arena, execution->created_at),
        span_text(out->arena, in->of->now - execution->created_at));
    say(out, "%s there in all, about %lld of them before it",
        waiting(out->arena, in->of->look.queued), (long long)in->ahead);
    if (!explain_standstill(in->of, out))
        say(out, "An agent has room: it is handed out in a moment");
    explain_agents(in->of, out);
}

static void explain_ended(const struct explain_execution *in, struct explain *out)
{
    const struct execution *execution = in->execution;
    struct json message;
    struct str why = execution->status_message;
    if (json_get(json_of(execution->error.at ? execution->error : STR("{}")), "message", &message))
        why = json_str(message, out->arena);
    say(out, "It ended with %.*s at %s", (int)execution->status.len, execution->status.at,
        execution->ended_at == INT_NONE ? "a time that nobody noted"
                                        : time_text(out->arena, execution->ended_at));
    if (execution->started_at != INT_NONE && execution->ended_at != INT_NONE)
        say(out, "Its last attempt ran %s in agent " STR_FMT,
            span_text(out->arena, execution->ended_at - execution->started_at),
            STR_ARG(execution->replica_id));
    if (!str_is(execution->status, "success") && why.len)
        say(out, "The reason: " STR_FMT, STR_ARG(message_lines(out->arena, why)));
    if (execution->attempts != INT_NONE && execution->attempts > 1)
        say(out, "%lld attempts were counted, %lld are allowed", (long long)execution->attempts,
            execution->max_attempts == INT_NONE ? 0 : (long long)execution->max_attempts);
}

void explain_execution(const struct explain_execution *in, struct explain *out)
{
    enum status status = status_parse(in->execution->status);
    explain_attempts(in, out);
    if (status_final(status))
        explain_ended(in, out);
    else if (status == STATUS_IN_PROGRESS || in->look.place != INSPECT_NOWHERE)
        explain_running(in, out);
    else
        explain_queued(in, out);
}
