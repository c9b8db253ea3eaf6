// SPDX-License-Identifier: Apache-2.0
// From an assignment to a ready runner: code, environment, process.
#include "agent/agent_internal.h"
#include "agent/code.h"
#include "agent/environment.h"
#include "agent/memory_limit.h"
#include "agent/runner_choice.h"
#include "agent/runner_setup.h"

void agent_system_line(struct agent *agent, const char *level, struct str message)
{
    struct log_line line = {
        .at = clock_wall(agent->clock), .level = level, .message = message, .system = true};
    log_sender_add(agent->logs, &line);
}

static void on_phase(void *arg, const char *phase)
{
    struct agent *agent = arg;
    if (strcmp(agent->phase, phase) == 0)
        return;
    log_info(agent->log, "agent", "%s", phase);
    agent_set_phase(agent, phase);
    agent_system_line(agent, "INFO", str_of(phase));
}

// Output of git, venv and pip.
static void on_line(void *arg, struct str line, bool from_stderr)
{
    (void)from_stderr;  // git says everything there
    struct agent *agent = arg;
    struct str text = str_trim(line);
    if (text.len == 0)
        return;
    const char *level = str_starts(text, STR("ERROR"))     ? "ERROR"
                        : str_starts(text, STR("fatal:"))  ? "ERROR"
                        : str_starts(text, STR("WARNING")) ? "WARNING"
                                                           : "INFO";
    agent_system_line(agent, level, text);
}

static void fail(struct agent *agent, const char *type, const struct err *err)
{
    log_error(agent->log, "agent", "the service cannot start (%s): %s", type, err->message);
    // Not a system line: whoever reads the service's log must see why it does not start.
    struct log_line line = {
        .at = clock_wall(agent->clock), .level = "ERROR", .message = str_of(err->message)};
    log_sender_add(agent->logs, &line);
    link_failure(agent->link, type, (struct json){0}, err->message);
    agent_leave(agent, AGENT_EXIT_FAILED);
}

// ── the runner ───────────────────────────────────────────────────────────────────────────────

void agent_loading_over(struct agent *agent)
{
    loop_timer_cancel(agent->loading);
    agent->loading = NULL;
}

static void on_loading_late(void *arg)
{
    struct agent *agent = arg;
    struct err err = ERR_INIT;
    agent_loading_over(agent);
    err_set(&err, ERR_UNAVAILABLE,
            "timeout: importing the module and its init took longer than %lld s "
            "(executionTimeout)",
            (long long)agent->assignment.execution_timeout_s);
    fail(agent, "init", &err);
}

static struct runner_setup setup_of(const struct agent *agent)
{
    return (struct runner_setup){.assignment = &agent->assignment,
                                 .folder = agent->spec->folder,
                                 .code = agent->code,
                                 .python = agent->python,
                                 .base_python = agent->spec->python,
                                 .replica_id = agent->spec->replica_id,
                                 .proxy = agent->proxy};
}

void agent_write_load(struct agent *agent, const char *mode, struct buf *out)
{
    const struct runner_setup setup = setup_of(agent);
    runner_setup_load(&setup, mode, out);
}

void agent_start_runner(struct agent *agent)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    const struct runner_setup setup = setup_of(agent);
    const struct assignment *assignment = &agent->assignment;
    const struct runner_programs programs = {agent->spec->runner, agent->python, agent->spec->node};
    bool nursery = assignment->run_as_process && !runner_makes_processes(assignment);
    struct runner_config config = {.loop = agent->loop,
                                   .argv = runner_choice_program(assignment, &programs, arena),
                                   .env = runner_setup_env(&setup, arena),
                                   .folder = agent->code,
                                   .nursery = nursery,
                                   .line_bytes = (size_t)assignment->log_line_bytes,
                                   .on_frame = agent_on_frame,
                                   .on_bad_frame = agent_on_bad_frame,
                                   .on_line = agent_on_runner_line,
                                   .whose = agent_whose_output,
                                   .on_exit = agent_on_runner_exit,
                                   .arg = agent};
    struct err err = ERR_INIT;
    on_phase(agent, "starting the runner");
    buf_clear(&agent->last_words);
    agent->stop_sent = agent->kill_sent = agent->runner_ready = false;
    if (assignment->run_as_process)
        memory_limit_one(agent->spec->folder);
    if (nursery) {
        processes_start(agent);
    } else {
        nursery_free(agent->nursery);
        agent->nursery = NULL;
    }
    agent->runner = runner_start(&config, &err);
    if (!agent->runner) {
        runner_choice_explain(assignment, &err);
        fail(agent, "internal", &err);
        return;
    }
    agent->credit_owner--;
    if (agent->nursery)
        processes_runner_is(agent, agent->runner);
    int64_t limit_s = assignment->execution_timeout_s;
    if (limit_s > 0 && limit_s < INT64_MAX / 4000)
        agent->loading = loop_timer_start(agent->loop, limit_s * 1000, 0, on_loading_late, agent);
    runner_setup_load(&setup, assignment->run_as_process ? "processes" : "threads",
                      runner_out(agent->runner));
}

// ── preparing ────────────────────────────────────────────────────────────────────────────────

static void on_environment(void *arg, const char *python, const struct err *err)
{
    struct agent *agent = arg;
    agent->environment_job = NULL;
    if (!python) {
        fail(agent, "requirements", err);
        return;
    }
    agent->python = arena_cstr(agent->arena, str_of(python));
    agent_start_runner(agent);
}

static void on_code(void *arg, const char *path, const struct err *err)
{
    struct agent *agent = arg;
    agent->code_job = NULL;
    if (!path) {
        fail(agent, err->kind == ERR_UNAVAILABLE ? "internal" : "codebase", err);
        return;
    }
    agent->code = arena_cstr(agent->arena, str_of(path));
    if (runner_choice(&agent->assignment) != MODULE_PYTHON) {
        agent->python = agent->spec->python;
        agent_start_runner(agent);
        return;
    }
    struct environment_config config = {.loop = agent->loop,
                                        .log = agent->log,
                                        .cache = agent->spec->cache,
                                        .folder = agent->spec->folder,
                                        .python = agent->spec->python,
                                        .assignment = &agent->assignment,
                                        .on_phase = on_phase,
                                        .on_line = on_line,
                                        .on_done = on_environment,
                                        .arg = agent};
    agent->environment_job = environment_start(&config);
}

static int start_proxy(struct agent *agent, struct err *err)
{
    const struct assignment *assignment = &agent->assignment;
    if (!assignment->sdk_token || !assignment->sdk_url) {
        sdk_proxy_stop(agent->proxy);
        agent->proxy = NULL;
        return 0;
    }
    if (agent->proxy)
        sdk_proxy_set_token(agent->proxy, assignment->sdk_token);
    else
        agent->proxy = sdk_proxy_start(agent->loop, agent->log, assignment->sdk_token, err);
    return agent->proxy ? 0 : -1;
}

void agent_prepare(struct agent *agent)
{
    struct err err = ERR_INIT;
    if (agent->assignment.refusal) {
        err_set(&err, ERR_CONFLICT, "%s", agent->assignment.refusal);
        fail(agent, "internal", &err);
        return;
    }
    if (runner_setup_folders(agent->spec->folder, &err) || start_proxy(agent, &err)) {
        fail(agent, "internal", &err);
        return;
    }
    struct code_config config = {.loop = agent->loop,
                                 .http = agent->http,
                                 .log = agent->log,
                                 .cache = agent->spec->cache,
                                 .replica_id = agent->spec->replica_id,
                                 .folder = agent->spec->folder,
                                 .git_file = agent->spec->git_file,
                                 .code = &agent->assignment.code,
                                 .on_phase = on_phase,
                                 .on_line = on_line,
                                 .on_done = on_code,
                                 .arg = agent};
    agent->code_job = code_start(&config);
}

void agent_cancel_preparing(struct agent *agent)
{
    code_cancel(agent->code_job);
    agent->code_job = NULL;
    environment_cancel(agent->environment_job);
    agent->environment_job = NULL;
    loop_timer_cancel(agent->restart);
    agent->restart = NULL;
}
