// SPDX-License-Identifier: Apache-2.0
// The order of start and stop of everything that `drover server` is made of.
#include "main/server.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api.h"
#include "base/id.h"
#include "base/mem.h"
#include "control/control.h"
#include "control/notifier.h"
#include "main/place.h"
#include "net/http_server.h"
#include "net/loop.h"
#include "operation/integration.h"
#include "operation/log_ends.h"
#include "operation/sealed.h"
#include "operation/secret_file.h"
#include "operation/start.h"
#include "operation/token.h"

#define STOP_GRACE_MS   10000
#define LISTEN_TRIES    20
#define LISTEN_PAUSE_MS 100

struct server {
    struct arena *arena;
    struct settings settings;
    struct http_listener *listener;  // until the API takes it
    struct fences fences;
    struct platform platform;
    struct queue *queue;
    struct driver *driver;
    struct dispatch *dispatch;
    struct control *control;
    struct notifier *notifier;
    struct api *api;
    struct place place;
    struct master_keys *master_keys;
    struct start_result started;
    struct loop_task disk_task;  // of what a thread says of the disk, once
    atomic_flag disk_failed;
    struct err disk_err;
    bool stopping;
    int exit_code;
};

static const char *in_folder(struct server *server, const char *folder, const char *name)
{
    return arena_printf(server->arena, "%s/%s", folder, name).at;
}

// ── stopping ─────────────────────────────────────────────────────────────────────────────────

// Nothing comes in any more: the controllers and the driver let go of the loop, agents keep
// running.
static void stop_loop(struct server *server)
{
    control_stop(server->control);
    notifier_stop(server->notifier);
    driver_close(server->driver);
    server->driver = NULL;
    loop_stop(server->platform.loop);
}

static void on_api_stopped(void *arg)
{
    struct server *server = arg;
    server->api = NULL;
    stop_loop(server);
}

static void stop(struct server *server)
{
    if (server->stopping)
        return;
    server->stopping = true;
    if (server->api)
        api_stop(server->api, STOP_GRACE_MS, on_api_stopped, server);
    else
        stop_loop(server);
}

static void on_signal(void *arg, int signal)
{
    struct server *server = arg;
    log_info(server->platform.log, "server", "stopping (signal %d); agents carry on", signal);
    stop(server);
}

// What was answered is durable and nothing else can be made so: end now, the next start recovers.
static void on_fatal(void *arg, const struct err *err)
{
    struct server *server = arg;
    log_error(server->platform.log, "server", "the store failed and the server ends: %s",
              err->message);
    server->exit_code = 1;
    stop(server);
}

static void on_disk_task(void *arg)
{
    struct server *server = arg;
    on_fatal(server, &server->disk_err);
}

// Blobs and log lines, on any thread.
static void on_disk_failed(void *arg, const struct err *err)
{
    struct server *server = arg;
    if (atomic_flag_test_and_set(&server->disk_failed))
        return;
    server->disk_err = *err;
    server->disk_task = (struct loop_task){.fn = on_disk_task, .arg = server};
    loop_post(server->platform.loop, &server->disk_task);
}

// ── starting ─────────────────────────────────────────────────────────────────────────────────

// log NULL: as text for people.
static void tell_secret(struct server *server, struct log *log, const char *label, const char *path)
{
    char value[4096];
    size_t len;
    struct err err = ERR_INIT;
    if (secret_file_read(path, value, sizeof(value), &len, &err))
        return;
    const char *text = arena_cstr(server->arena, (struct str){value, len});
    if (log)
        log_info(log, "server", "%s of admin@localhost: %s (%s)", label, text, path);
    else
        fprintf(stderr, "  %-9s %s\n            (%s)\n", label, text, path);
}

// Once, when they were made, whatever --log-level says: how to log in.
static void greet(struct server *server)
{
    if (!server->started.first)
        return;
    struct log *log = NULL;
    if (str_is(STR("json"), server->settings.log_format))
        log = log_new(STDERR_FILENO, LOG_INFO, LOG_JSON);
    else
        fprintf(stderr, "\nDrover keeps its data in %s. The administrator is admin@localhost:\n",
                server->settings.data);
    tell_secret(server, log, "password", server->started.password_file);
    tell_secret(server, log, "API key", server->started.key_file);
    if (!log)
        fputc('\n', stderr);
    log_free(log);
}

// So that removing the oldest file frees a small part of what log lines may take.
static int64_t log_part_bytes(const struct settings *settings)
{
    static const int64_t least = 16LL << 20, most = 1LL << 30;
    int64_t part = (settings->keep_logs_mib << 20) / 8;
    if (settings->keep_logs_mib == 0 || part > most)
        return most;
    return part < least ? least : part;
}

// What a crash or a neighbour of the same user could read of this process holds the master key.
// Programs that it starts get the limit, too, and begin without the other.
static void hide_memory(struct server *server)
{
    const struct rlimit none = {0, 0};
    if (server->settings.core_dumps)
        return;
    if (setrlimit(RLIMIT_CORE, &none) || prctl(PR_SET_DUMPABLE, 0))
        log_warn(server->platform.log, "server",
                 "core files of this process cannot be ruled out; they would hold secrets");
}

static int open_keys(struct server *server, struct err *err)
{
    struct platform *p = &server->platform;
    const struct settings *s = &server->settings;
    const struct master_source source = {
        .file = s->master_key_file ? s->master_key_file : in_folder(server, s->data, "master-key"),
        .command = s->master_key_command};
    bool made;
    hide_memory(server);
    if (master_keys_load(&source, !s->master_key_file, &made, &server->master_keys, err))
        return -1;
    p->master_keys = server->master_keys;
    if (made)
        log_info(p->log, "server",
                 "made the master key of secrets, %s: keep a copy of it apart from backups",
                 source.file);
    return 0;
}

static void tell_closed(void *arg, const struct integration *one, const char *why)
{
    struct server *server = arg;
    log_warn(server->platform.log, "server",
             "the integration " STR_FMT " (" STR_FMT ") cannot be opened: %s", STR_ARG(one->name),
             STR_ARG(one->id), why);
}

static int check_secrets(struct op *op, void *arg, struct err *err)
{
    return integration_each_closed(op, tell_closed, arg, err);
}

// The server is of use without it, and it may be installed later.
static void look_for_python(const struct server *server)
{
    const char *python = server->settings.python;
    _cleanup_arena_ struct arena *arena = arena_new();
    if (strchr(python, '/')) {
        if (access(python, X_OK) == 0)
            return;
    } else {
        for (struct str rest = str_of(getenv("PATH")); rest.at;) {
            struct str folder = str_cut(&rest, ':');
            if (access(arena_printf(arena, STR_FMT "/%s", STR_ARG(folder), python).at, X_OK) == 0)
                return;
        }
    }
    log_warn(server->platform.log, "server",
             "%s is not there, and no agent can start without it: install Python 3.8 or newer, or "
             "name it with --python",
             python);
}

static int open_state(struct server *server, struct err *err)
{
    struct platform *p = &server->platform;
    const struct settings *s = &server->settings;
    p->fences = &server->fences;
    struct store_config store = {.driver = s->store,
                                 .path = s->data,
                                 .loop = p->loop,
                                 .log = p->log,
                                 .on_fatal = on_fatal,
                                 .arg = server};
    struct logs_config logs = {.path = str_is(STR("memory"), s->store) ? NULL : s->data,
                               .loop = p->loop,
                               .log = p->log,
                               .on_fatal = on_disk_failed,
                               .arg = server,
                               .clock = p->clock,
                               .part_bytes = log_part_bytes(s)};
    p->store = store_open(&store, err);
    if (!p->store)
        return -1;
    if (mkdir(s->data, 0700) && errno != EEXIST)  // the memory store makes none
        return err_errno(err, ERR_INTERNAL, errno, "making the data folder %s", s->data);
    p->blobs = blobs_open(in_folder(server, s->data, "blobs"), err);
    if (!p->blobs)
        return -1;
    blobs_on_fatal(p->blobs, on_disk_failed, server);
    p->logs = logs_open(&logs, err);
    if (!p->logs)
        return -1;
    p->tokens = tokens_open(s->data, p->clock, err);
    if (!p->tokens)
        return -1;
    if (open_keys(server, err) || start_prepare(p, &server->started, server->arena, err) ||
        op_run_now(p, check_secrets, server, err))
        return -1;
    greet(server);
    return 0;
}

static int open_work(struct server *server, struct err *err)
{
    const struct platform *p = &server->platform;
    const struct settings *s = &server->settings;
    struct queue_config queue = {.driver = s->queue, .body_memory = 16 << 20};
    server->queue = queue_open(&queue, err);
    if (!server->queue)
        return -1;
    server->control = control_new(p);
    server->notifier = notifier_new(p, err);
    if (!server->notifier)
        return -1;
    struct dispatch_config dispatch = {.platform = p,
                                       .queue = server->queue,
                                       .on_silent = control_on_silent,
                                       .on_replica = control_on_replica,
                                       .arg = server->control};
    server->dispatch = dispatch_new(&dispatch);
    struct driver_config driver = {
        .driver = s->driver,
        .folder = in_folder(server, s->data, "run"),
        .agent_program = server->place.agent,
        .agent_url = s->agent_url,
        .agent_ca = str_starts(str_of(s->agent_url), STR("https")) ? s->tls_cert : NULL,
        .public_url = s->public_url,
        .cache = s->cache,
        .python = s->python,
        .node = s->node,
        .runner_folder = server->place.runner,
        .backoff_first_ms = s->backoff_first_ms,
        .backoff_max_ms = s->backoff_max_ms,
        .backoff_reset_ms = s->backoff_reset_ms,
        .preempt_ms = s->preempt_notice_ms,
        .loop = p->loop,
        .log = p->log,
        .on_change = control_on_change,
        .arg = server->control,
    };
    server->driver = driver_open(&driver, err);
    if (!server->driver)
        return -1;
    control_attach(server->control, server->dispatch, server->driver);
    return 0;
}

// What a client of this machine asks: a socket has no name that a URL could hold.
static const char *local_address(struct server *server)
{
    const char *listen = server->settings.listen;
    if (!str_starts(str_of(listen), STR("unix:")))
        return server->settings.public_url;
    char *whole = realpath(listen + sizeof("unix:") - 1, NULL);
    struct str path = arena_printf(server->arena, "unix:%s", whole ? whole : listen + 5);
    free(whole);
    return path.at;
}

// DIR/url: where a `drover` of the same folder finds the server, without any login.
static void write_address(struct server *server)
{
    struct err err = ERR_INIT;
    struct str path = arena_printf(server->arena, "%s/url", server->settings.data);
    if (secret_file_write(path.at, str_of(local_address(server)), &err))
        log_warn(server->platform.log, "server", "%s", err.message);
}

// The queue is rebuilt and surviving agents are expected: now let clients and agents in.
static void on_recovered(void *arg, struct err *err)
{
    struct server *server = arg;
    struct api_config config = {
        .platform = &server->platform,
        .dispatch = server->dispatch,
        .driver = server->driver,
        .listener = server->listener,
    };
    if (err->kind == ERR_NONE && !server->stopping) {
        server->listener = NULL;
        server->api = api_start(&config, err);
    }
    if (!server->api) {
        log_error(server->platform.log, "server", "cannot start: %s", err->message);
        server->exit_code = 1;
        stop(server);
        return;
    }
    control_start(server->control);
    notifier_start(server->notifier);
    write_address(server);
    const char *key = server->started.key_file;
    bool has_key = access(key, R_OK) == 0;  // a restored folder may have none
    log_info(server->platform.log, "server", "ready at %s (data in %s, %s%s)",
             local_address(server), server->settings.data,
             has_key ? "admin key in " : "no admin-key there: `drover login` with a password",
             has_key ? key : "");
}

static void close_all(struct server *server)
{
    struct platform *p = &server->platform;
    if (server->driver)
        driver_close(server->driver);
    if (p->store)
        store_close(p->store);
    if (p->logs)
        logs_close(p->logs);
    dispatch_free(server->dispatch);
    control_free(server->control);
    notifier_free(server->notifier);
    log_ends_free(p->log_ends);
    if (p->loop) {
        loop_unpost(p->loop, &server->disk_task);
        loop_free(p->loop);
    }
    if (server->queue)
        queue_close(server->queue);
    if (p->tokens)
        tokens_close(p->tokens);
    master_keys_free(server->master_keys);
    if (p->blobs)
        blobs_close(p->blobs);
    if (p->events)
        events_free(p->events);
    http_listener_close(server->listener);
    metrics_free(p->metrics);
    id_source_free(p->ids);
    log_free(p->log);
    arena_free(server->arena);
}

static int start(struct server *server, struct err *err)
{
    struct platform *p = &server->platform;
    enum log_level level = LOG_INFO;
    (void)log_level_parse(server->settings.log_level, &level);
    p->log = log_new(STDERR_FILENO, level,
                     str_is(STR("json"), server->settings.log_format) ? LOG_JSON : LOG_TEXT);
    p->clock = clock_system();
    p->settings = &server->settings;
    p->metrics = metrics_new();
    p->ids = id_source_new();
    p->events = events_new();
    p->loop = loop_new();
    p->log_ends = log_ends_new(p);
    if (place_find(&server->place, server->arena, err) || open_state(server, err) ||
        open_work(server, err))
        return -1;
    look_for_python(server);
    loop_on_stop_signal(p->loop, on_signal, server);
    dispatch_start(server->dispatch, on_recovered, server);
    return 0;
}

// Before anything is made: a port that is taken fails early, and with port 0 the public URL and the
// log need the one that was picked. A server that was killed just now may still hold its port.
static int listen_first(struct server *server, struct err *err)
{
    for (int tries = 0; !(server->listener = http_listener_open(server->settings.listen, err));
         tries++) {
        if (err->kind != ERR_CONFLICT || tries == LISTEN_TRIES)
            return -1;
        *err = ERR_INIT;
        usleep(LISTEN_PAUSE_MS * 1000);
    }
    struct str listen = str_of(server->settings.listen);
    if (str_ends(listen, STR(":0")) && !str_starts(listen, STR("unix:"))) {
        struct str address = str_of(http_listener_address(server->listener));
        server->settings.listen = arena_cstr(server->arena, address);
    }
    return 0;
}

int server_main(int argc, char **argv)
{
    struct server server = {.arena = arena_new(), .disk_failed = ATOMIC_FLAG_INIT};
    struct err err = ERR_INIT;
    const char *config = option_peek(&settings_table, argc, argv, "--config");
    if (option_load(&settings_table, &argc, argv, config, &server.settings, server.arena, &err) ||
        (argc > 1 && err_set(&err, ERR_BAD_INPUT, "'%s' is not an option", argv[1])) ||
        listen_first(&server, &err) || settings_complete(&server.settings, server.arena, &err)) {
        bool misused = err.kind == ERR_BAD_INPUT;
        fprintf(stderr, "drover server: %s\n%s", err.message,
                misused ? "See `drover server --help`.\n" : "");
        http_listener_close(server.listener);
        arena_free(server.arena);
        return misused ? 2 : 1;
    }
    umask(0077);
    if (start(&server, &err)) {
        log_error(server.platform.log, "server", "cannot start: %s", err.message);
        server.exit_code = 1;
    } else {
        loop_run(server.platform.loop);
    }
    close_all(&server);
    return server.exit_code;
}
