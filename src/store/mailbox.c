// SPDX-License-Identifier: Apache-2.0
#include "store/mailbox.h"

#include <pthread.h>

#include "base/mem.h"
#include "net/loop.h"

struct mailbox {
    struct loop_task task;
    struct loop *loop;
    pthread_mutex_t lock;
    struct jobs jobs;  // guarded by lock
    bool posted;       // guarded by lock: the task is in the loop's hands
    bool closed;       // the loop's thread only
};

void jobs_init(struct jobs *jobs)
{
    jobs->first = NULL;
    jobs->last = &jobs->first;
}

void jobs_push(struct jobs *jobs, struct store_job *job)
{
    job->next = NULL;
    *jobs->last = job;
    jobs->last = &job->next;
}

struct store_job *jobs_pop(struct jobs *jobs)
{
    struct store_job *job = jobs->first;
    if (!job)
        return NULL;
    jobs->first = job->next;
    if (!jobs->first)
        jobs->last = &jobs->first;
    return job;
}

static void mailbox_free(struct mailbox *box)
{
    pthread_mutex_destroy(&box->lock);
    mem_free(box);
}

// False when there was nothing.
static bool empty(struct mailbox *box, bool from_task)
{
    pthread_mutex_lock(&box->lock);
    struct store_job *job = box->jobs.first;
    jobs_init(&box->jobs);
    if (from_task)
        box->posted = false;
    pthread_mutex_unlock(&box->lock);
    bool any = job != NULL;
    while (job) {
        struct store_job *next = job->next;  // done may free the job
        if (job->done)
            job->done(job->arg, &job->err);
        job = next;
    }
    return any;
}

static void run_task(void *arg)
{
    struct mailbox *box = arg;
    if (box->closed)
        mailbox_free(box);
    else
        empty(box, true);
}

struct mailbox *mailbox_new(struct loop *loop)
{
    struct mailbox *box = mem_alloc(sizeof(*box));
    box->loop = loop;
    box->task = (struct loop_task){.fn = run_task, .arg = box};
    jobs_init(&box->jobs);
    pthread_mutex_init(&box->lock, NULL);
    return box;
}

void mailbox_add(struct mailbox *box, struct jobs *jobs)
{
    if (!jobs->first)
        return;
    pthread_mutex_lock(&box->lock);
    *box->jobs.last = jobs->first;
    box->jobs.last = jobs->last;
    bool post = !box->posted;
    box->posted = true;
    pthread_mutex_unlock(&box->lock);
    if (post)
        loop_post(box->loop, &box->task);
}

void mailbox_close(struct mailbox *box)
{
    while (empty(box, false)) {
    }
    box->closed = true;
    if (!box->posted)
        mailbox_free(box);
}
