// SPDX-License-Identifier: Apache-2.0
// From an assignment to a ready runner: code, environment, process.
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/agent_internal.h"
#include "agent/code.h"
#include "agent/environment.h"
#include "agent/folder.h"
#include "base/mem.h"
#include "net/frame.h"

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

// ── the runner's environment variables ───────────────────────────────────────────────────────

#define OWN_VARIABLES 24

struct variables {
    struct arena *arena;
    const char **list;
    size_t count;
};

static void add(struct variables *to, const char *name, const char *value)
{
    to->list[to->count++] = arena_printf(to->arena, "%s=%s", name, value).at;
}

// dtlpy's description of an environment: base64 of JSON.
static const char *custom_env(struct agent *agent, struct arena *arena)
{
    const struct assignment *assignment = &agent->assignment;
    _cleanup_buf_ struct buf text = BUF_INIT(65536);
    struct json_writer w = JSON_WRITER(&text);
    json_w_object(&w);
    json_w_pair_str(&w, "url", str_of(assignment->sdk_url));
    json_w_pair_str(&w, "alias", STR("drover"));
    json_w_pair_str(&w, "gate_url", str_of(assignment->sdk_gate));
    bool https = str_starts(str_of(assignment->sdk_url), STR("https://"));
    json_w_pair_str(&w, "verify_ssl", https ? STR("true") : STR("false"));
    json_w_object_end(&w);
    const int kind = sodium_base64_VARIANT_ORIGINAL;
    size_t size = sodium_base64_ENCODED_LEN(text.len, kind);
    char *out = arena_alloc(arena, size);
    sodium_bin2base64(out, size, (const unsigned char *)text.at, text.len, kind);
    return out;
}

static void add_sdk(struct variables *to, struct agent *agent)
{
    if (!agent->proxy)
        return;
    char port[16];
    snprintf(port, sizeof(port), "%d", sdk_proxy_port(agent->proxy));
    add(to, "DATALOOP_PATH", arena_printf(to->arena, "%s/dataloop", agent->spec->folder).at);
    add(to, "DTLPY_CUSTOM_ENV", custom_env(agent, to->arena));
    add(to, "INTERNAL_REQUESTS_URL", agent->assignment.sdk_url);
    add(to, "DTLPY_REFRESH_TOKEN_METHOD", "proxy");
    add(to, "AGENT_PROXY_MAIN_PORT", port);
    add(to, "GET_JWT_ENDPOINT_SECRET", sdk_proxy_secret(agent->proxy));
}

// Later entries win in no portable way, so those of ours that must hold leave the service's out.
static bool is_ours(const char *variable)
{
    static const char *const ours[] = {
        "DATALOOP_PATH=",         "DTLPY_CUSTOM_ENV=",           "INTERNAL_REQUESTS_URL=",
        "AGENT_PROXY_MAIN_PORT=", "DTLPY_REFRESH_TOKEN_METHOD=", "GET_JWT_ENDPOINT_SECRET="};
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (str_starts(str_of(variable), str_of(ours[i])))
            return true;
    return false;
}

static bool has(const struct variables *in, const char *name)
{
    size_t len = strlen(name);
    for (size_t i = 0; i < in->count; i++)
        if (strncmp(in->list[i], name, len) == 0 && in->list[i][len] == '=')
            return true;
    return false;
}

static void add_default(struct variables *to, const char *name, const char *value)
{
    if (value && !has(to, name))
        add(to, name, value);
}

// Clean but for what the service asks for, what programs cannot do without, and what the machine's
// owner set for the network.
static const char **make_env(struct agent *agent, struct arena *arena)
{
    static const char *const passed[] = {"http_proxy", "https_proxy",   "no_proxy",
                                         "HTTP_PROXY", "HTTPS_PROXY",   "NO_PROXY",
                                         "TZ",         "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"};
    const struct assignment *assignment = &agent->assignment;
    struct variables to = {.arena = arena};
    to.list = arena_array_of(arena, const char *, assignment->env_count + OWN_VARIABLES + 1);
    for (size_t i = 0; i < assignment->env_count; i++)
        if (!agent->proxy || !is_ours(assignment->env[i]))
            to.list[to.count++] = assignment->env[i];
    add_sdk(&to, agent);
    const char *path = getenv("PATH");
    path = path ? path : "/usr/local/bin:/usr/bin:/bin";
    const char *slash = strrchr(agent->python, '/');
    bool in_venv = strcmp(agent->python, agent->spec->python) != 0;
    if (in_venv && slash) {
        int bin = (int)(slash - agent->python), root = bin - 4;  // less "/bin"
        path = arena_printf(arena, "%.*s:%s", bin, agent->python, path).at;
        add_default(&to, "VIRTUAL_ENV", arena_printf(arena, "%.*s", root, agent->python).at);
    }
    add_default(&to, "PATH", path);
    add_default(&to, "HOME", arena_printf(arena, "%s/home", agent->spec->folder).at);
    add_default(&to, "TMPDIR", arena_printf(arena, "%s/tmp", agent->spec->folder).at);
    add_default(&to, "LANG", "C.UTF-8");
    add_default(&to, "PYTHONUNBUFFERED", "1");
    for (size_t i = 0; i < sizeof(passed) / sizeof(passed[0]); i++)
        add_default(&to, passed[i], getenv(passed[i]));
    return to.list;
}

// ── the runner ───────────────────────────────────────────────────────────────────────────────

static void write_load(struct agent *agent, struct buf *out)
{
    const struct assignment *assignment = &agent->assignment;
    size_t begun = frame_begin(out);
    struct json_writer w = JSON_WRITER(out);
    json_w_object(&w);
    json_w_pair_str(&w, "t", STR("load"));
    json_w_pair_str(&w, "folder", str_of(agent->code));
    json_w_pair_raw(&w, "module", assignment->module.text);
    json_w_pair_raw(&w, "initParams", assignment->init_params.text);
    json_w_pair_int(&w, "concurrency", assignment->concurrency);
    json_w_pair_str(&w, "mode", STR("threads"));
    json_w_key(&w, "sdk");
    if (agent->proxy) {
        json_w_object(&w);
        json_w_pair_str(&w, "url", str_of(assignment->sdk_url));
        json_w_pair_str(&w, "gate", str_of(assignment->sdk_gate));
        json_w_pair_str(&w, "token", str_of(assignment->sdk_token));
        json_w_pair_raw(&w, "certificate", assignment->sdk_certificate.text);
        json_w_object_end(&w);
    } else {
        json_w_null(&w);
    }
    json_w_pair_raw(&w, "service", assignment->service.text);
    json_w_pair_raw(&w, "package", assignment->package.text);
    json_w_pair_raw(&w, "project", assignment->project.text);
    json_w_pair_str(&w, "replicaId", str_of(agent->spec->replica_id));
    json_w_pair_raw(&w, "limits", assignment->limits.text);
    json_w_object_end(&w);
    frame_end(out, begun);
}

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

void agent_start_runner(struct agent *agent)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    const char *script = arena_printf(arena, "%s/drover_runner.py", agent->spec->runner).at;
    const char *argv[] = {agent->python, script, NULL};
    struct runner_config config = {.loop = agent->loop,
                                   .argv = argv,
                                   .env = make_env(agent, arena),
                                   .folder = agent->code,
                                   .line_bytes = (size_t)agent->assignment.log_line_bytes,
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
    agent->runner = runner_start(&config, &err);
    if (!agent->runner) {
        fail(agent, "internal", &err);
        return;
    }
    int64_t limit_s = agent->assignment.execution_timeout_s;
    if (limit_s > 0 && limit_s < INT64_MAX / 4000)
        agent->loading = loop_timer_start(agent->loop, limit_s * 1000, 0, on_loading_late, agent);
    write_load(agent, runner_out(agent->runner));
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

static int make_folders(struct agent *agent, struct err *err)
{
    static const char *const names[] = {"home", "tmp", "dataloop"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char path[4096];
        int len = snprintf(path, sizeof(path), "%s/%s", agent->spec->folder, names[i]);
        if (len < 0 || len >= (int)sizeof(path))
            return err_set(err, ERR_BAD_INPUT, "the replica's folder has too long a path");
        if (folder_make(path, err))
            return -1;
    }
    return 0;
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
    if (make_folders(agent, &err) || start_proxy(agent, &err)) {
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
