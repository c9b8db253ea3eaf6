// SPDX-License-Identifier: Apache-2.0
// agent/runner_process: the process in which user code runs, and the frames that go to and come
// from it (docs/runner-protocol.md). Loop thread only.
#ifndef DROVER_AGENT_RUNNER_PROCESS_H
#define DROVER_AGENT_RUNNER_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

struct loop;
struct runner;

struct runner_config {
    struct loop *loop;
    const char *const *argv;
    const char *const *env;
    const char *folder;  // its working folder
    bool nursery;        // it forks the executions' processes (agent/nursery.h)
    size_t line_bytes;   // longer lines of output are cut into pieces
    void (*on_frame)(void *arg, struct str type, struct json frame);
    // A frame that is not JSON, and why. False: nothing can be made of it, which ends the runner.
    bool (*on_bad_frame)(void *arg, struct str text, const char *why);
    // A line of output. run: what `whose` gave for all of its bytes, else 0.
    void (*on_line)(void *arg, struct str line, bool from_stderr, int64_t run);
    // Whose output comes now (a number that is given back with the line); 0: nobody can say.
    int64_t (*whose)(void *arg);
    // Its end, after its last frame and line; the runner is freed when this returns. broken: what
    // it did against the protocol, or NULL.
    void (*on_exit)(void *arg, int status, const char *broken);
    void *arg;
};

// NULL with ERR_DEPENDENCY when it cannot be started.
struct runner *runner_start(const struct runner_config *config, struct err *err);

// Frames are appended here (frame_begin, frame_end) and sent by runner_flush, once a turn.
struct buf *runner_out(struct runner *runner);
void runner_flush(struct runner *runner);
void runner_pause_output(struct runner *runner, bool paused);  // stdout and stderr, not frames
// A run ends: what it wrote is read, and its last line given also where it has no end. alone: no
// other run could have begun that line.
void runner_end_output(struct runner *runner, int64_t run, bool alone);
void runner_kill(struct runner *runner);         // and all of its process group
int runner_take_nursery(struct runner *runner);  // its socket, the caller's to close; -1: none
int runner_pid(const struct runner *runner);     // 0: ended
#endif
