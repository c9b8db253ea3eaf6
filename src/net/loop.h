// SPDX-License-Identifier: Apache-2.0
// net/loop: the event loop (libuv) and the two ways work crosses threads: a task posted to the
// loop, and a piece of work lent to the pool. Everything else on this page is for the loop thread
// only.
#ifndef DROVER_NET_LOOP_H
#define DROVER_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct loop;
struct loop_timer;
struct uv_loop_s;

struct loop *loop_new(void);        // aborts when the system refuses
void loop_free(struct loop *loop);  // after loop_run returned; closes what is left
void loop_run(struct loop *loop);   // until loop_stop and every handle but our timers is closed
void loop_stop(struct loop *loop);  // from any thread
struct uv_loop_s *loop_uv(
    struct loop *loop);  // for modules that own libuv handles (process driver)

// A message to the loop: ownership of `arg` moves with it. The task itself belongs to the caller
// until fn runs. From any thread; tasks posted by one thread run in order. Those of the loop thread
// itself run in the same turn and wake nobody.
struct loop_task {
    struct loop_task *next;
    void (*fn)(void *arg);
    void *arg;
};
void loop_post(struct loop *loop, struct loop_task *task);
// Takes back a task that has not run; nothing happens when it is not waiting. Loop thread only.
void loop_unpost(struct loop *loop, struct loop_task *task);

// Runs fn on the loop after `delay_ms`, then every `repeat_ms` (0: once). A one-shot timer frees
// itself after fn ran; a repeating one lives until cancelled. loop_timer_cancel(NULL) does nothing.
struct loop_timer *loop_timer_start(struct loop *loop, int64_t delay_ms, int64_t repeat_ms,
                                    void (*fn)(void *arg), void *arg);
void loop_timer_cancel(struct loop_timer *timer);

// Runs work on libuv's pool (blobs, archives, password hashing), then done on the loop.
void loop_work(struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg);

// Calls fn on the loop for SIGTERM and SIGINT.
void loop_on_stop_signal(struct loop *loop, void (*fn)(void *arg, int signal), void *arg);

#endif
