// SPDX-License-Identifier: Apache-2.0
// runner/native/call: the runner's side of drover/function.h: what a `struct drover_call *` gives
// to a function, and what the function left in it.
#ifndef DROVER_RUNNER_NATIVE_CALL_H
#define DROVER_RUNNER_NATIVE_CALL_H

#include <pthread.h>
#include <stdatomic.h>

#include "drover/function.h"
#include "runner/native/report.h"

// Where a call's words go; any thread of the function may come with them.
struct call_outlet {
    void (*log)(void *arg, const char *level, struct str text);
    void (*progress)(void *arg, double percent, struct str message);
    void *arg;
};

struct call {
    struct drover_call head;  // first: what the function sees
    struct call_outlet outlet;
    const struct report_limits *limits;
    const atomic_bool *cancelled;  // NULL: nobody can cancel it
    void *state;
    struct json input, context;
    struct str raw_id;  // of the execution, with quotes; absent in init
    // Below: call_init's own.
    pthread_mutex_t mutex;
    struct arena *arena;
    const char *id, *creator;
    int64_t attempt;
    struct str output, reason;  // absent: not given
};

// Completes a call whose members above "Below" are set.
void call_init(struct call *call);
void call_deinit(struct call *call);

// What became of a call whose function returned `code`; texts are valid until call_deinit.
struct outcome call_outcome(struct call *call, int code);

#endif
