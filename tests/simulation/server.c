// SPDX-License-Identifier: Apache-2.0
// The server's life and the people who call its API.
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "operation/execution.h"
#include "sim.h"

int64_t sim_now(const struct sim *sim) { return sim->clock.mono_ms; }

struct str sim_service(size_t service)
{
    static const char *const ids[SERVICES] = {"000000000000000000000001",
                                              "000000000000000000000002"};
    return str_of(ids[service]);
}

size_t sim_find(const struct sim *sim, struct str id)
{
    for (size_t i = 0; i < sim->created; i++)
        if (str_eq(sim->x[i].id, id))
            return i;
    return EXECUTIONS;
}

// ── the store ────────────────────────────────────────────────────────────────────────────────

static int add_services(struct op *op, void *arg, struct err *err)
{
    (void)arg;
    struct package package;
    entity_clear(&package_entity, &package);
    package.id = STR("00000000000000000000000a");
    package.name = STR("package");
    package.project_id = STR("project");
    package.version = STR("1.0.0");
    package.modules = STR("[{\"name\":\"m\",\"functions\":[{\"name\":\"run\",\"input\":[]}]}]");
    package.created_at = package.updated_at = op->now;
    if (tx_insert(op->tx, &package_entity, &package, err))
        return -1;
    for (size_t i = 0; i < SERVICES; i++) {
        struct service service;
        entity_clear(&service_entity, &service);
        service.id = sim_service(i);
        service.name = i ? STR("failed") : STR("rerun");
        service.on_reset = service.name;
        service.project_id = STR("project");
        service.package_id = package.id;
        service.module_name = STR("m");
        service.max_attempts = 2;
        service.active = true;
        service.created_at = service.updated_at = op->now;
        if (tx_insert(op->tx, &service_entity, &service, err))
            return -1;
    }
    return 0;
}

static void store_reopen(struct sim *sim)
{
    struct err err = ERR_INIT;
    struct store_config config = {
        .driver = sim->store_driver, .path = sim->folder, .loop = sim->platform.loop};
    sim->platform.store = store_open(&config, &err);
    if (!sim->platform.store)
        sim_fail(sim, "the store does not open: %s", err.message);
    sim->workers = stage_workers();
    stage_on_write(sim->workers, check_write, sim);
}

void store_begin(struct sim *sim)
{
    struct err err = ERR_INIT;
    if (strcmp(sim->store_driver, "sqlite") == 0) {
        snprintf(sim->folder, sizeof(sim->folder), "/tmp/drover-simulation-XXXXXX");
        if (!mkdtemp(sim->folder))
            sim_fail(sim, "no temporary folder");
    }
    store_reopen(sim);
    if (op_run_now(&sim->platform, add_services, NULL, &err))
        sim_fail(sim, "the services cannot be made: %s", err.message);
}

void store_end(struct sim *sim)
{
    store_close(sim->platform.store);
    if (sim->folder[0]) {
        const char *command = arena_printf(sim->arena, "rm -rf '%s'", sim->folder).at;
        (void)!system(command);
    }
}

// ── the server ───────────────────────────────────────────────────────────────────────────────

static void on_recovered(void *arg, struct err *err)
{
    struct sim *sim = arg;
    sim->recovered = err->kind == ERR_NONE;
    sim->opened_at = sim_now(sim);
}

static void on_ended(void *arg, const struct event *event)
{
    struct sim *sim = arg;
    size_t x = sim_find(sim, event->id);
    if (sim->x[x].over)
        sim_fail(sim, "the end of %zu was told twice", x);
    sim->x[x].over = true;
}

static void on_ready(void *arg, const struct event *event)
{
    struct sim *sim = arg;
    size_t x = sim_find(sim, event->id);
    sim->x[x].over = false;
}

static void expect_agents(struct sim *sim)
{
    for (size_t i = 0; i < REPLICAS; i++) {
        struct agent *agent = &sim->agents[i];
        agent->kill_at = agent->stuck ? agent->kill_at : 0;
        if (!agent->alive && !agent->known_dead && stage_chance(50))
            agent->known_dead = true;  // the driver finds it dead when it looks around
        if (!agent->known_dead)
            dispatch_expect(sim->dispatch, str_of(agent->id), sim_service(agent->service));
    }
}

void server_open(struct sim *sim)
{
    struct err err = ERR_INIT;
    struct queue_config queue = {.driver = sim->queue_driver,
                                 .body_memory = stage_chance(30) ? 0 : 1 << 20};
    struct dispatch_config config = {
        .platform = &sim->platform, .on_silent = agent_on_silent, .arg = sim};
    sim->fences = (struct fences){.epoch = sim->fences.epoch + 1};
    sim->server_number++;
    sim->platform.events = events_new();
    sim->platform.metrics = metrics_new();
    events_subscribe(sim->platform.events, EVENT_EXECUTION_READY, on_ready, sim);
    config.queue = sim->queue = queue_open(&queue, &err);
    sim->dispatch = dispatch_new(&config);
    events_subscribe(sim->platform.events, EVENT_EXECUTION_ENDED, on_ended, sim);
    // What a crash kept from being told is read from the rows by whoever asks.
    for (size_t i = 0; i < sim->created; i++)
        sim->x[i].over = sim->x[i].final;
    expect_agents(sim);
    sim->recovered = false;
    dispatch_start(sim->dispatch, on_recovered, sim);
    while (!sim->recovered) {
        (void)!stage_read(sim->workers, false);
        (void)!stage_finish(sim->workers);
    }
}

void server_crash(struct sim *sim)
{
    sim_trace(sim, "the server dies");
    sim->counts.crashes++;
    network_reset(sim);
    stage_kill(sim->workers);
    dispatch_free(sim->dispatch);
    stage_kill(sim->workers);
    stage_forget(sim->platform.loop);
    queue_close(sim->queue);
    events_free(sim->platform.events);
    metrics_free(sim->platform.metrics);
    for (size_t i = 0; i < REPLICAS; i++)
        sim->agents[i].greeted = false;
    if (sim->folder[0]) {
        store_close(sim->platform.store);
        store_reopen(sim);
    }
}

// Moves the store and the loop on, in any order that their threads could take.
void sim_pump(struct sim *sim, bool all)
{
    while (all || stage_chance(85)) {
        bool fail = !sim->calm && stage_chance(sim->seed % 8 == 3 ? 30 : 2);  // some disks are bad
        unsigned first = (unsigned)stage_below(4), tried = 0;
        bool moved = false;
        for (; tried < 4 && !moved; tried++) {
            switch ((first + tried) % 4) {
            case 0: moved = stage_turn(sim->platform.loop); break;
            case 1: moved = stage_commit(sim->workers, 1 + stage_below(4), fail); break;
            case 2: moved = stage_read(sim->workers, fail); break;
            default: moved = stage_finish(sim->workers); break;
            }
        }
        if (!moved)
            return;
        check_books(sim);
    }
}

// ── callers of the API ───────────────────────────────────────────────────────────────────────

struct ask {
    struct sim *sim;
    size_t x;
    int64_t max_attempts;
};

static void ask_done(void *arg, struct err *err)
{
    (void)err;
    mem_free(arg);
}

static void ask_run(struct sim *sim, size_t x, op_fn fn)
{
    struct ask *ask = mem_alloc(sizeof(*ask));
    *ask = (struct ask){sim, x, 1 + (int64_t)stage_below(4)};
    op_run(&sim->platform, OP_WRITE, fn, ask_done, ask);
}

static int create_work(struct op *op, void *arg, struct err *err)
{
    struct ask *ask = arg;
    struct sim *sim = ask->sim;
    struct service service;
    struct execution execution;
    if (sim->created == EXECUTIONS)
        return err_set(err, ERR_CONFLICT, "there are enough");
    size_t of = stage_below(SERVICES);
    struct str body = arena_printf(
        op->arena, "{\"functionName\":\"run\",\"input\":{},\"maxAttempts\":%" PRId64 "}",
        ask->max_attempts);
    if (tx_get(op->tx, &service_entity, sim_service(of), &service, op->arena, err))
        return -1;
    struct execution_request request = {.service = &service, .body = json_of(body)};
    if (execution_create(op, &request, &execution, err))
        sim_fail(sim, "create: %s", err->message);
    struct execution_seen *x = &sim->x[sim->created];
    *x = (struct execution_seen){.id = arena_copy(sim->arena, execution.id),
                                 .service = of,
                                 .max_attempts = execution.max_attempts};
    sim_trace(sim, "execution %zu of service %zu, %" PRId64 " attempts", sim->created, of,
              x->max_attempts);
    sim->created++;
    return 0;
}

static int terminate_work(struct op *op, void *arg, struct err *err)
{
    struct ask *ask = arg;
    struct execution execution, after;
    struct execution_seen *x = &ask->sim->x[ask->x];
    if (tx_get(op->tx, &execution_entity, x->id, &execution, op->arena, err) ||
        execution_terminate(op, &execution, &after, err))
        return -1;
    sim_trace(ask->sim, "terminate %zu", ask->x);
    ask->sim->counts.terminated++;
    return 0;
}

static int rerun_work(struct op *op, void *arg, struct err *err)
{
    struct ask *ask = arg;
    struct execution execution, after;
    struct execution_seen *x = &ask->sim->x[ask->x];
    if (tx_get(op->tx, &execution_entity, x->id, &execution, op->arena, err) ||
        execution_rerun(op, &execution, &after, err))
        return -1;
    sim_trace(ask->sim, "rerun %zu", ask->x);
    x->rerun_asked = true;
    ask->sim->counts.reruns++;
    return 0;
}

static int report_work(struct op *op, void *arg, struct err *err)
{
    struct ask *ask = arg;
    struct execution execution, after;
    struct execution_seen *x = &ask->sim->x[ask->x];
    struct str body = STR("{\"status\":\"success\",\"output\":\"outside\"}");
    if (tx_get(op->tx, &execution_entity, x->id, &execution, op->arena, err) ||
        execution_report(op, &execution, json_of(body), &after, err))
        return -1;
    sim_trace(ask->sim, "report %zu", ask->x);
    x->report_asked = true;
    ask->sim->counts.reported++;
    return 0;
}

void world_create(struct sim *sim) { ask_run(sim, 0, create_work); }

void world_terminate(struct sim *sim)
{
    if (sim->created > 0)
        ask_run(sim, stage_below(sim->created), terminate_work);
}

void world_report(struct sim *sim)
{
    if (sim->created > 0)
        ask_run(sim, stage_below(sim->created), report_work);
}

void world_rerun(struct sim *sim)
{
    if (sim->created > 0)
        ask_run(sim, stage_below(sim->created), rerun_work);
}
