// SPDX-License-Identifier: Apache-2.0
// Packages, services, executions and commands over the memory store.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "model/status.h"
#include "net/loop.h"
#include "operation/attempt.h"
#include "operation/command.h"
#include "operation/package.h"
#include "operation/requirement.h"
#include "operation/service.h"
#include "operation/service_warnings.h"

#define MODULES                                                                                    \
    "[{\"name\":\"m\",\"initInputs\":[{\"name\":\"greeting\",\"type\":\"String\"}],"               \
    "\"functions\":[{\"name\":\"run\",\"input\":[{\"name\":\"a\",\"type\":\"Json\"}]}]}]"

struct world {
    struct settings settings;
    struct fences fences;
    struct platform platform;
    struct arena *arena;
    struct project project;
    void (*test)(struct op *op);
};

static struct json body(const char *text)
{
    struct json json;
    struct err err = ERR_INIT;
    if (json_parse(str_of(text), 0, &json, &err))
        fail_msg("%s: %s", text, err.message);
    return json;
}

static int world_work(struct op *op, void *arg, struct err *err)
{
    struct world *world = arg;
    op->caller.user_id = STR("dev@example.org");
    if (tx_insert(op->tx, &project_entity, &world->project, err))
        return -1;
    struct item item;
    entity_clear(&item_entity, &item);
    item.id = STR("code");
    item.project_id = STR("p1");
    item.dataset_id = STR("d1");
    item.filename = STR("/codebases/k/0.zip");
    item.blob = STR("00");
    if (tx_insert(op->tx, &item_entity, &item, err))
        return -1;
    world->test(op);
    return 0;
}

static void with_world(void (*test)(struct op *op))
{
    struct world world = {.test = test};
    struct err err = ERR_INIT;
    world.settings = (struct settings){.input_max = 4096,
                                       .output_max = 4096,
                                       .timeout_default_s = 3600,
                                       .drain_default_s = 600,
                                       .attempts_default = 3,
                                       .limits = limits_default};
    entity_clear(&project_entity, &world.project);
    world.project.id = STR("p1");
    world.project.name = STR("project");
    world.project.org_id = STR("o1");
    world.platform.fences = &world.fences;
    world.platform.loop = loop_new();
    world.platform.log = log_new(-1, LOG_ERROR, LOG_TEXT);
    world.platform.clock = clock_system();
    world.platform.settings = &world.settings;
    struct store_config store = {
        .driver = "memory", .loop = world.platform.loop, .log = world.platform.log};
    world.platform.store = store_open(&store, &err);
    assert_non_null(world.platform.store);
    if (op_run_now(&world.platform, world_work, &world, &err))
        fail_msg("%s", err.message);
    store_close(world.platform.store);
    loop_free(world.platform.loop);
    log_free(world.platform.log);
}

static const struct project *project(void)
{
    static const struct project p = {.id = {"p1", 2}, .name = {"project", 7}, .org_id = {"o1", 2}};
    return &p;
}

static struct package make_package(struct op *op)
{
    struct package package;
    struct err err = ERR_INIT;
    if (package_create(op, project(),
                       body("{\"name\":\"pk\",\"projectId\":\"p1\",\"modules\":" MODULES
                            ",\"codebase\":{\"type\":\"item\",\"itemId\":\"code\"}}"),
                       &package, &err))
        fail_msg("%s", err.message);
    return package;
}

static struct service make_service(struct op *op, const struct package *package, const char *more)
{
    struct service service;
    struct err err = ERR_INIT;
    struct str text = arena_printf(op->arena,
                                   "{\"name\":\"sv\",\"projectId\":\"p1\",\"packageId\":\"" STR_FMT
                                   "\",\"initParams\":{\"greeting\":\"hi\"}%s}",
                                   STR_ARG(package->id), more);
    if (service_create(op, project(), body(text.at), &service, &err))
        fail_msg("%s", err.message);
    return service;
}

static int try_execution(struct op *op, const struct service *service, const char *text,
                         struct execution *out, struct err *err)
{
    struct execution_request request = {.service = service, .body = body(text)};
    *err = ERR_INIT;
    return execution_create(op, &request, out, err);
}

static int count_events(struct op *op, enum event_kind kind)
{
    int count = 0;
    for (const struct event *event = op->events; event; event = event->next)
        count += event->kind == kind;
    return count;
}

// ── packages ─────────────────────────────────────────────────────────────────────────────────

static void packages(struct op *op)
{
    struct package package = make_package(op), next, old;
    struct err err = ERR_INIT;
    assert_true(str_is(package.version, "1.0.0"));
    assert_int_equal(package_update(op, &package, body("{\"version\":\"1.0.0\"}"), &next, &err), 0);
    assert_true(str_is(next.version, "1.0.1"));
    assert_int_equal(package_update(op, &next, body("{\"version\":\"2.0.0\"}"), &package, &err), 0);
    assert_true(str_is(package.version, "2.0.0"));
    assert_int_equal(package_at(op, &package, STR("1.0.1"), &old, &err), 0);
    assert_true(str_is(old.version, "1.0.1"));
    assert_int_equal(package_at(op, &package, STR("9.0.0"), &old, &err), -1);
    assert_int_equal(err.kind, ERR_NOT_FOUND);

    err = ERR_INIT;
    struct service service = make_service(op, &package, "");
    assert_int_equal(package_delete(op, &package, &err), -1);
    assert_int_equal(err.kind, ERR_CONFLICT);
    err = ERR_INIT;
    struct command command;
    assert_int_equal(service_delete(op, &service, true, &command, &err), 0);
    assert_int_equal(package_delete(op, &package, &err), 0);
}

static void credentials(struct op *op)
{
    struct package package, next;
    struct err err = ERR_INIT;
    const char *text = "{\"name\":\"g\",\"projectId\":\"p1\",\"modules\":" MODULES
                       ",\"codebase\":{\"type\":\"git\",\"gitUrl\":\"https://h/r.git\","
                       "\"credentials\":{\"username\":\"u\",\"password\":\"geheim\"}}}";
    assert_int_equal(package_create(op, project(), body(text), &package, &err), 0);
    struct package shown = package;
    package_hide_credentials(&shown, op->arena);
    size_t at;
    assert_false(str_find(shown.codebase, STR("geheim"), &at));
    assert_true(str_find(package.codebase, STR("geheim"), &at));

    struct str back = arena_printf(op->arena, "{\"codebase\":" STR_FMT "}",
                                   STR_ARG(shown.codebase));
    assert_int_equal(package_update(op, &package, body(back.at), &next, &err), 0);
    assert_true(str_find(next.codebase, STR("geheim"), &at));
    const char *moved = "{\"codebase\":{\"type\":\"git\",\"gitUrl\":\"https://elsewhere/r.git\","
                        "\"credentials\":{\"password\":\"***\"}}}";
    assert_int_equal(package_update(op, &next, body(moved), &package, &err), -1);
    assert_string_equal(err.field, "codebase.credentials");
    err = ERR_INIT;
    const char *inside = "{\"codebase\":{\"type\":\"git\",\"gitUrl\":\"https://u:p@h/r.git\"}}";
    assert_int_equal(package_update(op, &next, body(inside), &package, &err), -1);
    assert_string_equal(err.field, "codebase.gitUrl");

    struct query all = {0};
    void *rows;
    size_t count;
    err = ERR_INIT;
    assert_int_equal(tx_select(op->tx, &audit_entity, &all, op->arena, &rows, &count, &err), 0);
    assert_int_equal(count, 2);
    for (size_t i = 0; i < count; i++)
        assert_false(str_find(((struct audit *)rows)[i].after, STR("geheim"), &at));
}

static void requirements(struct op *op)
{
    static const char *const good[] = {
        "[{\"name\":\"numpy\",\"version\":\"1.26.0\",\"operator\":\"==\"}]",
        "[{\"name\":\"uvicorn[standard]\"},{\"name\":\"torch~=2.1\"}]",
        "[{\"name\":\"\"},{\"name\":\"a\",\"version\":\"1,<2\",\"operator\":\">=\"}]"};
    static const char *const bad[] = {"[{\"name\":\"-r/etc/passwd\"}]",
                                      "[{\"name\":\"a @ https://x/y.whl\"}]",
                                      "[{\"name\":\"../x\"}]",
                                      "[{\"name\":\"a\",\"version\":\"-1\"}]",
                                      "[{\"name\":\"a\",\"version\":\"1 --index-url=x\"}]",
                                      "[{\"name\":\"a\",\"version\":\"1\",\"operator\":\"=\"}]",
                                      "[\"a\"]"};
    struct str out;
    for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
        struct err err = ERR_INIT;
        if (requirements_check(body(good[i]), &limits_default, op->arena, &out, &err))
            fail_msg("%s: %s", good[i], err.message);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
        struct err err = ERR_INIT;
        assert_int_equal(requirements_check(body(bad[i]), &limits_default, op->arena, &out, &err),
                         -1);
        assert_int_equal(err.kind, ERR_BAD_INPUT);
    }
    struct err err = ERR_INIT;
    assert_int_equal(requirements_check(body("[{\"name\":\"a\",\"version\":\"1\",\"operator\":"
                                             "\">=\"},{\"name\":\"\",\"version\":\"2\","
                                             "\"operator\":\"<\"}]"),
                                        &limits_default, op->arena, &out, &err),
                     0);
    assert_true(str_is(out, "[{\"name\":\"a\",\"version\":\"1,<2\",\"operator\":\">=\"}]"));
}

// dtlpy sends what it got back: whatever is taken must be taken again.
static void joined_requirements_come_back(struct op *op)
{
    struct buf list = BUF_INIT(1 << 16);
    struct str out, again;
    struct err err = ERR_INIT;
    buf_add_cstr(&list, "[{\"name\":\"a\",\"version\":\"1\",\"operator\":\">=\"}");
    for (int i = 0; i < 40; i++) {
        buf_add_cstr(&list, ",{\"name\":\"\",\"version\":\"1.2.3\",\"operator\":\"!=\"}");
        struct str text = arena_printf(op->arena, STR_FMT "]", STR_ARG(buf_str(&list)));
        int rc = requirements_check(body(text.at), &limits_default, op->arena, &out, &err);
        if (rc == 0)
            assert_int_equal(
                requirements_check(json_of(out), &limits_default, op->arena, &again, &err), 0);
        assert_true(i < 20 ? rc == 0 : i < 39 || rc == -1);
    }
    assert_int_equal(err.kind, ERR_BAD_INPUT);
    assert_string_equal(err.field, "requirements[32].version");
    buf_deinit(&list);
}

// The same operations under other limits; the caller puts op->platform back.
static void lower(struct op *op, struct platform *platform, struct settings *settings)
{
    *platform = *op->platform;
    *settings = *op->platform->settings;
    settings->limits = (struct limits){.name = 16,
                                       .field = 1024,
                                       .filter_terms = 4,
                                       .filter_depth = 4,
                                       .page_size = 10,
                                       .functions = 1,
                                       .requirements = 1,
                                       .replicas = 1,
                                       .concurrency = 1};
    platform->settings = settings;
    op->platform = platform;
}

static void assert_limit(int result, struct err *err, const char *field, const char *option)
{
    assert_int_equal(result, -1);
    assert_int_equal(err->kind, ERR_BAD_INPUT);
    assert_string_equal(err->field, field);
    if (!strstr(err->message, option))
        fail_msg("%s: %s", option, err->message);
    *err = ERR_INIT;
}

static void lower_limits(struct op *op)
{
    static const char two[] =
        "{\"requirements\":[{\"name\":\"a\"},{\"name\":\"b\"}],\"modules\":[{\"name\":\"m\","
        "\"initInputs\":[{\"name\":\"greeting\",\"type\":\"String\"}],"
        "\"functions\":[{\"name\":\"run\"},{\"name\":\"walk\"}]}]}";
    static const char others[] =
        "{\"modules\":[{\"functions\":[{\"name\":\"a\"},{\"name\":\"b\"}]}]}";
    const struct platform *usual = op->platform;
    struct platform platform;
    struct settings settings;
    struct err err = ERR_INIT;
    struct package first = make_package(op), made, package;
    struct service service, next;
    struct execution execution;
    struct command command;
    assert_int_equal(package_update(op, &first, body(two), &package, &err), 0);
    service = make_service(op, &package, ",\"runtime\":{\"concurrency\":8}");
    struct json some = body("{\"serviceId\":{\"$in\":[1,2,3,4,5]}}");
    lower(op, &platform, &settings);

    // What is there stays, and what does not touch it is done.
    assert_int_equal(package_update(op, &package, body("{\"metadata\":{}}"), &made, &err), 0);
    assert_int_equal(service_update(op, &service, body("{\"metadata\":{}}"), false, &next, &err),
                     0);
    assert_int_equal(try_execution(op, &next, "{\"functionName\":\"run\"}", &execution, &err), 0);

    assert_limit(package_update(op, &made, body(others), &package, &err), &err,
                 "modules[0].functions", "--max-functions");
    assert_limit(package_update(op, &made,
                                body("{\"requirements\":[{\"name\":\"a\"},"
                                     "{\"name\":\"c\"}]}"),
                                &package, &err),
                 &err, "requirements", "--max-requirements allows 1");
    assert_limit(
        service_update(op, &next, body("{\"runtime\":{\"concurrency\":7}}"), false, &service, &err),
        &err, "runtime.concurrency", "--max-concurrency");
    assert_limit(
        try_execution(op, &next, "{\"functionName\":\"seventeen_letters\"}", &execution, &err),
        &err, "functionName", "--max-name allows 16");
    assert_limit(command_create_rerun(op, some, false, &command, &err), &err, "query.filter",
                 "--max-filter-terms");
    op->platform = usual;
    assert_int_equal(command_create_rerun(op, some, false, &command, &err), 0);
    lower(op, &platform, &settings);
    struct command_step step = {.id = command.id};
    assert_int_equal(command_step(op, &step, &err), 0);
    op->platform = usual;
}

// ── services ─────────────────────────────────────────────────────────────────────────────────

// What is allowed and unwise is said; what cannot be is refused.
static void service_advice(struct op *op)
{
    struct package package = make_package(op);
    struct service quiet = make_service(op, &package, ""), next;
    struct err err = ERR_INIT;
    struct str warnings[SERVICE_WARNINGS_MAX];
    static const struct {
        const char *change, *word;
    } advised[] = {
        {"{\"executionTimeout\":90000,\"runtime\":{\"preemptible\":true}}", "--preempt-after"},
        {"{\"executionTimeout\":60,\"drainTime\":61}", "drainTime is 61"},
        {"{\"runExecutionAsProcess\":true,\"runtime\":{\"podType\":\"regular-xs\","
         "\"concurrency\":1000}}",
         "1000 processes"},
        {"{\"runtime\":{\"podType\":\"gpu-t4\"}}", "GPU (T4)"},
        {"{\"versions\":{\"runner\":\"1.23.23.latest\"}}", "versions.runner"},
        {"{\"useUserJwt\":true}", "useUserJwt"},
    };
    assert_int_equal(service_warnings(&quiet, op->arena, warnings), 0);
    for (size_t i = 0; i < sizeof(advised) / sizeof(advised[0]); i++) {
        struct service advised_one = quiet;
        assert_int_equal(entity_decode(&service_entity, body(advised[i].change), DECODE_PATCH,
                                       op_limits(op), &advised_one, op->arena, &err),
                         0);
        assert_int_equal(service_warnings(&advised_one, op->arena, warnings), 1);
        if (!strstr(arena_cstr(op->arena, warnings[0]), advised[i].word))
            fail_msg("case %zu: " STR_FMT, i, STR_ARG(warnings[0]));
    }
    const char *image = "{\"runtime\":{\"runnerImage\":\"registry/img:1\"}}";
    assert_int_equal(service_update(op, &quiet, body(image), false, &next, &err), -1);
    assert_string_equal(err.field, "runtime.runnerImage");
}

static void services(struct op *op)
{
    struct package package = make_package(op);
    struct service service = make_service(op, &package, ",\"executionTimeout\":3000000"), next;
    struct err err = ERR_INIT;
    struct str warnings[SERVICE_WARNINGS_MAX];
    assert_true(str_is(service.package_revision, "1.0.0"));
    assert_true(str_is(service.module_name, "m"));
    assert_true(service.active);
    assert_int_equal(service.drain_time, 600);
    assert_int_equal(service_warnings(&service, op->arena, warnings), 1);

    const char *scale = "{\"runtime\":{\"numReplicas\":3}}";
    assert_int_equal(service_update(op, &service, body(scale), false, &next, &err), 0);
    assert_true(str_is(next.version, "1.0.0"));
    const char *wider = "{\"runtime\":{\"numReplicas\":3,\"concurrency\":2}}";
    assert_int_equal(service_update(op, &next, body(wider), false, &service, &err), 0);
    assert_true(str_is(service.version, "1.0.1"));
    assert_int_equal(service_at(op, &service, STR("1.0.0"), &next, &err), 0);
    assert_true(str_is(next.version, "1.0.0"));

    // Its agents take another concurrency while they run, if both say so.
    const char *dynamic = "{\"runtime\":{\"concurrency\":2,\"dynamicConcurrency\":true}}";
    const char *more = "{\"runtime\":{\"concurrency\":5,\"dynamicConcurrency\":true}}";
    const char *fixed = "{\"runtime\":{\"concurrency\":6,\"dynamicConcurrency\":false}}";
    assert_int_equal(service_update(op, &service, body(dynamic), false, &next, &err), 0);
    assert_true(str_is(next.version, "1.0.2"));
    assert_int_equal(service_update(op, &next, body(more), false, &service, &err), 0);
    assert_true(str_is(service.version, "1.0.2"));
    assert_int_equal(service_update(op, &service, body(fixed), false, &next, &err), 0);
    assert_true(str_is(next.version, "1.0.3"));

    assert_int_equal(service_set_active(op, &service, false, false, &next, &err), 0);
    assert_false(next.active);
    assert_int_equal(service_restart(op, &next, &err), 0);
    assert_int_equal(count_events(op, EVENT_SERVICE_CHANGED), 8);
}

static void wrong_services(struct op *op)
{
    static const struct {
        const char *text, *field;
    } cases[] = {
        {"\"initParams\":{}", "initParams"},
        {"\"initParams\":{\"greeting\":1,\"other\":2}", "initParams"},
        {"\"moduleName\":\"none\"", "moduleName"},
        {"\"packageRevision\":\"7.0.0\"", "packageRevision"},
        {"\"versions\":{\"dtlpy\":\"--pre\"}", "versions.dtlpy"},
        {"\"secrets\":[\"x\"]", "secrets[0]"},
        {"\"name\":\"a/b\"", "name"},
        {"\"runtime\":{\"podType\":\"huge\"}", "runtime.podType"},
    };
    struct package package = make_package(op);
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        struct service service;
        struct err err = ERR_INIT;
        bool own_init = strstr(cases[i].text, "initParams") != NULL;
        struct str text = arena_printf(
            op->arena, "{\"name\":\"sv\",\"projectId\":\"p1\",\"packageId\":\"" STR_FMT "\"%s,%s}",
            STR_ARG(package.id), own_init ? "" : ",\"initParams\":{\"greeting\":1}", cases[i].text);
        assert_int_equal(service_create(op, project(), body(text.at), &service, &err), -1);
        assert_string_equal(err.field, cases[i].field);
    }
}

// ── executions ───────────────────────────────────────────────────────────────────────────────

static void executions(struct op *op)
{
    struct package package = make_package(op);
    struct service service = make_service(op, &package, ",\"queueLengthLimit\":2");
    struct execution one, two, again;
    struct err err;
    bool applied;
    assert_int_equal(try_execution(op, &service, "{\"functionName\":\"walk\"}", &one, &err), -1);
    assert_string_equal(err.field, "functionName");
    assert_int_equal(try_execution(op, &service, "{\"input\":{\"b\":1}}", &one, &err), -1);
    assert_string_equal(err.field, "input");
    assert_int_equal(try_execution(op, &service, "{\"input\":{\"a\":0.10}}", &one, &err), 0);
    assert_true(str_is(one.input, "{\"a\":0.10}"));
    assert_int_equal(try_execution(op, &service, "{}", &two, &err), 0);
    assert_int_equal(try_execution(op, &service, "{}", &again, &err), -1);
    assert_int_equal(err.kind, ERR_BUSY);
    assert_true(err.retry_after > 0);
    assert_int_equal(count_events(op, EVENT_EXECUTION_READY), 2);

    err = ERR_INIT;
    assert_int_equal(execution_rerun(op, &one, &again, &err), -1);
    assert_int_equal(err.kind, ERR_CONFLICT);
    err = ERR_INIT;
    struct execution_result result = {
        .id = one.id, .status = STR("failed"), .fence = 7, .ended_at = op->now, .attempts = 1};
    assert_int_equal(execution_record(op, &result, service.id, false, &applied, &err), 0);
    assert_true(applied);
    assert_int_equal(execution_record(op, &result, service.id, false, &applied, &err), 0);
    assert_false(applied);
    assert_int_equal(tx_get(op->tx, &execution_entity, one.id, &one, op->arena, &err), 0);
    assert_int_equal(execution_rerun(op, &one, &again, &err), 0);
    assert_true(str_is(again.status, "rerun"));
    assert_int_equal(again.attempts, 0);

    assert_int_equal(execution_terminate(op, &two, &again, &err), 0);
    assert_true(again.to_terminate);
    assert_int_equal(count_events(op, EVENT_EXECUTION_TERMINATE), 1);
    int64_t attempts;
    assert_int_equal(execution_increment(op, &again, &attempts, &err), 0);
    assert_int_equal(attempts, 1);
}

static void attempts_of(struct op *op, const char *on_reset, int64_t expected_tries)
{
    struct package package = make_package(op);
    struct str more = arena_printf(op->arena, ",\"onReset\":\"%s\",\"maxAttempts\":3", on_reset);
    struct service service = make_service(op, &package, more.at);
    struct execution execution;
    struct err err;
    int64_t tries = 0;
    assert_int_equal(try_execution(op, &service, "{}", &execution, &err), 0);
    while (!status_final(status_parse(execution.status)) && tries < 10) {
        struct attempt_end end = {.ref = {.id = execution.id, .fence = 10 + tries},
                                  .reason = STR("its agent died"),
                                  .counted = true};
        struct attempt_end back = end;
        back.counted = false;  // handed back: costs no attempt
        assert_int_equal(execution_attempt_ended(op, &back, &err), 0);
        assert_int_equal(execution_attempt_ended(op, &end, &err), 0);
        assert_int_equal(
            tx_get(op->tx, &execution_entity, execution.id, &execution, op->arena, &err), 0);
        tries++;
    }
    assert_int_equal(tries, expected_tries);
    assert_true(str_is(execution.status, "failed"));
}

static void attempts_rerun(struct op *op) { attempts_of(op, "rerun", 3); }
static void attempts_failed(struct op *op) { attempts_of(op, "failed", 1); }

static void reports(struct op *op)
{
    struct package package = make_package(op);
    struct service service = make_service(op, &package, "");
    struct execution execution, after;
    struct err err;
    assert_int_equal(try_execution(op, &service, "{}", &execution, &err), 0);
    struct caller person = op->caller;
    op->caller = (struct caller){.kind = CALLER_SERVICE,
                                 .user_id = STR("bot"),
                                 .service_id = service.id,
                                 .project_id = STR("p1")};
    const char *half = "{\"status\":\"inProgress\",\"percentComplete\":50}";
    assert_int_equal(execution_report(op, &execution, body(half), &after, &err), 0);
    assert_true(str_is(after.status, "in-progress"));
    assert_int_equal(
        execution_report(op, &after, body("{\"status\":\"completed\"}"), &execution, &err), 0);
    assert_true(str_is(execution.status, "in-progress"));  // its return value ends it
    op->caller = person;
    assert_int_equal(
        execution_report(op, &execution, body("{\"status\":\"completed\"}"), &after, &err), 0);
    assert_true(str_is(after.status, "success"));
    assert_int_equal(execution_report(op, &after, body("{}"), &execution, &err), -1);
    assert_int_equal(err.kind, ERR_CONFLICT);
    err = ERR_INIT;
    assert_int_equal(
        execution_report(op, &after, body("{\"percentComplete\":101}"), &execution, &err), -1);
    assert_string_equal(err.field, "percentComplete");
}

static void held(struct op *op)
{
    struct package package = make_package(op);
    struct service service = make_service(op, &package, "");
    struct execution open, done;
    struct err err;
    bool applied;
    size_t kept;
    assert_int_equal(try_execution(op, &service, "{}", &open, &err), 0);
    assert_int_equal(try_execution(op, &service, "{}", &done, &err), 0);
    struct execution_result result = {.id = done.id, .status = STR("success"), .fence = 1};
    result.started_at = result.ended_at = op->now;
    assert_int_equal(execution_record(op, &result, service.id, false, &applied, &err), 0);
    struct dispatch_ref refs[] = {{.id = done.id, .fence = 1},
                                  {.id = STR("unknown"), .fence = 1},
                                  {.id = open.id, .fence = 5}};
    assert_int_equal(execution_confirm_held(op, service.id, refs, 3, &kept, &err), 0);
    assert_int_equal(kept, 1);
    assert_true(str_eq(refs[0].id, open.id));
    assert_int_equal(execution_confirm_held(op, STR("other"), refs, 1, &kept, &err), 0);
    assert_int_equal(kept, 0);
}

// ── commands ─────────────────────────────────────────────────────────────────────────────────

static enum command_state run_steps(struct op *op, struct str id, int *steps)
{
    struct command_step step = {.id = id, .state = COMMAND_MORE};
    struct err err = ERR_INIT;
    for (*steps = 0; step.state == COMMAND_MORE && *steps < 100; ++*steps) {
        struct caller caller = op->caller;
        if (command_step(op, &step, &err))
            fail_msg("%s", err.message);
        op->caller = caller;
    }
    return step.state;
}

static void deletion(struct op *op)
{
    struct package package = make_package(op);
    struct service service = make_service(op, &package, "");
    struct execution execution;
    struct command command;
    struct err err;
    int steps;
    int64_t left;
    for (int i = 0; i < COMMAND_STEP * 2 + 10; i++)
        assert_int_equal(try_execution(op, &service, "{}", &execution, &err), 0);
    assert_int_equal(service_delete(op, &service, true, &command, &err), 0);
    assert_int_equal(run_steps(op, command.id, &steps), COMMAND_CLEAN);
    assert_int_equal(steps, 3);
    struct filter *canceled = filter_eq_text(&execution_entity, "status", STR("canceled"),
                                             op->arena);
    assert_int_equal(tx_count(op->tx, &execution_entity, canceled, &left, &err), 0);
    assert_int_equal(left, COMMAND_STEP * 2 + 10);
    assert_int_equal(count_events(op, EVENT_EXECUTION_ENDED), COMMAND_STEP * 2 + 10);
    assert_int_equal(command_end(op, command.id, NULL, &err), 0);
    assert_int_equal(tx_get(op->tx, &command_entity, command.id, &command, op->arena, &err), 0);
    assert_true(str_is(command.status, "success"));
    assert_int_equal(command_abort(op, &command, &command, &err), -1);
    assert_int_equal(err.kind, ERR_CONFLICT);
}

static void rerun_by_query(struct op *op)
{
    struct package package = make_package(op);
    struct service service = make_service(op, &package, "");
    struct execution execution;
    struct command command;
    struct err err;
    int steps;
    int64_t count;
    for (int i = 0; i < 5; i++) {
        bool applied;
        assert_int_equal(try_execution(op, &service, "{}", &execution, &err), 0);
        struct execution_result result = {.id = execution.id, .fence = 1};
        result.status = i % 2 ? STR("failed") : STR("success");
        result.started_at = result.ended_at = op->now;
        assert_int_equal(execution_record(op, &result, service.id, false, &applied, &err), 0);
    }
    assert_int_equal(command_create_rerun(op, body("{\"latestStatus.status\":\"failed\"}"), false,
                                          &command, &err),
                     0);
    assert_int_equal(run_steps(op, command.id, &steps), COMMAND_OVER);
    struct filter *again = filter_eq_text(&execution_entity, "status", STR("rerun"), op->arena);
    assert_int_equal(tx_count(op->tx, &execution_entity, again, &count, &err), 0);
    assert_int_equal(count, 2);
    assert_int_equal(command_create_rerun(op, body("{\"nonsense\":1}"), false, &command, &err), -1);
    assert_int_equal(err.kind, ERR_BAD_INPUT);
}

#define WORLD_TEST(fn)                                                                             \
    static void test_##fn(void **state)                                                            \
    {                                                                                              \
        (void)state;                                                                               \
        with_world(fn);                                                                            \
    }
WORLD_TEST(packages)
WORLD_TEST(credentials)
WORLD_TEST(requirements)
WORLD_TEST(joined_requirements_come_back)
WORLD_TEST(lower_limits)
WORLD_TEST(services)
WORLD_TEST(service_advice)
WORLD_TEST(wrong_services)
WORLD_TEST(executions)
WORLD_TEST(attempts_rerun)
WORLD_TEST(attempts_failed)
WORLD_TEST(reports)
WORLD_TEST(held)
WORLD_TEST(deletion)
WORLD_TEST(rerun_by_query)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packages),       cmocka_unit_test(test_credentials),
        cmocka_unit_test(test_requirements),   cmocka_unit_test(test_joined_requirements_come_back),
        cmocka_unit_test(test_services),       cmocka_unit_test(test_service_advice),
        cmocka_unit_test(test_wrong_services), cmocka_unit_test(test_executions),
        cmocka_unit_test(test_attempts_rerun), cmocka_unit_test(test_attempts_failed),
        cmocka_unit_test(test_reports),        cmocka_unit_test(test_held),
        cmocka_unit_test(test_deletion),       cmocka_unit_test(test_rerun_by_query),
        cmocka_unit_test(test_lower_limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
