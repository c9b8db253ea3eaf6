// SPDX-License-Identifier: Apache-2.0
#include "control/watch.h"

#include "base/map.h"
#include "base/mem.h"
#include "operation/rollout.h"

struct watch {
    char *id, *agents;
    int64_t wanted, memory_mib;
    bool good, good_before, preemptible;
    bool deciding;  // a decision is on its way into the store
};

struct watches {
    const struct platform *platform;
    watch_look_fn look;
    void *arg;
    struct map *services;
    bool stopped;
};

static void watch_free(struct watch *watch)
{
    mem_free(watch->id);
    mem_free(watch->agents);
    mem_free(watch);
}

struct watches *watches_new(const struct platform *platform, watch_look_fn look, void *arg)
{
    struct watches *watches = mem_alloc(sizeof(*watches));
    *watches = (struct watches){
        .platform = platform, .look = look, .arg = arg, .services = map_new()};
    return watches;
}

void watches_free(struct watches *watches)
{
    size_t cursor = 0;
    struct str id;
    for (struct watch *watch; (watch = map_next(watches->services, &cursor, &id));)
        watch_free(watch);
    map_free(watches->services);
    mem_free(watches);
}

void watches_stop(struct watches *watches) { watches->stopped = true; }

void watch_service(struct watches *watches, const struct service *service,
                   const struct runtime *runtime)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    struct str agents = service_agents(service, arena);
    struct watch *watch = map_get(watches->services, service->id);
    if (!watch) {
        watch = mem_alloc(sizeof(*watch));
        watch->id = mem_copy(service->id.at, service->id.len);
        map_put(watches->services, str_of(watch->id), watch);
    }
    mem_free(watch->agents);
    watch->agents = mem_copy(agents.at, agents.len);
    watch->wanted = service_replicas(service, runtime);
    watch->memory_mib = runtime->instance->memory_mib;
    watch->preemptible = runtime->preemptible;
    watch->good = str_eq(service->good_version, service->version);
    watch->good_before = !watch->good && service->good_version.len > 0;
    watch_look(watches, service->id);
}

bool watch_preemptible(const struct watches *watches, struct str service_id)
{
    const struct watch *watch = map_get(watches->services, service_id);
    return watch && watch->preemptible;
}

void watch_forget(struct watches *watches, struct str service_id)
{
    struct watch *watch = map_remove(watches->services, service_id);
    if (watch)
        watch_free(watch);
}

// ── decisions ────────────────────────────────────────────────────────────────────────────────

struct decision {
    struct watches *watches;
    struct arena *arena;
    enum lifecycle_verdict verdict;
    struct rollout_failure failure;
};

static int decision_work(struct op *op, void *arg, struct err *err)
{
    struct decision *decision = arg;
    const struct rollout_failure *failure = &decision->failure;
    switch (decision->verdict) {
    case LIFECYCLE_GOOD: return rollout_good(op, failure->service_id, failure->agents, err);
    case LIFECYCLE_BACK: return rollout_back(op, failure, err);
    case LIFECYCLE_STOP: return rollout_stop(op, failure, err);
    case LIFECYCLE_WAIT: break;
    }
    return 0;
}

static void decision_done(void *arg, struct err *err)
{
    struct decision *decision = arg;
    struct watches *watches = decision->watches;
    struct str service_id = decision->failure.service_id;
    struct watch *watch = map_get(watches->services, service_id);
    if (err->kind != ERR_NONE)
        log_warn(watches->platform->log, "control",
                 "service " STR_FMT ": what its agents say was not recorded: %s",
                 STR_ARG(service_id), err->message);
    if (watch) {
        watch->deciding = false;
        if (err->kind == ERR_NONE && decision->verdict == LIFECYCLE_GOOD &&
            str_is(decision->failure.agents, watch->agents))
            watch->good = true;
    }
    arena_free(decision->arena);
    mem_free(decision);
}

static void decide(struct watches *watches, struct watch *watch, enum lifecycle_verdict verdict,
                   const struct watch_failure *worst)
{
    struct decision *decision = mem_alloc(sizeof(*decision));
    struct arena *arena = arena_new();
    *decision = (struct decision){
        .watches = watches,
        .arena = arena,
        .verdict = verdict,
        .failure = {.service_id = arena_copy(arena, str_of(watch->id)),
                    .agents = arena_copy(arena, str_of(watch->agents)),
                    .replica_id = arena_copy(arena, worst->replica_id),
                    .type = arena_copy(arena, worst->type),
                    .how = arena_copy(arena, worst->how),
                    .words = arena_copy(arena, worst->words),
                    .failures = worst->failures,
                    .memory_mib = watch->memory_mib,
                    .exit_code = worst->exit_code},
    };
    watch->deciding = true;
    // Good news comes after what the agent's becoming ready writes.
    op_run(watches->platform, verdict == LIFECYCLE_GOOD ? OP_WRITE_LAZY : OP_WRITE, decision_work,
           decision_done, decision);
}

void watch_look(struct watches *watches, struct str service_id)
{
    struct watch *watch = map_get(watches->services, service_id);
    if (!watch || watch->deciding || watches->stopped)
        return;
    const struct settings *settings = watches->platform->settings;
    const struct lifecycle_rules rules = {.rollout_failures = settings->rollout_failures,
                                          .crash_failures = settings->crash_failures};
    struct lifecycle_view view = {
        .wanted = watch->wanted, .good = watch->good, .good_before = watch->good_before};
    struct watch_failure worst = {.exit_code = INT_NONE};
    watches->look(watches->arg, service_id, str_of(watch->agents), &view, &worst);
    enum lifecycle_verdict verdict = lifecycle_judge(&rules, &view);
    if (verdict != LIFECYCLE_WAIT)
        decide(watches, watch, verdict, &worst);
}
