// SPDX-License-Identifier: Apache-2.0
// What is special to the process driver: agents outlive the server, and nothing outlives an agent.
#include "contract/driver_fixture.h"

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
    const char *first = "privs 1;PATH;HOME;TMPDIR;LANG;";  // then what is handed down on purpose
    assert_int_equal(strncmp(text, first, strlen(first)), 0);
    assert_null(strstr(text, "DROVER_SECRET"));
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

int main(int argc, char **argv)
{
    int rc;
    if (ran_as_agent(argc, argv, &rc))
        return rc;
    const struct CMUnitTest tests[] = {
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
