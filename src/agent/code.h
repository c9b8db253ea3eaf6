// SPDX-License-Identifier: Apache-2.0
// agent/code: brings the package's code into the cache that the agents of a machine share, once:
// an archive under its SHA-256, a git repository under its commit. Loop thread only.
#ifndef DROVER_AGENT_CODE_H
#define DROVER_AGENT_CODE_H

#include <stdbool.h>

#include "agent/assignment.h"
#include "base/err.h"
#include "base/log.h"

struct loop;
struct http_client;
struct code_job;

struct code_config {
    struct loop *loop;
    struct http_client *http;
    struct log *log;
    const char *cache;                   // code goes into CACHE/code and CACHE/git
    const char *replica_id;              // makes the names of temporary folders its own
    const char *folder;                  // the replica's own, for what is secret
    bool git_file;                       // file: addresses are allowed
    const struct assignment_code *code;  // lives until on_done
    void (*on_phase)(void *arg, const char *phase);
    void (*on_line)(void *arg, struct str line, bool from_stderr);  // of git
    // path: the folder of the code, read-only; NULL: err says why not. The job is freed when this
    // returns.
    void (*on_done)(void *arg, const char *path, const struct err *err);
    void *arg;
};

struct code_job *code_start(const struct code_config *config);
void code_cancel(struct code_job *job);  // on_done does not run; NULL does nothing

// The SHA-256 of a file, as 64 lower-case hex digits. Blocks.
MUST_CHECK int code_sha256(const char *path, char out[65], struct err *err);

#endif
