// SPDX-License-Identifier: Apache-2.0
// agent/frame_pipe: frames to and from a process over a connected stream socket
// (docs/runner-protocol.md). Loop thread only.
#ifndef DROVER_AGENT_FRAME_PIPE_H
#define DROVER_AGENT_FRAME_PIPE_H

#include <stdbool.h>
#include <uv.h>

#include "base/buf.h"
#include "base/json.h"

struct loop;

struct frame_pipe_config {
    struct loop *loop;
    void (*on_frame)(void *arg, struct str type, struct json frame);
    // A frame that is not JSON, and why. False: nothing can be made of it, which is a breach.
    bool (*on_bad_frame)(void *arg, struct str text, const char *why);
    // The other side broke the protocol; nothing more is read.
    void (*on_breach)(void *arg, const char *what);
    void (*on_end)(void *arg);     // the other side closed it
    void (*on_closed)(void *arg);  // after frame_pipe_close: the memory may go
    void *arg;
};

struct frame_pipe {  // the caller's memory, from frame_pipe_open until on_closed
    struct frame_pipe_config config;
    uv_pipe_t stream;
    uv_write_t write;
    struct buf in, out, writing;
    bool busy, breached;
};

void frame_pipe_open(struct frame_pipe *pipe, const struct frame_pipe_config *config, int fd);
// Frames are appended to `out` (frame_begin, frame_end) and sent by this.
void frame_pipe_flush(struct frame_pipe *pipe);
void frame_pipe_drain(struct frame_pipe *pipe);  // takes the frames that are there now
void frame_pipe_close(struct frame_pipe *pipe);  // again: nothing

#endif
