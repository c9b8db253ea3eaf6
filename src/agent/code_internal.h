// SPDX-License-Identifier: Apache-2.0
// Shared by agent/code.c and agent/code_git.c: one job, two ways to get the code.
#ifndef DROVER_AGENT_CODE_INTERNAL_H
#define DROVER_AGENT_CODE_INTERNAL_H

#include <stdatomic.h>

#include "agent/code.h"
#include "base/arena.h"

struct http_call;
struct loop_timer;
struct command;

struct code_job {
    struct code_config config;
    struct arena *arena;
    const char *place;  // the code's folder in the cache, when complete
    const char *temp;   // what is being made, beside it
    const char *file;   // item: the archive; git: the credentials
    int lock;           // of place
    int fd;             // of the archive while it is fetched
    struct http_call *call;
    struct command *command;
    struct loop_timer *timer;
    atomic_bool stop;  // seen by the pool
    bool in_pool;
    bool owns_temp;                        // temp and file are this job's: they go when it ends
    struct err failure;                    // what code_fail says when all is removed
    struct err err;                        // of the work in the pool
    void (*locked)(struct code_job *job);  // goes on when the lock is ours
    const char *ref;                       // git: what is fetched
};

void code_lock(struct code_job *job, void (*locked)(struct code_job *job));
void code_finish(struct code_job *job);  // with place
void code_fail(struct code_job *job, const struct err *err);
void code_pool(struct code_job *job, void (*work)(void *), void (*done)(void *));
// Ends a piece of pool work: true when the job was cancelled meanwhile (and is freed now).
bool code_pool_over(struct code_job *job);
// The `done` of pool work that leaves its error in job->err: ends the job either way.
void code_pool_done(void *arg);

void code_git_start(struct code_job *job);

#endif
