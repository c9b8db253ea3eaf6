// SPDX-License-Identifier: Apache-2.0
// What every driver must do (run for each implementation), and what is special to processes. The
// agents of the process driver are this program again, with --supervise and --spec.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "agent/supervise.h"
#include "base/arena.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "driver/driver.h"
#include "driver/memory/driver_memory.h"
#include "driver/slots.h"
#include "net/loop.h"

#define SERVICE    STR("5f1a0000000000000000aaaa")
#define EVENTS_MAX 256
#define PATIENCE   30000  // ms, for whatever is waited for
#define AGENT_LIFE 120    // s: an agent that a failed test left behind ends by itself

// ── the agent that this program also is ──────────────────────────────────────────────────────
static volatile sig_atomic_t told;

static void on_told(int signal) { told = signal; }

static size_t read_path(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, out, size - 1);
    if (fd >= 0)
        close(fd);
    out[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

static void write_path(const char *path, const char *text)
{
    char temporary[600];
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
        rename(temporary, path) != 0)
        _exit(99);
    close(fd);
}

// A process that leaves the agent's session and whose parent is gone.
static void start_grandchild(const char *folder)
{
    char path[600], text[32];
    if (fork() != 0) {
        wait(NULL);
        return;
    }
    setsid();
    if (fork() != 0)
        _exit(0);
    setsid();
    signal(SIGTERM, SIG_IGN);
    snprintf(path, sizeof(path), "%s/grandchild", folder);
    snprintf(text, sizeof(text), "%d", (int)getpid());
    write_path(path, text);
    alarm(AGENT_LIFE);
    for (;;)
        pause();
}

static void report_surroundings(const char *folder)
{
    extern char **environ;
    char path[600], text[2000];
    size_t len = 0;
    for (int fd = 3; fd < 256; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            len += (size_t)snprintf(text + len, sizeof(text) - len, "fd %d;", fd);
    len += (size_t)snprintf(text + len, sizeof(text) - len, "privs %d;",
                            prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    for (char **it = environ; *it; it++)
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s;", (int)strcspn(*it, "="),
                                *it);
    snprintf(path, sizeof(path), "%s/surroundings", folder);
    write_path(path, text);
}

static int agent_run(const char *cache, const char *id, const char *folder)
{
    char path[600], text[64];
    snprintf(path, sizeof(path), "%s/behaviour", cache);
    read_path(path, text, sizeof(text));
    bool stubborn = strcmp(text, "stubborn") == 0;
    if (strcmp(text, "family") == 0)
        start_grandchild(folder);
    if (strcmp(text, "surroundings") == 0)
        report_surroundings(folder);
    if (strcmp(text, "hungry") == 0)
        for (int i = 0; i < 256; i++)
            memset(mem_alloc((size_t)1 << 20), 1, (size_t)1 << 20);
    if (strcmp(text, "shouting") == 0)
        for (int i = 0; i < 3000; i++)
            fprintf(stderr, "line %d of many\xff\n", i);
    snprintf(path, sizeof(path), "%s/ready", folder);
    snprintf(text, sizeof(text), "%d", (int)getpid());
    write_path(path, text);
    snprintf(path, sizeof(path), "%s/end-%s", cache, id);
    alarm(AGENT_LIFE);
    for (;;) {
        if (told && !stubborn)
            return 0;
        if (read_path(path, text, sizeof(text)) > 0) {
            unlink(path);
            fprintf(stderr, "last words\n");
            return (int)strtol(text, NULL, 10);
        }
        usleep(10000);
    }
}

static int agent_main(const char *spec_path)
{
    struct sigaction action = {.sa_handler = on_told};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGQUIT, &action, NULL);
    char text[8192];
    struct arena *arena = arena_new();
    struct json spec, cache, id, folder;
    struct err err = ERR_INIT;
    size_t len = read_path(spec_path, text, sizeof(text));
    if (json_parse((struct str){text, len}, 0, &spec, &err) != 0 ||
        !json_get(spec, "cache", &cache) || !json_get(spec, "replicaId", &id) ||
        !json_get(spec, "folder", &folder))
        return 1;
    int rc = agent_run(arena_cstr(arena, json_str(cache, arena)),
                       arena_cstr(arena, json_str(id, arena)),
                       arena_cstr(arena, json_str(folder, arena)));
    arena_free(arena);
    return rc;
}

// ── the bench ────────────────────────────────────────────────────────────────────────────────
struct event {
    char id[32], reason[32], message[8192];
    enum replica_phase phase;
    int64_t exit_code, restarts, pid, wait_ms;
};

struct bench {
    const char *kind;
    char root[64], run[80];
    struct loop *loop;
    struct driver *driver;
    struct driver_config config;
    struct event events[EVENTS_MAX];
    size_t count;
};

static const struct instance_type small = {
    .name = {"regular-xs", 10}, .cpu_milli = 1000, .memory_mib = 1024};

static void fill(struct event *event, const struct replica_status *status)
{
    snprintf(event->id, sizeof(event->id), STR_FMT, STR_ARG(status->id));
    snprintf(event->reason, sizeof(event->reason), STR_FMT, STR_ARG(status->reason));
    snprintf(event->message, sizeof(event->message), STR_FMT, STR_ARG(status->message));
    event->phase = status->phase;
    event->exit_code = status->exit_code;
    event->restarts = status->restarts;
    event->pid = status->pid;
    event->wait_ms = status->next_start_at ? status->next_start_at - clock_wall(clock_system()) : 0;
}

static void on_change(void *arg, const struct replica_status *status)
{
    struct bench *bench = arg;
    assert_true(str_eq(status->service_id, SERVICE));
    if (bench->count < EVENTS_MAX)
        fill(&bench->events[bench->count++], status);
}

static void bench_open(struct bench *bench)
{
    struct err err = ERR_INIT;
    bench->loop = loop_new();
    bench->config.loop = bench->loop;
    bench->driver = driver_open(&bench->config, &err);
    if (!bench->driver)
        fail_msg("%s", err.message);
}

static void bench_close(struct bench *bench)
{
    driver_close(bench->driver);
    loop_free(bench->loop);
    bench->driver = NULL;
    bench->count = 0;
}

static struct bench *bench_new(const char *kind)
{
    struct bench *bench = mem_alloc(sizeof(*bench));
    bench->kind = kind;
    snprintf(bench->root, sizeof(bench->root), "/tmp/drover-driver-XXXXXX");
    assert_non_null(mkdtemp(bench->root));
    snprintf(bench->run, sizeof(bench->run), "%s/data/run", bench->root);
    // Unset: no cgroups are made. "own": in this process's; else in the v2 folder it names.
    const char *cgroup = getenv("DROVER_TEST_CGROUP");
    bench->config = (struct driver_config){.driver = kind,
                                           .folder = bench->run,
                                           .agent_program = "/proc/self/exe",
                                           .agent_url = "unix:/nowhere/agent.sock",
                                           .public_url = "http://127.0.0.1:8080",
                                           .cache = bench->root,
                                           .python = "python3",
                                           .runner_folder = bench->root,
                                           .cgroup = !cgroup                      ? ""
                                                     : strcmp(cgroup, "own") == 0 ? NULL
                                                                                  : cgroup,
                                           .backoff_first_ms = 100,
                                           .backoff_max_ms = 400,
                                           .backoff_reset_ms = 60000,
                                           .on_change = on_change,
                                           .arg = bench};
    bench_open(bench);
    return bench;
}

static void turn(struct bench *bench)
{
    uv_run(loop_uv(bench->loop), UV_RUN_NOWAIT);
    usleep(1000);
}

struct tally {
    const struct bench *bench;
    size_t all, ready, by_phase[REPLICA_EXITED + 1];
    struct event newest, oldest;
};

// An agent that has not set its signal handlers yet would die of a signal instead of heeding it.
static bool is_ready(const struct bench *bench, const struct event *replica)
{
    char path[600], text[32];
    snprintf(path, sizeof(path), "%s/%s/ready", bench->run, replica->id);
    if (strcmp(bench->kind, "memory") == 0)
        return true;
    return read_path(path, text, sizeof(text)) > 0 && strtol(text, NULL, 10) == replica->pid;
}

static void count_one(void *arg, const struct replica_status *status)
{
    struct tally *tally = arg;
    if (tally->all++ == 0)
        fill(&tally->oldest, status);
    fill(&tally->newest, status);
    tally->by_phase[status->phase]++;
    tally->ready += status->phase == REPLICA_RUNNING && is_ready(tally->bench, &tally->newest);
}

static struct tally observe(struct bench *bench)
{
    struct tally tally = {.bench = bench};
    driver_observe(bench->driver, SERVICE, count_one, &tally);
    return tally;
}

// Waits until there are `all` replicas of which `running` run.
static struct tally settle(struct bench *bench, size_t all, size_t running)
{
    int64_t until = clock_mono(clock_system()) + PATIENCE;
    for (;;) {
        struct tally tally = observe(bench);
        if (tally.all == all && tally.by_phase[REPLICA_RUNNING] == running &&
            tally.ready == running)
            return tally;
        if (clock_mono(clock_system()) > until)
            fail_msg("%zu replicas, %zu running; wanted %zu, %zu; last: %s", tally.all,
                     tally.by_phase[REPLICA_RUNNING], all, running, tally.newest.message);
        turn(bench);
    }
}

// Waits for a change of this replica to that phase, from the `from`th event on.
static struct event *event_from(struct bench *bench, const char *id, enum replica_phase phase,
                                size_t from)
{
    int64_t until = clock_mono(clock_system()) + PATIENCE;
    for (;;) {
        for (size_t i = from; i < bench->count; i++)
            if (strcmp(bench->events[i].id, id) == 0 && bench->events[i].phase == phase)
                return &bench->events[i];
        if (clock_mono(clock_system()) > until)
            fail_msg("replica %s did not come to phase %d", id, phase);
        turn(bench);
    }
}

static struct event *event_of(struct bench *bench, const char *id, enum replica_phase phase)
{
    return event_from(bench, id, phase, 0);
}

static void empty_folder(const char *path)
{
    char command[200];
    snprintf(command, sizeof(command), "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

static void bench_free(struct bench *bench)
{
    struct err err = ERR_INIT;
    assert_int_equal(driver_remove(bench->driver, SERVICE, true, &err), 0);
    settle(bench, 0, 0);
    bench_close(bench);
    empty_folder(bench->root);
    mem_free(bench);
}

static struct deployment deployment_of(const char *revision, int64_t replicas)
{
    return (struct deployment){.service_id = SERVICE,
                               .project_id = STR("6a3b0e1c-8b0f-4a53-b1a5-3a9c0d7c0001"),
                               .service_name = STR("a service"),
                               .revision = str_of(revision),
                               .replicas = replicas,
                               .instance = &small,
                               .agent_token = STR("a secret"),
                               .drain_ms = 20000,
                               .grace_ms = 20000};
}

static void apply(struct bench *bench, const char *revision, int64_t replicas)
{
    struct err err = ERR_INIT;
    struct deployment deployment = deployment_of(revision, replicas);
    if (driver_apply(bench->driver, &deployment, &err) != 0)
        fail_msg("%s", err.message);
}

static void signal_to(struct bench *bench, const char *id, enum replica_signal signal)
{
    struct err err = ERR_INIT;
    assert_int_equal(driver_signal(bench->driver, str_of(id), signal, &err), 0);
}

static void behave(struct bench *bench, const char *how)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/behaviour", bench->root);
    write_path(path, how);
    if (strcmp(bench->kind, "memory") == 0)
        driver_memory_stubborn(bench->driver, strcmp(how, "stubborn") == 0);
}

static void end_with(struct bench *bench, const char *id, int code)
{
    char path[600], text[16];
    if (strcmp(bench->kind, "memory") == 0) {
        assert_true(driver_memory_end(bench->driver, str_of(id), code, STR("last words\n")));
        return;
    }
    snprintf(path, sizeof(path), "%s/end-%s", bench->root, id);
    snprintf(text, sizeof(text), "%d", code);
    write_path(path, text);
}

// ── the contract ─────────────────────────────────────────────────────────────────────────────
static void test_apply_up_and_down(void **state)
{
    struct bench *bench = bench_new(*state);
    apply(bench, "1.0.0.0", 3);
    struct tally tally = settle(bench, 3, 3);
    assert_true(tally.newest.pid > 0);
    apply(bench, "1.0.0.0", 3);
    assert_int_equal(observe(bench).all, 3);
    apply(bench, "1.0.0.0", 1);
    struct event *last = event_of(bench, tally.newest.id, REPLICA_EXITED);
    assert_int_equal(last->exit_code, 0);
    assert_string_equal(last->reason, "Completed");
    struct tally left = settle(bench, 1, 1);
    assert_string_equal(left.newest.id, tally.oldest.id);
    apply(bench, "1.0.0.0", 0);
    settle(bench, 0, 0);
    bench_free(bench);
}

static void test_another_revision_replaces(void **state)
{
    struct bench *bench = bench_new(*state);
    apply(bench, "1.0.0.0", 2);
    struct tally before = settle(bench, 2, 2);
    struct err err = ERR_INIT;
    struct deployment next = deployment_of("1.0.1.0", 2);
    next.keep_others = true;
    assert_int_equal(driver_apply(bench->driver, &next, &err), 0);
    settle(bench, 4, 4);
    apply(bench, "1.0.1.0", 2);
    struct tally after = settle(bench, 2, 2);
    assert_string_not_equal(before.oldest.id, after.oldest.id);
    assert_string_not_equal(before.newest.id, after.oldest.id);
    event_of(bench, before.oldest.id, REPLICA_EXITED);
    event_of(bench, before.newest.id, REPLICA_EXITED);
    bench_free(bench);
}

static void test_remove_drains_or_kills(void **state)
{
    struct bench *bench = bench_new(*state);
    struct err err = ERR_INIT;
    apply(bench, "1.0.0.0", 2);
    struct tally tally = settle(bench, 2, 2);
    assert_int_equal(driver_remove(bench->driver, SERVICE, false, &err), 0);
    settle(bench, 0, 0);
    assert_int_equal(event_of(bench, tally.oldest.id, REPLICA_EXITED)->exit_code, 0);
    behave(bench, "stubborn");
    apply(bench, "1.0.0.0", 1);
    tally = settle(bench, 1, 1);
    assert_int_equal(driver_remove(bench->driver, SERVICE, true, &err), 0);
    assert_int_equal(event_of(bench, tally.oldest.id, REPLICA_EXITED)->exit_code, 128 + 9);
    settle(bench, 0, 0);
    bench_free(bench);
}

static void test_signals(void **state)
{
    static const enum replica_signal signals[] = {REPLICA_DRAIN, REPLICA_STOP, REPLICA_KILL};
    struct bench *bench = bench_new(*state);
    struct err err = ERR_INIT;
    assert_int_equal(driver_signal(bench->driver, STR("nobody"), REPLICA_STOP, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);
    apply(bench, "1.0.0.0", 1);
    for (size_t i = 0; i < 3; i++) {
        struct tally tally = settle(bench, 1, 1);
        signal_to(bench, tally.oldest.id, signals[i]);
        struct event *end = event_of(bench, tally.oldest.id, REPLICA_EXITED);
        assert_int_equal(end->exit_code, signals[i] == REPLICA_KILL ? 128 + 9 : 0);
        assert_string_equal(end->reason, "Completed");
        event_of(bench, tally.oldest.id, REPLICA_STOPPING);
        assert_string_not_equal(settle(bench, 1, 1).oldest.id, tally.oldest.id);
    }
    bench_free(bench);
}

static void test_time_to_stop_ends(void **state)
{
    struct bench *bench = bench_new(*state);
    struct err err = ERR_INIT;
    behave(bench, "stubborn");
    struct deployment deployment = deployment_of("1.0.0.0", 1);
    deployment.drain_ms = deployment.grace_ms = 100;
    assert_int_equal(driver_apply(bench->driver, &deployment, &err), 0);
    struct tally tally = settle(bench, 1, 1);
    apply(bench, "1.0.0.0", 0);
    struct event *end = event_of(bench, tally.oldest.id, REPLICA_EXITED);
    assert_int_equal(end->exit_code, 128 + 9);
    assert_string_equal(end->reason, "Error");
    bench_free(bench);
}

static void test_crashes_back_off(void **state)
{
    struct bench *bench = bench_new(*state);
    apply(bench, "1.0.0.0", 1);
    const int64_t waits[] = {100, 200, 400, 400};
    struct tally tally = settle(bench, 1, 1);
    for (int i = 0; i < 4; i++) {
        size_t from = bench->count;
        end_with(bench, tally.oldest.id, 3 + i);
        struct event *wait = event_from(bench, tally.oldest.id, REPLICA_WAITING, from);
        assert_string_equal(wait->reason, "CrashLoopBackOff");
        assert_non_null(strstr(wait->message, "last words"));
        assert_int_equal(wait->exit_code, 3 + i);
        assert_int_equal(wait->restarts, i);
        assert_true(wait->wait_ms <= waits[i] && wait->wait_ms > waits[i] / 2 - 45);
        struct tally again = settle(bench, 1, 1);
        assert_string_equal(again.oldest.id, tally.oldest.id);
        assert_int_equal(again.oldest.restarts, i + 1);
    }
    end_with(bench, tally.oldest.id, 1);
    event_from(bench, tally.oldest.id, REPLICA_WAITING, bench->count);
    apply(bench, "1.0.0.0", 0);  // one that waits is simply forgotten
    event_of(bench, tally.oldest.id, REPLICA_EXITED);
    settle(bench, 0, 0);
    bench_free(bench);
}

static void test_refused_is_not_started_again(void **state)
{
    struct bench *bench = bench_new(*state);
    apply(bench, "1.0.0.0", 1);
    struct tally tally = settle(bench, 1, 1);
    end_with(bench, tally.oldest.id, EXIT_CODE_REFUSED);
    struct event *end = event_of(bench, tally.oldest.id, REPLICA_EXITED);
    assert_int_equal(end->exit_code, EXIT_CODE_REFUSED);
    assert_int_equal(observe(bench).all, 0);
    usleep(120000);
    apply(bench, "1.0.0.0", 1);
    assert_string_not_equal(settle(bench, 1, 1).oldest.id, tally.oldest.id);
    bench_free(bench);
}

static void test_bad_deployments(void **state)
{
    struct bench *bench = bench_new(*state);
    struct err err = ERR_INIT;
    struct deployment deployment = deployment_of("1.0.0.0", -1);
    assert_int_equal(driver_apply(bench->driver, &deployment, &err), -1);
    assert_int_equal(err.kind, ERR_BAD_INPUT);
    assert_int_equal(observe(bench).all, 0);
    struct driver_config config = {.driver = "pigeon"};
    assert_null(driver_open(&config, &err));
    bench_free(bench);
}

// ── processes ────────────────────────────────────────────────────────────────────────────────
static bool lives(int64_t pid)
{
    char path[64], line[512];
    snprintf(path, sizeof(path), "/proc/%" PRId64 "/stat", pid);
    read_path(path, line, sizeof(line));
    const char *after = strrchr(line, ')');
    return after && after[1] == ' ' && after[2] != 'Z' && after[2] != 'X';
}

static void expect_dead(int64_t pid)
{
    for (int i = 0; i < PATIENCE / 10 && lives(pid); i++)
        usleep(10000);
    assert_false(lives(pid));
}

static char *file_of(struct bench *bench, const char *id, const char *name)
{
    static char path[600];
    snprintf(path, sizeof(path), "%s/%s/%s", bench->run, id, name);
    return path;
}

static int64_t supervisor_of(struct bench *bench, const char *id)
{
    char text[600];
    size_t len = read_path(file_of(bench, id, "supervisor.json"), text, sizeof(text));
    struct json file, value;
    struct err err = ERR_INIT;
    int64_t pid;
    assert_int_equal(json_parse((struct str){text, len}, 0, &file, &err), 0);
    assert_true(json_get(file, "pid", &value) && json_int(value, &pid));
    return pid;
}

static void test_replicas_outlive_the_driver(void **state)
{
    struct bench *bench = bench_new(*state);
    apply(bench, "1.0.0.0", 2);
    struct tally before = settle(bench, 2, 2);
    bench_close(bench);
    assert_true(lives(before.oldest.pid));
    end_with(bench, before.newest.id, 5);  // while nobody looks
    expect_dead(supervisor_of(bench, before.newest.id));
    bench_open(bench);
    event_of(bench, before.oldest.id, REPLICA_RUNNING);
    struct event *end = event_of(bench, before.newest.id, REPLICA_WAITING);
    assert_int_equal(end->exit_code, 5);
    assert_string_equal(end->reason, "CrashLoopBackOff");
    assert_non_null(strstr(end->message, "last words"));
    assert_int_equal(observe(bench).oldest.pid, before.oldest.pid);
    usleep(150000);
    turn(bench);  // its time has come, but nobody has said that it is still wanted
    assert_int_equal(observe(bench).by_phase[REPLICA_WAITING], 1);
    apply(bench, "1.0.0.0", 2);
    struct tally after = settle(bench, 2, 2);
    assert_string_equal(after.newest.id, before.newest.id);
    assert_int_equal(after.newest.restarts, 1);
    assert_int_equal(after.oldest.pid, before.oldest.pid);
    bench_free(bench);
}

static void test_replicas_outlive_a_killed_server(void **state)
{
    struct bench *bench = bench_new(*state);
    bench_close(bench);
    pid_t server = fork();
    if (server == 0) {
        bench_open(bench);
        apply(bench, "1.0.0.0", 2);
        settle(bench, 2, 2);
        signal_to(bench, observe(bench).newest.id, REPLICA_DRAIN);
        kill(getpid(), SIGKILL);
    }
    int status;
    assert_int_equal(waitpid(server, &status, 0), server);
    assert_true(WIFSIGNALED(status));
    bench_open(bench);
    settle(bench, 1, 1);  // the drained one is gone, the other carries on
    apply(bench, "1.0.0.0", 1);
    turn(bench);
    assert_int_equal(observe(bench).all, 1);
    bench_free(bench);
}

static void test_kill_takes_all_descendants(void **state)
{
    struct bench *bench = bench_new(*state);
    char text[32];
    behave(bench, "family");
    apply(bench, "1.0.0.0", 1);
    struct tally tally = settle(bench, 1, 1);
    while (read_path(file_of(bench, tally.oldest.id, "grandchild"), text, sizeof(text)) == 0)
        usleep(1000);
    int64_t grandchild = strtol(text, NULL, 10);
    assert_true(lives(grandchild));
    signal_to(bench, tally.oldest.id, REPLICA_KILL);
    event_of(bench, tally.oldest.id, REPLICA_EXITED);
    assert_false(lives(grandchild));
    assert_false(lives(tally.oldest.pid));
    bench_free(bench);
}

static void test_end_takes_all_descendants(void **state)
{
    struct bench *bench = bench_new(*state);
    char text[32];
    behave(bench, "family");
    apply(bench, "1.0.0.0", 1);
    struct tally tally = settle(bench, 1, 1);
    while (read_path(file_of(bench, tally.oldest.id, "grandchild"), text, sizeof(text)) == 0)
        usleep(1000);
    apply(bench, "1.0.0.0", 0);
    event_of(bench, tally.oldest.id, REPLICA_EXITED);
    assert_false(lives(strtol(text, NULL, 10)));
    bench_free(bench);
}

static void test_killed_supervisor_takes_the_agent(void **state)
{
    struct bench *bench = bench_new(*state);
    char text[32];
    behave(bench, "family");
    apply(bench, "1.0.0.0", 1);
    struct tally tally = settle(bench, 1, 1);
    while (read_path(file_of(bench, tally.oldest.id, "grandchild"), text, sizeof(text)) == 0)
        usleep(1000);
    kill((pid_t)supervisor_of(bench, tally.oldest.id), SIGKILL);
    struct event *end = event_of(bench, tally.oldest.id, REPLICA_WAITING);
    assert_non_null(strstr(end->message, "supervisor was killed"));
    assert_int_equal(end->exit_code, 128 + 9);
    expect_dead(tally.oldest.pid);
    expect_dead(strtol(text, NULL, 10));
    bench_free(bench);
}

static void test_silent_supervisor_is_overruled(void **state)
{
    struct bench *bench = bench_new(*state);
    char text[32];
    behave(bench, "family");
    apply(bench, "1.0.0.0", 1);
    struct tally tally = settle(bench, 1, 1);
    while (read_path(file_of(bench, tally.oldest.id, "grandchild"), text, sizeof(text)) == 0)
        usleep(1000);
    int64_t supervisor = supervisor_of(bench, tally.oldest.id);
    kill((pid_t)supervisor, SIGSTOP);
    signal_to(bench, tally.oldest.id, REPLICA_KILL);
    event_of(bench, tally.oldest.id, REPLICA_EXITED);
    assert_false(lives(supervisor));
    expect_dead(tally.oldest.pid);
    expect_dead(strtol(text, NULL, 10));
    bench_free(bench);
}

static void test_killed_agent_is_seen(void **state)
{
    struct bench *bench = bench_new(*state);
    apply(bench, "1.0.0.0", 1);
    struct tally tally = settle(bench, 1, 1);
    kill((pid_t)tally.oldest.pid, SIGUSR2);
    assert_int_equal(event_of(bench, tally.oldest.id, REPLICA_WAITING)->exit_code, 128 + SIGUSR2);
    bench_free(bench);
}

static void test_last_lines_are_kept(void **state)
{
    struct bench *bench = bench_new(*state);
    behave(bench, "shouting");
    apply(bench, "1.0.0.0", 1);
    struct tally tally = settle(bench, 1, 1);
    end_with(bench, tally.oldest.id, 9);
    struct event *end = event_of(bench, tally.oldest.id, REPLICA_WAITING);
    assert_non_null(strstr(end->message, "line 2999 of many\xef\xbf\xbd"));
    assert_null(strstr(end->message, "line 2000 of many"));
    assert_true(str_starts(str_of(end->message), STR("line ")));
    char text[32768];
    size_t kept = read_path(file_of(bench, tally.oldest.id, "stderr.txt"), text, sizeof(text));
    assert_true(kept > 15000 && kept <= 16384);
    bench_free(bench);
}

static void test_surroundings_are_clean(void **state)
{
    struct bench *bench = bench_new(*state);
    char text[2000];
    struct stat about;
    setenv("DROVER_SECRET", "secret", 1);
    behave(bench, "surroundings");
    apply(bench, "1.0.0.0", 1);
    struct tally tally = settle(bench, 1, 1);
    while (read_path(file_of(bench, tally.oldest.id, "surroundings"), text, sizeof(text)) == 0)
        usleep(1000);
    assert_string_equal(text, "privs 1;PATH;HOME;TMPDIR;LANG;");
    if (!getenv("DROVER_TEST_CGROUP"))
        assert_string_equal(tally.oldest.message,
                            "memory and CPU limits not enforced: no writable cgroup");
    assert_int_equal(stat(file_of(bench, tally.oldest.id, ""), &about), 0);
    assert_int_equal(about.st_mode & 0777, 0700);
    assert_int_equal(stat(file_of(bench, tally.oldest.id, "spec.json"), &about), 0);
    assert_int_equal(about.st_mode & 0777, 0600);
    apply(bench, "1.0.0.0", 0);
    settle(bench, 0, 0);
    assert_int_equal(access(file_of(bench, tally.oldest.id, ""), F_OK), -1);
    bench_free(bench);
}

static void test_memory_is_limited(void **state)
{
    if (!getenv("DROVER_TEST_CGROUP"))
        skip();
    struct bench *bench = bench_new(*state);
    struct instance_type tiny = small;
    struct err err = ERR_INIT;
    tiny.memory_mib = 64;
    struct deployment deployment = deployment_of("1.0.0.0", 1);
    deployment.instance = &tiny;
    behave(bench, "hungry");
    assert_int_equal(driver_apply(bench->driver, &deployment, &err), 0);
    struct event *end = event_of(bench, observe(bench).oldest.id, REPLICA_WAITING);
    assert_int_equal(end->exit_code, 128 + 9);
    assert_non_null(strstr(end->message, "more memory than its instance type"));
    bench_free(bench);
}

static void test_what_cannot_start_is_retried(void **state)
{
    struct bench *bench = bench_new(*state);
    bench_close(bench);
    char program[100];
    struct err err = ERR_INIT;
    snprintf(program, sizeof(program), "%s/program", bench->root);
    bench->config.agent_program = program;
    bench_open(bench);
    struct deployment deployment = deployment_of("1.0.0.0", 1);
    assert_int_equal(driver_apply(bench->driver, &deployment, &err), -1);
    assert_non_null(strstr(err.message, program));
    struct tally tally = observe(bench);
    assert_int_equal(tally.by_phase[REPLICA_WAITING], 1);
    assert_string_equal(tally.oldest.reason, "Error");
    char self[400];
    ssize_t len = readlink("/proc/self/exe", self, sizeof(self) - 1);
    assert_true(len > 0);
    self[len] = '\0';
    assert_int_equal(symlink(self, program), 0);
    assert_string_equal(settle(bench, 1, 1).oldest.id, tally.oldest.id);
    bench_free(bench);
}

static void test_no_room_on_disk_is_retried(void **state)
{
    struct bench *bench = bench_new(*state);
    struct err err = ERR_INIT;
    // A limit on file sizes stands for the full disk: writes fail, the server goes on.
    struct rlimit before, none = {0, RLIM_INFINITY};
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    none.rlim_max = before.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    struct deployment deployment = deployment_of("1.0.0.0", 1);
    int rc = driver_apply(bench->driver, &deployment, &err);
    struct tally tally = observe(bench);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_int_equal(rc, -1);
    assert_int_equal(tally.by_phase[REPLICA_WAITING], 1);
    settle(bench, 1, 1);
    bench_free(bench);
}

static void test_odd_folders_do_no_harm(void **state)
{
    struct bench *bench = bench_new(*state);
    apply(bench, "1.0.0.0", 1);
    struct tally tally = settle(bench, 1, 1);
    bench_close(bench);
    char path[200];
    snprintf(path, sizeof(path), "%s/not-a-replica", bench->run);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/5f1a00000000000000000bad", bench->run);
    assert_int_equal(mkdir(path, 0700), 0);
    write_path(file_of(bench, "5f1a00000000000000000bad", "replica.json"), "{\"serviceId\": ");
    snprintf(path, sizeof(path), "%s/.gone-5f1a00000000000000000b0d", bench->run);
    assert_int_equal(mkdir(path, 0000), 0);
    write_path(file_of(bench, tally.oldest.id, "spec.json"), "{");
    bench_open(bench);
    settle(bench, 1, 1);
    for (int i = 0; i < 1000 && access(path, F_OK) == 0; i++)
        turn(bench);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(access(file_of(bench, "5f1a00000000000000000bad", ""), F_OK), -1);
    assert_int_equal(access(file_of(bench, "not-a-replica", ""), F_OK), 0);
    bench_free(bench);
}

#define CONTRACT(fn, driver)                                                                       \
    {                                                                                              \
#fn "(" driver ")", fn, NULL, NULL, (void *)(uintptr_t)driver                              \
    }
#define CONTRACT_FOR(driver)                                                                       \
    CONTRACT(test_apply_up_and_down, driver), CONTRACT(test_another_revision_replaces, driver),    \
        CONTRACT(test_remove_drains_or_kills, driver), CONTRACT(test_signals, driver),             \
        CONTRACT(test_time_to_stop_ends, driver), CONTRACT(test_crashes_back_off, driver),         \
        CONTRACT(test_refused_is_not_started_again, driver),                                       \
        CONTRACT(test_bad_deployments, driver)

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--supervise") == 0)
        return supervise_run(argv[2]);
    if (argc == 3 && strcmp(argv[1], "--spec") == 0)
        return agent_main(argv[2]);
    const struct CMUnitTest tests[] = {
        CONTRACT_FOR("memory"),
        CONTRACT_FOR("process"),
        CONTRACT(test_replicas_outlive_the_driver, "process"),
        CONTRACT(test_replicas_outlive_a_killed_server, "process"),
        CONTRACT(test_kill_takes_all_descendants, "process"),
        CONTRACT(test_end_takes_all_descendants, "process"),
        CONTRACT(test_killed_supervisor_takes_the_agent, "process"),
        CONTRACT(test_silent_supervisor_is_overruled, "process"),
        CONTRACT(test_killed_agent_is_seen, "process"),
        CONTRACT(test_last_lines_are_kept, "process"),
        CONTRACT(test_surroundings_are_clean, "process"),
        CONTRACT(test_memory_is_limited, "process"),
        CONTRACT(test_what_cannot_start_is_retried, "process"),
        CONTRACT(test_no_room_on_disk_is_retried, "process"),
        CONTRACT(test_odd_folders_do_no_harm, "process"),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
