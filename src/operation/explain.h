// SPDX-License-Identifier: Apache-2.0
// operation/explain: why things are as they are, in sentences. Pure: rows and what was looked at,
// in; sentences, out.
#ifndef DROVER_OPERATION_EXPLAIN_H
#define DROVER_OPERATION_EXPLAIN_H

#include "driver/driver.h"
#include "model/entities.h"
#include "operation/inspect.h"

#define EXPLAIN_MAX 64

struct explain {  // sentences without a full stop, in the arena
    struct arena *arena;
    struct str lines[EXPLAIN_MAX];
    size_t count;
};

struct explain_agent {     // a replica as the driver and its row tell
    struct str id, doing;  // doing: phase or message of the row
    struct replica_status status;
    bool ready;
};

struct explain_service {
    const struct service *service;
    int64_t now, wanted;  // wanted: replicas
    struct explain_agent *agents;
    size_t agent_count;
    struct inspect_service look;
};

struct explain_execution {
    const struct execution *execution;
    const struct explain_service *of;  // its service; service NULL: it is deleted
    struct inspect_execution look;
    int64_t ahead;                          // waiting executions that are older
    const struct execution_status *reruns;  // how its former attempts ended, oldest first
    size_t rerun_count;
};

void explain_service(const struct explain_service *in, struct explain *out);
void explain_execution(const struct explain_execution *in, struct explain *out);

#endif
