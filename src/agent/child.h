// SPDX-License-Identifier: Apache-2.0
// agent/child: a program started on the loop: its output comes in pieces, its end once. It leads a
// process group of its own, so that what it started can be ended with it, and it dies with the
// agent. Loop thread only.
#ifndef DROVER_AGENT_CHILD_H
#define DROVER_AGENT_CHILD_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

struct loop;
struct child;

struct child_config {
    struct loop *loop;
    const char *const *argv;  // NULL-terminated; argv[0] is looked up in PATH
    const char *const *env;   // NULL-terminated "NAME=value"; NULL: the agent's own
    const char *folder;       // working folder; NULL: the agent's
    bool channel;             // give it a connected stream socket on descriptor 3
    bool nursery;             // and a connected SOCK_SEQPACKET one on descriptor 4
    // Output as it comes (from_stderr says which), never empty.
    void (*on_output)(void *arg, struct str bytes, bool from_stderr);
    // The wait status, after the output's end (or shortly after the program's, when something that
    // it started keeps the pipes open). The child is freed when this returns.
    void (*on_exit)(void *arg, int status);
    void *arg;
};

// NULL when it cannot be started (ERR_DEPENDENCY; the program is named).
struct child *child_start(const struct child_config *config, struct err *err);
int child_take_channel(struct child *child);         // the caller closes it
int child_take_nursery(struct child *child);         // the same
int child_pid(const struct child *child);            // 0: ended
void child_pause(struct child *child, bool paused);  // stops reading its output
void child_drain(struct child *child);               // gives what output is there now to on_output
void child_signal(struct child *child, int signal);  // to its whole group
void child_describe(int status, char *out, size_t size);  // "signal 11 (Segmentation fault)"

// Cuts bytes into lines. Lines longer than max come in pieces of max bytes.
struct lines {
    struct buf part;
    size_t max;
};
void lines_init(struct lines *lines, size_t max);
void lines_deinit(struct lines *lines);
void lines_feed(struct lines *lines, struct str bytes, void (*fn)(void *arg, struct str line),
                void *arg);
void lines_end(struct lines *lines, void (*fn)(void *arg, struct str line), void *arg);

#endif
