// SPDX-License-Identifier: Apache-2.0
// Shared by the files of agent/agent: agent.c is its life, agent_start.c the way to a ready runner,
// agent_runner.c the runner's words, agent_work.c the executions, agent_processes.c their processes
// where they have some.
#ifndef DROVER_AGENT_AGENT_INTERNAL_H
#define DROVER_AGENT_AGENT_INTERNAL_H

#include <uv.h>

#include "agent/agent.h"
#include "agent/assignment.h"
#include "agent/credit.h"
#include "agent/link.h"
#include "agent/log_sender.h"
#include "agent/nursery.h"
#include "agent/runner_process.h"
#include "agent/sdk_proxy.h"
#include "agent/slots.h"
#include "base/clock.h"
#include "base/redact.h"
#include "net/loop.h"

struct code_job;
struct environment_job;

enum life {
    LIFE_STARTING,   // on the way to a ready runner
    LIFE_READY,      // takes executions
    LIFE_REPLACING,  // takes nothing new; its runner is to make place for another one
    LIFE_RELOADING,  // the same, and then the assignment is fetched anew
    LIFE_DRAINING,   // takes nothing new; ends when everything is done and told
    LIFE_LEAVING,    // ends as soon as the last words are told, or at leave_deadline
};

struct agent {
    const struct agent_spec *spec;
    struct log *log;
    const struct clock *clock;
    struct loop *loop;
    struct http_client *http;
    struct link *link;
    struct log_sender *logs;
    struct sdk_proxy *proxy;
    struct slots slots;
    uv_prepare_t turn;  // once a turn, before waiting: transitions and sending
    uv_signal_t on_quit;
    struct loop_timer *tick;  // while there is something to watch

    enum life life;
    bool unwanted;  // the server refused us
    int exit_code;  // with LIFE_LEAVING
    int64_t leave_deadline;

    struct arena *arena;  // of the assignment
    struct assignment assignment;
    bool assigned;
    struct redactor *redactor;  // of the service's secrets; NULL: it has none
    struct code_job *code_job;
    struct environment_job *environment_job;
    const char *code;    // folder; in the arena
    const char *python;  // interpreter; in the arena
    char phase[200];

    struct runner *runner;
    bool runner_ready;
    bool stop_sent, kill_sent;
    int64_t stop_deadline;  // when a runner that was told to stop is killed
    int64_t replace_deadline;
    int64_t ready_at;
    int64_t restart_ms;  // back-off
    struct loop_timer *restart;
    struct loop_timer *loading;  // until the runner is ready: its init may hang
    int deaths_before_ready;
    int64_t memory_kills;   // that were known when the last runner ended (agent/memory_limit.h)
    struct buf last_words;  // end of the runner's stderr
    bool output_paused;

    int64_t runs;            // executions that were begun, to tell them apart
    int64_t mean_us;         // of recent executions; -1: none yet
    struct credit credit;    // bytes of log frames that are not stored yet; runners are below 0
    int64_t credit_owner;    // the present runner
    int64_t credit_out;      // its bytes
    int64_t credit_to_give;  // stored, not yet given back

    struct nursery *nursery;  // with runExecutionAsProcess
    size_t busy;              // processes that were given an execution
    int64_t module_threads;   // so many threads of the module keep it from being forked; 0: none
    int64_t ask_after;        // mono ms: no process is asked for before, because of a failure
};

static inline int64_t agent_now(const struct agent *agent) { return clock_mono(agent->clock); }

// agent.c
void agent_set_phase(struct agent *agent, const char *phase);
void agent_enter(struct agent *agent, enum life life);
void agent_leave(struct agent *agent, int exit_code);  // last words, then the end
void agent_drain(struct agent *agent);
void agent_stop(struct agent *agent);
void agent_replace_runner(struct agent *agent, const char *why, int64_t grace_ms);
void agent_watch(struct agent *agent);  // ticks are needed from now on

size_t agent_in_runner(const struct agent *agent);  // executions of which something still runs

// agent_start.c
void agent_prepare(struct agent *agent);  // code → environment → runner
void agent_cancel_preparing(struct agent *agent);
void agent_start_runner(struct agent *agent);
void agent_write_load(struct agent *agent, const char *mode, struct buf *out);
void agent_loading_over(struct agent *agent);
void agent_system_line(struct agent *agent, const char *level, struct str message);

// agent_runner.c
// The same JSON, or text, without the service's secrets: itself, or in out.
struct json agent_redacted(const struct agent *agent, struct json value, struct buf *out);
struct str agent_redacted_text(const struct agent *agent, struct str text, struct buf *out);
void agent_on_frame(void *arg, struct str type, struct json frame);
bool agent_on_bad_frame(void *arg, struct str text, const char *why);
void agent_on_runner_line(void *arg, struct str line, bool from_stderr, int64_t run);
int64_t agent_whose_output(void *arg);
void agent_on_runner_exit(void *arg, int status, const char *broken);
// from: the process that says it; NULL: the runner.
void agent_take_log(struct agent *agent, struct json frame, struct worker *from);
bool agent_bad_frame(struct agent *agent, struct str text, const char *why, struct worker *from);
void agent_output_line(struct agent *agent, struct str line, bool from_stderr, struct slot *slot);
bool agent_was_too_large(struct agent *agent, int status);
void agent_on_stored(void *arg, int64_t credit);
void agent_give_credit(struct agent *agent);

// agent_work.c
void work_take(void *arg, struct json execution, int64_t lease_basis);
void work_terminate(void *arg, struct str id);
void work_drop(void *arg, struct str id, int64_t fence);
void work_result(struct agent *agent, struct json frame, struct worker *from);
// A result of which only the beginning is JSON. False: it does not say whose it is.
bool work_broken_result(struct agent *agent, struct json beginning, const char *why,
                        struct worker *from);
void work_progress(struct agent *agent, struct json frame, struct worker *from);
// A running one has failed; usage: members of JSON, or none.
void work_fail(struct agent *agent, struct slot *slot, const char *type, const char *message,
               struct str usage);
// What becomes of one that was ended from outside.
void work_report_given_up(struct agent *agent, struct slot *slot, struct str usage);
void work_start_queued(struct agent *agent);
void work_return_queued(struct agent *agent);
void work_return_running(struct agent *agent);  // after the runner's end
void work_lose_running(struct agent *agent, const char *reason);
void work_watch(struct agent *agent);  // timeouts, and those who do not end
int64_t work_capacity(const struct agent *agent);
bool work_result_soon(const struct agent *agent);  // what runs takes less than a pause does

// agent_processes.c
void processes_start(struct agent *agent);  // before the runner is started
void processes_runner_is(struct agent *agent, struct runner *runner);  // NULL: it has ended
void processes_ready(struct agent *agent);                             // the runner is
void processes_ask(struct agent *agent);  // for as many as may be needed soon; once a turn
struct worker *processes_idle(const struct agent *agent);  // one that may begin, or NULL
void processes_begin(struct agent *agent, struct worker *worker);
void processes_watch(struct agent *agent);  // those that are late; once a tick
void processes_stop_idle(struct agent *agent);
void processes_kill(struct agent *agent);                    // all
void processes_tell(struct agent *agent, struct str frame);  // to each one, with its length
void processes_stored(struct agent *agent, int64_t owner, int64_t bytes);

#endif
