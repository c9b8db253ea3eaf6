// SPDX-License-Identifier: Apache-2.0
// agent/assignment: what the server answers to an agent's hello: code, environment, limits.
#ifndef DROVER_AGENT_ASSIGNMENT_H
#define DROVER_AGENT_ASSIGNMENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"

enum code_type { CODE_ITEM, CODE_GIT };

#define CONCURRENCY_MOST 1000

struct assignment_code {
    enum code_type type;
    const char *sha256;                        // item: 64 lower-case hex digits
    int64_t size;                              // item: bytes of the archive; -1: not said
    const char *url, *tag;                     // git; tag NULL: the default branch
    const char *username, *password;           // git; NULL: none
    int64_t unpacked_bytes, unpacked_entries;  // caps of an archive; 0: the built-in ones
};

struct assignment {  // texts and JSON live in the arena
    bool keep;       // only session and lease_ms were given: the one there is stays, to be finished
    const char *session;
    int64_t lease_ms;
    struct json service, package, project, module, init_params, limits;  // as they came
    struct assignment_code code;
    int64_t concurrency;
    bool dynamic_concurrency;  // may change under way
    int64_t execution_timeout_s;
    int64_t drain_ms;
    bool run_as_process;
    const char *dtlpy;  // version; NULL: none wanted
    struct str *requirements;
    size_t requirement_count;
    const char **env;  // "NAME=value": the service's secrets
    size_t env_count;
    const char *refusal;  // why the service cannot be run as it should; NULL: it can
    const char *sdk_url, *sdk_gate, *sdk_token;  // NULL: no SDK
    struct json sdk_certificate;                 // PEM, or null
    int64_t log_line_bytes, output_bytes;
};

// Copies what it needs of `body` into the arena. ERR_BAD_INPUT names the member at fault.
MUST_CHECK int assignment_parse(struct str body, struct assignment *out, struct arena *arena,
                                struct err *err);

#endif
