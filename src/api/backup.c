// SPDX-License-Identifier: Apache-2.0
// The backup of a running server as one stream. A thread of its own makes it (store/backup.h) and
// fills a pipe; net/ sends what comes out.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "api/api_internal.h"
#include "api/route_table.h"
#include "base/mem.h"
#include "base/version.h"
#include "store/backup.h"

#define PIPE_BYTES (1 << 20)
#define WORK_SPARE (16 << 20)  // what the rows may grow by meanwhile

struct job {  // belongs to the thread and to the request: the last one frees it
    atomic_int owners;
    atomic_bool broken;  // the archive is not whole
    atomic_bool stop;    // nobody reads it any more
    atomic_bool ended;   // report and err are set
    struct backup_report report;
    struct err err;
    struct api *api;  // the request's, on the loop
    char *data, *work;
    bool keys, own_work;  // own: a folder that was made for this one
    int out;              // the pipe's writing end: the thread's
};

static void job_release(struct job *job)
{
    if (atomic_fetch_sub(&job->owners, 1) > 1)
        return;
    fd_close_at(&job->out);
    if (job->own_work)
        rmdir(job->work);
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

static int64_t size_of_file(const char *data, const char *name)
{
    char path[PATH_MAX];
    struct stat st;
    snprintf(path, sizeof(path), "%s/%s", data, name);
    return stat(path, &st) == 0 ? st.st_size : 0;
}

// Whether so many bytes can be written there. Asked of the file system itself: a quota counts too.
static bool has_room(const char *folder, int64_t bytes)
{
    _cleanup_fd_ int fd = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    return (fallocate(fd, 0, 0, bytes) == 0 || errno == EOPNOTSUPP) && pwrite(fd, "", 1, 0) == 1;
}

// Where the copies of the databases lie meanwhile: a full data disk is when a backup is wanted
// most.
static int choose_work(struct job *job, struct err *err)
{
    const char *elsewhere = getenv("TMPDIR");
    char path[PATH_MAX];
    int64_t need = size_of_file(job->data, "drover.db") + size_of_file(job->data, "drover.db-wal") +
                   WORK_SPARE;
    snprintf(path, sizeof(path), "%s/blobs/tmp", job->data);
    if (!has_room(path, need)) {
        elsewhere = elsewhere && *elsewhere ? elsewhere : "/var/tmp";
        snprintf(path, sizeof(path), "%s/drover-backup-XXXXXX", elsewhere);
        job->own_work = has_room(elsewhere, need) && mkdtemp(path);
        if (!job->own_work)
            return err_set(
                err, ERR_UNAVAILABLE,
                "A copy of the rows needs %lld MiB for the time of a backup, and neither "
                "%s nor %s has them: make room in one, or run `drover backup --data %s "
                "FILE` on the server's machine, which needs them beside FILE",
                (long long)(need >> 20), job->data, elsewhere, job->data);
    }
    job->work = mem_copy(path, strlen(path));
    return 0;
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
    *job = (struct job){.owners = 2,
                        .api = call->api,
                        .data = mem_copy(data, strlen(data)),
                        .keys = call_query_bool(call, "keys"),
                        .out = ends[1]};
    if (choose_work(job, err) || thread_start(job, err)) {
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

// A disk that is full holds up no backup: the server's log then says who took it. Only after
// call_check, which comes before note.
static void note_elsewhere(const struct call *call, struct err *err)
{
    if (err->kind != ERR_UNAVAILABLE || !call->data)
        return;
    log_warn(call->op.platform->log, "backup",
             "the audit log cannot be written (%s); " STR_FMT " takes a backup%s", err->message,
             STR_ARG(call->op.caller.user_id),
             call_query_bool(call, "keys") ? " with the keys" : "");
    *err = ERR_INIT;
}

static void checked(struct call *call, struct err *err)
{
    struct job *job = NULL;
    note_elsewhere(call, err);
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
    call->data = call;  // the caller may do it
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
