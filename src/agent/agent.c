// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <signal.h>
#include <sodium.h>
#include <stdio.h>

#include "agent/agent_internal.h"
#include "base/mem.h"
#include "net/frame.h"
#include "net/http_client.h"

#define TICK_MS       100
#define STOP_GRACE_MS 5000   // for a runner that was told to stop and has nothing to do
#define LAST_WORDS_MS 10000  // how long reports and log lines may take at the agent's end
#define WORDS_MAX     (64u << 10)
#define TOKEN_MAX     (1u << 20)

static const char *state_word(enum life life)
{
    switch (life) {
    case LIFE_READY: return "ready";
    case LIFE_DRAINING:
    case LIFE_LEAVING: return "draining";
    case LIFE_STARTING:
    case LIFE_REPLACING:
    case LIFE_RELOADING: break;
    }
    return "starting";
}

void agent_set_phase(struct agent *agent, const char *phase)
{
    snprintf(agent->phase, sizeof(agent->phase), "%s", phase);
    link_set_state(agent->link, state_word(agent->life), agent->phase);
}

void agent_enter(struct agent *agent, enum life life)
{
    agent->life = life;
    link_set_state(agent->link, state_word(life), agent->phase);
    agent_watch(agent);
}

static void kill_runner(struct agent *agent)
{
    if (!agent->runner || agent->kill_sent)
        return;
    agent->kill_sent = true;
    runner_kill(agent->runner);
}

void agent_leave(struct agent *agent, int exit_code)
{
    if (agent->life == LIFE_LEAVING)
        return;
    agent_cancel_preparing(agent);
    agent_enter(agent, LIFE_LEAVING);
    agent->exit_code = exit_code;
    agent->leave_deadline = agent_now(agent) + LAST_WORDS_MS;
    work_return_queued(agent);
    if (agent->nursery) {
        work_return_running(agent);
        processes_kill(agent);
    }
    kill_runner(agent);
}

void agent_drain(struct agent *agent)
{
    if (agent->life >= LIFE_DRAINING)
        return;
    log_info(agent->log, "agent", "draining: %zu executions run", agent->slots.count[SLOT_RUNNING]);
    bool starting = agent->life == LIFE_STARTING;
    agent_set_phase(agent, "");
    agent_enter(agent, LIFE_DRAINING);
    work_return_queued(agent);
    if (starting) {
        agent_cancel_preparing(agent);
        kill_runner(agent);
    }
}

void agent_stop(struct agent *agent)
{
    log_info(agent->log, "agent", "stopping: %zu executions are handed back",
             agent->slots.count[SLOT_RUNNING] + agent->slots.count[SLOT_QUEUED]);
    agent_leave(agent, AGENT_EXIT_TOLD);
}

void agent_replace_runner(struct agent *agent, const char *why, int64_t grace_ms)
{
    int64_t deadline = agent_now(agent) + grace_ms;
    if (agent->life == LIFE_REPLACING && deadline < agent->replace_deadline)
        agent->replace_deadline = deadline;
    if (agent->life != LIFE_READY)
        return;
    log_warn(agent->log, "agent", "the runner is replaced: %s", why);
    agent_system_line(agent, "WARNING", str_of(why));
    agent->replace_deadline = deadline;
    agent_set_phase(agent, "replacing the runner");
    agent_enter(agent, LIFE_REPLACING);
    work_return_queued(agent);
}

static void reload(struct agent *agent)
{
    if (agent->life >= LIFE_RELOADING)
        return;
    log_info(agent->log, "agent", "reloading the assignment");
    agent_cancel_preparing(agent);
    agent->replace_deadline = INT64_MAX;
    agent_set_phase(agent, "reloading");
    agent_enter(agent, LIFE_RELOADING);
    work_return_queued(agent);
    if (!agent->runner)
        link_hello(agent->link);
    else if (!agent->runner_ready)
        kill_runner(agent);
}

// ── what the server says ─────────────────────────────────────────────────────────────────────

// The runner, and the processes of executions.
static void tell_all(struct agent *agent, struct str frame)
{
    if (agent->runner)
        buf_add_str(runner_out(agent->runner), frame);
    if (agent->nursery)
        processes_tell(agent, frame);
}

static void tell_token(struct agent *agent, const char *token)
{
    if (!agent->proxy)
        return;
    sdk_proxy_set_token(agent->proxy, token);
    agent->assignment.sdk_token = arena_cstr(agent->arena, str_of(token));
    _cleanup_buf_ struct buf out = BUF_INIT(TOKEN_MAX);
    size_t begun = frame_begin(&out);
    struct json_writer w = JSON_WRITER(&out);
    json_w_object(&w);
    json_w_pair_str(&w, "t", STR("token"));
    json_w_pair_str(&w, "token", str_of(token));
    json_w_object_end(&w);
    frame_end(&out, begun);
    tell_all(agent, buf_str(&out));
}

static bool sdk_moved(const struct assignment *now, const struct assignment *fresh)
{
    return !str_eq(str_of(now->sdk_url), str_of(fresh->sdk_url)) ||
           !str_eq(str_of(now->sdk_gate), str_of(fresh->sdk_gate)) ||
           !str_eq(now->sdk_certificate.text, fresh->sdk_certificate.text);
}

// Threads of the runner that are too many are just not given work.
static void on_concurrency(void *arg, int64_t concurrency)
{
    struct agent *agent = arg;
    if (concurrency < 1 || concurrency > CONCURRENCY_MOST ||
        concurrency == agent->assignment.concurrency)
        return;
    log_info(agent->log, "agent", "concurrency is %lld from now on", (long long)concurrency);
    agent->assignment.concurrency = concurrency;
    if (!agent->runner)
        return;
    struct buf *out = runner_out(agent->runner);
    size_t begun = frame_begin(out);
    struct json_writer w = JSON_WRITER(out);
    json_w_object(&w);
    json_w_pair_str(&w, "t", STR("settings"));
    json_w_pair_int(&w, "concurrency", concurrency);
    json_w_object_end(&w);
    frame_end(out, begun);
}

// Greeted again by a server that had forgotten us: the runner goes on with the assignment that it
// was started with; a changed one comes with a new replica, or with the command "reload".
static void take_session(struct agent *agent, const struct assignment *fresh)
{
    link_open(agent->link, fresh->session, fresh->lease_ms);
    agent->assignment.lease_ms = fresh->lease_ms;
    if (fresh->sdk_token && (!agent->assignment.sdk_token ||
                             strcmp(fresh->sdk_token, agent->assignment.sdk_token) != 0))
        tell_token(agent, fresh->sdk_token);
    if (!fresh->keep && fresh->dynamic_concurrency)
        on_concurrency(agent, fresh->concurrency);
    if (!fresh->keep && sdk_moved(&agent->assignment, fresh))
        reload(agent);  // dtlpy in the runner would go on calling where nobody is
}

static struct redactor *redactor_of(const struct assignment *assignment)
{
    struct redactor *redactor = assignment->env_count > 0 ? redactor_new() : NULL;
    for (size_t i = 0; i < assignment->env_count; i++) {
        struct str value = str_of(assignment->env[i]), name = str_cut(&value, '=');
        redactor_add(redactor, name, value);
    }
    return redactor;
}

static void on_assignment(void *arg, struct str body)
{
    struct agent *agent = arg;
    struct arena *arena = arena_new();
    struct assignment assignment;
    struct err err = ERR_INIT;
    if (assignment_parse(body, &assignment, arena, &err)) {
        log_error(agent->log, "agent", "%s %s", err.message, err.field);
        agent_leave(agent, AGENT_EXIT_ERROR);
        arena_free(arena);
        return;
    }
    if (assignment.keep) {
        if (agent->assigned)
            take_session(agent, &assignment);
        agent_drain(agent);
        arena_free(arena);
        return;
    }
    bool anew = !agent->assigned || agent->life == LIFE_RELOADING;
    if (agent->life >= LIFE_DRAINING || !anew) {
        take_session(agent, &assignment);
        arena_free(arena);
        return;
    }
    arena_free(agent->arena);
    agent->arena = arena;
    agent->assignment = assignment;
    agent->assigned = true;
    redactor_free(agent->redactor);
    agent->redactor = redactor_of(&assignment);
    agent_enter(agent, LIFE_STARTING);
    link_open(agent->link, assignment.session, assignment.lease_ms);
    agent_prepare(agent);
}

static void on_command(void *arg, struct str word)
{
    struct agent *agent = arg;
    if (str_is(word, "drain"))
        agent_drain(agent);
    else if (str_is(word, "stop"))
        agent_stop(agent);
    else if (str_is(word, "reload"))
        reload(agent);
    else
        log_warn(agent->log, "agent", "the server sent an unknown command, " STR_FMT,
                 STR_ARG(word));
}

static void on_token(void *arg, struct str token)
{
    struct agent *agent = arg;
    _cleanup_free_ char *text = mem_copy(token.at, token.len);
    tell_token(agent, text);
}

static void on_refused(void *arg, const char *why)
{
    struct agent *agent = arg;
    log_error(agent->log, "agent", "the server does not want this replica: %s", why);
    agent_leave(agent, AGENT_EXIT_UNWANTED);
    agent->exit_code = AGENT_EXIT_UNWANTED;
    agent->unwanted = true;
}

static void on_answered(void *arg) { (void)arg; }  // the turn's end does the rest

static void on_unknown(void *arg)
{
    struct agent *agent = arg;
    if (agent->assigned && agent->life < LIFE_LEAVING)
        link_hello(agent->link);
}

// ── the turn ─────────────────────────────────────────────────────────────────────────────────

static void close_agent(struct agent *agent)
{
    agent_cancel_preparing(agent);
    loop_timer_cancel(agent->tick);
    link_free(agent->link);
    agent->link = NULL;
    log_sender_free(agent->logs);
    agent->logs = NULL;
    http_client_free(agent->http);
    agent->http = NULL;
    sdk_proxy_stop(agent->proxy);
    agent->proxy = NULL;
    nursery_free(agent->nursery);
    agent->nursery = NULL;
    uv_close((uv_handle_t *)&agent->turn, NULL);
    uv_close((uv_handle_t *)&agent->on_quit, NULL);
    loop_stop(agent->loop);
}

static void tell_runner_to_stop(struct agent *agent)
{
    agent->stop_sent = true;
    agent->stop_deadline = agent_now(agent) + STOP_GRACE_MS;
    struct buf *out = runner_out(agent->runner);
    size_t begun = frame_begin(out);
    buf_add_cstr(out, "{\"t\":\"stop\"}");
    frame_end(out, begun);
}

size_t agent_in_runner(const struct agent *agent)
{
    return agent->nursery ? agent->busy : slots_in_runner(&agent->slots);
}

// Brings a runner that takes no more work to its end, politely when nothing hangs in it.
static void end_runner(struct agent *agent, int64_t deadline)
{
    int64_t now = agent_now(agent);
    if (!agent->runner || agent->kill_sent)
        return;
    if (agent->slots.count[SLOT_RUNNING] > 0 && now < deadline)
        return;
    if (agent->nursery)
        processes_kill(agent);
    if (slots_in_runner(&agent->slots) > 0)
        kill_runner(agent);
    else if (!agent->stop_sent)
        tell_runner_to_stop(agent);
    else if (now >= agent->stop_deadline)
        kill_runner(agent);
}

// True when the agent is over.
static bool move_on(struct agent *agent)
{
    bool told = link_settled(agent->link) && log_sender_idle(agent->logs);
    switch (agent->life) {
    case LIFE_STARTING: return false;
    case LIFE_READY: work_start_queued(agent); return false;
    case LIFE_REPLACING:
    case LIFE_RELOADING: end_runner(agent, agent->replace_deadline); return false;
    case LIFE_DRAINING:
        end_runner(agent, INT64_MAX);
        if (!agent->runner && agent->slots.count[SLOT_RUNNING] == 0 && link_settled(agent->link))
            agent_leave(agent, AGENT_EXIT_TOLD);
        return false;
    case LIFE_LEAVING: break;
    }
    if (agent->runner)
        return false;
    return told || agent->unwanted || !agent->assigned || agent_now(agent) >= agent->leave_deadline;
}

static void on_turn(uv_prepare_t *handle)
{
    struct agent *agent = handle->data;
    if (move_on(agent)) {
        close_agent(agent);
        return;
    }
    agent_give_credit(agent);
    bool crowded = log_sender_crowded(agent->logs);
    if (agent->runner && crowded != agent->output_paused) {
        agent->output_paused = crowded;
        runner_pause_output(agent->runner, crowded);
    }
    if (agent->runner)
        runner_flush(agent->runner);
    if (agent->nursery) {
        nursery_pause_output(agent->nursery, crowded);
        processes_ask(agent);
        nursery_flush(agent->nursery);
    }
    link_set_concurrency(agent->link, agent->assigned ? agent->assignment.concurrency : 0);
    link_set_capacity(agent->link, work_capacity(agent), work_result_soon(agent));
    link_set_logs(agent->link, log_sender_stored(agent->logs));
    link_flush(agent->link);
    log_sender_flush(agent->logs);
}

static void on_tick(void *arg)
{
    struct agent *agent = arg;
    work_watch(agent);
    processes_watch(agent);
    bool quiet = agent->life == LIFE_STARTING || agent->life == LIFE_READY;
    if (!quiet || slots_held(&agent->slots) > 0 || agent->slots.count[SLOT_ABANDONED] > 0 ||
        agent->busy > 0 || agent->module_threads > 0 || agent->ask_after > agent_now(agent))
        return;
    loop_timer_cancel(agent->tick);
    agent->tick = NULL;
}

void agent_watch(struct agent *agent)
{
    if (!agent->tick)
        agent->tick = loop_timer_start(agent->loop, TICK_MS, TICK_MS, on_tick, agent);
}

static void on_stop_signal(void *arg, int signal_number)
{
    (void)signal_number;
    agent_drain(arg);
}

static void on_quit_signal(uv_signal_t *handle, int signal_number)
{
    (void)signal_number;
    agent_stop(handle->data);
}

static void open_agent(struct agent *agent)
{
    const struct agent_spec *spec = agent->spec;
    agent->loop = loop_new();
    struct http_client_config http = {
        .base_url = spec->agent_url, .bearer = spec->token, .ca_file = spec->agent_ca};
    agent->http = http_client_new(agent->loop, &http);
    struct link_config link = {.loop = agent->loop,
                               .http = agent->http,
                               .log = agent->log,
                               .clock = agent->clock,
                               .replica_id = spec->replica_id,
                               .revision = spec->revision,
                               .slots = &agent->slots,
                               .on_assignment = on_assignment,
                               .on_execution = work_take,
                               .on_terminate = work_terminate,
                               .on_drop = work_drop,
                               .on_command = on_command,
                               .on_concurrency = on_concurrency,
                               .on_token = on_token,
                               .on_answered = on_answered,
                               .on_refused = on_refused,
                               .arg = agent};
    agent->link = link_new(&link);
    struct log_sender_config logs = {.loop = agent->loop,
                                     .http = agent->http,
                                     .log = agent->log,
                                     .clock = agent->clock,
                                     .replica_id = spec->replica_id,
                                     .on_stored = agent_on_stored,
                                     .on_unknown = on_unknown,
                                     .arg = agent};
    agent->logs = log_sender_new(&logs);
    uv_prepare_init(loop_uv(agent->loop), &agent->turn);
    agent->turn.data = agent;
    uv_prepare_start(&agent->turn, on_turn);
    uv_signal_init(loop_uv(agent->loop), &agent->on_quit);
    agent->on_quit.data = agent;
    uv_signal_start(&agent->on_quit, on_quit_signal, SIGQUIT);
    loop_on_stop_signal(agent->loop, on_stop_signal, agent);
}

int agent_run(const struct agent_spec *spec, struct log *log)
{
    if (sodium_init() < 0) {
        log_error(log, "agent", "the cryptographic library cannot be used");
        return AGENT_EXIT_ERROR;
    }
    struct agent *agent = mem_alloc(sizeof(*agent));
    agent->spec = spec;
    agent->log = log;
    agent->clock = clock_system();
    agent->arena = arena_new();
    agent->mean_us = -1;
    agent->last_words = BUF_INIT(WORDS_MAX);
    slots_init(&agent->slots);
    credit_init(&agent->credit);
    open_agent(agent);
    link_hello(agent->link);
    loop_run(agent->loop);
    loop_free(agent->loop);
    int exit_code = agent->exit_code;
    slots_deinit(&agent->slots);
    credit_deinit(&agent->credit);
    buf_deinit(&agent->last_words);
    arena_free(agent->arena);
    redactor_free(agent->redactor);
    mem_free(agent);
    return exit_code;
}
