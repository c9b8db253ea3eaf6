// SPDX-License-Identifier: Apache-2.0
// runner/scan: finds the members of a frame's JSON object without building a tree.
#ifndef DROVER_RUNNER_SCAN_H
#define DROVER_RUNNER_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Bytes that somebody else owns.
struct span {
    const char *at;
    size_t size;
};

struct scan {
    const char *at, *end;
};

// Starts at an object. False: the text is none.
bool scan_object(struct scan *scan, struct span text);

// The next member: 1 and its name (without quotes, escapes kept) and value (its bytes), 0 at the
// end, -1 where the text is malformed. Inside values only strings and brackets are looked at.
int scan_member(struct scan *scan, struct span *name, struct span *value);

bool span_is(struct span span, const char *text);

// A number without fraction that fits; anything else is false.
bool span_int(struct span span, int64_t *out);

#endif
