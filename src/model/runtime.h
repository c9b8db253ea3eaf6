// SPDX-License-Identifier: Apache-2.0
// model/runtime: a service's runtime configuration, and the catalog of instance types.
#ifndef DROVER_MODEL_RUNTIME_H
#define DROVER_MODEL_RUNTIME_H

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "model/limits.h"

struct instance_type {
    struct str name;    // "regular-s"
    int64_t cpu_milli;  // thousandths of a core
    int64_t memory_mib;
    struct str gpu;  // "T4"; absent: none
    int64_t gpu_count;
};

#define INSTANCE_DEFAULT "regular-s"
const struct instance_type *instance_find(struct str name);   // NULL: unknown
const struct instance_type *instance_catalog(size_t *count);  // the built-in table
void instance_catalog_encode(struct json_writer *out);        // answer of /instance_catalog

enum autoscaler_type { AUTOSCALER_NONE, AUTOSCALER_RABBITMQ, AUTOSCALER_CPU, AUTOSCALER_RPS };

struct runtime {  // what the JSON means, defaults filled in
    const struct instance_type *instance;
    int64_t replicas;     // numReplicas, default 1
    int64_t concurrency;  // default 10, or --max-concurrency when that is less
    bool preemptible, single_agent, dynamic_concurrency;
    struct str runner_image, proxy_image;
    enum autoscaler_type autoscaler;
    int64_t min_replicas, max_replicas, queue_length, cooldown_s, polling_s;  // with an autoscaler
    double threshold, rate_seconds;
};

// Validates field by field; errors name the path ("runtime.autoscaler.maxReplicas").
MUST_CHECK int runtime_parse(struct json json, const struct limits *limits, struct runtime *out,
                             struct arena *arena, struct err *err);

// The JSON as kept and answered: the caller's keys (unknown ones too), with defaults filled in.
struct str runtime_normalise(struct json json, const struct runtime *runtime, struct arena *arena);

#endif
