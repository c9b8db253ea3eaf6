// SPDX-License-Identifier: Apache-2.0
// operation/assignment: all that an agent must know to run its service: what hello answers
// (docs/agent-link.md).
#ifndef DROVER_OPERATION_ASSIGNMENT_H
#define DROVER_OPERATION_ASSIGNMENT_H

#include "operation/op.h"
#include "operation/service_env.h"

struct assignment {
    struct service service;
    struct package package;  // of the service's package revision
    struct project project;
    struct str module_json;  // the one module, as in package.modules
    struct str blob;         // code as an archive: blob name; absent for git
    int64_t blob_size;
    struct str git;  // code from git: {"type":"git","url",…}; absent otherwise
    int64_t concurrency;
    struct str dtlpy;          // version; absent: none is wanted
    struct str *requirements;  // "numpy==1.26.0"
    size_t requirement_count;
    struct variable *env;  // the service's secrets
    size_t env_count;
    struct str refusal;  // why they cannot be had; then env is empty
    struct str token;    // for the SDK inside functions
    int64_t token_expires_at;
};

// Reads it. ERR_NOT_FOUND: the service is gone; ERR_CONFLICT: it is paused.
MUST_CHECK int assignment_read(struct op *op, struct str service_id, struct assignment *out,
                               struct err *err);

// Only the code's place: for the download.
MUST_CHECK int assignment_code(struct op *op, struct str service_id, struct str *blob,
                               int64_t *size, struct err *err);

// A new token for the service's bot account, good for settings.service_token_ttl_ms. From any
// thread.
struct str assignment_token(const struct platform *platform, struct str service_id,
                            struct str project_id, struct arena *arena, int64_t *expires_at);

// The service's bot: "<service id>@bot.drover".
struct str service_bot(struct str service_id, struct arena *arena);

#endif
