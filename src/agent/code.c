// SPDX-License-Identifier: Apache-2.0
#include "agent/code.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/code_internal.h"
#include "agent/command.h"
#include "agent/folder.h"
#include "agent/unpack.h"
#include "base/mem.h"
#include "net/http_client.h"
#include "net/loop.h"

#define LOCK_POLL_MS 50
#define FETCH_MS     600000  // a whole download
#define RETRY_MS     1000

static void free_job(struct code_job *job)
{
    fd_close_at(&job->fd);
    fd_close_at(&job->lock);
    arena_free(job->arena);
    mem_free(job);
}

static void clean_up(struct code_job *job)
{
    struct err ignored = ERR_INIT;
    if (!job->owns_temp)
        return;
    if (job->file)
        unlink(job->file);
    if (job->temp && folder_remove(job->temp, &ignored))
        log_warn(job->config.log, "agent", "%s", ignored.message);
}

void code_finish(struct code_job *job)
{
    clean_up(job);
    fd_close_at(&job->lock);
    job->config.on_done(job->config.arg, job->place, NULL);
    free_job(job);
}

static void clean_work(void *arg) { clean_up(arg); }

static void clean_done(void *arg)
{
    struct code_job *job = arg;
    if (code_pool_over(job))
        return;
    fd_close_at(&job->lock);
    job->config.on_done(job->config.arg, NULL, &job->failure);
    free_job(job);
}

// What was made so far may be a hundred thousand files: not a piece of work for the loop, which
// has to send heartbeats.
void code_fail(struct code_job *job, const struct err *err)
{
    job->failure = *err;
    code_pool(job, clean_work, clean_done);
}

void code_pool(struct code_job *job, void (*work)(void *), void (*done)(void *))
{
    job->in_pool = true;
    job->err = ERR_INIT;
    loop_work(job->config.loop, work, done, job);
}

bool code_pool_over(struct code_job *job)
{
    job->in_pool = false;
    if (!atomic_load(&job->stop))
        return false;
    clean_up(job);
    free_job(job);
    return true;
}

void code_cancel(struct code_job *job)
{
    if (!job)
        return;
    atomic_store(&job->stop, true);
    if (job->call)
        http_call_cancel(job->call);
    command_cancel(job->command);
    loop_timer_cancel(job->timer);
    if (job->in_pool)  // frees it when it comes back
        return;
    clean_up(job);
    free_job(job);
}

static void try_lock(void *arg)
{
    struct code_job *job = arg;
    job->timer = NULL;
    struct err err = ERR_INIT;
    const char *path = arena_printf(job->arena, "%s.lock", job->place).at;
    job->lock = folder_lock(path, &err);
    if (job->lock >= 0)
        job->locked(job);
    else if (err.kind == ERR_BUSY)
        job->timer = loop_timer_start(job->config.loop, LOCK_POLL_MS, 0, try_lock, job);
    else
        code_fail(job, &err);
}

// Never waits on the loop: another agent may need minutes.
void code_lock(struct code_job *job, void (*locked)(struct code_job *job))
{
    job->locked = locked;
    job->timer = loop_timer_start(job->config.loop, 0, 0, try_lock, job);
}

int code_sha256(const char *path, char out[65], struct err *err)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot open %s", path);
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    unsigned char chunk[65536];
    for (;;) {
        ssize_t got = read(fd, chunk, sizeof(chunk));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_errno(err, ERR_UNAVAILABLE, errno, "cannot read %s", path);
        if (got == 0)
            break;
        crypto_hash_sha256_update(&state, chunk, (unsigned long long)got);
    }
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&state, digest);
    sodium_bin2hex(out, 65, digest, sizeof(digest));
    return 0;
}

// ── code of type item ────────────────────────────────────────────────────────────────────────

static int unpack_item(struct code_job *job, struct err *err)
{
    char found[65];
    if (code_sha256(job->file, found, err))
        return -1;
    if (strcmp(found, job->config.code->sha256) != 0)
        return err_set(err, ERR_DEPENDENCY,
                       "the code that the server sent has the SHA-256 %s, expected was %s", found,
                       job->config.code->sha256);
    struct unpack_limits limits = UNPACK_LIMITS;
    if (job->config.code->unpacked_bytes > 0)
        limits.bytes = job->config.code->unpacked_bytes;
    if (job->config.code->unpacked_entries > 0)
        limits.entries = job->config.code->unpacked_entries;
    if (folder_remove(job->temp, err) || folder_make(job->temp, err) ||
        unpack_archive(job->file, job->temp, &limits, &job->stop, err) ||
        folder_seal(job->temp, err))
        return -1;
    if (rename(job->temp, job->place) != 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot move the code to %s", job->place);
    return 0;
}

static void unpack_work(void *arg)
{
    struct code_job *job = arg;
    (void)unpack_item(job, &job->err);  // err says it to code_pool_done
}

void code_pool_done(void *arg)
{
    struct code_job *job = arg;
    if (code_pool_over(job))
        return;
    if (job->err.kind != ERR_NONE)
        code_fail(job, &job->err);
    else
        code_finish(job);
}

static void fetch(void *arg);

static void on_fetched(void *arg, const struct http_answer *answer)
{
    struct code_job *job = arg;
    job->call = NULL;
    fd_close_at(&job->fd);
    if (answer->status == 200) {
        job->config.on_phase(job->config.arg, "unpacking the code");
        code_pool(job, unpack_work, code_pool_done);
        return;
    }
    bool for_good = answer->status >= 400 && answer->status < 500;
    log_warn(job->config.log, "agent", "fetching the code failed (%d): %s", answer->status,
             answer->err.message);
    if (!for_good) {
        job->timer = loop_timer_start(job->config.loop, RETRY_MS, 0, fetch, job);
        return;
    }
    struct err err;
    err_set(&err, ERR_DEPENDENCY, "the server did not give the code (%d): %.300s", answer->status,
            answer->body.len > 0 ? answer->body.at : "");
    code_fail(job, &err);
}

static void fetch(void *arg)
{
    struct code_job *job = arg;
    job->timer = NULL;
    job->fd = open(job->file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (job->fd < 0) {
        struct err err;
        err_errno(&err, ERR_UNAVAILABLE, errno, "cannot make %s", job->file);
        code_fail(job, &err);
        return;
    }
    struct http_call_config call = {.method = "GET",
                                    .path = "/agent/code",
                                    .to_fd = job->fd,
                                    .timeout_ms = FETCH_MS,
                                    .on_done = on_fetched,
                                    .arg = job};
    job->call = http_client_send(job->config.http, &call);
}

static void item_locked(struct code_job *job)
{
    if (folder_exists(job->place)) {
        code_finish(job);
        return;
    }
    job->owns_temp = true;
    job->config.on_phase(job->config.arg, "fetching the code");
    fetch(job);
}

static void item_start(struct code_job *job)
{
    const struct code_config *config = &job->config;
    struct arena *arena = job->arena;
    const char *base = arena_printf(arena, "%s/code", config->cache).at;
    job->place = arena_printf(arena, "%s/%s", base, config->code->sha256).at;
    if (folder_exists(job->place)) {  // the common case needs no lock: it appears by a rename
        code_finish(job);
        return;
    }
    // Named after the code, not the replica: whoever holds the lock next removes what a killed
    // agent left.
    job->temp = arena_printf(arena, "%s/.new-%s", base, config->code->sha256).at;
    job->file = arena_printf(arena, "%s/.archive-%s", base, config->code->sha256).at;
    struct err err;
    if (folder_make(base, &err))
        code_fail(job, &err);
    else
        code_lock(job, item_locked);
}

static void begin(void *arg)
{
    struct code_job *job = arg;
    job->timer = NULL;
    if (job->config.code->type == CODE_ITEM)
        item_start(job);
    else
        code_git_start(job);
}

struct code_job *code_start(const struct code_config *config)
{
    struct code_job *job = mem_alloc(sizeof(*job));
    job->config = *config;
    job->arena = arena_new();
    job->lock = job->fd = -1;
    job->timer = loop_timer_start(config->loop, 0, 0, begin, job);
    return job;
}
