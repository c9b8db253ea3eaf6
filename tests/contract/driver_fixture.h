// SPDX-License-Identifier: Apache-2.0
// For tests of drivers: a bench with a driver on a loop of its own and a record of what it told,
// and the agent that the test program itself is when the process driver starts it.
#ifndef DROVER_TESTS_CONTRACT_DRIVER_FIXTURE_H
#define DROVER_TESTS_CONTRACT_DRIVER_FIXTURE_H

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

static inline void on_told(int signal) { told = signal; }

static inline size_t read_path(const char *path, char *out, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd < 0 ? -1 : read(fd, out, size - 1);
    if (fd >= 0)
        close(fd);
    out[got > 0 ? got : 0] = '\0';
    return got > 0 ? (size_t)got : 0;
}

static inline void write_path(const char *path, const char *text)
{
    char temporary[700];
    snprintf(temporary, sizeof(temporary), "%s.new", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
        rename(temporary, path) != 0)
        _exit(99);
    close(fd);
}

// A process that leaves the agent's session and whose parent is gone.
static inline void start_grandchild(const char *folder)
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

static inline void report_surroundings(const char *folder)
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

static inline int agent_run(const char *cache, const char *id, const char *folder)
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

static inline int agent_main(const char *spec_path)
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
    int64_t exit_code, restarts, failures, pid, next_start_at;
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

static inline void fill(struct event *event, const struct replica_status *status)
{
    snprintf(event->id, sizeof(event->id), STR_FMT, STR_ARG(status->id));
    snprintf(event->reason, sizeof(event->reason), STR_FMT, STR_ARG(status->reason));
    snprintf(event->message, sizeof(event->message), STR_FMT, STR_ARG(status->message));
    event->phase = status->phase;
    event->exit_code = status->exit_code;
    event->restarts = status->restarts;
    event->failures = status->failures;
    event->pid = status->pid;
    event->next_start_at = status->next_start_at;
}

static inline void on_change(void *arg, const struct replica_status *status)
{
    struct bench *bench = arg;
    assert_true(str_eq(status->service_id, SERVICE));
    if (bench->count < EVENTS_MAX)
        fill(&bench->events[bench->count++], status);
}

static inline void bench_open(struct bench *bench)
{
    struct err err = ERR_INIT;
    bench->loop = loop_new();
    bench->config.loop = bench->loop;
    bench->driver = driver_open(&bench->config, &err);
    if (!bench->driver)
        fail_msg("%s", err.message);
}

static inline void bench_close(struct bench *bench)
{
    driver_close(bench->driver);
    loop_free(bench->loop);
    bench->driver = NULL;
    bench->count = 0;
}

static inline struct bench *bench_new(const char *kind)
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
                                           .node = "node",
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

static inline void turn(struct bench *bench)
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
static inline bool is_ready(const struct bench *bench, const struct event *replica)
{
    char path[600], text[32];
    snprintf(path, sizeof(path), "%s/%s/ready", bench->run, replica->id);
    if (strcmp(bench->kind, "memory") == 0)
        return true;
    return read_path(path, text, sizeof(text)) > 0 && strtol(text, NULL, 10) == replica->pid;
}

static inline void count_one(void *arg, const struct replica_status *status)
{
    struct tally *tally = arg;
    if (tally->all++ == 0)
        fill(&tally->oldest, status);
    fill(&tally->newest, status);
    tally->by_phase[status->phase]++;
    tally->ready += status->phase == REPLICA_RUNNING && is_ready(tally->bench, &tally->newest);
}

static inline struct tally observe(struct bench *bench)
{
    struct tally tally = {.bench = bench};
    driver_observe(bench->driver, SERVICE, count_one, &tally);
    return tally;
}

// Waits until there are `all` replicas of which `running` run.
static inline struct tally settle(struct bench *bench, size_t all, size_t running)
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
static inline struct event *event_from(struct bench *bench, const char *id,
                                       enum replica_phase phase, size_t from)
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

static inline struct event *event_of(struct bench *bench, const char *id, enum replica_phase phase)
{
    return event_from(bench, id, phase, 0);
}

static inline void empty_folder(const char *path)
{
    char command[200];
    snprintf(command, sizeof(command), "rm -rf %s", path);
    assert_int_equal(system(command), 0);
}

static inline void bench_free(struct bench *bench)
{
    struct err err = ERR_INIT;
    assert_int_equal(driver_remove(bench->driver, SERVICE, true, &err), 0);
    settle(bench, 0, 0);
    bench_close(bench);
    empty_folder(bench->root);
    mem_free(bench);
}

static inline struct deployment deployment_of(const char *revision, int64_t replicas)
{
    return (struct deployment){.service_id = SERVICE,
                               .project_id = STR("6a3b0e1c-8b0f-4a53-b1a5-3a9c0d7c0001"),
                               .service_name = STR("a service"),
                               .revision = str_of(revision),
                               .replicas = replicas,
                               .instance = &small,
                               .agent_token = STR("a secret"),
                               .drain_ms = 20000,
                               .grace_ms = 20000,
                               .surge = 1};
}

static inline void apply(struct bench *bench, const char *revision, int64_t replicas)
{
    struct err err = ERR_INIT;
    struct deployment deployment = deployment_of(revision, replicas);
    if (driver_apply(bench->driver, &deployment, &err) != 0)
        fail_msg("%s", err.message);
}

static inline void signal_to(struct bench *bench, const char *id, enum replica_signal signal)
{
    struct err err = ERR_INIT;
    assert_int_equal(driver_signal(bench->driver, str_of(id), signal, &err), 0);
}

static inline void tell_one_ready(void *arg, const struct replica_status *status)
{
    struct tally *tally = arg;
    if (status->phase == REPLICA_RUNNING)
        fill(&tally->newest, status);
}

// The newest agent takes executions now.
static inline void newest_is_ready(struct bench *bench)
{
    struct tally tally = {.bench = bench};
    driver_observe(bench->driver, SERVICE, tell_one_ready, &tally);
    driver_ready(bench->driver, str_of(tally.newest.id), true);
}

static inline void behave(struct bench *bench, const char *how)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/behaviour", bench->root);
    write_path(path, how);
    if (strcmp(bench->kind, "memory") == 0)
        driver_memory_stubborn(bench->driver, strcmp(how, "stubborn") == 0);
}

static inline void end_with(struct bench *bench, const char *id, int code)
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

// What main does first: true when this process is a supervisor or an agent, which has ended.
static inline bool ran_as_agent(int argc, char **argv, int *rc)
{
    if (argc != 3)
        return false;
    if (strcmp(argv[1], "--supervise") == 0)
        *rc = supervise_run(argv[2]);
    else if (strcmp(argv[1], "--spec") == 0)
        *rc = agent_main(argv[2]);
    else
        return false;
    return true;
}

#define CONTRACT(fn, driver)                                                                       \
    {                                                                                              \
#fn "(" driver ")", fn, NULL, NULL, (void *)(uintptr_t)driver                              \
    }

#endif
