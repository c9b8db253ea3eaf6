// SPDX-License-Identifier: Apache-2.0
// store/mailbox: finished jobs on their way from a store's threads to the loop. However many finish
// before the loop looks, one task is posted.
#ifndef DROVER_STORE_MAILBOX_H
#define DROVER_STORE_MAILBOX_H

#include "store/store_internal.h"

struct jobs {  // a queue linked through store_job.next
    struct store_job *first, **last;
};
void jobs_init(struct jobs *jobs);
void jobs_push(struct jobs *jobs, struct store_job *job);
struct store_job *jobs_pop(struct jobs *jobs);  // NULL when empty

struct mailbox;

struct mailbox *mailbox_new(struct loop *loop);
// Takes the jobs over (nothing when there are none); each one's done runs on the loop, in order.
// From any thread.
void mailbox_add(struct mailbox *box, struct jobs *jobs);
// Runs what is due on the calling thread, the loop's, after the other threads have ended. A task
// that is posted still frees the box when the loop comes to it.
void mailbox_close(struct mailbox *box);

#endif
