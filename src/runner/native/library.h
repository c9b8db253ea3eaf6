// SPDX-License-Identifier: Apache-2.0
// runner/native/library: the package's shared object, and what the load frame says of it.
#ifndef DROVER_RUNNER_NATIVE_LIBRARY_H
#define DROVER_RUNNER_NATIVE_LIBRARY_H

#include "drover/function.h"
#include "runner/native/call.h"

struct library {
    struct arena *arena;
    struct report_limits limits;
    int64_t concurrency;
    bool processes;  // a process per execution
    struct str mode, folder, entry_point;
    struct json init_params, functions;
    // After library_open:
    const struct drover_module *module;
    void *state;
};

// Takes what it needs of the load frame.
void library_read(struct library *library, struct json load);

// Opens the shared object, checks its table against what the package declares, calls init. -1:
// *type is the failed frame's type, message says why (it lives in the arena).
int library_open(struct library *library, const struct call_outlet *outlet, const char **type,
                 struct str *message);

// The function of that name (raw JSON, with quotes), or NULL.
int (*library_find(const struct library *library, struct str name))(struct drover_call *);

// One execution of it: fills the call in, calls the function, says what became of it. The caller
// does call_deinit when it has told the outcome.
struct outcome library_run(const struct library *library, const struct run *run, struct call *call);

void library_close(struct library *library);  // calls fini

#endif
