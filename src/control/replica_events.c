// SPDX-License-Identifier: Apache-2.0
#include "control/replica_events.h"

#include <stdio.h>
#include <string.h>

#include "model/entity.h"

#define TEXT_MAX 1000  // bytes of an agent's last words in a message

static struct str end_of(struct str text)
{
    text = str_trim(text);
    if (text.len <= TEXT_MAX)
        return text;
    size_t cut = text.len - TEXT_MAX;
    while (cut < text.len && ((unsigned char)text.at[cut] & 0xC0) == 0x80)
        cut++;
    return (struct str){text.at + cut, text.len - cut};
}

struct str replica_how_ended(const struct replica_status *status, enum replica_silence silent,
                             struct arena *arena)
{
    if (silent == SILENCE_LEASE)
        return STR("was silent for a lease time and was killed");
    if (silent == SILENCE_START)
        return STR("did not greet the server after its start and was killed");
    if (str_is(status->reason, "OOMKilled"))
        return STR("used more memory than its pod type has and was killed");
    if (status->exit_code > 128)
        return arena_printf(arena, "was ended by signal %lld (%s)",
                            (long long)status->exit_code - 128,
                            strsignal((int)(status->exit_code - 128)));
    if (status->exit_code == INT_NONE)
        return STR("ended");
    return arena_printf(arena, "ended with exit code %lld", (long long)status->exit_code);
}

static struct str inputs_of(const struct replica_past *past, const struct replica_status *status,
                            int64_t wait_ms, struct arena *arena)
{
    _cleanup_buf_ struct buf text = BUF_INIT(4096);
    struct json_writer w = JSON_WRITER(&text);
    json_w_object(&w);
    json_w_pair_str(&w, "revision", status->revision);
    json_w_pair_int(&w, "restarts", status->restarts);
    if (status->exit_code != INT_NONE)
        json_w_pair_int(&w, "exitCode", status->exit_code);
    if (status->reason.at)
        json_w_pair_str(&w, "driverReason", status->reason);
    if (past->silent == SILENCE_LEASE)
        json_w_pair_bool(&w, "leaseExpired", true);
    if (wait_ms >= 0)
        json_w_pair_int(&w, "backoffMs", wait_ms);
    json_w_object_end(&w);
    return arena_copy(arena, buf_str(&text));
}

static void set(struct service_note *note, const char *reason, bool warning, struct str message)
{
    note->reason = reason;
    note->warning = warning;
    note->message = message;
}

static void note_end(const struct replica_past *past, const struct replica_status *status,
                     int64_t wait_ms, struct arena *arena, struct service_note *note)
{
    bool polite = str_is(status->reason, "Completed");
    bool killed = past->silent || status->exit_code > 128 || str_is(status->reason, "OOMKilled");
    struct str how = replica_how_ended(status, past->silent, arena),
               words = end_of(status->message);
    struct str then = wait_ms < 0 ? STR("")
                                  : arena_printf(arena, "; it starts again in %.1f s (back-off)",
                                                 (double)wait_ms / 1000);
    struct str message = arena_printf(arena, "the agent " STR_FMT STR_FMT "%s" STR_FMT,
                                      STR_ARG(how), STR_ARG(then), words.len ? ": " : "",
                                      STR_ARG(words));
    set(note,
        killed   ? "AgentKilled"
        : polite ? "AgentEnded"
                 : "AgentFailed",
        !polite || past->silent, message);
}

bool replica_event_observed(const struct replica_past *past, const struct replica_status *status,
                            int64_t now, struct arena *arena, struct service_note *note)
{
    int64_t wait_ms = status->phase == REPLICA_WAITING ? status->next_start_at - now : -1;
    if (status->phase == REPLICA_WAITING && wait_ms < 0)
        wait_ms = 0;
    if (past->seen && past->phase == status->phase)
        return false;
    *note = (struct service_note){.service_id = status->service_id,
                                  .kind = "replica",
                                  .subject = status->id,
                                  .inputs = inputs_of(past, status, wait_ms, arena)};
    switch (status->phase) {
    case REPLICA_STARTING:
    case REPLICA_RUNNING:
        if (past->seen && past->phase != REPLICA_WAITING)
            return false;
        if (!past->seen && !past->started)
            set(note, "AgentAdopted", false,
                STR("the agent outlived the last server and goes on under this one"));
        else
            set(note, "AgentStarted", false,
                arena_printf(arena, "an agent of revision " STR_FMT " was started%s",
                             STR_ARG(status->revision), status->restarts > 0 ? " again" : ""));
        return true;
    case REPLICA_STOPPING:
        set(note, "DrainBegan", false,
            STR("the agent takes nothing new, finishes what it runs, and ends"));
        return true;
    case REPLICA_WAITING:
        if (!past->seen && past->started && status->restarts == 0 && status->exit_code == INT_NONE)
            return false;  // new, and due at once
        note_end(past, status, wait_ms, arena, note);
        return true;
    case REPLICA_EXITED:
        if (past->seen && past->phase == REPLICA_STOPPING && !past->silent &&
            status->exit_code == 0)
            set(note, "DrainEnded", false, STR("the agent finished what it ran, and ended"));
        else
            note_end(past, status, -1, arena, note);
        return true;
    }
    return false;
}

void replica_event_ready(struct str replica_id, struct str revision, int64_t after_ms,
                         struct arena *arena, struct service_note *note)
{
    *note = (struct service_note){.kind = "replica", .subject = replica_id};
    struct str time = after_ms == INT_NONE ? STR("")
                                           : arena_printf(arena, ", %.1f s after its start",
                                                          (double)after_ms / 1000);
    set(note, "AgentReady", false,
        arena_printf(arena, "the agent of revision " STR_FMT " takes executions" STR_FMT,
                     STR_ARG(revision), STR_ARG(time)));
    if (after_ms != INT_NONE)
        note->inputs = arena_printf(arena, "{\"startMs\":%lld}", (long long)after_ms);
}

void replica_event_failed(struct str replica_id, struct str type, struct str text,
                          struct arena *arena, struct service_note *note)
{
    *note = (struct service_note){.kind = "replica", .subject = replica_id};
    struct str words = end_of(text);
    set(note, "StartFailed", true,
        arena_printf(arena, "the agent cannot start (" STR_FMT ")%s" STR_FMT,
                     STR_ARG(type.len ? type : STR("internal")), words.len ? ": " : "",
                     STR_ARG(words)));
}
