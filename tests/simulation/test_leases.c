// SPDX-License-Identifier: Apache-2.0
// Runs the world with many seeds. DROVER_SEED=n replays one (DROVER_TRACE=1 tells what happens in
// it), DROVER_SEEDS=n says how many, DROVER_FIRST=n where to begin.
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim.h"

#define SEEDS        10000
#define SQLITE_EVERY 500  // seeds: a commit on a disk takes long
#define STEPS        400
#define CALM_TURNS   400

void sim_fail(struct sim *sim, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    print_error("at %" PRId64 " ms, step %" PRId64 ": %s\nreplay: DROVER_SEED=%" PRIu64
                " DROVER_TRACE=1\n",
                sim_now(sim), sim->counts.steps, text, sim->seed);
    fail();
    abort();
}

void sim_trace(struct sim *sim, const char *fmt, ...)
{
    if (!sim->trace)
        return;
    va_list args;
    printf("%7" PRId64 " ", sim_now(sim));
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
}

static const int64_t clock_steps[] = {3600000, -3600000, 86400000, -86400000};

// ── the schedule ─────────────────────────────────────────────────────────────────────────────

static void time_passes(struct sim *sim, int64_t ms)
{
    while (ms > 0) {
        int64_t step = 1 + (int64_t)stage_below(ms < 2000 ? (size_t)ms : 2000);
        sim->clock.mono_ms += step;
        sim->clock.wall_ms += step;
        if (stage_chance(2))  // the wall clock is set; nothing may hang on it
            sim->clock
                .wall_ms += clock_steps[stage_below(sizeof(clock_steps) / sizeof(*clock_steps))];
        stage_timers(sim->platform.loop, sim->clock.mono_ms);
        agent_kills(sim);
        sim_pump(sim, stage_chance(80));
        ms -= step;
    }
}

static void replicas_move(struct sim *sim, size_t replica)
{
    struct agent *agent = &sim->agents[replica];
    if (agent->alive && !agent->frozen && stage_chance(40)) {
        agent_die(sim, replica);
        if (stage_chance(40))
            agent_notice(sim, replica);
    } else if (!agent->alive && !agent->known_dead) {
        agent_notice(sim, replica);
    } else if (!agent->alive) {
        agent_start(sim, replica, stage_chance(50));
    }
}

static void freeze_or_thaw(struct sim *sim, size_t replica)
{
    struct agent *agent = &sim->agents[replica];
    agent->frozen = !agent->frozen && agent->alive && stage_chance(60);
    if (agent->frozen)
        agent->stuck = stage_chance(30);
    sim_trace(sim, "agent %s %s", agent->id, agent->frozen ? "freezes" : "goes on");
}

static void step(struct sim *sim)
{
    size_t replica = stage_below(REPLICAS), what = stage_below(200);
    if (what < 10)
        world_create(sim);
    else if (what < 12)
        world_terminate(sim);
    else if (what < 20)
        world_rerun(sim);
    else if (what < 23)
        world_report(sim);
    else if (what < 65)
        agent_talk(sim, replica);
    else if (what < 100)
        agent_work(sim, replica);
    else if (what < 108)
        replicas_move(sim, replica);
    else if (what < 110)
        agent_lose_one(sim, replica);
    else if (what < 112)
        agent_hand_back(sim, replica);
    else if (what < 113)
        sim->agents[replica].draining = !sim->agents[replica].draining;
    else if (what < 116)
        freeze_or_thaw(sim, replica);
    else if (what < 173)
        network_move(sim);
    else if (what < 176) {
        server_crash(sim);
        server_open(sim);
    } else
        time_passes(sim, 1 + (int64_t)stage_below(stage_chance(15) ? LEASE_MS : 600));
    sim_pump(sim, stage_chance(40));
    check_books(sim);
}

static bool all_over(struct sim *sim)
{
    for (size_t i = 0; i < sim->created; i++)
        if (!sim->x[i].final)
            return false;
    return map_count(sim->dispatch->leases) == 0;  // one ended from outside may still run
}

// Nothing fails any more: all that was accepted must come to its end.
static void calm_down(struct sim *sim)
{
    sim->calm = true;
    for (size_t i = 0; i < REPLICAS; i++)
        sim->agents[i].frozen = sim->agents[i].draining = false;
    for (int turn = 0; turn < CALM_TURNS && (turn < 8 || !all_over(sim)); turn++) {
        for (size_t i = 0; i < REPLICAS; i++) {
            struct agent *agent = &sim->agents[i];
            if (!agent->alive && !agent->known_dead)
                agent_notice(sim, i);
            else if (!agent->alive)
                agent_start(sim, i, false);
            agent_talk(sim, i);
        }
        network_flush(sim);
        sim_pump(sim, true);
        network_flush(sim);
        for (size_t i = 0; i < REPLICAS * HELD_MAX; i++)
            agent_work(sim, i % REPLICAS);
        time_passes(sim, 300);
        sim_pump(sim, true);
    }
    network_flush(sim);
    sim_pump(sim, true);
}

// ── a life ───────────────────────────────────────────────────────────────────────────────────

static void sim_begin(struct sim *sim, uint64_t seed)
{
    *sim = (struct sim){.seed = seed, .trace = getenv("DROVER_TRACE") != NULL};
    stage_seed(seed);
    clock_fake_init(&sim->clock);
    sim->clock.wall_ms = 1800000000000;
    sim->clock.mono_ms = 1000;
    sim->settings = (struct settings){.lease_ms = LEASE_MS,
                                      .attempts_default = 3,
                                      .input_max = 1 << 20,
                                      .output_max = 1 << 20,
                                      .limits = limits_default};
    sim->store_driver = seed % SQLITE_EVERY == 7 ? "sqlite" : "memory";
    sim->queue_driver = seed % 3 == 0 ? "memory" : "embedded";
    sim->run_ms = seed % 2 == 0 ? 0 : 20;
    sim->arena = arena_new();
    list_init(&sim->calls);
    sim->platform = (struct platform){.fences = &sim->fences,
                                      .loop = loop_new(),
                                      .clock = &sim->clock.clock,
                                      .settings = &sim->settings};
    stage_timers(sim->platform.loop, sim->clock.mono_ms);
    store_begin(sim);
    for (size_t i = 0; i < REPLICAS; i++)
        agent_start(sim, i, false);
    server_open(sim);
}

static void sim_end(struct sim *sim)
{
    server_crash(sim);
    store_end(sim);
    loop_free(sim->platform.loop);
    arena_free(sim->arena);
}

static void counts_add(struct sim_counts *sum, const struct sim_counts *one)
{
    sum->steps += one->steps;
    sum->deliveries += one->deliveries;
    sum->results += one->results;
    sum->counted += one->counted;
    sum->crashes += one->crashes;
    sum->deaths += one->deaths;
    sum->reruns += one->reruns;
    sum->terminated += one->terminated;
    sum->reported += one->reported;
    sum->doubles += one->doubles;
}

static uint64_t number_of(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : fallback;
}

static void test_any_schedule(void **state)
{
    (void)state;
    bool one = getenv("DROVER_SEED") != NULL;
    uint64_t seed = one ? number_of("DROVER_SEED", 0) : number_of("DROVER_FIRST", 0);
    uint64_t count = one ? 1 : number_of("DROVER_SEEDS", SEEDS);
    struct sim_counts sum = {0};
    for (uint64_t end = seed + count; seed < end; seed++) {
        struct sim sim;
        sim_begin(&sim, seed);
        for (; sim.counts.steps < STEPS; sim.counts.steps++)
            step(&sim);
        calm_down(&sim);
        check_end(&sim);
        counts_add(&sum, &sim.counts);
        sim_end(&sim);
    }
    print_message("%" PRIu64 " seeds, %" PRId64 " steps: %" PRId64 " deliveries, %" PRId64
                  " results, %" PRId64 " lost attempts, %" PRId64 " server and %" PRId64
                  " agent deaths, %" PRId64 " reruns, %" PRId64 " terminations, %" PRId64
                  " ends from outside, %" PRId64 " taken over from silent agents\n",
                  count, sum.steps, sum.deliveries, sum.results, sum.counted, sum.crashes,
                  sum.deaths, sum.reruns, sum.terminated, sum.reported, sum.doubles);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_any_schedule)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
