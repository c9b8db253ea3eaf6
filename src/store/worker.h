// SPDX-License-Identifier: Apache-2.0
// store/worker: the writer thread with its group commit, the reader threads, and the way of their
// results back to the loop.
#ifndef DROVER_STORE_WORKER_H
#define DROVER_STORE_WORKER_H

#include "store/store_internal.h"

struct workers;

// Starts the threads. NULL with err when a connection can not be opened. `config` is copied, the
// driver's database is borrowed.
struct workers *workers_start(const struct store_driver *driver, struct store_db *db,
                              const struct store_config *config, struct err *err);
// Runs what is queued, joins the threads, and runs every callback that is still due on the calling
// thread, which must be the loop's.
void workers_stop(struct workers *workers);

void workers_write(struct workers *workers, struct store_job *job);
void workers_read(struct workers *workers, struct store_job *job);
// Waits for the job; its done is not called.
void workers_write_wait(struct workers *workers, struct store_job *job);
void workers_read_wait(struct workers *workers, struct store_job *job);

bool workers_failed(const struct workers *workers);
int64_t workers_backlog(const struct workers *workers);

#endif
