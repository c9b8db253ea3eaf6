// SPDX-License-Identifier: Apache-2.0
// Dispatch with simulated agents over the memory store and queue, on a clock that jumps: agents
// die, fall silent, lose answers, repeat results, come back after a restart of the server. In every
// schedule each execution must end exactly once and never run twice at the same time.
#include "operation/dispatch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/id.h"
#include "base/list.h"
#include "operation/attempt.h"
#include "operation/dispatch_internal.h"
#include "sim_loop.h"

#define AGENTS     4
#define EXECUTIONS 24
#define HELD_MAX   16
#define STEPS      160
#define LEASE_MS   15000

struct holding {
    char id[ID_LEN + 1];
    int64_t fence;
    bool done;  // has its result, not yet acknowledged
    bool lost;  // its runner died, not yet acknowledged
};

struct agent {
    char id[8];
    bool alive, greeted, doomed;  // doomed: killed, the driver has not noticed yet
    bool cut;                     // nothing of the server's answers arrives
    char session[40];
    struct holding held[HELD_MAX];
    size_t count;
    bool open;  // an exchange is under way
    int64_t sent_at;
};

struct sim {
    uint64_t seed;
    struct clock_fake clock;
    struct settings settings;
    struct platform platform;
    struct queue *queue;
    struct dispatch *dispatch;
    struct arena *arena;
    struct agent agents[AGENTS];
    struct str ids[EXECUTIONS];
    int ended[EXECUTIONS];
    size_t created;
    int64_t open_exchanges;
    bool recovered, double_run;
};

static uint64_t sim_random(struct sim *sim)  // xorshift64*
{
    sim->seed ^= sim->seed >> 12;
    sim->seed ^= sim->seed << 25;
    sim->seed ^= sim->seed >> 27;
    return sim->seed * 2685821657736338717ULL;
}

static bool chance(struct sim *sim, unsigned percent)
{
    return sim_random(sim) >> 33 < (1ULL << 31) / 100 * percent;
}

static size_t below(struct sim *sim, size_t n) { return (size_t)(sim_random(sim) >> 33) % n; }

// ── settling: everything that the store was asked is answered ────────────────────────────────

static int nothing(struct op *op, void *arg, struct err *err)
{
    (void)op;
    (void)arg;
    (void)err;
    return 0;
}

static void count_down(void *arg, struct err *err)
{
    (void)err;
    --*(int *)arg;
}

static void settle(struct sim *sim)
{
    for (int round = 0; round < 4; round++) {
        int left = 2;
        op_run(&sim->platform, OP_WRITE, nothing, count_down, &left);
        op_run(&sim->platform, OP_READ, nothing, count_down, &left);
        while (left > 0)
            sim_loop_turn(sim->platform.loop);
    }
}

static void pass(struct sim *sim, int64_t ms)
{
    while (ms > 0) {
        int64_t step = ms < 500 ? ms : 500;
        sim->clock.mono_ms += step;
        sim->clock.wall_ms += step;
        sim->platform.loop->now += step;
        sim_loop_timers(sim->platform.loop);
        settle(sim);
        ms -= step;
    }
}

// ── agents ───────────────────────────────────────────────────────────────────────────────────

static struct holding *agent_holds(struct agent *agent, struct str id)
{
    for (size_t i = 0; i < agent->count; i++) {
        if (str_is(id, agent->held[i].id))
            return &agent->held[i];
    }
    return NULL;
}

static void agent_forget(struct agent *agent, struct str id, int64_t fence)
{
    struct holding *held = agent_holds(agent, id);
    if (held && held->fence == fence)
        *held = agent->held[--agent->count];
}

static void agent_take(struct sim *sim, struct agent *agent,
                       const struct dispatch_delivery *delivery)
{
    struct json id;
    assert_true(json_get(json_of(delivery->body), "id", &id));
    struct str text = json_str(id, sim->arena);
    struct holding *held = agent_holds(agent, text);
    if (held) {  // still running here: only the fence is new; a dead one runs again
        held->fence = delivery->fence;
        held->lost = false;
        return;
    }
    for (size_t i = 0; i < AGENTS; i++) {
        struct agent *other = &sim->agents[i];
        struct holding *same = other == agent || !other->alive ? NULL : agent_holds(other, text);
        if (same && !same->done && !same->lost)
            sim->double_run = true;
    }
    assert_true(agent->count < HELD_MAX);
    held = &agent->held[agent->count++];
    *held = (struct holding){.fence = delivery->fence};
    memcpy(held->id, text.at, ID_LEN);
}

struct exchange {
    struct dispatch_exchange base;
    struct sim *sim;
    struct agent *agent;
};

static void on_answer(struct dispatch_exchange *base, const struct err *err)
{
    struct exchange *exchange = (struct exchange *)(void *)base;
    struct agent *agent = exchange->agent;
    agent->open = false;
    if (!agent->alive || agent->cut)
        return;
    if (err) {
        if (err->kind == ERR_NOT_FOUND || err->kind == ERR_UNAVAILABLE)
            agent->greeted = false;
        return;
    }
    for (size_t i = 0; i < base->recorded_count; i++)
        agent_forget(agent, base->recorded[i].ref.id, base->recorded[i].ref.fence);
    for (size_t i = 0; i < base->drop_count; i++)
        agent_forget(agent, base->drop[i].id, base->drop[i].fence);
    if (exchange->sim->clock.mono_ms - agent->sent_at > LEASE_MS)
        return;  // too late to start anything
    for (size_t i = 0; i < base->execution_count; i++)
        agent_take(exchange->sim, agent, &base->executions[i]);
}

static void on_release(struct dispatch_exchange *base)
{
    struct exchange *exchange = (struct exchange *)(void *)base;
    exchange->sim->open_exchanges--;
    arena_free(base->arena);
}

struct hello {
    struct sim *sim;
    struct agent *agent;
    struct dispatch *dispatch;
    struct arena *arena;
    struct dispatch_ref *held;
    size_t count, kept;
};

static int hello_work(struct op *op, void *arg, struct err *err)
{
    struct hello *hello = arg;
    return execution_confirm_held(op, STR("service"), hello->held, hello->count, &hello->kept, err);
}

static void hello_done(void *arg, struct err *err)
{
    struct hello *hello = arg;
    struct agent *agent = hello->agent;
    assert_int_equal(err->kind, ERR_NONE);
    if (agent->alive && hello->dispatch == hello->sim->dispatch) {
        struct str session = dispatch_hello(hello->dispatch, str_of(agent->id), STR("service"),
                                            hello->held, hello->kept, &hello->kept, hello->arena);
        snprintf(agent->session, sizeof(agent->session), STR_FMT, STR_ARG(session));
        agent->greeted = true;
        struct agent before = *agent;
        agent->count = 0;
        for (size_t i = 0; i < hello->kept; i++)
            agent->held[agent->count++] = *agent_holds(&before, hello->held[i].id);
    }
    arena_free(hello->arena);
    mem_free(hello);
}

static struct dispatch_ref *refs_of(struct agent *agent, struct arena *arena)
{
    struct dispatch_ref *refs = arena_array_of(arena, struct dispatch_ref, agent->count + 1);
    for (size_t i = 0; i < agent->count; i++)
        refs[i] = (struct dispatch_ref){.id = arena_copy(arena, str_of(agent->held[i].id)),
                                        .fence = agent->held[i].fence};
    return refs;
}

static void agent_greet(struct sim *sim, struct agent *agent)
{
    struct hello *hello = mem_alloc(sizeof(*hello));
    hello->sim = sim;
    hello->agent = agent;
    hello->dispatch = sim->dispatch;
    hello->arena = arena_new();
    hello->held = refs_of(agent, hello->arena);
    hello->count = agent->count;
    op_run(&sim->platform, OP_READ, hello_work, hello_done, hello);
    settle(sim);
}

static void add_reports(struct sim *sim, struct exchange *exchange)
{
    struct agent *agent = exchange->agent;
    struct dispatch_exchange *base = &exchange->base;
    base->results = arena_array_of(base->arena, struct dispatch_result, agent->count + 1);
    base->lost = arena_array_of(base->arena, struct dispatch_lost, agent->count + 1);
    for (size_t i = 0; i < agent->count; i++) {
        struct dispatch_ref ref = base->held[i];
        if (agent->held[i].done)
            base->results[base->result_count++] = (struct dispatch_result){
                .ref = ref,
                .status = STR("success"),
                .output = STR("{}"),
                .started_at = sim->clock.wall_ms,
                .ended_at = sim->clock.wall_ms};
        else if (agent->held[i].lost || (agent->held[i].lost = chance(sim, 4)))
            base->lost[base->lost_count++] = (struct dispatch_lost){ref, STR("its runner died")};
    }
}

static void agent_exchange(struct sim *sim, struct agent *agent)
{
    if (!agent->alive || agent->open)
        return;
    if (!agent->greeted) {
        agent_greet(sim, agent);
        return;
    }
    struct arena *arena = arena_new();
    struct exchange *exchange = arena_new_of(arena, struct exchange);
    exchange->sim = sim;
    exchange->agent = agent;
    exchange->base = (struct dispatch_exchange){
        .arena = arena,
        .replica_id = arena_copy(arena, str_of(agent->id)),
        .service_id = STR("service"),
        .session = arena_copy(arena, str_of(agent->session)),
        .ready = true,
        .state = "ready",
        .capacity = 4,
        .wait_ms = 1000,
        .held = refs_of(agent, arena),
        .held_count = agent->count,
        .answer = on_answer,
        .release = on_release,
    };
    add_reports(sim, exchange);
    struct err err = ERR_INIT;
    agent->sent_at = sim->clock.mono_ms;
    if (dispatch_exchange(sim->dispatch, &exchange->base, &err)) {
        assert_true(err.kind == ERR_NOT_FOUND || err.kind == ERR_CONFLICT);
        agent->greeted = false;
        arena_free(arena);
        return;
    }
    sim->open_exchanges++;
    agent->open = true;
    settle(sim);
}

// ── the world ────────────────────────────────────────────────────────────────────────────────

static void kill_agent(struct agent *agent)
{
    agent->alive = false;
    agent->doomed = true;
    agent->count = 0;
}

static void on_silent(void *arg, struct str replica_id)
{
    struct sim *sim = arg;
    for (size_t i = 0; i < AGENTS; i++) {
        if (str_is(replica_id, sim->agents[i].id) && sim->agents[i].alive)
            kill_agent(&sim->agents[i]);
    }
}

static void on_ended(void *arg, const struct event *event)
{
    struct sim *sim = arg;
    for (size_t i = 0; i < sim->created; i++)
        sim->ended[i] += str_eq(sim->ids[i], event->id);
}

static void open_server(struct sim *sim);

static void on_recovered(void *arg, struct err *err)
{
    struct sim *sim = arg;
    assert_int_equal(err->kind, ERR_NONE);
    sim->recovered = true;
}

static void open_server(struct sim *sim)
{
    struct queue_config queue = {.driver = "memory"};
    struct dispatch_config config = {
        .platform = &sim->platform, .on_silent = on_silent, .arg = sim};
    struct err err = ERR_INIT;
    sim->platform.epoch++;
    sim->platform.events = events_new();
    sim->platform.metrics = metrics_new();
    config.queue = sim->queue = queue_open(&queue, &err);
    sim->dispatch = dispatch_new(&config);
    events_subscribe(sim->platform.events, EVENT_EXECUTION_ENDED, on_ended, sim);
    for (size_t i = 0; i < AGENTS; i++) {
        if (sim->agents[i].alive || sim->agents[i].doomed)
            dispatch_expect(sim->dispatch, str_of(sim->agents[i].id), STR("service"));
    }
    sim->recovered = false;
    dispatch_start(sim->dispatch, on_recovered, sim);
    settle(sim);
    assert_true(sim->recovered);
}

static void close_server(struct sim *sim)
{
    settle(sim);  // its store commits what it was asked
    sim_loop_drain(sim->platform.loop);
    sim->platform.loop->refused = &sim->dispatch->sweep;
    dispatch_free(sim->dispatch);
    sim->platform.loop->refused = NULL;
    queue_close(sim->queue);
    events_free(sim->platform.events);
    metrics_free(sim->platform.metrics);
    for (size_t i = 0; i < AGENTS; i++)
        sim->agents[i].greeted = false;
}

static int create_work(struct op *op, void *arg, struct err *err)
{
    struct sim *sim = arg;
    struct execution execution;
    entity_clear(&execution_entity, &execution);
    execution.id = sim->ids[sim->created];
    execution.service_id = STR("service");
    execution.status = STR("created");
    execution.function_name = STR("run");
    execution.input = STR("{}");
    execution.attempts = execution.fence = 0;
    execution.max_attempts = 1 + (int64_t)below(sim, 4);
    execution.created_at = execution.updated_at = op->now;
    struct event event = {
        .kind = EVENT_EXECUTION_READY, .id = execution.id, .service_id = execution.service_id};
    if (chance(sim, 60))
        event.body = execution_delivery(&execution, op->arena);
    op_event(op, &event);
    return tx_insert(op->tx, &execution_entity, &execution, err);
}

static void created(void *arg, struct err *err)
{
    struct sim *sim = arg;
    assert_int_equal(err->kind, ERR_NONE);
    (void)sim;
}

static void create(struct sim *sim)
{
    if (sim->created == EXECUTIONS)
        return;
    sim->ids[sim->created] = id_new(sim->clock.wall_ms, sim->arena);
    op_run(&sim->platform, OP_WRITE, create_work, created, sim);
    settle(sim);
    sim->created++;
}

struct terminate {
    struct str id;
};

static int terminate_work(struct op *op, void *arg, struct err *err)
{
    struct terminate *terminate = arg;
    struct execution execution;
    if (tx_get(op->tx, &execution_entity, terminate->id, &execution, op->arena, err))
        return -1;
    execution.to_terminate = true;
    op_event(op, &(struct event){.kind = EVENT_EXECUTION_TERMINATE,
                                 .id = terminate->id,
                                 .service_id = STR("service")});
    return tx_update(op->tx, &execution_entity, &execution, err);
}

static void terminate(struct sim *sim)
{
    if (sim->created == 0)
        return;
    struct terminate one = {sim->ids[below(sim, sim->created)]};
    op_run(&sim->platform, OP_WRITE, terminate_work, created, &one);
    settle(sim);
}

static void notice_dead(struct sim *sim, struct agent *agent)
{
    if (!agent->doomed)
        return;
    dispatch_replica_gone(sim->dispatch, str_of(agent->id), STR("its agent ended"));
    settle(sim);
    static int serial;
    agent->doomed = false;
    agent->alive = true;
    agent->greeted = agent->cut = false;
    snprintf(agent->id, sizeof(agent->id), "r%d", ++serial % 100000);
}

static void finish_one(struct holding *held) { held->done = !held->lost; }

static void step(struct sim *sim)
{
    struct agent *agent = &sim->agents[below(sim, AGENTS)];
    size_t what = below(sim, 100);
    if (what < 15)
        create(sim);
    else if (what < 50)
        agent_exchange(sim, agent);
    else if (what < 72 && agent->count > 0)
        finish_one(&agent->held[below(sim, agent->count)]);
    else if (what < 76 && agent->alive)
        kill_agent(agent);
    else if (what < 80)
        notice_dead(sim, agent);
    else if (what < 84)
        agent->cut = !agent->cut;
    else if (what < 86)
        terminate(sim);
    else if (what < 88) {
        close_server(sim);
        open_server(sim);
    } else {
        pass(sim, (int64_t)below(sim, chance(sim, 20) ? 3 * LEASE_MS : LEASE_MS / 3));
    }
}

static bool all_ended(const struct sim *sim)
{
    for (size_t i = 0; i < sim->created; i++) {
        if (sim->ended[i] == 0)
            return false;
    }
    return true;
}

// Everything is well again: all that was accepted must come to its end.
static void run_out(struct sim *sim)
{
    for (int turn = 0; turn < 200 && !all_ended(sim); turn++) {
        for (size_t i = 0; i < AGENTS; i++) {
            struct agent *agent = &sim->agents[i];
            agent->cut = false;
            notice_dead(sim, agent);
            for (size_t k = 0; k < agent->count; k++)
                finish_one(&agent->held[k]);
            agent_exchange(sim, agent);
        }
        pass(sim, 1500);
    }
}

static int add_service(struct op *op, void *arg, struct err *err)
{
    struct service service;
    (void)arg;
    entity_clear(&service_entity, &service);
    service.id = STR("service");
    service.name = STR("service");
    service.on_reset = STR("rerun");
    service.created_at = service.updated_at = op->now;
    return tx_insert(op->tx, &service_entity, &service, err);
}

static void open_sim(struct sim *sim, uint64_t seed)
{
    struct err err = ERR_INIT;
    *sim = (struct sim){.seed = seed * 0x9E3779B97F4A7C15ULL + 1};
    clock_fake_init(&sim->clock);
    sim->clock.wall_ms = 1800000000000;
    sim->clock.mono_ms = 1000;
    sim->settings = (struct settings){
        .lease_ms = LEASE_MS, .attempts_default = 3, .output_max = 1 << 20};
    sim->arena = arena_new();
    sim_loop = sim->platform.loop = loop_new();
    sim->platform.clock = &sim->clock.clock;
    sim->platform.settings = &sim->settings;
    sim->platform.log = log_new(-1, LOG_ERROR, LOG_TEXT);
    struct store_config store = {.driver = "memory",
                                 .readers = 1,
                                 .lazy_ms = 1,
                                 .group_max = 64,
                                 .loop = sim->platform.loop,
                                 .log = sim->platform.log};
    sim->platform.store = store_open(&store, &err);
    assert_non_null(sim->platform.store);
    assert_int_equal(op_run_now(&sim->platform, add_service, NULL, &err), 0);
    for (size_t i = 0; i < AGENTS; i++) {
        sim->agents[i].alive = true;
        snprintf(sim->agents[i].id, sizeof(sim->agents[i].id), "a%zu", i);
    }
    open_server(sim);
}

static void close_sim(struct sim *sim)
{
    close_server(sim);
    assert_int_equal(sim->open_exchanges, 0);
    store_close(sim->platform.store);
    loop_free(sim->platform.loop);
    log_free(sim->platform.log);
    arena_free(sim->arena);
}

static void check(struct sim *sim, uint64_t seed)
{
    bool good = !sim->double_run;
    for (size_t i = 0; i < sim->created; i++)
        good = good && sim->ended[i] == 1;
    if (good)
        return;
    for (size_t i = 0; i < sim->created; i++) {
        if (sim->ended[i] != 1)
            print_error("execution %zu (" STR_FMT ") ended %d times\n", i, STR_ARG(sim->ids[i]),
                        sim->ended[i]);
    }
    fail_msg("seed %llu: %s", (unsigned long long)seed,
             sim->double_run ? "an execution ran twice at the same time"
                             : "not each execution ended exactly once");
}

static void test_schedules(void **state)
{
    (void)state;
    const char *first = getenv("DROVER_SEED"), *many = getenv("DROVER_SCHEDULES");
    uint64_t seed = first ? strtoull(first, NULL, 10) : 1;
    uint64_t count = first ? 1 : many ? strtoull(many, NULL, 10) : 150;
    for (uint64_t i = 0; i < count; i++, seed++) {
        struct sim sim;
        open_sim(&sim, seed);
        for (int n = 0; n < STEPS; n++)
            step(&sim);
        run_out(&sim);
        check(&sim, seed);
        close_sim(&sim);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_schedules)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
