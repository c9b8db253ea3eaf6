// SPDX-License-Identifier: Apache-2.0
#include "operation/inspect.h"

#include "operation/dispatch_internal.h"

static void look_at_agent(const struct dispatch_agent *agent, struct arena *arena,
                          struct inspect_agent *out)
{
    const size_t most = sizeof(out->sample) / sizeof(out->sample[0]);
    *out = (struct inspect_agent){.replica_id = arena_copy(arena, str_of(agent->replica_id)),
                                  .ready = agent->ready,
                                  .silent = agent->silent,
                                  .capacity = agent->capacity,
                                  .leases = agent->lease_count};
    list_each (&agent->leases, node, next) {
        if (out->sample_count < most)
            out->sample[out->sample_count++] = arena_copy(
                arena, str_of(list_entry(node, struct lease, in_agent)->id));
    }
}

void inspect_service(struct dispatch *d, struct str service_id, struct arena *arena,
                     struct inspect_service *out)
{
    struct dispatch_counts counts = dispatch_counts(d, service_id);
    struct work_queue *queue = map_get(d->queues, service_id);
    *out = (struct inspect_service){.queued = counts.queued, .running = counts.running};
    if (!queue)
        return;
    size_t count = 0;
    list_each (&queue->agents, node, next)
        count++;
    out->agents = arena_array_of(arena, struct inspect_agent, count + 1);
    list_each (&queue->agents, at, after)
        look_at_agent(list_entry(at, struct dispatch_agent, in_queue), arena,
                      &out->agents[out->agent_count++]);
    out->expected = queue->expected;
    int64_t left = d->recover_until - dispatch_now(d);
    out->held_ms = queue->expected > 0 && left > 0 ? left : 0;
}

void inspect_execution(struct dispatch *d, struct str id, struct arena *arena,
                       struct inspect_execution *out)
{
    *out = (struct inspect_execution){0};
    const struct lease *lease = map_get(d->leases, id);
    if (lease) {
        out->place = lease->state == LEASE_ENDING || !lease->agent ? INSPECT_ENDING
                                                                   : INSPECT_LEASED;
        out->started_at = lease->started_at;
        out->asked_at = lease->asked_at;
        out->again = lease->again;
        if (lease->agent)
            out->replica_id = arena_copy(arena, str_of(lease->agent->replica_id));
    } else if (map_get(d->ending, id)) {
        out->place = INSPECT_ENDING;
    } else if (map_get(d->orphans, id)) {
        out->place = INSPECT_ORPHAN;
    }
}
