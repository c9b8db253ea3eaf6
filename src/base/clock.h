// SPDX-License-Identifier: Apache-2.0
// base/clock: time as a value that tests can replace, and its text forms.
#ifndef DROVER_BASE_CLOCK_H
#define DROVER_BASE_CLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

struct clock {                                  // all times are milliseconds
    int64_t (*wall)(const struct clock *self);  // since 1970-01-01 UTC; may step
    int64_t (*mono)(const struct clock *self);  // never steps back; for leases and timeouts
};

const struct clock *clock_system(void);
static inline int64_t clock_wall(const struct clock *c) { return c->wall(c); }
static inline int64_t clock_mono(const struct clock *c) { return c->mono(c); }

struct clock_fake {  // for simulations: set wall_ms and mono_ms by hand
    struct clock clock;
    int64_t wall_ms, mono_ms;
};
void clock_fake_init(struct clock_fake *fake);

#define TIME_TEXT_SIZE 25  // "2026-11-23T08:15:30.123Z" and NUL
void time_format(int64_t ms, char out[TIME_TEXT_SIZE]);

// ISO 8601: a date, or date and time with optional fraction and zone. Without a zone it is UTC
// (dtlpy sends local midnight naively). False when malformed.
bool time_parse(struct str text, int64_t *ms);

#endif
