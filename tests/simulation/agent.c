// SPDX-License-Identifier: Apache-2.0
// Agents as docs/agent-link.md wants them, the network between them and the server, and the driver.
#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"
#include "sim.h"

enum call_state { REQUEST, OPEN, ANSWER };

struct call {  // one exchange on its way, at the server, or on its way back
    struct dispatch_exchange base;
    struct sim *sim;
    struct list node;  // sim.calls, while the agent waits for it
    size_t replica;
    int64_t process, session_number, sent_at, answered_at;
    enum call_state state;
    enum err_kind err;
    bool given;      // to dispatch
    bool released;   // by dispatch
    bool forgotten;  // by the agent
};

struct hello {
    struct sim *sim;
    size_t replica;
    int64_t process, server_number;
    struct arena *arena;
    struct dispatch_ref *held;
    size_t count, kept;
    bool abandoned;
};

static struct held *held_find(struct agent *agent, size_t x)
{
    for (size_t i = 0; i < agent->count; i++)
        if (agent->held[i].x == x)
            return &agent->held[i];
    return NULL;
}

static void held_remove(struct agent *agent, struct held *held)
{
    *held = agent->held[--agent->count];
}

static struct held *held_by_ref(struct sim *sim, struct agent *agent,
                                const struct dispatch_ref *ref)
{
    struct held *held = held_find(agent, sim_find(sim, ref->id));
    return held && held->fence == ref->fence ? held : NULL;
}

// ── calls ────────────────────────────────────────────────────────────────────────────────────

static void call_free(struct call *call)
{
    if (call->forgotten && (!call->given || call->released))
        arena_free(call->base.arena);
}

static void call_forget(struct call *call)
{
    list_remove(&call->node);
    call->forgotten = true;
    call_free(call);
}

static void on_answer(struct dispatch_exchange *base, const struct err *err)
{
    struct call *call = (struct call *)(void *)base;
    call->state = ANSWER;
    call->answered_at = sim_now(call->sim);
    call->err = err ? err->kind : ERR_NONE;
    for (size_t i = 0; i < base->execution_count; i++)
        check_delivery(call->sim, call->replica, &base->executions[i]);
}

static void on_release(struct dispatch_exchange *base)
{
    struct call *call = (struct call *)(void *)base;
    call->released = true;
    call_free(call);
}

static void fill_reports(struct sim *sim, struct call *call, struct agent *agent)
{
    struct dispatch_exchange *base = &call->base;
    base->held = arena_array_of(base->arena, struct dispatch_ref, HELD_MAX);
    base->returned = arena_array_of(base->arena, struct dispatch_ref, HELD_MAX);
    base->results = arena_array_of(base->arena, struct dispatch_result, HELD_MAX);
    base->progress = arena_array_of(base->arena, struct dispatch_progress, HELD_MAX);
    base->lost = arena_array_of(base->arena, struct dispatch_lost, HELD_MAX);
    for (size_t i = 0; i < agent->count; i++) {
        struct held *held = &agent->held[i];
        struct execution_seen *x = &sim->x[held->x];
        struct dispatch_ref ref = {.id = x->id, .fence = held->fence};
        struct delivery_seen *seen = check_seen(x, held->fence);
        base->held[base->held_count++] = ref;
        if (held->state == DONE) {
            seen->result = true;
            seen->stale = held->reruns != x->reruns;
            base->results[base->result_count++] = (struct dispatch_result){
                .ref = ref,
                .status = STR("success"),
                .output = arena_printf(base->arena, "{\"f\":%" PRId64 "}", held->fence),
                .started_at = sim->clock.wall_ms - sim->run_ms,
                .ended_at = sim->clock.wall_ms};
        } else if (held->state == LOST) {
            seen->cause = true;
            base->lost[base->lost_count++] = (struct dispatch_lost){ref, STR("its runner died")};
        } else if (held->state == RETURNED) {
            base->returned[base->returned_count++] = ref;
        } else if (held->state == RUNNING && stage_chance(20)) {
            base->progress[base->progress_count++] = (struct dispatch_progress){
                .ref = ref, .message = STR("half"), .percent = 50, .at = sim->clock.wall_ms};
        }
    }
}

static void exchange_send(struct sim *sim, size_t replica)
{
    struct agent *agent = &sim->agents[replica];
    struct arena *arena = arena_new();
    struct call *call = arena_new_of(arena, struct call);
    bool ready = !agent->draining;
    *call = (struct call){.sim = sim,
                          .replica = replica,
                          .process = agent->process,
                          .session_number = agent->session_number,
                          .sent_at = sim_now(sim)};
    call->base = (struct dispatch_exchange){
        .arena = arena,
        .replica_id = arena_copy(arena, str_of(agent->id)),
        .service_id = sim_service(agent->service),
        .session = arena_copy(arena, str_of(agent->session)),
        .ready = ready,
        .state = ready ? "ready" : "draining",
        .capacity = ready ? CAPACITY : 0,
        .wait_ms = (int64_t)stage_below(10000),
        .answer = on_answer,
        .release = on_release,
    };
    fill_reports(sim, call, agent);
    list_push_back(&sim->calls, &call->node);
}

static void cause_all(struct sim *sim, int64_t process)  // all that it was given may be lost
{
    for (size_t i = 0; i < sim->created; i++)
        for (size_t k = 0; k < sim->x[i].delivery_count; k++)
            if (sim->x[i].deliveries[k].process == process)
                sim->x[i].deliveries[k].cause = true;
}

static void request_arrives(struct call *call)
{
    struct sim *sim = call->sim;
    struct agent *agent = &sim->agents[call->replica];
    struct err err = ERR_INIT;
    call->state = OPEN;
    call->given = true;
    if (dispatch_exchange(sim->dispatch, &call->base, &err)) {
        call->given = false;
        call->state = ANSWER;
        call->err = err.kind;
        return;
    }
    if (call->process != agent->process)
        return;
    if (sim_now(sim) - agent->heard_at >= LEASE_MS)
        cause_all(sim, agent->process);  // what was given up in the silence may be written later
    agent->heard_at = sim_now(sim);
    agent->heard_by = sim->server_number;
    for (size_t i = 0; i < call->base.held_count; i++) {
        struct held *held = held_by_ref(sim, agent, &call->base.held[i]);
        struct lease *lease = map_get(sim->dispatch->leases, call->base.held[i].id);
        bool leased = lease && lease->fence == call->base.held[i].fence;
        if (held && (leased || sim_now(sim) - held->named_at < LEASE_MS))  // else it was too late
            held->named_at = sim_now(sim);
    }
}

static void take_one(struct sim *sim, struct agent *agent, const struct call *call,
                     const struct dispatch_delivery *delivery)
{
    struct json id, value;
    int64_t since = 0;
    (void)!json_get(json_of(delivery->body), "id", &id);
    if (json_get(json_of(delivery->body), "since", &value))
        (void)json_int(value, &since);
    size_t x = sim_find(sim, json_str(id, call->base.arena));
    struct held *held = held_find(agent, x);
    if (held && held->fence < since) {  // of before a rerun
        held_remove(agent, held);
        held = NULL;
    }
    if (held && held->fence >= delivery->fence)
        return;
    if (held && (held->state == LOST || held->state == RETURNED)) {
        held_remove(agent, held);
        held = NULL;
    }
    if (held) {  // it runs here, or has run here: the newer fence is for that
        held->fence = delivery->fence;
        held->fresh_at = call->sent_at;
        held->named_at = call->answered_at;
        return;
    }
    if (sim_now(sim) - call->sent_at > LEASE_MS)
        return;  // too late to start it
    if (agent->count == HELD_MAX)
        sim_fail(sim, "agent %s was given more than it can hold", agent->id);
    agent->held[agent->count++] = (struct held){.x = x,
                                                .fence = delivery->fence,
                                                .since = since,
                                                .reruns = sim->x[x].reruns,
                                                .state = WAITING,
                                                .fresh_at = call->sent_at,
                                                .named_at = call->answered_at};
}

static void take_answer(struct sim *sim, struct agent *agent, struct call *call)
{
    struct dispatch_exchange *base = &call->base;
    struct held *held;
    for (size_t i = 0; i < base->recorded_count; i++)
        if ((held = held_by_ref(sim, agent, &base->recorded[i].ref)) &&
            (held->state == DONE || held->state == LOST))
            held_remove(agent, held);
    for (size_t i = 0; i < base->drop_count; i++)
        if ((held = held_by_ref(sim, agent, &base->drop[i])))
            held_remove(agent, held);
    for (size_t i = 0; i < base->returned_count; i++)
        if ((held = held_by_ref(sim, agent, &base->returned[i])) && held->state == RETURNED)
            held_remove(agent, held);
    for (size_t i = 0; i < base->held_count; i++)
        if ((held = held_by_ref(sim, agent, &base->held[i])) && held->fresh_at < call->sent_at)
            held->fresh_at = call->sent_at;
    for (size_t i = 0; i < base->terminate_count; i++)
        if ((held = held_find(agent, sim_find(sim, base->terminate[i]))) &&
            (held->state == RUNNING || held->state == WAITING))
            held->state = DONE;
    for (size_t i = 0; i < base->execution_count; i++)
        take_one(sim, agent, call, &base->executions[i]);
}

static void answer_arrives(struct call *call)
{
    struct sim *sim = call->sim;
    struct agent *agent = &sim->agents[call->replica];
    bool mine = agent->alive && !agent->frozen && agent->process == call->process &&
                agent->session_number == call->session_number;
    if (mine && call->err == ERR_NONE) {
        take_answer(sim, agent, call);
    } else if (mine && call->err == ERR_NOT_FOUND) {
        agent->greeted = false;  // the server does not know us: hello again
    } else if (mine && call->err == ERR_CONFLICT) {
        sim_fail(sim, "agent %s is refused although its session is the newest", agent->id);
    }
    call_forget(call);
}

static void call_break(struct call *call, bool noticed)  // its connection is gone
{
    if (call->state == OPEN && noticed)
        dispatch_exchange_cancel(call->sim->dispatch, &call->base);
    call_forget(call);
}

void network_move(struct sim *sim)
{
    size_t count = 0;
    list_each (&sim->calls, node, next)
        count++;
    size_t pick = count ? stage_below(count) : 0;
    struct list *it = sim->calls.next;
    for (; pick > 0; pick--)
        it = it->next;
    if (count == 0)
        return;
    struct call *call = list_entry(it, struct call, node);
    if (sim->agents[call->replica].frozen)
        return;
    if (stage_chance(call->state == OPEN ? 2 : 6)) {
        sim_trace(sim, "network: a call of %s breaks", sim->agents[call->replica].id);
        call_break(call, stage_chance(50));
    } else if (call->state == REQUEST) {
        size_t replica = call->replica;
        bool last_words = call->base.result_count > 0 && stage_chance(5);
        request_arrives(call);
        if (last_words) {  // before they are written
            agent_die(sim, replica);
            agent_notice(sim, replica);
        }
    } else if (call->state == ANSWER) {
        answer_arrives(call);
    }
}

void network_flush(struct sim *sim)
{
    list_each (&sim->calls, node, next) {
        struct call *call = list_entry(node, struct call, node);
        if (sim->agents[call->replica].frozen)
            continue;
        if (call->state == REQUEST)
            request_arrives(call);
        else if (call->state == ANSWER)
            answer_arrives(call);
    }
}

void network_reset(struct sim *sim)
{
    list_each (&sim->calls, node, next)
        call_forget(list_entry(node, struct call, node));
    for (size_t i = 0; i < REPLICAS; i++) {
        if (sim->agents[i].hello)
            sim->agents[i].hello->abandoned = true;
        sim->agents[i].hello = NULL;
    }
}

static size_t calls_of(struct sim *sim, size_t replica)
{
    size_t count = 0;
    list_each (&sim->calls, node, next) {
        struct call *call = list_entry(node, struct call, node);
        count += call->replica == replica && call->process == sim->agents[replica].process;
    }
    return count;
}

static void calls_break(struct sim *sim, size_t replica)
{
    list_each (&sim->calls, node, next) {
        struct call *call = list_entry(node, struct call, node);
        if (call->replica == replica)
            call_break(call, stage_chance(60));
    }
}

// ── hello ────────────────────────────────────────────────────────────────────────────────────

static int hello_work(struct op *op, void *arg, struct err *err)
{
    struct hello *hello = arg;
    struct sim *sim = hello->sim;
    struct arena *own = op->arena;
    op->arena = hello->arena;
    int rc = execution_confirm_held(op, sim_service(sim->agents[hello->replica].service),
                                    hello->held, hello->count, &hello->kept, err);
    op->arena = own;
    return rc;
}

static void hello_kept(struct agent *agent, struct hello *hello)
{
    struct sim *sim = hello->sim;
    for (size_t i = agent->count; i-- > 0;) {
        bool kept = false;
        for (size_t k = 0; k < hello->kept; k++)
            kept = kept || held_by_ref(sim, agent, &hello->held[k]) == &agent->held[i];
        if (kept)
            agent->held[i].named_at = agent->held[i].fresh_at = sim_now(sim);
        else
            held_remove(agent, &agent->held[i]);
    }
}

// Whatever else was given to this process, or to one before it of the same name, is over; so is
// what the server gave up in a silence before.
static void hello_causes(struct sim *sim, size_t replica)
{
    struct agent *agent = &sim->agents[replica];
    bool late = sim_now(sim) - agent->heard_at >= LEASE_MS;
    for (size_t i = 0; i < sim->created; i++) {
        struct held *held = held_find(agent, i);
        for (size_t k = 0; k < sim->x[i].delivery_count; k++) {
            struct delivery_seen *seen = &sim->x[i].deliveries[k];
            bool named = held && held->fence == seen->fence && !late;
            if (seen->replica == replica && !named)
                seen->cause = true;
        }
    }
}

static void hello_done(void *arg, struct err *err)
{
    struct hello *hello = arg;
    struct sim *sim = hello->sim;
    struct agent *agent = &sim->agents[hello->replica];
    if (!hello->abandoned && err->kind == ERR_NONE) {
        struct str session = dispatch_hello(sim->dispatch, str_of(agent->id),
                                            sim_service(agent->service), hello->held, hello->kept,
                                            &hello->kept, hello->arena);
        sim_trace(sim, "hello of %s, %zu of %zu kept", agent->id, hello->kept, hello->count);
        hello_causes(sim, hello->replica);
        agent->heard_at = sim_now(sim);
        agent->heard_by = sim->server_number;
        for (size_t i = 0; i < hello->kept; i++)
            held_by_ref(sim, agent, &hello->held[i])->named_at = sim_now(sim);
        if (sim->calm || stage_chance(85)) {  // else the answer gets lost
            snprintf(agent->session, sizeof(agent->session), STR_FMT, STR_ARG(session));
            agent->session_number = ++sim->last_session;
            agent->greeted = true;
            hello_kept(agent, hello);
        }
    }
    if (agent->hello == hello)
        agent->hello = NULL;
    arena_free(hello->arena);
    mem_free(hello);
}

static void hello_send(struct sim *sim, size_t replica)
{
    struct agent *agent = &sim->agents[replica];
    struct hello *hello = mem_alloc(sizeof(*hello));
    calls_break(sim, replica);
    hello->sim = sim;
    hello->replica = replica;
    hello->process = agent->process;
    hello->arena = arena_new();
    hello->held = arena_array_of(hello->arena, struct dispatch_ref, HELD_MAX);
    for (size_t i = 0; i < agent->count; i++)
        hello->held[hello->count++] = (struct dispatch_ref){.id = sim->x[agent->held[i].x].id,
                                                            .fence = agent->held[i].fence};
    agent->hello = hello;
    op_run(&sim->platform, OP_READ, hello_work, hello_done, hello);
}

// ── what an agent does ───────────────────────────────────────────────────────────────────────

void agent_talk(struct sim *sim, size_t replica)
{
    struct agent *agent = &sim->agents[replica];
    if (!agent->alive || agent->frozen || agent->hello)
        return;
    if (!agent->greeted)
        hello_send(sim, replica);
    else if (calls_of(sim, replica) < 2)
        exchange_send(sim, replica);
}

void agent_work(struct sim *sim, size_t replica)
{
    struct agent *agent = &sim->agents[replica];
    size_t running = 0, first = stage_below(HELD_MAX);
    if (!agent->alive || agent->frozen || agent->count == 0)
        return;
    for (size_t i = 0; i < agent->count; i++)
        running += agent->held[i].state == RUNNING;
    for (size_t i = 0; i < agent->count; i++) {
        struct held *held = &agent->held[(first + i) % agent->count];
        if (held->state == RUNNING && (running == CONCURRENCY || stage_chance(50))) {
            held->state = DONE;
            return;
        }
        if (held->state == WAITING && running < CONCURRENCY && agent->greeted && !agent->draining &&
            sim_now(sim) - held->fresh_at <= LEASE_MS) {
            check_start(sim, replica, held);
            held->state = RUNNING;
            return;
        }
    }
}

void agent_lose_one(struct sim *sim, size_t replica)  // its runner dies
{
    struct agent *agent = &sim->agents[replica];
    for (size_t i = 0; agent->alive && !agent->frozen && i < agent->count; i++) {
        if (agent->held[i].state == RUNNING) {
            agent->held[i].state = LOST;
            return;
        }
    }
}

void agent_hand_back(struct sim *sim, size_t replica)
{
    struct agent *agent = &sim->agents[replica];
    for (size_t i = 0; agent->alive && !agent->frozen && i < agent->count; i++)
        if (agent->held[i].state == WAITING)
            agent->held[i].state = RETURNED;
}

// ── the driver ───────────────────────────────────────────────────────────────────────────────

void agent_start(struct sim *sim, size_t replica, bool same_name)
{
    struct agent *agent = &sim->agents[replica];
    char id[sizeof(agent->id)];
    int64_t process = ++sim->last_process;
    snprintf(id, sizeof(id), "r%zu-%" PRId64, replica, process);
    if (same_name && agent->process)
        memcpy(id, agent->id, sizeof(id));
    *agent = (struct agent){
        .service = replica % SERVICES, .process = process, .alive = true, .heard_at = sim_now(sim)};
    memcpy(agent->id, id, sizeof(id));
    sim_trace(sim, "agent %s starts", agent->id);
}

void agent_die(struct sim *sim, size_t replica)
{
    struct agent *agent = &sim->agents[replica];
    if (!agent->alive)
        return;
    sim_trace(sim, "agent %s dies", agent->id);
    sim->counts.deaths++;
    agent->alive = false;
    agent->count = 0;
    if (agent->hello)
        agent->hello->abandoned = true;
    agent->hello = NULL;
    cause_all(sim, agent->process);
    calls_break(sim, replica);
}

void agent_notice(struct sim *sim, size_t replica)
{
    struct agent *agent = &sim->agents[replica];
    if (agent->alive || agent->known_dead)
        return;
    sim_trace(sim, "the driver sees that %s has ended", agent->id);
    agent->known_dead = true;
    dispatch_replica_gone(sim->dispatch, str_of(agent->id), STR("its agent ended"), true);
}

void agent_on_silent(void *arg, struct str replica_id)
{
    struct sim *sim = arg;
    for (size_t i = 0; i < REPLICAS; i++)
        if (str_is(replica_id, sim->agents[i].id) && sim->agents[i].kill_at == 0)
            sim->agents[i].kill_at = sim_now(sim) + 1 + (int64_t)stage_below(LEASE_MS / 4);
}

void agent_kills(struct sim *sim)
{
    for (size_t i = 0; i < REPLICAS; i++)
        if (sim->agents[i].kill_at && sim->agents[i].kill_at <= sim_now(sim) &&
            (!sim->agents[i].stuck || sim->calm))
            agent_die(sim, i);
}
