// SPDX-License-Identifier: Apache-2.0
// `drover up`: a server and an example on it, in one command. Every step but the server itself is
// the verb that a user would give.
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/link.h"
#include "cli/step.h"
#include "cli/verbs.h"
#include "main/place.h"
#include "main/verbs.h"

#define START_MS 60000
#define POLL_MS  100
#define TEXT_MAX 4096

struct up_options {
    const char *data, *listen;
    bool no_example;
};

struct up {
    struct cli *cli;
    const struct up_options *options;
    struct place place;
    pid_t server;  // 0: one that ran already
    struct str url, key;
};

static bool read_line(struct up *up, const char *name, struct str *out)
{
    struct err ignored = ERR_INIT;
    const char *path = arena_printf(up->cli->arena, "%s/%s", up->options->data, name).at;
    if (access(path, R_OK) || cli_read(up->cli, path, TEXT_MAX, out, &ignored))
        return false;
    *out = str_trim(*out);
    return out->len > 0;
}

// Whether the folder's server answers, and takes the folder's key: another one may have its port.
static bool is_up(struct up *up)
{
    struct link_answer answer;
    struct err ignored = ERR_INIT;
    if (!read_line(up, "url", &up->url) || !read_line(up, "admin-key", &up->key))
        return false;
    struct str url = up->url, socket = url_socket(&url);
    struct link_request request = {
        .method = "GET",
        .url = arena_printf(up->cli->arena, STR_FMT "/api/v1/instance_catalog", STR_ARG(url)).at,
        .socket = socket,
        .token = up->key,
        .timeout_ms = 2000};
    return link_send(up->cli, &request, &answer, &ignored) == 0 && answer.status == 200;
}

// Runs this program with other arguments. SIGINT is the caller's to pass on.
static pid_t start_self(const struct up *up, const char *const *argv, bool with_login)
{
    pid_t parent = getpid(), child = fork();
    if (child != 0)
        return child;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent)
        _exit(1);
    unsetenv("DROVER_CONTEXT");
    unsetenv("DROVER_PROJECT");
    if (with_login) {
        setenv("DROVER_URL", arena_cstr(up->cli->arena, up->url), 1);
        setenv("DROVER_API_KEY", arena_cstr(up->cli->arena, up->key), 1);
    }
    execv("/proc/self/exe", (char *const *)argv);
    _exit(127);
}

// Waits for a child; Ctrl-C ends it. Its exit code, CLI_INTERRUPTED, or -1 for a signal.
static int wait_for(struct cli *cli, pid_t child)
{
    int status;
    while (waitpid(child, &status, WNOHANG) == 0) {
        if (cli_sleep(cli, POLL_MS))
            continue;
        kill(child, SIGTERM);
        waitpid(child, &status, 0);
        return CLI_INTERRUPTED;
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// ── the server ───────────────────────────────────────────────────────────────────────────────

static bool has_ended(struct up *up)
{
    int status;
    if (up->server == 0 || waitpid(up->server, &status, WNOHANG) == 0)
        return false;
    up->server = 0;
    return true;
}

static int start_server(struct up *up, struct err *err)
{
    const struct up_options *options = up->options;
    const char *argv[] = {"drover",
                          "server",
                          "--data",
                          options->data,
                          "--log-level",
                          "warn",
                          options->listen ? "--listen" : NULL,
                          options->listen,
                          NULL};
    if (is_up(up)) {
        cli_say(up->cli, "A server runs already at " STR_FMT, STR_ARG(up->url));
        return 0;
    }
    // A line and no step: the server says on the same terminal why it cannot start.
    cli_say(up->cli, "Starting a server on %s", options->data);
    up->server = start_self(up, argv, false);
    if (up->server < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "starting a process");
    for (int64_t waited = 0; !is_up(up); waited += POLL_MS) {
        if (has_ended(up)) {
            cli_hint(up->cli, "its own message is above; `drover doctor` looks for causes");
            return err_set(err, ERR_DEPENDENCY, "The server did not start");
        }
        if (waited > START_MS)
            return err_set(err, ERR_TIMEOUT, "The server is not ready after %d s", START_MS / 1000);
        if (!cli_sleep(up->cli, POLL_MS))
            return err_set(err, ERR_TIMEOUT, "interrupted");
    }
    cli_say(up->cli, "The server runs at " STR_FMT, STR_ARG(up->url));
    return 0;
}

// As an administrator would stop it: agents carry on, and the next server takes them up.
static int stop_server(struct up *up)
{
    int status;
    if (up->server == 0)
        return 0;
    kill(up->server, SIGTERM);
    while (waitpid(up->server, &status, 0) < 0 && errno == EINTR)
        ;
    up->server = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

// ── the example ──────────────────────────────────────────────────────────────────────────────

static int step(struct up *up, const char *const *argv, struct err *err)
{
    pid_t child = start_self(up, argv, true);
    int code = child < 0 ? 1 : wait_for(up->cli, child);
    if (code == CLI_INTERRUPTED)
        return err_set(err, ERR_TIMEOUT, "interrupted");
    if (code != 0)
        return err_set(err, ERR_DEPENDENCY, "`drover %s` ended with %d; what it said is above",
                       argv[1], code);
    return 0;
}

static int show_example(struct up *up, struct err *err)
{
    const char *deploy[] = {"drover", "deploy", up->place.example, NULL};
    const char *exec[] = {"drover", "exec", "hello", "run", "name=Ada", "--wait", NULL};
    if (access(up->place.example, R_OK) != 0)
        return err_errno(err, ERR_DEPENDENCY, errno, "the example %s", up->place.example);
    cli_say(up->cli, "Deploying the example %s", up->place.example);
    if (step(up, deploy, err))
        return -1;
    cli_say(up->cli, "$ drover exec hello run name=Ada --wait");
    return step(up, exec, err);
}

static void tell_next(struct up *up)
{
    cli_say(up->cli,
            "\nNext, in another terminal here:\n"
            "  drover exec hello count to=20 --wait     run another function and follow its log\n"
            "  drover init mine && drover deploy mine   a package of your own\n"
            "  drover services                          what runs\n"
            "  drover why hello                         and how it is\n"
            "The API is at " STR_FMT "/api/v1, the administrator's key in %s/admin-key.",
            STR_ARG(up->url), up->options->data);
    if (up->server)
        cli_say(up->cli, "Ctrl-C stops the server; its agents carry on until it is back or `drover "
                         "pause hello` ended them.");
}

static int run_up(struct cli *cli)
{
    struct up up = {.cli = cli, .options = cli->options};
    struct err err = ERR_INIT;
    cli_catch_interrupt(cli);
    if (place_find(&up.place, cli->arena, &err))
        return cli_fail(cli, &err);
    if (start_server(&up, &err) || (!up.options->no_example && show_example(&up, &err))) {
        step_break(cli);
        (void)stop_server(&up);
        return cli->interrupted ? CLI_INTERRUPTED : cli_fail(cli, &err);
    }
    tell_next(&up);
    if (up.server == 0)
        return CLI_OK;
    while (cli_sleep(cli, 1000)) {
        if (!has_ended(&up))
            continue;
        err_set(&err, ERR_UNAVAILABLE, "The server has ended by itself; what it said is above");
        return cli_fail(cli, &err);
    }
    cli_say(cli, "Stopping the server");
    return stop_server(&up) == 0 ? CLI_OK : CLI_FAILED;
}

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind, .offset = offsetof(struct up_options, member),  \
        __VA_ARGS__                                                                                \
    }

static const struct option options[] = {
    OPTION("data", TEXT, data, .env = "DROVER_DATA", .fallback = "./drover-data", .unit = "DIR",
           .help = "The server's data folder; made when it is not there."),
    OPTION("listen", TEXT, listen, .unit = "HOST:PORT",
           .help = "Where the server listens; 127.0.0.1:8080 when not given."),
    OPTION("no-example", BOOL, no_example, .help = "Only the server."),
};

static const struct verb_example examples[] = {
    {"drover up", "a server on ./drover-data with an example that has just run"},
};

static const struct verb verbs[] = {
    {.name = "up",
     .group = GROUP_START,
     .summary = "start a server with an example on it, and say what to do next",
     .about =
         "Starts a server on ./drover-data unless one runs there, deploys the example, runs one "
         "execution of it, and stays until Ctrl-C, which stops the server.",
     .options = options,
     .option_count = sizeof(options) / sizeof(options[0]),
     .options_size = sizeof(struct up_options),
     .examples = examples,
     .example_count = 1,
     .exits = 1U << CLI_NOT_FOUND,
     .run = run_up},
};

const struct verb_list up_verbs = VERB_LIST(verbs);
