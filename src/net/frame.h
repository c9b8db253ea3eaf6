// SPDX-License-Identifier: Apache-2.0
// net/frame: messages between agent and runner on a stream socket: a 4-byte big-endian length, then
// that many bytes of JSON. docs/runner-protocol.md is the reference.
#ifndef DROVER_NET_FRAME_H
#define DROVER_NET_FRAME_H

#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

#define FRAME_MAX (64u << 20)  // bytes of one frame's JSON

// Starts a frame in buf; the JSON is then appended, and frame_end fills in its length.
size_t frame_begin(struct buf *buf);
void frame_end(struct buf *buf, size_t begun);

// Takes the next whole frame off received[*used..]; 1: got one, 0: more bytes needed, -1: over
// FRAME_MAX or empty (the peer broke the protocol).
int frame_next(struct str received, size_t *used, struct str *json, struct err *err);

#endif
