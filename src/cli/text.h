// SPDX-License-Identifier: Apache-2.0
// cli/text: forms of times, sizes and texts for people. Pure.
#ifndef DROVER_CLI_TEXT_H
#define DROVER_CLI_TEXT_H

#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

size_t text_width(struct str s);  // columns on a terminal
// Adds s, cut to `width` columns with … at its end when it is wider.
void text_fit(struct buf *out, struct str s, size_t width);
// Adds checked JSON without the blanks and line breaks between its tokens.
void text_json_line(struct buf *out, struct str json);
// Adds the paragraphs of `text` (parted by an empty line) wrapped to `width`, indented by `left`.
void text_wrap(struct buf *out, const char *text, size_t left, size_t width);

// Adds s as one word of a shell's command line: in quotes when it needs them.
void text_word(struct buf *out, struct str s);

void duration_text(int64_t ms, struct buf *out);  // "820 ms", "3.2 s", "4m 10s", "2h 5m", "3d 4h"
void age_text(int64_t ms, struct buf *out);       // "12s", "4m", "3h", "2d"
void bytes_text(int64_t bytes, struct buf *out);  // "512 B", "1.5 MiB"
// "90s", "15m", "1h", "2d", "1h30m"; a number alone is seconds. False when it is none.
bool duration_parse(struct str text, int64_t *ms);
// A duration before `now`, or a time ("2026-11-23T08:00:00Z"). ERR_BAD_INPUT names `option`.
MUST_CHECK int moment_parse(const char *option, const char *text, int64_t now, int64_t *ms,
                            struct err *err);

#endif
