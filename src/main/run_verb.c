// SPDX-License-Identifier: Apache-2.0
// `drover run`: a function of a folder, here and now, as an agent would run it.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/folder.h"
#include "agent/local.h"
#include "base/mem.h"
#include "cli/cli.h"
#include "cli/manifest.h"
#include "cli/verbs.h"
#include "driver/program_limit.h"
#include "main/place.h"
#include "main/verbs.h"
#include "model/module.h"
#include "operation/requirement.h"
#include "operation/settings.h"

#define INPUT_MAX ((size_t)16 << 20)

struct run_options {
    const char *input, *init, *module, *service, *pod, *python, *node, *cache, *dtlpy;
    int64_t timeout_ms;
    bool no_install;
};

struct run {
    struct cli *cli;
    const struct run_options *options;
    struct settings defaults;  // what a server would add
    struct manifest manifest;
    struct json service;  // the settings of one; may be absent
    const struct module *module;
    struct place place;
    struct assignment assignment;
    const struct instance_type *instance;
    struct program_limit *limit;
    char work[256];
    const char *cache, *python, *code;
    struct str input;
};

// ── what is to be run ────────────────────────────────────────────────────────────────────────

static struct json setting(const struct run *run, const char *path)
{
    struct json value = {0};
    json_path(run->service, str_of(path), &value);
    return value;
}

static int choose_service(struct run *run, struct err *err)
{
    const struct manifest *manifest = &run->manifest;
    run->service = manifest->services[0].settings;
    if (!run->options->service)
        return 0;
    for (size_t i = 0; i < manifest->service_count; i++) {
        run->service = manifest->services[i].settings;
        if (str_is(manifest->services[i].name, run->options->service))
            return 0;
    }
    return err_set(err, ERR_NOT_FOUND, "%s describes no service %s", manifest->folder,
                   run->options->service);
}

static int choose_module(struct run *run, const char *name, struct err *err)
{
    struct module *modules;
    size_t count;
    struct arena *arena = run->cli->arena;
    if (modules_parse(run->manifest.modules, NULL, arena, &modules, &count, err))
        return -1;
    struct str wanted = run->options->module ? str_of(run->options->module)
                                             : json_str(setting(run, "moduleName"), arena);
    if (count == 0)
        return err_set(err, ERR_BAD_INPUT, "%s has no module", run->manifest.folder);
    // Without a name, the first module that has the function.
    for (size_t i = 0; i < count && !wanted.at && !run->module; i++)
        if (function_find(&modules[i], str_of(name)))
            run->module = &modules[i];
    if (!run->module)
        run->module = wanted.at ? module_find(modules, count, wanted) : &modules[0];
    if (!run->module)
        return err_set(err, ERR_NOT_FOUND, "%s has no module " STR_FMT, run->manifest.folder,
                       STR_ARG(wanted));
    if (function_find(run->module, str_of(name)))
        return 0;
    return err_set(
        err, ERR_NOT_FOUND, "module " STR_FMT " of %s has no function %s; it has: " STR_FMT,
        STR_ARG(run->module->name), run->manifest.folder, name, STR_ARG(run->manifest.functions));
}

// JSON, or @FILE, or "-" for stdin.
static int read_json(struct cli *cli, const char *option, const char *given, struct str *out,
                     struct err *err)
{
    struct json json;
    struct str text = str_of(given);
    if (text.len > 0 && (text.at[0] == '@' || strcmp(given, "-") == 0)) {
        if (cli_read(cli, text.at[0] == '@' ? given + 1 : given, INPUT_MAX, &text, err))
            return -1;
    }
    if (json_parse(text, JSON_DEPTH_LIMIT, &json, err))
        return err_wrap(err, "%s is not JSON", option);
    if (!json_is(json, JSON_OBJECT))
        return err_field(err, option,
                         "%s must be an object of inputs, like {\"name\":\"Ada\"}, not %s", option,
                         json_type_name(json.type));
    *out = json.text;
    return 0;
}

// ── as the server would assign it ────────────────────────────────────────────────────────────

static void write_parameters(struct json_writer *w, const char *key, const struct parameter *at,
                             size_t count)
{
    json_w_key(w, key);
    json_w_array(w);
    for (size_t i = 0; i < count; i++) {
        json_w_object(w);
        json_w_pair_str(w, "name", at[i].name);
        json_w_pair_str(w, "type", at[i].type);
        json_w_object_end(w);
    }
    json_w_array_end(w);
}

static void write_module(struct json_writer *w, const struct module *module)
{
    json_w_key(w, "module");
    json_w_object(w);
    json_w_pair_str(w, "name", module->name);
    json_w_pair_str(w, "entryPoint", module->entry_point);
    json_w_pair_str(w, "className", module->class_name);
    write_parameters(w, "initInputs", module->init_inputs, module->init_input_count);
    json_w_key(w, "functions");
    json_w_array(w);
    for (size_t i = 0; i < module->function_count; i++) {
        const struct function *function = &module->functions[i];
        json_w_object(w);
        json_w_pair_str(w, "name", function->name);
        write_parameters(w, "input", function->inputs, function->input_count);
        write_parameters(w, "output", function->outputs, function->output_count);
        json_w_object_end(w);
    }
    json_w_array_end(w);
    json_w_object_end(w);
}

// In pip's form, by the server's rules.
static int write_requirements(struct run *run, struct json_writer *w, struct err *err)
{
    struct arena *arena = run->cli->arena;
    struct str clean = STR_NONE;
    struct json list = run->manifest.requirements;
    if (list.type != JSON_ABSENT && list.type != JSON_NULL &&
        requirements_check(list, &run->defaults.limits, arena, &clean, err))
        return err_wrap(err, "%s", run->manifest.folder);
    json_w_key(w, "requirements");
    json_w_array(w);
    struct json_iter it = json_each(json_of(clean.at ? clean : STR("[]")));
    struct str key;
    for (struct json entry, value; json_next(&it, &key, &entry);) {
        struct str name = json_get(entry, "name", &value) ? json_str(value, arena) : STR_NONE;
        struct str version = json_get(entry, "version", &value) ? json_str(value, arena) : STR_NONE;
        struct str relation = json_get(entry, "operator", &value) ? json_str(value, arena)
                                                                  : STR_NONE;
        if (version.len == 0)
            json_w_str(w, name);
        else
            json_w_str(w, arena_printf(arena, STR_FMT STR_FMT STR_FMT, STR_ARG(name),
                                       STR_ARG(relation.len ? relation : STR("==")),
                                       STR_ARG(version)));
    }
    json_w_array_end(w);
    return 0;
}

static struct str dtlpy_version(const struct run *run)
{
    struct str given = json_str(setting(run, "versions.dtlpy"), run->cli->arena);
    if (run->options->dtlpy)
        given = str_of(run->options->dtlpy);
    if (!given.at)
        given = run->manifest.uses_dtlpy ? str_of(run->defaults.dtlpy_version) : STR("none");
    return str_is(given, "none") ? STR_NONE : given;
}

static int64_t timeout_s(const struct run *run)
{
    int64_t seconds = run->defaults.timeout_default_s;
    (void)json_int(setting(run, "executionTimeout"), &seconds);
    if (run->options->timeout_ms > 0)
        seconds = (run->options->timeout_ms + 999) / 1000;
    return seconds;
}

static void write_limits(struct json_writer *w, const struct settings *settings)
{
    json_w_key(w, "limits");
    json_w_object(w);
    json_w_pair_int(w, "logLineBytes", settings->log_line_max);
    json_w_pair_int(w, "logLinesPerExecution", settings->log_lines_per_execution);
    json_w_pair_int(w, "outputBytes", settings->output_max);
    json_w_pair_int(w, "jsonDepth", settings->json_depth);
    json_w_object_end(w);
}

static int make_assignment(struct run *run, struct str init, struct err *err)
{
    _cleanup_buf_ struct buf text = BUF_INIT(64 << 20);
    struct json_writer w = JSON_WRITER(&text);
    json_w_object(&w);
    json_w_pair_str(&w, "session", STR("local"));
    json_w_pair_int(&w, "leaseMs", 60000);
    json_w_pair_int(&w, "concurrency", 1);
    json_w_pair_int(&w, "executionTimeoutS", timeout_s(run));
    bool as_process = false;
    (void)json_bool(setting(run, "runExecutionAsProcess"), &as_process);
    json_w_pair_bool(&w, "runAsProcess", as_process);
    // The code is the folder itself: nothing is fetched.
    json_w_pair_raw(&w, "code",
                    STR("{\"type\":\"item\",\"sha256\":\"00000000000000000000000000000000"
                        "00000000000000000000000000000000\"}"));
    write_module(&w, run->module);
    json_w_pair_raw(&w, "initParams", init);
    json_w_pair_raw(&w, "service", STR("{}"));
    json_w_pair_raw(&w, "package", STR("{}"));
    json_w_pair_raw(&w, "project", STR("{}"));
    json_w_pair_str(&w, "dtlpy", dtlpy_version(run));
    write_limits(&w, &run->defaults);
    if (write_requirements(run, &w, err))
        return -1;
    json_w_object_end(&w);
    return assignment_parse(buf_str(&text), &run->assignment, run->cli->arena, err);
}

// ── places ───────────────────────────────────────────────────────────────────────────────────

static const char *default_cache(struct arena *arena)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && cache[0] == '/')
        return arena_printf(arena, "%s/drover", cache).at;
    return arena_printf(arena, "%s/.cache/drover", home && *home ? home : "/tmp").at;
}

static int make_places(struct run *run, struct err *err)
{
    const char *temporary = getenv("TMPDIR");
    char *code = realpath(run->manifest.folder, NULL);
    run->code = arena_cstr(run->cli->arena, str_of(code ? code : run->manifest.folder));
    free(code);
    run->cache = run->options->cache ? run->options->cache : default_cache(run->cli->arena);
    run->python = run->options->python ? run->options->python : run->defaults.python;
    if (place_find(&run->place, run->cli->arena, err) || folder_make(run->cache, err))
        return -1;
    snprintf(run->work, sizeof(run->work), "%.200s/drover-run-XXXXXX",
             temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(run->work)) {
        err_errno(err, ERR_UNAVAILABLE, errno, "making a folder like %s", run->work);
        run->work[0] = '\0';
        return -1;
    }
    return 0;
}

static int prepare(struct run *run, struct err *err)
{
    struct cli *cli = run->cli;
    char *none[] = {(char *)"server", NULL};
    int count = 1;
    struct str init = STR("{}");
    struct str pod = run->options->pod ? str_of(run->options->pod) : STR_NONE;
    if (option_load(&settings_table, &count, none, NULL, &run->defaults, cli->arena, err) ||
        manifest_read(cli, cli->args[0], &run->manifest, err) || choose_service(run, err) ||
        choose_module(run, cli->args[1], err) ||
        read_json(cli, "--input", run->options->input ? run->options->input : "{}", &run->input,
                  err))
        return -1;
    if (json_is(setting(run, "initParams"), JSON_OBJECT))
        init = setting(run, "initParams").text;
    if (run->options->init && read_json(cli, "--init", run->options->init, &init, err))
        return -1;
    if (!pod.at)
        pod = json_str(setting(run, "runtime.podType"), cli->arena);
    run->instance = instance_find(pod.at ? pod : STR(INSTANCE_DEFAULT));
    if (!run->instance)
        return err_set(err, ERR_BAD_INPUT, "there is no pod type " STR_FMT, STR_ARG(pod));
    return make_assignment(run, init, err) || make_places(run, err) ? -1 : 0;
}

// ── running it, in a process of its own ──────────────────────────────────────────────────────

static void on_phase(void *arg, const char *phase)
{
    struct run *run = arg;
    const struct terminal *to = &run->cli->err;
    if (!run->cli->common->quiet)
        fprintf(stderr, "%s%s%s\n", color_on(to, COLOR_DIM), phase, color_off(to, COLOR_DIM));
}

static void on_line(void *arg, struct str level, struct str message, bool system)
{
    struct run *run = arg;
    const struct terminal *to = &run->cli->err;
    bool bad = str_is(level, "ERROR") || str_is(level, "CRITICAL");
    enum color color = system ? COLOR_DIM : bad ? COLOR_RED : COLOR_NONE;
    _cleanup_buf_ struct buf text = BUF_INIT(4 << 20);
    if (system && run->cli->common->quiet)
        return;
    terminal_clean(&text, message);
    fprintf(stderr, "%s%-8.*s %.*s%s\n", color_on(to, color), (int)level.len,
            level.at ? level.at : "", (int)text.len, text.at ? text.at : "", color_off(to, color));
}

static void on_progress(void *arg, struct json percent, struct str status, struct str message)
{
    struct run *run = arg;
    if (run->cli->common->quiet)
        return;
    fprintf(stderr, "%-8s " STR_FMT "%s " STR_FMT " " STR_FMT "\n", "PROGRESS",
            STR_ARG(percent.text), json_is(percent, JSON_NUMBER) ? " %" : "", STR_ARG(status),
            STR_ARG(message));
}

static int tell_failure(struct run *run, const struct local_result *result)
{
    struct str why = result->stack.len > 0 ? result->stack : result->message;
    if (program_limit_exceeded(run->limit))
        cli_warn(run->cli, STR_FMT ": it used more memory than " STR_FMT " has (%lld MiB)",
                 STR_ARG(result->status), STR_ARG(run->instance->name),
                 (long long)run->instance->memory_mib);
    else if (result->stack.len > 0)
        cli_warn(run->cli, STR_FMT ":\n" STR_FMT, STR_ARG(result->status), STR_ARG(why));
    else
        cli_warn(run->cli, STR_FMT ": " STR_FMT, STR_ARG(result->status), STR_ARG(why));
    return result->interrupted ? CLI_INTERRUPTED : CLI_EXECUTION_FAILED;
}

static int run_here(struct run *run)
{
    struct cli *cli = run->cli;
    struct local_result result;
    struct err err = ERR_INIT;
    struct log *log = log_new(STDERR_FILENO, LOG_WARN, LOG_TEXT);
    struct local_config config = {.code = run->code,
                                  .work = run->work,
                                  .cache = run->cache,
                                  .python = run->python,
                                  .node = run->options->node ? run->options->node
                                                             : run->defaults.node,
                                  .runner = run->place.runner,
                                  .install = !run->options->no_install,
                                  .assignment = &run->assignment,
                                  .function = cli->args[1],
                                  .input = run->input,
                                  .log = log,
                                  .on_phase = on_phase,
                                  .on_line = on_line,
                                  .on_progress = on_progress,
                                  .arg = run};
    program_limit_enter(run->limit);
    int failed = local_run(&config, &result, cli->arena, &err);
    log_free(log);
    if (failed)
        return result.interrupted ? CLI_INTERRUPTED : cli_fail(cli, &err);
    if (!str_is(result.status, "success"))
        return tell_failure(run, &result);
    cli_say(cli, "success in %.3f s (environment %.1f s, start %.1f s)",
            (double)result.ran_ms / 1000, (double)result.prepared_ms / 1000,
            (double)result.started_ms / 1000);
    cli_print(cli, STR_FMT "\n", STR_ARG(result.output.at ? result.output : STR("null")));
    return cli_flush(cli);
}

// What ends the child, or asks it to end: read by sigwaitinfo.
static sigset_t awaited(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGCHLD);
    return set;
}

// SIGTERM is passed on; Ctrl-C the child has had from the terminal too.
static int wait_for_child(pid_t child)
{
    sigset_t set = awaited();
    int status = 0;
    while (waitpid(child, &status, WNOHANG) == 0)
        if (sigwaitinfo(&set, NULL) == SIGTERM)
            kill(child, SIGTERM);
    return status;
}

// The limit may end the child as a whole; this process stays outside to say so and to clean up.
static int run_apart(struct run *run)
{
    sigset_t set = awaited();
    fflush(NULL);
    sigprocmask(SIG_BLOCK, &set, NULL);
    pid_t child = fork();
    if (child == 0) {
        sigprocmask(SIG_UNBLOCK, &set, NULL);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        _exit(run_here(run));
    }
    if (child < 0) {
        struct err err = ERR_INIT;
        err_errno(&err, ERR_UNAVAILABLE, errno, "starting a process");
        return cli_fail(run->cli, &err);
    }
    int status = wait_for_child(child);
    if (WIFEXITED(status))
        return WEXITSTATUS(status);
    if (program_limit_exceeded(run->limit))
        cli_warn(run->cli, "failed: it used more memory than " STR_FMT " has (%lld MiB)",
                 STR_ARG(run->instance->name), (long long)run->instance->memory_mib);
    else
        cli_warn(run->cli, "failed: ended by signal %d", WTERMSIG(status));
    return CLI_EXECUTION_FAILED;
}

static int run_run(struct cli *cli)
{
    struct run run = {.cli = cli, .options = cli->options};
    struct err err = ERR_INIT, ignored = ERR_INIT;
    const char *note = NULL;
    char id[32];
    if (prepare(&run, &err))
        return cli_fail(cli, &err);
    snprintf(id, sizeof(id), "run-%ld", (long)getpid());
    run.limit = program_limit_open(run.work, id, run.instance, &note);
    if (note)
        cli_say(cli, "%s", note);
    int code = run_apart(&run);
    program_limit_close(run.limit);
    if (folder_remove(run.work, &ignored))
        cli_warn(cli, "%s stays behind: %s", run.work, ignored.message);
    return code;
}

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind, .offset = offsetof(struct run_options, member), \
        __VA_ARGS__                                                                                \
    }

static const struct option options[] = {
    OPTION("input", TEXT, input, .letter = 'i', .unit = "JSON",
           .help = "Object of the function's inputs; @FILE reads a file, - stdin."),
    OPTION("init", TEXT, init, .unit = "JSON",
           .help = "Object of the class's inputs; dataloop.json's initParams when not given."),
    OPTION("module", TEXT, module, .unit = "NAME",
           .help = "The module, when several have the function."),
    OPTION("service", TEXT, service, .unit = "NAME",
           .help = "The service of dataloop.json whose settings hold; the first when not given."),
    OPTION("python", TEXT, python, .unit = "PROGRAM",
           .help = "Interpreter; python3 when not given."),
    OPTION("node", TEXT, node, .unit = "PROGRAM",
           .help = "Node.js for JavaScript; node when not given."),
    OPTION("no-install", BOOL, no_install,
           .help = "Use the interpreter as it is: no environment with dtlpy and the requirements."),
    OPTION("dtlpy", TEXT, dtlpy, .unit = "VERSION",
           .help = "Version of dtlpy to install, or none; when not given the service's, and none "
                   "for code that does not import it."),
    OPTION("timeout", SECONDS, timeout_ms, .min = 1000, .max = 31536000000, .unit = "TIME",
           .help = "Instead of the service's executionTimeout."),
    OPTION("pod-type", TEXT, pod, .unit = "NAME",
           .help = "Whose memory is the limit, instead of the service's runtime.podType."),
    OPTION("cache", TEXT, cache, .env = "DROVER_CACHE", .unit = "DIR",
           .help = "Where environments are kept; ~/.cache/drover when not given."),
};

static const struct verb_example examples[] = {
    {"drover run hello run --input '{\"name\":\"Ada\"}'", "the function run of the folder hello"},
    {"drover run hello run -i @input.json --python python3 --no-install",
     "in an environment of your own"},
};

static const struct verb verbs[] = {
    {.name = "run",
     .arguments = "FOLDER FUNCTION",
     .group = GROUP_RUN,
     .summary = "run a function of a folder on this machine, without a server",
     .about =
         "In the same runner and the same kind of environment as an agent's, with the same "
         "limits of time, memory, output and log. The log goes to stderr, the result to "
         "stdout.\n\nThere is no server behind it: an input of type Item stays what was given. "
         "Ctrl-C asks the function to end, a second one kills it.",
     .options = options,
     .option_count = sizeof(options) / sizeof(options[0]),
     .options_size = sizeof(struct run_options),
     .examples = examples,
     .example_count = 2,
     .exits = 1U << CLI_NOT_FOUND | 1U << CLI_EXECUTION_FAILED,
     .run = run_run},
};

const struct verb_list run_verbs = VERB_LIST(verbs);
