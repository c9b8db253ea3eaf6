// SPDX-License-Identifier: Apache-2.0
// main/place: where the other parts of Drover lie: beside the program after `make`, in
// PREFIX/lib/drover and PREFIX/share/drover after `make install`.
#ifndef DROVER_MAIN_PLACE_H
#define DROVER_MAIN_PLACE_H

#include "base/arena.h"
#include "base/err.h"

struct place {            // texts in the arena
    const char *self;     // this program's folder
    const char *agent;    // program drover-agent
    const char *runner;   // folder of drover_runner.py
    const char *example;  // folder of the example that `drover up` deploys; may not be there
};

// ERR_INTERNAL when /proc does not say; ERR_DEPENDENCY names what is not there.
MUST_CHECK int place_find(struct place *out, struct arena *arena, struct err *err);

#endif
