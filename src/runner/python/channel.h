// SPDX-License-Identifier: Apache-2.0
// runner/channel: the socket to the agent: frames in and out, the queue of invokes, the credit for
// log frames. Knows nothing of Python; nothing here needs the GIL, and what can wait says so.
//
// Threads: one reads, one writes, any number take invokes and put frames. One mutex, held for
// moments only.
#ifndef DROVER_RUNNER_CHANNEL_H
#define DROVER_RUNNER_CHANNEL_H

#include <pthread.h>

#include "scan.h"

#define CHANNEL_FRAME_MAX (64u << 20)  // bytes of JSON
#define CHANNEL_ROOM      (8u << 20)   // bytes waiting to be written that make writers wait
#define CHANNEL_TAKE      (64u << 10)  // bytes asked of the socket at once

// One frame that came in. The spans point into bytes; the spans of strings keep their quotes.
struct frame {
    struct frame *next;
    struct span id, fence, function, input, execution;
    size_t size;
    char bytes[];
};

struct frame_queue {
    struct frame *first, **last;
    size_t count;
};

// Bytes on their way out. Starts zeroed; buffer_free gives the memory back.
struct buffer {
    char *bytes;
    size_t size, room;
    bool failed;  // memory ran out: what was added since is lost
};

struct channel {
    int fd;
    int wake;  // eventfd, readable while control frames wait
    pthread_mutex_t mutex;
    pthread_cond_t work;      // invokes wait, or stopping
    pthread_cond_t writable;  // bytes wait to be written
    pthread_cond_t room;      // bytes were written, or credit came
    struct frame_queue invokes, control;
    size_t idle;    // threads that wait for an invoke
    bool waking;    // one of them was woken and has not taken its invoke yet
    bool stopping;  // no more invokes come
    bool sending, writer_idle;
    struct buffer out;
    int64_t credit;  // bytes of log frames
};

void buffer_add(struct buffer *buffer, const char *bytes, size_t size);
void buffer_text(struct buffer *buffer, const char *text);
void buffer_int(struct buffer *buffer, int64_t value);
void buffer_json(struct buffer *buffer, struct span text);  // as a JSON string, NUL as U+FFFD
// Frames: leaves room for the length, then fills it in. buffer_end gives the length.
size_t buffer_begin(struct buffer *buffer);
size_t buffer_end(struct buffer *buffer, size_t begin);
void buffer_free(struct buffer *buffer);

// fd is a connected stream socket that the channel uses but does not own. False: errno says why.
bool channel_start(struct channel *channel, int fd, int64_t credit);

// The reader's and the writer's whole life. When the socket ends or the agent speaks nonsense,
// they end the process, for there is nobody left to report to.
_Noreturn void channel_read(struct channel *channel);
_Noreturn void channel_write(struct channel *channel);

// Waits until an invoke may be there (true), or stopping and none is left (false).
bool channel_wait(struct channel *channel);
// An invoke, which the caller frees, or NULL. woken: the thread comes from channel_wait.
struct frame *channel_take(struct channel *channel, bool woken);
// Takes back the invoke with that id (quotes included) if it still waits; the caller frees it.
struct frame *channel_withdraw(struct channel *channel, struct span id);

// Waits for a control frame; false when a signal came instead.
bool channel_wait_control(struct channel *channel);
struct frame *channel_take_control(struct channel *channel);
// No more invokes come; those that wait are still given out.
void channel_stop(struct channel *channel);

// Puts whole frames that hold cost bytes of log frames; all or nothing. False: no credit or no
// room now.
bool channel_try_put(struct channel *channel, const struct buffer *frames, size_t cost);
void channel_put(struct channel *channel, const struct buffer *frames, size_t cost);  // waits

// Waits until everything is written, at most so many milliseconds. False: it is not.
bool channel_flush(struct channel *channel, int64_t milliseconds);

int64_t channel_now(void);  // milliseconds since 1970

#endif
