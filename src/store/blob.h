// SPDX-License-Identifier: Apache-2.0
// store/blob: content-addressed bytes: files under the data folder named by their SHA-256
// (blobs/ab/abcdef…), written beside (blobs/tmp), synced, then renamed. Equal content is kept once.
// The writer's calls block on the disk: they belong on the pool (loop_work), not on the loop.
#ifndef DROVER_STORE_BLOB_H
#define DROVER_STORE_BLOB_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"

#define BLOB_NAME_LEN 64  // SHA-256 in lower-case hex

struct blobs;
struct blob_writer;

struct blobs *blobs_open(const char *folder,
                         struct err *err);  // makes it; removes leftovers of tmp
// Calls fn, once and on any thread, when an fsync has failed. It is never tried again: whatever is
// to be written after that is refused with ERR_UNAVAILABLE, and the server should end.
void blobs_on_fatal(struct blobs *blobs, void (*fn)(void *arg, const struct err *err), void *arg);
// The same for a folder that another process may be using: nothing is made or removed.
// ERR_NOT_FOUND when it is not there.
struct blobs *blobs_attach(const char *folder, struct err *err);
void blobs_close(struct blobs *blobs);  // NULL does nothing

// Holds the folder's lock, across processes, until the descriptor is closed. keep: no blob is
// removed meanwhile by those who ask for the other kind; waits for a removal under way. Otherwise:
// to remove blobs; ERR_BUSY at once while somebody keeps them.
int blobs_hold(struct blobs *blobs, bool keep, struct err *err);

struct blob_writer *blob_writer_new(struct blobs *blobs, struct err *err);
MUST_CHECK int blob_writer_add(struct blob_writer *writer, struct str bytes,
                               struct err *err);  // ERR_UNAVAILABLE on a full disk
// Syncs and names the blob. The writer is freed in any case.
MUST_CHECK int blob_writer_finish(struct blob_writer *writer, char name[BLOB_NAME_LEN + 1],
                                  int64_t *size, struct err *err);
void blob_writer_drop(struct blob_writer *writer);  // NULL does nothing

int blob_read_fd(struct blobs *blobs, struct str name, int64_t *size,
                 struct err *err);  // an fd to close, or -1: ERR_NOT_FOUND
// Removes one that was last touched before `before_ms` (wall). ERR_NOT_FOUND; ERR_CONFLICT: it was
// put again since, and stays.
MUST_CHECK int blob_remove(struct blobs *blobs, struct str name, int64_t before_ms,
                           struct err *err);
// Every blob last touched before `before_ms` (wall); for collecting what nothing refers to.
MUST_CHECK int blob_each(struct blobs *blobs, int64_t before_ms,
                         void (*each)(void *arg, struct str name, int64_t size), void *arg,
                         struct err *err);

#endif
