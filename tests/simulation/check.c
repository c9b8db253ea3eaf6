// SPDX-License-Identifier: Apache-2.0
// What must hold, whatever happens.
#include <inttypes.h>

#include "model/status.h"
#include "sim.h"

struct delivery_seen *check_seen(struct execution_seen *x, int64_t fence)
{
    for (size_t i = x->delivery_count; i-- > 0;)
        if (x->deliveries[i].fence == fence)
            return &x->deliveries[i];
    return NULL;
}

// ── rows ─────────────────────────────────────────────────────────────────────────────────────

static uint64_t hash(uint64_t seed, struct str text)
{
    for (size_t i = 0; i < text.len; i++)
        seed = (seed ^ (unsigned char)text.at[i]) * 1099511628211ULL;
    return seed * 1099511628211ULL + 1;
}

static int64_t known(int64_t value) { return value == INT_NONE ? 0 : value; }

static bool quiet_since(struct sim *sim, const struct delivery_seen *seen)
{
    const struct agent *agent = &sim->agents[seen->replica];
    return !agent->alive || agent->process != seen->process ||
           sim_now(sim) - agent->heard_at >= LEASE_MS;
}

static void check_counted(struct sim *sim, size_t index, int64_t fence)
{
    struct execution_seen *x = &sim->x[index];
    struct delivery_seen *seen = check_seen(x, fence);
    sim->counts.counted++;
    if (!seen)
        sim_fail(sim, "%zu lost an attempt, but fence %" PRIx64 " never left the server", index,
                 fence);
    if (seen->counted)
        sim_fail(sim, "%zu lost the attempt with fence %" PRIx64 " twice", index, fence);
    if (!seen->cause && !quiet_since(sim, seen))
        sim_fail(sim, "%zu lost the attempt with fence %" PRIx64 " for no reason", index, fence);
    seen->counted = true;
}

static void check_result(struct sim *sim, size_t index, const struct execution *row)
{
    struct execution_seen *x = &sim->x[index];
    struct delivery_seen *seen = check_seen(x, row->fence);
    struct lease *lease = map_get(sim->dispatch->leases, row->id);
    int64_t fence;
    struct json value;
    if (!json_get(json_of(row->output), "f", &value) || !json_int(value, &fence) ||
        fence != row->fence)
        sim_fail(sim, "%zu ended with the output " STR_FMT " under fence %" PRIx64, index,
                 STR_ARG(row->output), row->fence);
    if (!seen || !seen->result)
        sim_fail(sim, "%zu ended with a result that nobody reported", index);
    if (seen->stale)
        sim_fail(sim, "%zu ended with a result of before its rerun", index);
    if (!lease || lease->fence != row->fence)
        sim_fail(sim, "%zu ended with the result of fence %" PRIx64 ", which has no lease", index,
                 row->fence);
    if (known(row->attempts) != x->attempts + 1)
        sim_fail(sim, "%zu ended in attempt %" PRId64 " after %" PRId64 " lost ones", index,
                 known(row->attempts), x->attempts);
    sim->counts.results++;
}

static void check_final(struct sim *sim, size_t index, const struct execution *row)
{
    struct execution_seen *x = &sim->x[index];
    struct json error = json_of(row->error.len > 0 ? row->error : STR("{}")), type;
    bool lost = json_get(error, "type", &type) && str_is(type.text, "\"AttemptLost\"");
    x->ends++;
    if (known(row->attempts) > x->max_attempts)
        sim_fail(sim, "%zu ended in attempt %" PRId64 " of %" PRId64, index, row->attempts,
                 x->max_attempts);
    if (str_is(row->output, "\"outside\"")) {
        if (!x->report_asked)
            sim_fail(sim, "%zu ended with a report that nobody made", index);
    } else if (str_is(row->status, "success")) {
        check_result(sim, index, row);
    } else if (lost) {
        bool reruns = x->service == 0 && known(row->attempts) < x->max_attempts;
        if (known(row->attempts) > x->attempts)
            check_counted(sim, index, row->fence);
        else if (!row->to_terminate)
            sim_fail(sim, "%zu failed without losing an attempt", index);
        if (reruns && !row->to_terminate)
            sim_fail(sim, "%zu failed although attempts are left", index);
    } else if (!str_is(row->status, "terminated") || !row->to_terminate) {
        sim_fail(sim, "%zu ended as " STR_FMT " for no reason", index, STR_ARG(row->status));
    }
}

static void check_open(struct sim *sim, size_t index, const struct execution *row)
{
    struct execution_seen *x = &sim->x[index];
    int64_t attempts = known(row->attempts);
    if (attempts == x->attempts)
        return;
    if (attempts != x->attempts + 1 || !str_is(row->status, "rerun"))
        sim_fail(sim, "%zu has %" PRId64 " attempts after %" PRId64, index, attempts, x->attempts);
    if (x->service != 0 || attempts >= x->max_attempts || row->to_terminate)
        sim_fail(sim, "%zu goes on after attempt %" PRId64 " of %" PRId64, index, attempts,
                 x->max_attempts);
    check_counted(sim, index, row->fence);
}

static void check_row(struct sim *sim, size_t index, const struct execution *row)
{
    struct execution_seen *x = &sim->x[index];
    bool final = status_final(status_parse(row->status));
    uint64_t text = final ? hash(hash(1, row->status), row->output) : 0;
    if (x->final && !final) {
        if (!x->rerun_asked || known(row->attempts) != 0)
            sim_fail(sim, "%zu is open again, and nobody asked", index);
        x->rerun_asked = x->report_asked = false;
        x->reruns++;
        x->attempts = 0;
    } else if (x->final && (text != x->text || known(row->fence) != x->fence ||
                            known(row->attempts) != x->attempts)) {
        sim_fail(sim, "%zu changed after its end", index);
    }
    if (known(row->fence) < x->fence)
        sim_fail(sim, "%zu went back to the older fence %" PRIx64, index, known(row->fence));
    if (final && !x->final)
        check_final(sim, index, row);
    else if (!final)
        check_open(sim, index, row);
    if (final != x->final || known(row->fence) != x->fence || known(row->attempts) != x->attempts)
        sim_trace(sim, "row %zu: " STR_FMT " fence %" PRIx64 " attempts %" PRId64 " " STR_FMT,
                  index, STR_ARG(row->status), known(row->fence), known(row->attempts),
                  STR_ARG(row->status_message));
    x->final = final;
    x->to_terminate = row->to_terminate;
    x->fence = known(row->fence);
    x->attempts = known(row->attempts);
    x->text = text;
}

void check_write(void *arg, struct tx *tx)
{
    struct sim *sim = arg;
    struct arena *arena = arena_new();
    for (size_t i = 0; i < sim->created; i++) {
        struct execution row;
        struct err err = ERR_INIT;
        if (tx_get(tx, &execution_entity, sim->x[i].id, &row, arena, &err))
            sim_fail(sim, "%zu is gone: %s", i, err.message);
        check_row(sim, i, &row);
    }
    arena_free(arena);
}

// ── deliveries ───────────────────────────────────────────────────────────────────────────────

// May the server have given up what `held` says, for its agent's long silence?
static bool given_up(struct sim *sim, const struct agent *agent, const struct held *held)
{
    int64_t quiet = sim_now(sim) - held->named_at;
    if (quiet < LEASE_MS)
        return false;
    if (agent->heard_at > held->named_at || quiet >= 2 * LEASE_MS)
        return true;
    return agent->heard_by != sim->server_number && sim_now(sim) - sim->opened_at >= LEASE_MS;
}

static void note_given_up(struct sim *sim, size_t x)
{
    for (size_t i = 0; i < REPLICAS; i++) {
        struct agent *agent = &sim->agents[i];
        for (size_t k = 0; agent->alive && k < agent->count; k++)
            if (agent->held[k].x == x && given_up(sim, agent, &agent->held[k]))
                agent->held[k].given_up = true;
    }
}

void check_delivery(struct sim *sim, size_t replica, const struct dispatch_delivery *delivery)
{
    struct json id;
    struct arena *arena = arena_new();
    struct str text = json_get(json_of(delivery->body), "id", &id) ? json_str(id, arena) : STR_NONE;
    size_t index = sim_find(sim, text);
    arena_free(arena);
    if (index == EXECUTIONS)
        sim_fail(sim, "something unknown was handed out");
    struct execution_seen *x = &sim->x[index];
    if (x->over)
        sim_fail(sim, "%zu was handed out after its end", index);
    if (x->delivery_count > 0 && x->deliveries[x->delivery_count - 1].fence >= delivery->fence)
        sim_fail(sim, "%zu was handed out with an old fence", index);
    if (sim->agents[replica].service != x->service)
        sim_fail(sim, "%zu was handed to another service", index);
    if (x->delivery_count == DELIVERY_MAX)
        sim_fail(sim, "%zu is handed out again and again", index);
    x->deliveries[x->delivery_count++] = (struct delivery_seen){
        .fence = delivery->fence, .process = sim->agents[replica].process, .replica = replica};
    sim->counts.deliveries++;
    note_given_up(sim, index);
    sim_trace(sim, "%zu to %s with fence %" PRIx64, index, sim->agents[replica].id,
              delivery->fence);
}

void check_start(struct sim *sim, size_t replica, const struct held *held)
{
    for (size_t i = 0; i < REPLICAS; i++) {
        struct agent *other = &sim->agents[i];
        for (size_t k = 0; i != replica && other->alive && k < other->count; k++) {
            if (other->held[k].x != held->x || other->held[k].state != RUNNING)
                continue;
            // Ended from outside and asked for again, with a new server in between: that one tells
            // the first agent to stop, but does not wait for it.
            if (other->held[k].fence < held->since &&
                other->held[k].fence >> 32 < held->fence >> 32)
                continue;
            sim->counts.doubles++;
            if (!other->held[k].given_up && !given_up(sim, other, &other->held[k]))
                sim_fail(sim, "%zu starts at %s while it runs at %s", held->x,
                         sim->agents[replica].id, other->id);
        }
    }
}

// ── dispatch's books ─────────────────────────────────────────────────────────────────────────

void check_books(struct sim *sim)
{
    struct dispatch *d = sim->dispatch;
    size_t cursor = 0, leases = 0, lost = 0;
    int64_t running = 0;
    struct str key;
    for (struct dispatch_agent *agent; (agent = map_next(d->agents, &cursor, &key));) {
        int64_t count = 0;
        list_each (&agent->leases, node, next)
            count += list_entry(node, struct lease, in_agent)->agent == agent;
        leases += (size_t)count;
        if (count != agent->lease_count || agent->fetching < 0)
            sim_fail(sim,
                     "agent %s: %" PRId64 " leases are counted as %" PRId64 " (%" PRId64
                     " being read)",
                     agent->replica_id, count, agent->lease_count, agent->fetching);
        if (agent->lease_count + agent->fetching > CAPACITY)
            sim_fail(sim, "agent %s has more than it stated", agent->replica_id);
    }
    cursor = 0;
    for (struct lease *lease; (lease = map_next(d->leases, &cursor, &key));) {
        lost += lease->agent == NULL;
        if (!lease->agent && lease->state == LEASE_HELD)
            sim_fail(sim, "nobody holds the lease of %zu", sim_find(sim, key));
    }
    cursor = 0;
    for (struct work_queue *queue; (queue = map_next(d->queues, &cursor, &key));)
        running += queue->running;
    if (leases + lost != map_count(d->leases) || running != (int64_t)map_count(d->leases))
        sim_fail(sim, "%zu leases, %zu of them at agents, %" PRId64 " counted",
                 map_count(d->leases), leases, running);
}

void check_end(struct sim *sim)
{
    struct dispatch *d = sim->dispatch;
    for (size_t i = 0; i < sim->created; i++) {
        if (!sim->x[i].final)
            sim_fail(sim, "%zu never ends", i);
        if (!sim->x[i].over)
            sim_fail(sim, "nobody was told that %zu has ended", i);
        if (sim->x[i].ends != sim->x[i].reruns + 1)
            sim_fail(sim, "%zu ended %" PRId64 " times", i, sim->x[i].ends);
    }
    struct dispatch_counts counts = dispatch_counts(d, STR_NONE);
    if (counts.queued || counts.running || map_count(d->leases) || map_count(d->orphans) ||
        !list_empty(&d->endings))
        sim_fail(sim, "everything has ended, but %" PRId64 " are queued and %" PRId64 " run",
                 counts.queued, counts.running);
}
