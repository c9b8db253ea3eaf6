// SPDX-License-Identifier: Apache-2.0
// The backup of a running server as one stream. A thread of its own makes it (store/backup.h) and
// fills a pipe; net/ sends what comes out.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "api/api_internal.h"
#include "api/route_table.h"
#include "base/mem.h"
#include "base/version.h"
#include "store/backup.h"

#define PIPE_BYTES (1 << 20)

struct job {  // belongs to the thread and to the request: the last one frees it
    atomic_int owners;
    atomic_bool broken;  // the archive is not whole
    atomic_bool stop;    // nobody reads it any more
    atomic_bool ended;   // report and err are set
    struct backup_report report;
    struct err err;
    struct api *api;  // the request's, on the loop
    char *data, *work;
    bool keys;
    int out;  // the pipe's writing end: the thread's
};

static void job_release(struct job *job)
{
    if (atomic_fetch_sub(&job->owners, 1) > 1)
        return;
    fd_close_at(&job->out);
    mem_free(job->data);
    mem_free(job->work);
    mem_free(job);
}

static void *job_main(void *arg)
{
    struct job *job = arg;
    struct backup_config config = {.data = job->data,
                                   .work = job->work,
                                   .version = DROVER_VERSION,
                                   .keys = job->keys,
                                   .stop = &job->stop};
    atomic_store(&job->broken, backup_write(&config, job->out, &job->report, &job->err) != 0);
    atomic_store(&job->ended, true);
    fd_close_at(&job->out);
    job_release(job);
    return NULL;
}

static void tell(const struct job *job)
{
    struct log *log = job->api->config.platform->log;
    const struct backup_report *report = &job->report;
    if (!atomic_load(&job->ended))
        log_warn(log, "backup", "the client left before the backup's end");
    else if (atomic_load(&job->broken))
        log_error(log, "backup", "the backup failed and its stream was cut: %s", job->err.message);
    else
        log_info(log, "backup", "sent %lld files and %lld blobs, %lld bytes",
                 (long long)report->files, (long long)report->blobs, (long long)report->bytes);
    if (report->damaged > 0 && atomic_load(&job->ended))
        log_warn(log, "backup",
                 "%lld blobs are damaged or missing and were left out; "
                 "manifest.json in the archive names them",
                 (long long)report->damaged);
}

static void on_over(void *arg, bool sent)
{
    struct job *job = arg;
    (void)sent;
    atomic_store(&job->stop, true);
    job->api->backups--;
    tell(job);
    job_release(job);
}

static int thread_start(struct job *job, struct err *err)
{
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int rc = pthread_create(&thread, &attributes, job_main, job);
    pthread_attr_destroy(&attributes);
    return rc == 0 ? 0 : err_errno(err, ERR_UNAVAILABLE, rc, "starting a backup's thread");
}

static int job_start(struct call *call, int *in, struct job **out, struct err *err)
{
    const struct platform *platform = call->op.platform;
    const char *data = platform->settings->data;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "making a backup's pipe");
    (void)fcntl(ends[1], F_SETPIPE_SZ, PIPE_BYTES);
    struct job *job = mem_alloc(sizeof(*job));
    struct str work = arena_printf(call->op.arena, "%s/blobs/tmp", data);
    *job = (struct job){.owners = 2,
                        .api = call->api,
                        .data = mem_copy(data, strlen(data)),
                        .work = mem_copy(work.at, work.len),
                        .keys = call_query_bool(call, "keys"),
                        .out = ends[1]};
    if (thread_start(job, err)) {
        close(ends[0]);
        atomic_store(&job->owners, 1);
        job_release(job);
        return -1;
    }
    *in = ends[0];
    *out = job;
    return 0;
}

static int none_under_way(const struct call *call, struct err *err)
{
    if (call->api->backups == 0)
        return 0;
    err_set(err, ERR_BUSY, "A backup is under way; wait for its end");
    err->retry_after = 10;
    return -1;
}

static void checked(struct call *call, struct err *err)
{
    struct job *job = NULL;
    struct call_file file = {.status = 200, .content_type = "application/x-tar"};
    if (err->kind != ERR_NONE || !call->http || none_under_way(call, err) ||
        job_start(call, &file.fd, &job, err)) {
        call_finish(call, err);
        return;
    }
    call->api->backups++;
    call_header(call, "content-disposition", STR("attachment; filename=\"drover-backup.tar\""));
    http_on_over(call->http, on_over, job);
    file.broken = &job->broken;
    call_finish_file(call, &file);
}

// Who took everything away is worth knowing.
static int note(struct call *call, struct err *err)
{
    struct op *op = &call->op;
    struct org org;
    struct str with = call_query_bool(call, "keys") ? STR("{\"keys\":true}")
                                                    : STR("{\"keys\":false}");
    if (tx_get(op->tx, &org_entity, op->platform->org_id, &org, op->arena, err))
        return -1;
    return op_audit_more(op, "backup", &org_entity, &org, NULL, with, err);
}

static int get_backup(struct call *call, struct err *err)
{
    if (!str_is(STR("sqlite"), call->op.platform->settings->store))
        return err_set(err, ERR_CONFLICT, "This server keeps nothing on disk (--store memory)");
    if (none_under_way(call, err))
        return -1;
    call_run(call, OP_WRITE, note, checked);
    return 0;
}

static const struct route routes[] = {
    {"GET", "/backup", ROUTE_LOOP, SCOPE_ADMIN, ROLE_NONE, BODY_NONE, get_backup,
     .operation_id = "getBackup",
     .summary = "Stream a consistent archive of everything that is kept, with the keys on request",
     .tag = "Server", .response = "Binary", .query = "keys:boolean"},
};

const struct route_list backup_routes = ROUTE_LIST(routes);
