// SPDX-License-Identifier: Apache-2.0
// What the simulation puts in place of net/loop.c, store/worker.c and the system's random numbers:
// one thread, in which every task, commit, read and callback happens when the simulation says so.
#ifndef DROVER_TESTS_STAGE_H
#define DROVER_TESTS_STAGE_H

#include "net/loop.h"
#include "store/worker.h"

// Numbers for the whole process (also behind getrandom), the same for the same seed.
void stage_seed(uint64_t seed);
uint64_t stage_random(void);  // the simulation's own draws; apart from getrandom's
static inline size_t stage_below(size_t n) { return (size_t)(stage_random() >> 33) % n; }
static inline bool stage_chance(unsigned percent) { return stage_below(100) < percent; }

// ── the loop ─────────────────────────────────────────────────────────────────────────────────
bool stage_turn(struct loop *loop);                 // the oldest task; false: there is none
void stage_timers(struct loop *loop, int64_t now);  // sets the time, runs what is due once
void stage_forget(struct loop *loop);               // the process died: tasks and timers are gone
size_t stage_tasks(const struct loop *loop);

// ── the store's threads ──────────────────────────────────────────────────────────────────────
// Called after each write job that is going to be committed, inside its transaction.
void stage_on_write(struct workers *workers, void (*fn)(void *arg, struct tx *tx), void *arg);
struct workers *stage_workers(void);  // those of the store opened last
// Runs up to `count` waiting writes in one transaction; fail: none of it is kept.
bool stage_commit(struct workers *workers, size_t count, bool fail);
bool stage_read(struct workers *workers, bool fail);  // the oldest waiting read
bool stage_finish(struct workers *workers);           // the oldest callback that is due
// The process died: every job's callback hears of a failure, so that it gives its memory back.
void stage_kill(struct workers *workers);

#endif
