// SPDX-License-Identifier: Apache-2.0
// store/log_index: where in a file of log lines a text can be. A file of its own beside it:
// SQLite's FTS5 with the trigram tokenizer, over blocks of lines in a row, without their text. It
// may be deleted at any stop and is made again. A connection belongs to one thread at a time.
#ifndef DROVER_STORE_LOG_INDEX_H
#define DROVER_STORE_LOG_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define LOG_BLOCK_LINES 64  // seqs of one block; a block's number is its first seq through this

struct log_index;

// Whether this SQLite can do it.
bool log_index_supported(void);
// Whether it helps in looking for this text: three characters or more.
bool log_index_can_find(struct str text);

// A reader's gives NULL without an error when there is none.
struct log_index *log_index_open(const char *path, bool writer, struct err *err);
void log_index_close(struct log_index *index);  // NULL does nothing

// The first seq that is not in it; `first` when it is empty.
MUST_CHECK int log_index_end(struct log_index *index, int64_t first, int64_t *indexed,
                             struct err *err);

MUST_CHECK int log_index_begin(struct log_index *index, struct err *err);
MUST_CHECK int log_index_add(struct log_index *index, int64_t block, struct str text,
                             struct err *err);
MUST_CHECK int log_index_commit(struct log_index *index, int64_t indexed, struct err *err);
void log_index_rollback(struct log_index *index);

// Steps through the blocks from first to last that may hold the text. 1: a block, 0: the end.
MUST_CHECK int log_index_seek(struct log_index *index, struct str text, int64_t first, int64_t last,
                              bool descending, struct err *err);
MUST_CHECK int log_index_next(struct log_index *index, int64_t *block, struct err *err);
void log_index_rest(struct log_index *index);  // ends the walk

#endif
