// SPDX-License-Identifier: Apache-2.0
// agent/environment: the Python interpreter that a runner needs: the plain one, or a virtual
// environment with dtlpy and the package's requirements, built once per machine and kept in the
// cache under a hash of all that it was made of. Loop thread only.
#ifndef DROVER_AGENT_ENVIRONMENT_H
#define DROVER_AGENT_ENVIRONMENT_H

#include "agent/assignment.h"
#include "base/err.h"
#include "base/log.h"

struct loop;
struct environment_job;

struct environment_config {
    struct loop *loop;
    struct log *log;
    const char *cache;                    // environments are CACHE/venvs/HASH
    const char *folder;                   // the replica's own
    const char *python;                   // interpreter to start from
    const struct assignment *assignment;  // lives until on_done
    void (*on_phase)(void *arg, const char *phase);
    void (*on_line)(void *arg, struct str line, bool from_stderr);  // of venv and pip
    // python: the interpreter's path; NULL: err has pip's own words. The job is freed when this
    // returns.
    void (*on_done)(void *arg, const char *python, const struct err *err);
    void *arg;
};

struct environment_job *environment_start(const struct environment_config *config);
void environment_cancel(struct environment_job *job);  // on_done does not run; NULL does nothing

// The name of an environment: interpreter (path and version), dtlpy version (NULL: none), and the
// requirements in any order. 64 hex digits and NUL.
void environment_hash(const char *interpreter, const char *dtlpy, const struct str *requirements,
                      size_t count, char out[65]);

#endif
