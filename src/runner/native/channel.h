// SPDX-License-Identifier: Apache-2.0
// runner/native/channel: the socket to the agent (docs/runner-protocol.md), and in a forked child
// the one to its parent: frames in and out, and the credit that log frames cost. One thread reads;
// any thread writes. When the other side goes, so does this process, with 1.
#ifndef DROVER_RUNNER_NATIVE_CHANNEL_H
#define DROVER_RUNNER_NATIVE_CHANNEL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"

struct channel {
    int fd;
    bool alone;  // one thread both reads and writes: it reads while it waits to write
    pthread_mutex_t mutex, writing;
    pthread_cond_t room;
    int64_t credit;
    struct buf in;
    size_t used;  // bytes of `in` that were given out
};

#define CHANNEL_WINDOW (1 << 20)        // bytes of log frames before the agent gives credit
#define CHANNEL_NO_END (INT64_MAX / 4)  // credit of a channel that has its own way to wait

void channel_init(struct channel *channel, int fd, int64_t credit);

// Waits for the next frame; *type is its `t`. Both are valid until the next read. The bytes of the
// frame after it are not touched when `exact`.
struct json channel_read(struct channel *channel, bool exact, struct str *type);

// Whether it has read of frames that it has not given out.
bool channel_has_part(const struct channel *channel);

// Takes up what the socket has now, without waiting; then gives frames until it gives false.
void channel_fill(struct channel *channel);
bool channel_next(struct channel *channel, struct json *frame, struct str *type);

// Sends whole frames (frame_begin, frame_end), waiting for the socket and for `cost` bytes of
// credit.
void channel_send(struct channel *channel, struct str frames, int64_t cost);
// As before, but false, and nothing sent, where that much credit is not there.
bool channel_try_send(struct channel *channel, struct str frames, int64_t cost);
void channel_add_credit(struct channel *channel, struct json frame);

// Ends the process with 1; why: for stderr, or NULL.
_Noreturn void channel_give_up(const char *why);

#endif
