// SPDX-License-Identifier: Apache-2.0
// Lives of a service: the shipped controllers, dispatch, operations, queue, store and the memory
// driver, under a clock and an order of events that a seed decides. People update, scale, pause and
// resume; revisions are good or cannot start; agents crash, fall silent, and take their time to
// drain. DROVER_SEED=n replays one (DROVER_TRACE=1 tells what happens in it), DROVER_SEEDS=n says
// how many, DROVER_FIRST=n where to begin.
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/id.h"
#include "base/map.h"
#include "base/mem.h"
#include "control/control.h"
#include "driver/memory/driver_memory.h"
#include "operation/dispatch.h"
#include "operation/execution.h"
#include "operation/preemption.h"
#include "operation/rollout.h"
#include "operation/service.h"
#include "operation/token.h"
#include "stage.h"

#define SEEDS       10000
#define STEPS       150
#define CALM_STEPS  3000
#define AGENTS      64
#define HELD_MAX    16
#define EXECUTIONS  60
#define CONCURRENCY 2
#define LEASE_MS    15000
#define TIMEOUT_S   120
#define PROJECT     "5f1a0000000000000000cccc"

struct held {
    char id[ID_LEN + 1];
    int64_t fence;
    bool done;
    bool slow;  // it does not end while its agent drains
};

struct agent {  // one process of a replica
    char id[ID_LEN + 1];
    int64_t restarts;  // of its replica, when it began: another number is another process
    bool alive, greeted, ready, failed, frozen;
    bool told, stopped;  // to drain; to stop
    char session[40];
    struct held held[HELD_MAX];
    size_t count;
    struct life *life;
};

struct life {
    uint64_t seed;
    bool trace, calm;
    bool crashes;  // agents die by themselves in this life
    bool hectic;   // people do not wait for what they asked for
    bool unlucky;  // the first revision cannot start
    struct clock_fake clock;
    struct settings settings;
    struct fences fences;
    struct platform platform;
    struct queue *queue;
    struct dispatch *dispatch;
    struct control *control;
    struct driver *driver;
    struct workers *workers;
    struct arena *arena;
    struct str service_id;
    struct agent agents[AGENTS];
    char ids[EXECUTIONS][ID_LEN + 1];
    bool ended[EXECUTIONS];
    size_t created;
    int64_t wanted;  // replicas, as people last said
    bool disturbed;  // in this step people or crashes took ready replicas away
    int64_t updates, rollbacks, stops;
};

static struct {
    int64_t lives, updates, rollbacks, stops, executions, rollouts;
} sum;

static void life_fail(struct life *life, const char *fmt, ...) PRINTF_LIKE(2, 3)
    __attribute__((noreturn));
static void life_fail(struct life *life, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    print_error("at %" PRId64 " ms: %s\nreplay: DROVER_SEED=%" PRIu64 " DROVER_TRACE=1\n",
                life->clock.mono_ms, text, life->seed);
    fail();
    abort();
}

static void trace(const struct life *life, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void trace(const struct life *life, const char *fmt, ...)
{
    if (!life->trace)
        return;
    va_list args;
    printf("%9" PRId64 " ", life->clock.mono_ms);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
}

// ── rows ─────────────────────────────────────────────────────────────────────────────────────

struct look {
    struct life *life;
    struct service service;
    struct execution execution;
    struct str id, reason;
    int64_t count;
};

static int read_service(struct op *op, void *arg, struct err *err)
{
    struct look *look = arg;
    struct service row;
    if (tx_get(op->tx, &service_entity, look->life->service_id, &row, op->arena, err))
        return -1;
    entity_copy(&service_entity, &row, &look->service, look->life->arena);
    return 0;
}

static int read_execution(struct op *op, void *arg, struct err *err)
{
    struct look *look = arg;
    struct execution row;
    if (tx_get(op->tx, &execution_entity, look->id, &row, op->arena, err))
        return -1;
    entity_copy(&execution_entity, &row, &look->execution, look->life->arena);
    return 0;
}

static int count_events(struct op *op, void *arg, struct err *err)
{
    struct look *look = arg;
    struct query query = {
        .filter = filter_eq_text(&service_event_entity, "reason", look->reason, op->arena),
        .limit = QUERY_LIMIT_MAX};
    void *rows;
    size_t count;
    if (tx_select(op->tx, &service_event_entity, &query, op->arena, &rows, &count, err))
        return -1;
    look->count = (int64_t)count;
    return 0;
}

static int count_notes(struct op *op, void *arg, struct err *err)
{
    struct look *look = arg;
    struct query query = {
        .filter = filter_eq_text(&notification_entity, "type", look->reason, op->arena),
        .limit = QUERY_LIMIT_MAX};
    void *rows;
    size_t count;
    if (tx_select(op->tx, &notification_entity, &query, op->arena, &rows, &count, err))
        return -1;
    look->count = (int64_t)count;  // a resume ends an incident, so each one has a row of its own
    if (str_is(look->reason, "CrashLoopBackOff"))
        return 0;
    look->count = 0;
    for (size_t i = 0; i < count; i++)
        look->count += ((struct notification *)rows)[i].count;
    return 0;
}

static void look_now(struct life *life, op_fn fn, struct look *look)
{
    struct err err = ERR_INIT;
    look->life = life;
    if (op_run_now(&life->platform, fn, look, &err))
        life_fail(life, "a row cannot be read: %s", err.message);
}

static struct service service_now(struct life *life)
{
    struct look look = {0};
    look_now(life, read_service, &look);
    return look.service;
}

static int64_t events_now(struct life *life, const char *reason)
{
    struct look look = {.reason = str_of(reason)};
    look_now(life, count_events, &look);
    return look.count;
}

// ── agents ───────────────────────────────────────────────────────────────────────────────────

static struct agent *agent_find(struct life *life, struct str id)
{
    for (size_t i = 0; i < AGENTS; i++)
        if (life->agents[i].alive && str_is(id, life->agents[i].id))
            return &life->agents[i];
    return NULL;
}

static void agent_begin(struct life *life, const struct replica_status *status)
{
    struct agent *agent = NULL;
    for (size_t i = 0; i < AGENTS && !agent; i++)
        if (!life->agents[i].alive)
            agent = &life->agents[i];
    if (!agent)
        life_fail(life, "more than %d agents live at once", AGENTS);
    *agent = (struct agent){.alive = true, .restarts = status->restarts, .life = life};
    memcpy(agent->id, status->id.at, status->id.len);
    trace(life, "agent %s begins (%s)", agent->id, arena_cstr(life->arena, status->revision));
}

static void note_agent(void *arg, const struct replica_status *status)
{
    struct life *life = arg;
    struct agent *agent = agent_find(life, status->id);
    if (!agent)
        return;
    agent->told = status->phase == REPLICA_STOPPING;
    agent->stopped = status->stopped;
}

static void on_change(void *arg, const struct replica_status *status)
{
    struct life *life = arg;
    struct agent *agent = agent_find(life, status->id);
    bool lives = status->phase == REPLICA_RUNNING || status->phase == REPLICA_STARTING ||
                 status->phase == REPLICA_STOPPING;
    if (agent && (!lives || agent->restarts != status->restarts)) {
        trace(life, "agent %s has ended", agent->id);
        life->disturbed |= agent->frozen;  // nobody could know before its lease ended
        agent->alive = false;
        agent = NULL;
    }
    if (!agent && status->phase == REPLICA_RUNNING)
        agent_begin(life, status);
    control_on_change(life->control, status);
}

static void agent_end(struct life *life, struct agent *agent, int64_t code, const char *words)
{
    life->disturbed |= agent->ready && !agent->told;
    agent->alive = false;
    (void)driver_memory_end(life->driver, str_of(agent->id), code, str_of(words));
}

struct talk {
    struct dispatch_exchange base;
    struct agent *agent;
    char session[40];
};

static void take(struct life *life, struct agent *agent, const struct dispatch_delivery *delivery)
{
    struct json body, id;
    struct err err = ERR_INIT;
    if (json_parse(delivery->body, 0, &body, &err) || !json_get(body, "id", &id))
        life_fail(life, "a delivery without an id");
    if (agent->count >= CONCURRENCY)
        life_fail(life, "agent %s was given more than %d executions", agent->id, CONCURRENCY);
    struct held *held = &agent->held[agent->count++];
    *held = (struct held){.fence = delivery->fence, .slow = stage_chance(8)};
    struct str text = json_str(id, life->arena);
    memcpy(held->id, text.at, text.len < ID_LEN ? text.len : ID_LEN);
    trace(life, "agent %s is given %s", agent->id, held->id);
    for (size_t i = 0; i < AGENTS; i++) {
        const struct agent *other = &life->agents[i];
        if (!other->alive || other->frozen || other->stopped)  // what is stopped hands back
            continue;
        for (size_t n = 0; n < other->count; n++)
            if (&other->held[n] != held && strcmp(other->held[n].id, held->id) == 0)
                life_fail(life, "execution %s runs in %s and in %s", held->id, other->id,
                          agent->id);
    }
}

static void drop(struct agent *agent, struct str id, int64_t fence)
{
    for (size_t i = 0; i < agent->count; i++)
        if (str_is(id, agent->held[i].id) && agent->held[i].fence <= fence) {
            agent->held[i] = agent->held[--agent->count];
            return;
        }
}

static void on_answer(struct dispatch_exchange *base, const struct err *err)
{
    struct talk *talk = (struct talk *)(void *)base;
    struct agent *agent = talk->agent;
    if (!agent->alive || strcmp(agent->session, talk->session) != 0 || err)
        return;  // nobody reads it
    for (size_t i = 0; i < base->recorded_count; i++)
        drop(agent, base->recorded[i].ref.id, base->recorded[i].ref.fence);
    for (size_t i = 0; i < base->drop_count; i++)
        drop(agent, base->drop[i].id, base->drop[i].fence);
    for (size_t i = 0; i < base->returned_count; i++)
        drop(agent, base->returned[i].id, base->returned[i].fence);
    for (size_t i = 0; i < base->execution_count; i++)
        take(agent->life, agent, &base->executions[i]);
}

static void on_release(struct dispatch_exchange *base)
{
    struct arena *arena = base->arena;
    arena_free(arena);
}

static void agent_tell(struct life *life, struct agent *agent, const char *failure)
{
    struct arena *arena = arena_new();
    struct talk *talk = arena_new_of(arena, struct talk);
    struct dispatch_exchange *base = &talk->base;
    struct err err = ERR_INIT;
    talk->agent = agent;
    memcpy(talk->session, agent->session, sizeof(talk->session));
    *base = (struct dispatch_exchange){.arena = arena,
                                       .replica_id = str_of(agent->id),
                                       .service_id = life->service_id,
                                       .session = str_of(talk->session),
                                       .ready = agent->ready && !agent->told,
                                       .state = agent->told    ? "draining"
                                                : agent->ready ? "ready"
                                                               : "starting",
                                       .capacity = agent->ready && !agent->told ? CONCURRENCY : 0,
                                       .failure = failure ? json_of(str_of(failure))
                                                          : (struct json){0},
                                       .answer = on_answer,
                                       .release = on_release};
    base->replica_id = arena_copy(arena, base->replica_id);
    base->held = arena_array_of(arena, struct dispatch_ref, HELD_MAX);
    base->returned = arena_array_of(arena, struct dispatch_ref, HELD_MAX);
    base->results = arena_array_of(arena, struct dispatch_result, HELD_MAX);
    for (size_t i = 0; i < agent->count; i++) {
        struct dispatch_ref ref = {.id = arena_copy(arena, str_of(agent->held[i].id)),
                                   .fence = agent->held[i].fence};
        if (agent->held[i].done)
            base->results[base->result_count++] = (struct dispatch_result){
                .ref = ref,
                .status = STR("success"),
                .output = STR("1"),
                .started_at = life->clock.wall_ms,
                .ended_at = life->clock.wall_ms};
        else if (agent->stopped)
            base->returned[base->returned_count++] = ref;
        if (agent->held[i].done || !agent->stopped)
            base->held[base->held_count++] = ref;
    }
    if (dispatch_exchange(life->dispatch, base, &err)) {
        arena_free(arena);
        agent->greeted = agent->greeted && err.kind != ERR_NOT_FOUND;
    }
}

static void agent_greet(struct life *life, struct agent *agent)
{
    size_t kept;
    struct str session = dispatch_hello(life->dispatch, str_of(agent->id), life->service_id, NULL,
                                        0, &kept, life->arena);
    memcpy(agent->session, session.at, session.len);
    agent->greeted = true;
}

// What it was given to run cannot start, or can.
static void agent_load(struct life *life, struct agent *agent)
{
    struct service service = service_now(life);
    struct json bad;
    if (json_get(json_of(service.init_params), "bad", &bad) && bad.type == JSON_TRUE) {
        agent_tell(life, agent,
                   "{\"type\":\"init\",\"message\":\"it is bad\",\"stack\":\"it is bad\"}");
        agent->failed = true;
        return;
    }
    agent->ready = true;
    trace(life, "agent %s is ready", agent->id);
    agent_tell(life, agent, NULL);
}

static void agent_go_on(struct life *life, struct agent *agent)
{
    if (!agent->alive || agent->frozen)
        return;
    if (agent->failed) {
        agent_end(life, agent, 70, "it is bad");
    } else if (!life->calm && life->crashes && stage_chance(1)) {
        trace(life, "agent %s crashes", agent->id);
        agent_end(life, agent, 139, "");
    } else if (!agent->greeted) {
        agent_greet(life, agent);
    } else if (agent->told && (agent->stopped || agent->count == 0) && stage_chance(60)) {
        agent_tell(life, agent, NULL);
        if (agent->count == 0 || agent->stopped)
            agent_end(life, agent, 0, "");
    } else if (!agent->ready && !agent->told) {
        agent_load(life, agent);
    } else {
        for (size_t i = 0; i < agent->count; i++)
            agent->held[i].done |= agent->held[i].slow ? !agent->told && stage_chance(5)
                                                       : stage_chance(40);
        agent_tell(life, agent, NULL);
    }
}

// ── people ───────────────────────────────────────────────────────────────────────────────────

struct request {
    struct life *life;
    struct str body;
    bool force;
    int verb;  // 0: update, 1: pause, 2: resume, 3: restart, 4: an execution, 5: preempt
    struct str replica_id;
};

static int request_work(struct op *op, void *arg, struct err *err)
{
    const struct request *request = arg;
    struct service before, after;
    if (request->verb == 5)
        return replica_preempt(op, request->replica_id, PREEMPTION_OPERATOR, err);
    if (tx_get(op->tx, &service_entity, request->life->service_id, &before, op->arena, err))
        return -1;
    switch (request->verb) {
    case 0: return service_update(op, &before, json_of(request->body), request->force, &after, err);
    case 1:
    case 2: return service_set_active(op, &before, request->verb == 2, request->force, &after, err);
    case 3: return service_restart(op, &before, err);
    default: break;
    }
    struct execution execution;
    struct life *life = request->life;
    if (execution_create(
            op, &(struct execution_request){.service = &before, .body = json_of(request->body)},
            &execution, err))
        return -1;
    memcpy(life->ids[life->created], execution.id.at, ID_LEN);
    life->created++;
    return 0;
}

static void request_done(void *arg, struct err *err)
{
    struct request *request = arg;
    bool gone = request->verb == 5 && err->kind == ERR_NOT_FOUND;
    if (err->kind != ERR_NONE && err->kind != ERR_UNAVAILABLE && !gone)
        life_fail(request->life, "request %d was refused: %s", request->verb, err->message);
}

static void ask(struct life *life, int verb, struct str body, bool force)
{
    struct request *request = arena_new_of(life->arena, struct request);
    *request = (struct request){.life = life, .body = body, .force = force, .verb = verb};
    trace(life, "somebody asks: %d " STR_FMT "%s", verb, STR_ARG(body), force ? " by force" : "");
    op_run(&life->platform, OP_WRITE, request_work, request_done, request);
}

static void ask_update(struct life *life, bool bad)
{
    life->updates++;
    bool force = !bad && stage_chance(20);
    life->disturbed |= force;
    ask(life, 0,
        arena_printf(life->arena, "{\"initParams\":{\"bad\":%s,\"n\":%" PRId64 "}}",
                     bad ? "true" : "false", life->updates),
        force);
}

static void ask_scale(struct life *life, int64_t replicas)
{
    life->disturbed |= replicas < life->wanted;
    life->wanted = replicas;
    ask(life, 0,
        arena_printf(life->arena, "{\"runtime\":{\"numReplicas\":%" PRId64 ",\"concurrency\":%d}}",
                     replicas, CONCURRENCY),
        false);
}

static void ask_preemption(struct life *life)
{
    const struct agent *agent = &life->agents[stage_below(AGENTS)];
    if (!agent->alive)
        return;
    struct request *request = arena_new_of(life->arena, struct request);
    *request = (struct request){
        .life = life, .verb = 5, .replica_id = arena_copy(life->arena, str_of(agent->id))};
    life->disturbed = true;
    trace(life, "agent %s is preempted", agent->id);
    op_run(&life->platform, OP_WRITE, request_work, request_done, request);
}

static void people_act(struct life *life)
{
    size_t what = stage_below(100);
    if (what < 45 && life->created + 1 < EXECUTIONS)
        ask(life, 4, STR("{\"functionName\":\"run\"}"), false);
    else if (what < 65)
        ask_update(life, stage_chance(35));
    else if (what < 75)
        ask_scale(life, 1 + (int64_t)stage_below(9));
    else if (what < 80)
        ask(life, 3, STR(""), false);
    else if (what < 84) {
        life->disturbed = true;
        ask(life, 1, STR(""), stage_chance(30));
    } else if (what < 92) {
        ask(life, 2, STR(""), false);
    } else {
        for (int n = 0; n < 8; n++)
            ask_preemption(life);
    }
}

// ── what must hold ───────────────────────────────────────────────────────────────────────────

static int64_t ready_kept(const struct life *life)
{
    int64_t count = 0;
    for (size_t i = 0; i < AGENTS; i++)
        count += life->agents[i].alive && life->agents[i].ready && !life->agents[i].told;
    return count;
}

static void on_ended(void *arg, const struct event *event)
{
    struct life *life = arg;
    for (size_t i = 0; i < life->created; i++) {
        if (!str_is(event->id, life->ids[i]))
            continue;
        if (life->ended[i])
            life_fail(life, "execution %s ended twice", life->ids[i]);
        life->ended[i] = true;
        return;
    }
}

static int64_t explained(struct life *life, const char *reason, const char *type)
{
    struct look look = {.reason = str_of(type)};
    look_now(life, count_notes, &look);
    int64_t events = events_now(life, reason);
    if (events != look.count)
        life_fail(life, "%" PRId64 " events %s, but notifications count %" PRId64, events, reason,
                  look.count);
    return events;
}

static bool is_complete(struct life *life)
{
    struct service service = service_now(life);
    int64_t alive = 0;
    for (size_t i = 0; i < AGENTS; i++)
        alive += life->agents[i].alive;
    bool over = true;
    for (size_t i = 0; i < life->created; i++)
        over &= life->ended[i];
    return over && service.active && alive == life->wanted && ready_kept(life) == life->wanted &&
           str_eq(service.good_version, service.version);
}

static void check_end(struct life *life)
{
    for (size_t i = 0; i < life->created; i++) {
        struct look look = {.id = str_of(life->ids[i])};
        look_now(life, read_execution, &look);
        if (!str_is(look.execution.status, "success"))
            life_fail(life, "execution %s is " STR_FMT, life->ids[i],
                      STR_ARG(look.execution.status));
        if (!life->crashes && look.execution.attempts > 1)
            life_fail(life, "execution %s counted %" PRId64 " attempts, and nothing crashed",
                      life->ids[i], look.execution.attempts);
    }
    life->rollbacks = explained(life, "RolloutHalted", "RolledBack");
    life->stops = explained(life, "Deactivated", "CrashLoopBackOff");
}

// ── time ─────────────────────────────────────────────────────────────────────────────────────

static void pump(struct life *life, bool all)
{
    while (all || stage_chance(85)) {
        bool fail = !life->calm && stage_chance(1);
        unsigned first = (unsigned)stage_below(4), tried = 0;
        bool moved = false;
        for (; tried < 4 && !moved; tried++)
            switch ((first + tried) % 4) {
            case 0: moved = stage_turn(life->platform.loop); break;
            case 1: moved = stage_commit(life->workers, 1 + stage_below(4), false); break;
            case 2: moved = stage_read(life->workers, fail && life->seed % 4 == 0); break;
            default: moved = stage_finish(life->workers); break;
            }
        if (!moved)
            return;
    }
}

static void pass(struct life *life, int64_t ms)
{
    for (int64_t step; ms > 0; ms -= step) {
        step = ms < 2000 ? ms : 2000;
        life->clock.mono_ms += step;
        life->clock.wall_ms += step;
        stage_timers(life->platform.loop, life->clock.mono_ms);
        pump(life, true);
        for (size_t i = 0; i < AGENTS; i++)  // a living agent names what it holds in time
            if (life->agents[i].alive && life->agents[i].greeted && !life->agents[i].frozen &&
                !life->agents[i].failed)
                agent_tell(life, &life->agents[i], NULL);
        pump(life, true);
    }
}

static void step(struct life *life)
{
    int64_t promised = ready_kept(life) < life->wanted ? ready_kept(life) : life->wanted;
    life->disturbed = false;
    if (!life->calm && stage_chance(life->hectic ? 25 : 5))
        people_act(life);
    struct agent *agent = &life->agents[stage_below(AGENTS)];
    for (size_t i = 0; i < AGENTS && !agent->alive; i++)
        agent = &life->agents[i];
    if (!life->calm && life->crashes && agent->alive && stage_chance(2)) {
        trace(life, "agent %s falls silent", agent->id);
        agent->frozen = true;
    }
    for (size_t i = 0; i < AGENTS; i++)
        if (life->calm || stage_chance(40))
            agent_go_on(life, &life->agents[i]);
    pump(life, life->calm || stage_chance(60));
    pass(life, 1 + (int64_t)stage_below(stage_chance(10) ? 60000 : 3000));
    driver_observe(life->driver, life->service_id, note_agent, life);
    if (!life->disturbed && ready_kept(life) < promised && service_now(life).active)
        life_fail(life, "%" PRId64 " replicas serve, %" PRId64 " did and were promised",
                  ready_kept(life), promised);
}

// ── a life ───────────────────────────────────────────────────────────────────────────────────

static int world_begin(struct op *op, void *arg, struct err *err)
{
    struct life *life = arg;
    struct project project;
    struct package package;
    struct service service;
    entity_clear(&project_entity, &project);
    project.id = STR(PROJECT);
    project.name = STR("project");
    entity_clear(&package_entity, &package);
    package.id = STR("00000000000000000000000a");
    package.name = STR("package");
    package.project_id = project.id;
    package.version = STR("1.0.0");
    package.modules = STR(
        "[{\"name\":\"m\",\"initInputs\":[{\"name\":\"bad\",\"type\":\"Boolean\"},"
        "{\"name\":\"n\",\"type\":\"Integer\"}],\"functions\":[{\"name\":\"run\",\"input\":[]}]}]");
    if (tx_insert(op->tx, &project_entity, &project, err) ||
        tx_insert(op->tx, &package_entity, &package, err))
        return -1;
    struct str body = arena_printf(
        op->arena,
        "{\"name\":\"life\",\"packageId\":\"" STR_FMT
        "\",\"moduleName\":\"m\",\"initParams\":{\"bad\":%s,\"n\":0},\"onReset\":\"rerun\","
        "\"maxAttempts\":1000,\"executionTimeout\":%d,\"versions\":{\"dtlpy\":\"none\"},"
        "\"runtime\":{\"numReplicas\":%" PRId64 ",\"concurrency\":%d}}",
        STR_ARG(package.id), life->unlucky ? "true" : "false", TIMEOUT_S, life->wanted,
        CONCURRENCY);
    if (service_create(op, &project, json_of(body), &service, err))
        return -1;
    life->service_id = arena_copy(life->arena, service.id);
    return 0;
}

static void on_recovered(void *arg, struct err *err)
{
    (void)arg;
    assert_int_equal(err->kind, ERR_NONE);
}

static void life_settings(struct life *life)
{
    life->settings = (struct settings){.lease_ms = LEASE_MS,
                                       .attempts_default = 3,
                                       .timeout_default_s = TIMEOUT_S,
                                       .drain_default_s = 30,
                                       .input_max = 1 << 20,
                                       .output_max = 1 << 20,
                                       .service_token_ttl_ms = 1000000,
                                       .backoff_first_ms = 10000,
                                       .backoff_max_ms = 300000,
                                       .backoff_reset_ms = 600000,
                                       .rollout_failures = 3,
                                       .crash_failures = 5,
                                       .preempt_after_ms = 24 * 3600 * 1000LL,
                                       .preempt_notice_ms = 5000,
                                       .limits = limits_default};
}

static void life_begin(struct life *life, uint64_t seed, struct tokens *tokens)
{
    struct err err = ERR_INIT;
    *life = (struct life){.seed = seed, .trace = getenv("DROVER_TRACE") != NULL};
    stage_seed(seed);
    clock_fake_init(&life->clock);
    life->clock.wall_ms = 1800000000000;
    life->clock.mono_ms = 1000;
    life->crashes = seed % 2 == 0;
    life->hectic = seed % 3 == 0;
    life->unlucky = seed % 5 == 0;
    life->wanted = 1 + (int64_t)stage_below(6);
    life->arena = arena_new();
    life->fences.epoch = 1;
    life_settings(life);
    life->platform = (struct platform){.fences = &life->fences,
                                       .loop = loop_new(),
                                       .log = log_new(-1, LOG_ERROR, LOG_TEXT),
                                       .clock = &life->clock.clock,
                                       .settings = &life->settings,
                                       .events = events_new(),
                                       .metrics = metrics_new(),
                                       .tokens = tokens};
    stage_timers(life->platform.loop, life->clock.mono_ms);
    struct store_config store = {.driver = "memory", .loop = life->platform.loop};
    life->platform.store = store_open(&store, &err);
    life->workers = stage_workers();
    if (op_run_now(&life->platform, world_begin, life, &err))
        life_fail(life, "the service cannot be made: %s", err.message);
    struct queue_config queue = {.driver = "embedded", .body_memory = 1 << 20};
    life->queue = queue_open(&queue, &err);
    life->control = control_new(&life->platform);
    struct dispatch_config dispatch = {.platform = &life->platform,
                                       .queue = life->queue,
                                       .on_silent = control_on_silent,
                                       .on_replica = control_on_replica,
                                       .arg = life->control};
    life->dispatch = dispatch_new(&dispatch);
    struct driver_config driver = {.driver = "memory",
                                   .loop = life->platform.loop,
                                   .clock = &life->clock.clock,
                                   .log = life->platform.log,
                                   .backoff_first_ms = life->settings.backoff_first_ms,
                                   .backoff_max_ms = life->settings.backoff_max_ms,
                                   .backoff_reset_ms = life->settings.backoff_reset_ms,
                                   .preempt_ms = 5000,
                                   .on_change = on_change,
                                   .arg = life};
    life->driver = driver_open(&driver, &err);
    driver_memory_stubborn(life->driver, true);
    events_subscribe(life->platform.events, EVENT_EXECUTION_ENDED, on_ended, life);
    control_attach(life->control, life->dispatch, life->driver);
    life->calm = true;  // the start itself succeeds
    dispatch_start(life->dispatch, on_recovered, life);
    pump(life, true);
    control_start(life->control);
    pump(life, true);
    life->calm = false;
}

static void life_end(struct life *life)
{
    control_stop(life->control);
    dispatch_stop(life->dispatch);
    pump(life, true);
    driver_close(life->driver);
    dispatch_free(life->dispatch);
    stage_kill(life->workers);
    store_close(life->platform.store);
    control_free(life->control);
    stage_forget(life->platform.loop);
    queue_close(life->queue);
    events_free(life->platform.events);
    metrics_free(life->platform.metrics);
    loop_free(life->platform.loop);
    log_free(life->platform.log);
    arena_free(life->arena);
}

// Nothing fails any more, and somebody mends the service: all of it must come to its end.
static void calm_down(struct life *life)
{
    life->calm = true;
    pump(life, true);
    struct service service = service_now(life);
    struct json bad;
    bool is_bad = json_get(json_of(service.init_params), "bad", &bad) && bad.type == JSON_TRUE;
    if (is_bad)
        ask_update(life, false);
    if (is_bad || !service.active)
        ask(life, 2, STR(""), false);
    for (int n = 0; n < CALM_STEPS && !is_complete(life); n++)
        step(life);
    if (is_complete(life))
        return;
    service = service_now(life);
    int64_t alive = 0, open = 0;
    for (size_t i = 0; i < AGENTS; i++)
        alive += life->agents[i].alive;
    for (size_t i = 0; i < life->created; i++)
        open += !life->ended[i];
    for (size_t i = 0; i < AGENTS; i++)
        if (life->agents[i].alive)
            trace(life, "agent %s lives: greeted %d ready %d frozen %d told %d stopped %d",
                  life->agents[i].id, life->agents[i].greeted, life->agents[i].ready,
                  life->agents[i].frozen, life->agents[i].told, life->agents[i].stopped);
    life_fail(life,
              "no end: revision " STR_FMT " (good: " STR_FMT ", agents " STR_FMT ") %s; %" PRId64
              " agents live, %" PRId64 " serve, %" PRId64 " are wanted; %" PRId64
              " executions are open",
              STR_ARG(service.version), STR_ARG(service.good_version), STR_ARG(service.agents),
              service.active ? "active" : "stopped", alive, ready_kept(life), life->wanted, open);
}

static void run_life(uint64_t seed, struct tokens *tokens)
{
    struct life *life = mem_alloc(sizeof(*life));
    life_begin(life, seed, tokens);
    for (int n = 0; n < STEPS; n++)
        step(life);
    calm_down(life);
    check_end(life);
    sum.lives++;
    sum.updates += life->updates;
    sum.rollbacks += life->rollbacks;
    sum.stops += life->stops;
    sum.executions += (int64_t)life->created;
    sum.rollouts += events_now(life, "RolloutComplete");
    life_end(life);
    mem_free(life);
}

static uint64_t number(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static void lives(void **state)
{
    char folder[] = "/tmp/drover-life-XXXXXX";
    struct err err = ERR_INIT;
    (void)state;
    assert_non_null(mkdtemp(folder));
    struct tokens *tokens = tokens_open(folder, clock_system(), &err);
    assert_non_null(tokens);
    uint64_t first = number("DROVER_FIRST", 1), count = number("DROVER_SEEDS", SEEDS);
    if (getenv("DROVER_SEED")) {
        first = number("DROVER_SEED", 1);
        count = 1;
    }
    for (uint64_t seed = first; seed < first + count; seed++)
        run_life(seed, tokens);
    print_message("%" PRId64 " lives, %" PRId64 " updates, %" PRId64 " rollouts completed, %" PRId64
                  " rolled back, %" PRId64 " services stopped, %" PRId64 " executions\n",
                  sum.lives, sum.updates, sum.rollouts, sum.rollbacks, sum.stops, sum.executions);
    tokens_close(tokens);
    char command[80];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    (void)!system(command);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(lives)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
