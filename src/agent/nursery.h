// SPDX-License-Identifier: Apache-2.0
// agent/nursery: the processes of executions. A warm runner makes each of them when it is asked to
// (docs/runner-protocol.md, "Processes"); each speaks over a socket of its own and writes to pipes
// of its own, so none can speak for another. Outlives its runner: processes go on without it.
// Loop thread only.
#ifndef DROVER_AGENT_NURSERY_H
#define DROVER_AGENT_NURSERY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

struct loop;
struct nursery;
struct runner;
struct worker;

struct worker_end {
    bool known;        // the rest was said; false: nobody knows how it ended
    int status;        // as of wait
    int64_t peak_kib;  // largest resident size
    int64_t cpu_ms;
    const char *broken;  // what it did against the protocol, or NULL
};

struct nursery_config {
    struct loop *loop;
    size_t line_bytes;  // longer lines of output are cut into pieces
    // There is a process. threads > 0: it is an interpreter that loads the module by itself,
    // because so many threads of the module's own cannot be forked; it waits for a load frame.
    void (*on_born)(void *arg, struct worker *worker, int64_t threads);
    void (*on_unborn)(void *arg, const char *why);  // there will not be one that was asked for
    void (*on_frame)(void *arg, struct worker *worker, struct str type, struct json frame);
    bool (*on_bad_frame)(void *arg, struct worker *worker, struct str text, const char *why);
    void (*on_line)(void *arg, struct worker *worker, struct str line, bool from_stderr);
    // After its last frame and line, once; the worker is freed some time after this has returned.
    void (*on_end)(void *arg, struct worker *worker, const struct worker_end *end);
    void *arg;
};

struct worker {      // read only, but for the last part
    int64_t number;  // from 1
    int pid;         // 0: not said yet, or ended
    // The owner's.
    bool ready;        // may be given an execution
    bool used;         // was given one
    bool leaving;      // is to end, and gets nothing more
    int64_t deadline;  // mono ms: when it is killed; INT64_MAX: not yet
    int64_t credit_out, credit_to_give;
};

// From now on the calling process adopts what its descendants leave behind.
struct nursery *nursery_new(const struct nursery_config *config);
void nursery_free(struct nursery *nursery);  // kills all; the loop has to run on for a turn

// The runner that makes processes from now on; NULL: it has ended.
void nursery_set_runner(struct nursery *nursery, struct runner *runner);
// The module is loaded: what is no execution's, and is there now, is its own and stays.
void nursery_loaded(struct nursery *nursery);
// For one more process. It comes with on_born, or not, with on_unborn.
MUST_CHECK int nursery_ask(struct nursery *nursery, struct err *err);
size_t nursery_asked(const struct nursery *nursery);  // processes that are on their way

struct worker *nursery_next(struct nursery *nursery, const struct worker *after);  // NULL: first
struct buf *worker_out(struct worker *worker);                                     // frames for it
void worker_end_output(struct worker *worker);  // what it has written is read, to the last byte
void worker_kill(struct worker *worker);        // and its process group
void nursery_flush(struct nursery *nursery);    // sends frames and requests; once a turn
void nursery_pause_output(struct nursery *nursery, bool paused);

#endif
