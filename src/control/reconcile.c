// SPDX-License-Identifier: Apache-2.0
#include "control/reconcile.h"

#include "operation/rollout.h"

#define IDLE_GRACE_MS 10000

void reconcile_deployment(const struct service *service, const struct runtime *runtime,
                          struct arena *arena, struct deployment *out)
{
    int64_t replicas = service_replicas(service, runtime);
    *out = (struct deployment){
        .service_id = service->id,
        .project_id = service->project_id,
        .service_name = service->name,
        .revision = service_agents(service, arena),
        .replicas = replicas,
        .instance = runtime->instance,
        // A replaced agent may finish what it runs: as long as one execution may take.
        .drain_ms = service->execution_timeout * 1000,
        .grace_ms = IDLE_GRACE_MS,
        .surge = replicas > 4 ? replicas / 4 : 1,
    };
}
