// SPDX-License-Identifier: Apache-2.0
// What a service asks of the driver, and housekeeping and deletions against real rows and blobs.
#include "unit/api_fixture.h"

#include "base/id.h"
#include "control/control.h"
#include "control/control_internal.h"
#include "control/lifecycle.h"
#include "control/reconcile.h"
#include "control/retention_plan.h"
#include "driver/driver.h"
#include "operation/rollout.h"

// ── reconcile ────────────────────────────────────────────────────────────────────────────────

static struct service service_of(bool active, const char *runtime)
{
    struct service service;
    entity_clear(&service_entity, &service);
    service.id = STR("s1");
    service.version = STR("1.0.3");
    service.generation = 2;
    service.execution_timeout = 60;
    service.active = active;
    service.runtime = str_of(runtime);
    return service;
}

static int64_t replicas_of(bool active, const char *text)
{
    struct service service = service_of(active, text);
    struct arena *arena = arena_new();
    struct runtime runtime;
    struct err err = ERR_INIT;
    assert_int_equal(
        runtime_parse(json_of(service.runtime), &limits_default, &runtime, arena, &err), 0);
    int64_t replicas = service_replicas(&service, &runtime);
    arena_free(arena);
    return replicas;
}

static void replicas_follow_the_service(void **state)
{
    (void)state;
    assert_int_equal(replicas_of(true, "{}"), 1);
    assert_int_equal(replicas_of(true, "{\"numReplicas\":4}"), 4);
    assert_int_equal(replicas_of(false, "{\"numReplicas\":4}"), 0);
    const char
        *scaled = "{\"autoscaler\":{\"type\":\"rabbitmq\",\"minReplicas\":3,\"maxReplicas\":5}}";
    assert_int_equal(replicas_of(true, scaled), 3);
    assert_int_equal(replicas_of(false, scaled), 0);
    assert_int_equal(replicas_of(true, "{\"autoscaler\":{\"type\":\"rabbitmq\"}}"), 1);
}

static void deployment_names_version_and_generation(void **state)
{
    (void)state;
    struct service service = service_of(true, "{}");
    struct arena *arena = arena_new();
    struct runtime runtime;
    struct err err = ERR_INIT;
    assert_int_equal(
        runtime_parse(json_of(service.runtime), &limits_default, &runtime, arena, &err), 0);
    struct deployment deployment;
    reconcile_deployment(&service, &runtime, arena, &deployment);
    assert_true(str_is(deployment.revision, "1.0.3.2"));
    assert_int_equal(deployment.drain_ms, 60000);
    assert_true(str_is(deployment.instance->name, INSTANCE_DEFAULT));
    arena_free(arena);
}

// ── lifecycle ────────────────────────────────────────────────────────────────────────────────

static void verdicts_follow_the_replicas(void **state)
{
    (void)state;
    const struct lifecycle_rules rules = {.rollout_failures = 3, .crash_failures = 5};
    static const struct {
        struct lifecycle_view view;
        enum lifecycle_verdict verdict;
    } cases[] = {
        // paused: whatever else is said
        {{.wanted = 0, .ready = 2, .failures = 9}, LIFECYCLE_WAIT},
        // taking over
        {{.wanted = 2, .ready = 1, .old = 1, .old_ready = 1}, LIFECYCLE_WAIT},
        {{.wanted = 2, .ready = 2, .old = 1}, LIFECYCLE_WAIT},
        {{.wanted = 2, .ready = 2}, LIFECYCLE_GOOD},
        {{.wanted = 2, .ready = 3, .good_before = true}, LIFECYCLE_GOOD},
        {{.wanted = 2, .ready = 2, .good = true}, LIFECYCLE_WAIT},
        // new agents fail
        {{.wanted = 2, .old = 2, .old_ready = 2, .good_before = true, .failures = 2},
         LIFECYCLE_WAIT},
        {{.wanted = 2, .old = 2, .old_ready = 2, .good_before = true, .failures = 3},
         LIFECYCLE_BACK},
        {{.wanted = 2, .good_before = true, .failures = 3}, LIFECYCLE_BACK},
        {{.wanted = 2, .old = 2, .old_ready = 2, .failures = 9}, LIFECYCLE_WAIT},
        // nothing to go back to
        {{.wanted = 2, .failures = 4}, LIFECYCLE_WAIT},
        {{.wanted = 2, .failures = 5}, LIFECYCLE_STOP},
        {{.wanted = 2, .ready = 1, .failures = 9}, LIFECYCLE_WAIT},
        // a revision that was good, and cannot start any more
        {{.wanted = 2, .good = true, .good_before = true, .failures = 3}, LIFECYCLE_WAIT},
        {{.wanted = 2, .good = true, .failures = 5}, LIFECYCLE_STOP},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        if (lifecycle_judge(&rules, &cases[i].view) != cases[i].verdict)
            fail_msg("case %zu: %d", i, lifecycle_judge(&rules, &cases[i].view));
}

// ── preemption ───────────────────────────────────────────────────────────────────────────────

static void preemptible_ones_go_in_time(void **state)
{
    (void)state;
    const struct preempt_rules rules = {
        .after_ms = 1000, .per_mille = 500, .every_ms = 360000};  // one in twenty at each look
    enum preemption_cause cause;
    assert_false(preempt_due(&rules, 999, UINT64_MAX, &cause));
    assert_true(preempt_due(&rules, 1000, UINT64_MAX, &cause));
    assert_int_equal(cause, PREEMPTION_AGE);
    assert_true(preempt_due(&rules, 0, 0, &cause));
    assert_int_equal(cause, PREEMPTION_PROBABILITY);
    assert_true(preempt_due(&rules, 0, UINT64_MAX / 21, &cause));
    assert_false(preempt_due(&rules, 0, UINT64_MAX / 19, &cause));
    const struct preempt_rules never = {.after_ms = 1000, .every_ms = 360000};
    assert_false(preempt_due(&never, 0, 0, &cause));
}

// ── collect ──────────────────────────────────────────────────────────────────────────────────

struct kept {
    struct fixture *fx;
    const char *project, *binaries, *dataset;
    struct str key;
};

static const char *upload(struct kept *k, const char *dataset, const char *path, const char *bytes)
{
    const char *url = fx_print(k->fx, "/api/v1/datasets/$/items", dataset, "");
    struct answer answer = fx_upload(k->fx, k->key.at, url, path, str_of(bytes));
    fx_expect(&answer, 200);
    return fx_text(k->fx, &answer, "id");
}

static int status_of(struct kept *k, const char *item)
{
    return fx_json(k->fx, k->key.at, "GET", fx_print(k->fx, "/api/v1/items/$", item, ""), NULL)
        .status;
}

static size_t blobs_left(struct kept *k)
{
    const char
        *command = arena_printf(k->fx->arena, "find '%s/blobs' -type f | wc -l", k->fx->folder).at;
    FILE *pipe = popen(command, "r");
    int count = 0;
    assert_non_null(pipe);
    assert_int_equal(fscanf(pipe, "%d", &count), 1);
    pclose(pipe);
    return (size_t)count;
}

static struct kept make_content(struct fixture *fx)
{
    struct kept k = {.fx = fx, .key = fx->admin_key};
    struct answer answer = fx_json(fx, k.key.at, "POST", "/api/v1/projects", "{\"name\":\"p\"}");
    fx_expect(&answer, 200);
    k.project = fx_text(fx, &answer, "id");
    answer = fx_json(fx, k.key.at, "POST", "/api/v1/datasets",
                     fx_print(fx, "{\"name\":\"d\",\"projects\":[\"$\"]}", k.project, ""));
    fx_expect(&answer, 200);
    k.dataset = fx_text(fx, &answer, "id");
    answer = fx_json(
        fx, k.key.at, "POST", "/api/v1/datasets/query",
        arena_printf(fx->arena,
                     "{\"filter\":{\"$and\":[{\"name\":\"Binaries\"}]},\"systemSpace\":true,"
                     "\"resource\":\"datasets\",\"context\":{\"projects\":[\"%s\"]}}",
                     k.project)
            .at);
    fx_expect(&answer, 200);
    struct json items, first;
    struct str none;
    assert_true(json_get(answer.json, "items", &items));
    struct json_iter it = json_each(items);
    assert_true(json_next(&it, &none, &first));
    struct json id;
    assert_true(json_get(first, "id", &id));
    k.binaries = json_str(id, fx->arena).at;
    return k;
}

static void run_until_gone(struct kept *k, const char *item)
{
    for (int i = 0; i < 2000 && status_of(k, item) != 404; i++)
        usleep(5000);
}

struct keeper {
    struct control *control;
    struct driver *driver;
};

static struct keeper keeper_start(struct fixture *fx)
{
    struct keeper keeper = {.control = control_new(&fx->platform)};
    struct driver_config config = {.driver = "memory",
                                   .loop = fx->platform.loop,
                                   .on_change = control_on_change,
                                   .arg = keeper.control};
    struct err err = ERR_INIT;
    keeper.driver = driver_open(&config, &err);
    assert_non_null(keeper.driver);
    control_attach(keeper.control, NULL, keeper.driver);
    control_start(keeper.control);
    return keeper;
}

static void keeper_stop(struct keeper *keeper, struct kept *k, const char *item)
{
    control_stop(keeper->control);
    for (int i = 0; i < 50 || keeper->control->collecting || keeper->control->retaining; i++)
        status_of(k, item);  // what is under way comes to its end
    driver_close(keeper->driver);
    control_free(keeper->control);
}

static void unused_code_and_blobs_go(void **state)
{
    (void)state;
    char *options[] = {(char *)"server", NULL};
    struct fixture *fx = fx_new("sqlite", options);
    struct kept k = make_content(fx);
    const char *photo = upload(&k, k.dataset, "/a.txt", "a photograph");
    const char *used = upload(&k, k.binaries, "/codebases/one/0.zip", "code in use");
    const char *old = upload(&k, k.binaries, "/codebases/one/1.zip", "code of a failed push");
    const char *dropped = upload(&k, k.dataset, "/b.txt", "deleted afterwards");
    const char *body = fx_print(fx,
                                "{\"name\":\"one\",\"projectId\":\"$\",\"modules\":[{\"name\":"
                                "\"m\",\"entryPoint\":\"main.py\","
                                "\"className\":\"ServiceRunner\",\"functions\":[]}],\"codebase\":{"
                                "\"type\":\"item\",\"itemId\":\"$\"}}",
                                k.project, used);
    struct answer answer = fx_json(fx, k.key.at, "POST", "/api/v1/packages", body);
    fx_expect(&answer, 201);
    answer = fx_json(fx, k.key.at, "DELETE", fx_print(fx, "/api/v1/items/$", dropped, ""), NULL);
    assert_true(answer.status < 300);
    assert_int_equal(blobs_left(&k), 4);

    fx->settings.collect_ms = 20;
    fx->settings.collect_grace_ms = -5000;  // what is a moment old counts as old
    struct keeper keeper = keeper_start(fx);
    run_until_gone(&k, old);
    assert_int_equal(status_of(&k, old), 404);
    for (int i = 0; i < 2000 && blobs_left(&k) > 2; i++) {
        status_of(&k, photo);  // turns the loop
        usleep(2000);
    }
    assert_int_equal(blobs_left(&k), 2);
    assert_int_equal(status_of(&k, photo), 200);
    assert_int_equal(status_of(&k, used), 200);

    keeper_stop(&keeper, &k, photo);
    fx_free(fx);
}

#define DAY_MS (24LL * 3600 * 1000)

static const char *const statuses[] = {"success", "failed",  "timeout",    "canceled",
                                       "aborted", "created", "in-progress"};
#define STATUSES (sizeof(statuses) / sizeof(statuses[0]))

// Of each status one command, and an audit entry, that are older than the age to keep, and younger.
static int make_old(struct op *op, void *arg, struct err *err)
{
    (void)arg;
    for (size_t i = 0; i < 2 * STATUSES; i++) {
        int64_t at = op->now - (i < STATUSES ? 31 : 29) * DAY_MS;
        struct command command;
        struct audit audit;
        entity_clear(&command_entity, &command);
        entity_clear(&audit_entity, &audit);
        command.id = audit.id = arena_printf(op->arena, "%024zu", i);
        command.type = STR("of another time");
        command.status = str_of(statuses[i % STATUSES]);
        command.spec = STR("{}");
        command.created_at = op->now - 40 * DAY_MS;
        command.updated_at = audit.at = at;
        if (tx_insert(op->tx, &command_entity, &command, err) ||
            (i % STATUSES == 0 && tx_insert(op->tx, &audit_entity, &audit, err)))
            return -1;
    }
    return 0;
}

struct left {
    bool commands[2 * STATUSES];
    bool audit_old, audit_young;
};

static int look_at_old(struct op *op, void *arg, struct err *err)
{
    struct left *left = arg;
    struct command command;
    struct audit audit;
    for (size_t i = 0; i < 2 * STATUSES; i++) {
        struct str id = arena_printf(op->arena, "%024zu", i);
        left->commands[i] = tx_get(op->tx, &command_entity, id, &command, op->arena, err) == 0;
        bool entry = tx_get(op->tx, &audit_entity, id, &audit, op->arena, err) == 0;
        if (i % STATUSES == 0)
            *(i == 0 ? &left->audit_old : &left->audit_young) = entry;
    }
    *err = ERR_INIT;
    return 0;
}

static struct left what_is_left(struct fixture *fx)
{
    struct left left;
    struct err err = ERR_INIT;
    assert_int_equal(op_run_now(&fx->platform, look_at_old, &left, &err), 0);
    return left;
}

// Commands that have not ended are kept, however old.
static void what_is_past_its_age_goes(void **state)
{
    (void)state;
    char *options[] = {(char *)"server", NULL};
    struct fixture *fx = fx_new("sqlite", options);
    struct kept k = make_content(fx);
    struct err err = ERR_INIT;
    const char *photo = upload(&k, k.dataset, "/a.txt", "a photograph");
    fx->settings.collect_ms = 20;
    fx->settings.audit_days = fx->settings.keep_commands_days = 30;
    struct keeper keeper = keeper_start(fx);
    for (int i = 0; i < 50; i++)
        status_of(&k, photo);  // open commands of the start are read
    assert_int_equal(op_run_now(&fx->platform, make_old, NULL, &err), 0);
    struct left left = what_is_left(fx);
    for (int i = 0; i < 4000 && (left.commands[4] || left.audit_old); i++) {
        status_of(&k, photo);  // turns the loop
        usleep(2000);
        left = what_is_left(fx);
    }
    for (size_t i = 0; i < STATUSES; i++) {
        assert_int_equal(left.commands[i], i >= 5);
        assert_true(left.commands[STATUSES + i]);
    }
    assert_false(left.audit_old);
    assert_true(left.audit_young);
    keeper_stop(&keeper, &k, photo);
    fx_free(fx);
}

// ── retention ────────────────────────────────────────────────────────────────────────────────

static struct retention_rules every_rule = {.audit_days = 365,
                                            .commands_days = 30,
                                            .executions_days = 90,
                                            .executions = 1000,
                                            .logs_days = 7,
                                            .logs_bytes = 1 << 30};

static void a_plan_takes_its_phases_in_turn(void **state)
{
    (void)state;
    struct retention_plan plan;
    struct clock_fake clock;
    clock_fake_init(&clock);
    clock.wall_ms = 20000 * DAY_MS + 5;
    int64_t now = clock_wall(&clock.clock);
    retention_plan_begin(&plan, &every_rule, now);
    assert_int_equal(plan.phase, RETENTION_AUDIT);
    assert_int_equal(retention_plan_before(&plan), now - 365 * DAY_MS);
    retention_plan_next(&plan, true, 500, 0);  // there is more of it
    assert_int_equal(plan.phase, RETENTION_AUDIT);
    assert_in_range(plan.pause_ms, 1, 100);
    retention_plan_next(&plan, true, 500, 1000);  // others wait for the writer
    assert_in_range(plan.pause_ms, 200, 5000);
    retention_plan_next(&plan, true, 0, 0);  // nothing was written
    assert_int_equal(plan.pause_ms, 0);
    retention_plan_next(&plan, false, 3, 0);
    assert_int_equal(plan.phase, RETENTION_COMMANDS);
    assert_int_equal(retention_plan_before(&plan), now - 30 * DAY_MS);
    clock.wall_ms += DAY_MS;  // a long one goes by the time of its beginning
    retention_plan_next(&plan, false, 0, 0);
    assert_int_equal(plan.phase, RETENTION_OLD);
    assert_int_equal(retention_plan_before(&plan), now - 90 * DAY_MS);
    static const enum retention_phase rest[] = {RETENTION_MANY, RETENTION_LOGS, RETENTION_OVER,
                                                RETENTION_OVER};
    for (size_t i = 0; i < sizeof(rest) / sizeof(rest[0]); i++) {
        retention_plan_next(&plan, false, 0, 0);
        assert_int_equal(plan.phase, rest[i]);
    }
}

static void what_has_no_rule_is_left_out(void **state)
{
    (void)state;
    struct retention_plan plan;
    retention_plan_begin(&plan, &(struct retention_rules){0}, 20000 * DAY_MS);
    assert_int_equal(plan.phase, RETENTION_OVER);
    retention_plan_begin(&plan,
                         &(struct retention_rules){.executions_days = 30000, .logs_bytes = 1},
                         20000 * DAY_MS);
    assert_int_equal(plan.phase, RETENTION_OLD);
    assert_int_equal(retention_plan_before(&plan), 0);  // longer than there is time
    retention_plan_next(&plan, false, 0, 0);
    assert_int_equal(plan.phase, RETENTION_LOGS);
}

#define OLD_ROWS 2500

static int add_execution(struct op *op, const char *service, const char *status, int64_t created,
                         int64_t changed, struct err *err)
{
    struct execution row;
    struct execution_status entry;
    entity_clear(&execution_entity, &row);
    entity_clear(&execution_status_entity, &entry);
    row.id = id_new(created, op->arena);
    row.service_id = str_of(service);
    row.project_id = STR("p");
    row.status = str_of(status);
    row.created_at = created;
    row.updated_at = changed;
    entry.id = id_new(created, op->arena);
    entry.execution_id = row.id;
    entry.status = row.status;
    entry.timestamp = created;
    return tx_insert(op->tx, &execution_entity, &row, err) ||
                   tx_insert(op->tx, &execution_status_entity, &entry, err)
               ? -1
               : 0;
}

// Old ones that have ended among ones that wait or were changed later; and a service with many.
static int add_executions(struct op *op, void *arg, struct err *err)
{
    int64_t now = op->now, old = now - 40 * DAY_MS;
    (void)arg;
    struct service service = service_of(false, "{}");
    service.id = STR("s-many");
    service.name = STR("many");
    service.project_id = STR("p");
    if (tx_insert(op->tx, &service_entity, &service, err))
        return -1;
    for (int i = 0; i < OLD_ROWS; i++)
        if (add_execution(op, "s-old", i % 2 ? "success" : "failed", old + i, old + i, err) ||
            add_execution(op, "s-old", i % 2 ? "created" : "in-progress", old + i, old + i, err))
            return -1;
    for (int i = 0; i < 100; i++)
        if (add_execution(op, "s-old", "success", old + i, now - DAY_MS, err) ||
            add_execution(op, "s-old", "success", now - DAY_MS, now - DAY_MS, err))
            return -1;
    for (int i = 0; i < OLD_ROWS; i++)
        if (add_execution(op, "s-many", "success", now - 1000000 + i / 3, now, err) ||
            add_execution(op, "s-many", "created", now - 1000000 + i / 3, now, err))
            return -1;
    return 0;
}

struct counts {
    int64_t old_service, many_final, many_open, statuses, executions, newest;
};

static int count_executions(struct op *op, void *arg, struct err *err)
{
    struct counts *counts = arg;
    struct filter *many = filter_eq_text(&execution_entity, "serviceId", STR("s-many"), op->arena);
    struct filter *final = filter_and(
        many, filter_eq_text(&execution_entity, "status", STR("success"), op->arena), op->arena);
    struct filter *open = filter_and(
        many, filter_eq_text(&execution_entity, "status", STR("created"), op->arena), op->arena);
    struct filter *old = filter_eq_text(&execution_entity, "serviceId", STR("s-old"), op->arena);
    return tx_count(op->tx, &execution_entity, old, &counts->old_service, err) ||
                   tx_count(op->tx, &execution_entity, final, &counts->many_final, err) ||
                   tx_count(op->tx, &execution_entity, open, &counts->many_open, err) ||
                   tx_count(op->tx, &execution_entity, NULL, &counts->executions, err) ||
                   tx_count(op->tx, &execution_status_entity, NULL, &counts->statuses, err)
               ? -1
               : 0;
}

static void executions_past_their_time_go(void **state)
{
    (void)state;
    static const char *const stores[] = {"sqlite", "memory"};
    for (size_t s = 0; s < 2; s++) {
        char *options[] = {(char *)"server", NULL};
        struct fixture *fx = fx_new(stores[s], options);
        struct kept k = make_content(fx);
        struct err err = ERR_INIT;
        struct counts counts = {0};
        const char *photo = upload(&k, k.dataset, "/a.txt", "a photograph");
        assert_int_equal(op_run_now(&fx->platform, add_executions, NULL, &err), 0);
        fx->settings.collect_ms = 20;
        fx->settings.keep_executions_days = 30;
        fx->settings.keep_executions = 100;
        struct keeper keeper = keeper_start(fx);
        for (int i = 0; i < 5000; i++) {
            status_of(&k, photo);  // turns the loop
            assert_int_equal(op_run_now(&fx->platform, count_executions, &counts, &err), 0);
            if (counts.old_service <= OLD_ROWS + 200 && counts.many_final <= 105)
                break;
            usleep(2000);
        }
        for (int i = 0; i < 50; i++)
            status_of(&k, photo);
        assert_int_equal(op_run_now(&fx->platform, count_executions, &counts, &err), 0);
        assert_int_equal(counts.old_service, OLD_ROWS + 200);
        assert_in_range(counts.many_final, 100, 103);  // of one moment some more
        assert_int_equal(counts.many_open, OLD_ROWS);
        assert_int_equal(counts.statuses, counts.executions);
        keeper_stop(&keeper, &k, photo);
        fx_free(fx);
    }
}

// ── deletions ────────────────────────────────────────────────────────────────────────────────

static int count_deletions(struct op *op, void *arg, struct err *err)
{
    return tx_count(op->tx, &deletion_entity, NULL, arg, err);
}

static int64_t deletions_left(struct fixture *fx)
{
    int64_t count;
    struct err err = ERR_INIT;
    assert_int_equal(op_run_now(&fx->platform, count_deletions, &count, &err), 0);
    return count;
}

static void start_agent(struct keeper *keeper, struct arena *arena)
{
    struct service service = service_of(true, "{}");
    struct runtime runtime;
    struct deployment deployment;
    struct err err = ERR_INIT;
    assert_int_equal(
        runtime_parse(json_of(service.runtime), &limits_default, &runtime, arena, &err), 0);
    reconcile_deployment(&service, &runtime, arena, &deployment);
    assert_int_equal(driver_apply(keeper->driver, &deployment, &err), 0);
}

// What an agent of a deleted project still writes must not lie behind what was deleted.
static void a_deletion_waits_for_agents(void **state)
{
    (void)state;
    char *options[] = {(char *)"server", NULL};
    struct fixture *fx = fx_new("sqlite", options);
    struct kept k = make_content(fx);
    struct err err = ERR_INIT;
    const char *photo = upload(&k, k.dataset, "/a.txt", "a photograph");
    struct keeper keeper = keeper_start(fx);
    for (int i = 0; i < 50; i++)
        status_of(&k, photo);  // the first look is over: it would end the agent
    start_agent(&keeper, fx->arena);
    struct answer answer = fx_json(fx, k.key.at, "DELETE",
                                   fx_print(fx, "/api/v1/projects/$", k.project, ""), NULL);
    fx_expect(&answer, 204);
    for (int i = 0; i < 250; i++) {
        status_of(&k, photo);  // turns the loop
        usleep(2000);
    }
    assert_int_equal(deletions_left(fx), 1);
    assert_int_equal(driver_remove(keeper.driver, STR("s1"), true, &err), 0);
    for (int i = 0; i < 2000 && deletions_left(fx) > 0; i++) {
        status_of(&k, photo);
        usleep(2000);
    }
    assert_int_equal(deletions_left(fx), 0);
    keeper_stop(&keeper, &k, photo);
    fx_free(fx);
}

static void a_stop_right_after_the_start_is_clean(void **state)
{
    (void)state;
    char *options[] = {(char *)"server", NULL};
    struct fixture *fx = fx_new("sqlite", options);
    struct kept k = make_content(fx);
    struct keeper keeper = keeper_start(fx);
    control_stop(keeper.control);
    driver_close(keeper.driver);  // the services are still being read
    for (int i = 0; i < 50; i++)
        status_of(&k, "nothing");
    control_free(keeper.control);
    fx_free(fx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replicas_follow_the_service),
        cmocka_unit_test(deployment_names_version_and_generation),
        cmocka_unit_test(verdicts_follow_the_replicas),
        cmocka_unit_test(preemptible_ones_go_in_time),
        cmocka_unit_test(unused_code_and_blobs_go),
        cmocka_unit_test(what_is_past_its_age_goes),
        cmocka_unit_test(a_plan_takes_its_phases_in_turn),
        cmocka_unit_test(what_has_no_rule_is_left_out),
        cmocka_unit_test(executions_past_their_time_go),
        cmocka_unit_test(a_deletion_waits_for_agents),
        cmocka_unit_test(a_stop_right_after_the_start_is_clean),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
