// SPDX-License-Identifier: Apache-2.0
// The agent between a server and a runner that say anything. Each line of the input is a step:
//   A json   the server's answer to the newest exchange      R text  it is refused for its content
//   H json   what the server says is held, after a hello     F json  a frame of the runner
//   L        the runner dies        Q  what waits goes back   T id    the server terminates
//   S        the runner has room    B text  a frame that is not JSON
// After each step the agent's next exchange is composed: it is JSON that the server's own reader
// takes, and names what is held. What the runner is told are frames that its scanner reads.
#include "agent/agent_internal.h"
#include "agent/link_internal.h"
// Agent and server each have their own of these.
#define log_line   server_log_line
#define assignment server_assignment
#include "api/agent_json.h"
#undef log_line
#undef assignment
#include "fuzz.h"
#include "net/frame.h"
#include "net/http_client.h"
#include "runner/python/channel.h"

static struct agent agent;
static struct agent_spec spec = {.replica_id = "r1"};
static struct clock_fake now;
static struct buf out;  // frames to the runner

// ── what lies around the agent (linked with --wrap) ──────────────────────────────────────────

struct http_call *__wrap_http_client_send(struct http_client *client,
                                          const struct http_call_config *call);
void __wrap_http_call_cancel(struct http_call *call);
struct buf *__wrap_runner_out(struct runner *runner);
void __wrap_runner_end_output(struct runner *runner, int64_t run, bool alone);
void __wrap_runner_kill(struct runner *runner);
void __wrap_agent_replace_runner(struct agent *self, const char *why, int64_t grace_ms);
void __wrap_agent_enter(struct agent *self, enum life life);
void __wrap_agent_leave(struct agent *self, int exit_code);
void __wrap_agent_set_phase(struct agent *self, const char *phase);
void __wrap_agent_watch(struct agent *self);
void __wrap_agent_loading_over(struct agent *self);

struct http_call *__wrap_http_client_send(struct http_client *client,
                                          const struct http_call_config *call)
{
    (void)client;
    struct buf body = call->body;
    fuzz_written(buf_str(&body));
    buf_deinit(&body);
    return NULL;
}
void __wrap_http_call_cancel(struct http_call *call) { (void)call; }
struct buf *__wrap_runner_out(struct runner *runner)
{
    (void)runner;
    return &out;
}
void __wrap_runner_end_output(struct runner *runner, int64_t run, bool alone)
{
    (void)runner, (void)run, (void)alone;
}
void __wrap_runner_kill(struct runner *runner) { (void)runner; }
void __wrap_agent_replace_runner(struct agent *self, const char *why, int64_t grace_ms)
{
    (void)self, (void)why, (void)grace_ms;
}
void __wrap_agent_enter(struct agent *self, enum life life) { self->life = life; }
void __wrap_agent_leave(struct agent *self, int exit_code) { (void)self, (void)exit_code; }
void __wrap_agent_set_phase(struct agent *self, const char *phase) { (void)self, (void)phase; }
void __wrap_agent_watch(struct agent *self) { (void)self; }
void __wrap_agent_loading_over(struct agent *self) { (void)self; }

static void on_command(void *arg, struct str word) { (void)arg, (void)word; }
static void on_unknown(void *arg) { (void)arg; }

// ── making one ───────────────────────────────────────────────────────────────────────────────

static void open_agent(void)
{
    static char runner;
    clock_fake_init(&now);
    now.mono_ms = 1000000;
    agent.loop = loop_new();
    agent.log = log_new(2, LOG_ERROR + 1, LOG_TEXT);
    agent.clock = &now.clock;
    agent.spec = &spec;
    agent.runner = (struct runner *)(void *)&runner;
}

static void begin(void)
{
    agent.life = LIFE_READY;
    agent.runner_ready = true;
    agent.mean_us = -1;
    agent.assignment = (struct assignment){
        .concurrency = 2, .execution_timeout_s = 60, .output_bytes = 200, .drain_ms = 1000};
    slots_init(&agent.slots);
    agent.link = link_new(&(struct link_config){.loop = agent.loop,
                                                .log = agent.log,
                                                .clock = agent.clock,
                                                .replica_id = "r1",
                                                .revision = "v1",
                                                .slots = &agent.slots,
                                                .on_execution = work_take,
                                                .on_terminate = work_terminate,
                                                .on_drop = work_drop,
                                                .on_command = on_command,
                                                .on_token = on_command,
                                                .arg = &agent});
    link_open(agent.link, "s1", 15000);
    agent.logs = log_sender_new(&(struct log_sender_config){.loop = agent.loop,
                                                            .log = agent.log,
                                                            .clock = agent.clock,
                                                            .replica_id = "r1",
                                                            .on_stored = agent_on_stored,
                                                            .on_unknown = on_unknown,
                                                            .arg = &agent});
    out = BUF_INIT(64 << 20);
}

static void end(void)
{
    link_free(agent.link);
    log_sender_free(agent.logs);
    slots_deinit(&agent.slots);
    buf_deinit(&out);
    uv_run(loop_uv(agent.loop), UV_RUN_NOWAIT);
}

// ── what must hold ───────────────────────────────────────────────────────────────────────────

static void check_frames(struct arena *arena)
{
    size_t used = 0;
    struct str text;
    struct err err = ERR_INIT;
    while (frame_next(buf_str(&out), &used, &text, &err) == 1) {
        struct json frame = fuzz_written(text), id;
        struct scan scan;
        struct span name, value;
        bool found = false;
        HOLDS(json_get(frame, "id", &id) && json_str(id, arena).len > 0, STR_FMT, STR_ARG(text));
        HOLDS(scan_object(&scan, (struct span){text.at, text.len}), STR_FMT, STR_ARG(text));
        while (scan_member(&scan, &name, &value) == 1)
            found |= span_is(name, "id") && str_eq((struct str){value.at, value.size}, id.text);
        HOLDS(found, STR_FMT, STR_ARG(text));
    }
    HOLDS(used == out.len, "bytes that are no frame: %s", err.message);
    buf_clear(&out);
}

static void compose(struct exchange *exchange, struct arena *arena)
{
    struct err err = ERR_INIT;
    struct dispatch_exchange x = {.arena = arena};
    int64_t seq;
    size_t returned = 0;
    exchange->link = agent.link;
    exchange->seq = ++agent.link->seq;
    exchange->sent_at = now.mono_ms;
    exchange->reports = 0;
    exchange->failure = false;
    static const enum slot_state told[] = {SLOT_NEWS, SLOT_SENT};
    for (int i = 0; i < 2; i++)
        list_each (&agent.slots.in[told[i]], it, next)
            returned += list_entry(it, struct slot, node)->news == NEWS_RETURNED;
    size_t held = slots_held(&agent.slots) - returned;
    _cleanup_buf_ struct buf body = link_compose(agent.link, exchange);
    struct json json = fuzz_written(buf_str(&body));
    HOLDS(agent_read_exchange(json, 0, &x, &seq, &err) == 0, "%s: " STR_FMT, err.message,
          STR_ARG(buf_str(&body)));
    HOLDS(seq == exchange->seq && x.held_count == held, "%zu held, %zu told", held, x.held_count);
    for (size_t i = 0; i < x.result_count; i++)
        HOLDS(slots_find(&agent.slots, x.results[i].ref.id), "a result of nobody: " STR_FMT,
              STR_ARG(x.results[i].ref.id));
}

static void take_frame(struct str text)
{
    struct json frame, type;
    struct err err = ERR_INIT;
    _cleanup_arena_ struct arena *arena = arena_new();
    if (json_parse(text, JSON_DEPTH_LIMIT, &frame, &err) < 0)
        (void)agent_on_bad_frame(&agent, text, err.message);
    else if (json_get(frame, "t", &type) && type.type == JSON_STRING)
        agent_on_frame(&agent, json_str(type, arena), frame);
}

static void step(char what, struct str text, struct exchange *exchange)
{
    struct json json;
    switch (what) {
    case 'A': link_answered(exchange, text); break;
    case 'R': link_content_refused(exchange, 413, text); break;
    case 'H':
        if (fuzz_json(text, &json))
            link_confirm_held(agent.link, json);
        break;
    case 'F': take_frame(text); break;
    case 'B': (void)agent_on_bad_frame(&agent, text, "said the input"); break;
    case 'L': work_lose_running(&agent, "the runner ended"); break;
    case 'Q': work_return_queued(&agent); break;
    case 'T': work_terminate(&agent, text); break;
    case 'S': work_start_queued(&agent); break;
    default: break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = input_of(data, size);
    struct exchange exchange = {0};
    if (!agent.loop)
        open_agent();
    begin();
    for (int n = 0; in.len > 0 && n < 50; n++) {
        _cleanup_arena_ struct arena *arena = arena_new();
        struct str line = input_line(&in);
        compose(&exchange, arena);
        struct str text = line.len > 2 ? (struct str){line.at + 2, line.len - 2} : STR("");
        step(line.len ? line.at[0] : ' ', text, &exchange);
        buf_deinit(&exchange.progress);
        check_frames(arena);
    }
    end();
    return 0;
}
