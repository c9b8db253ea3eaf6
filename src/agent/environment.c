// SPDX-License-Identifier: Apache-2.0
#include "agent/environment.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/command.h"
#include "agent/folder.h"
#include "base/buf.h"
#include "base/mem.h"
#include "net/loop.h"

#define LOCK_POLL_MS  100
#define COMPLETE_NAME ".complete"

struct environment_job {
    struct environment_config config;
    struct arena *arena;
    const char *place;         // CACHE/venvs/HASH; final from the start: a venv cannot be moved
    const char *python;        // PLACE/bin/python
    const char *requirements;  // file for pip
    int lock;
    struct command *command;
    struct loop_timer *timer;
    atomic_bool stop;
    bool in_pool;
    struct err err;
};

static void free_job(struct environment_job *job)
{
    fd_close_at(&job->lock);
    arena_free(job->arena);
    mem_free(job);
}

static void finish(struct environment_job *job, const char *python)
{
    fd_close_at(&job->lock);
    job->config.on_done(job->config.arg, python, NULL);
    free_job(job);
}

// A half-built environment stays without its mark; the next one to build it clears it away.
static void fail(struct environment_job *job, const struct err *err)
{
    struct err copy = *err;
    fd_close_at(&job->lock);
    job->config.on_done(job->config.arg, NULL, &copy);
    free_job(job);
}

void environment_cancel(struct environment_job *job)
{
    if (!job)
        return;
    atomic_store(&job->stop, true);
    command_cancel(job->command);
    loop_timer_cancel(job->timer);
    if (!job->in_pool)
        free_job(job);
}

static int compare(const void *a, const void *b)
{
    return str_cmp(*(const struct str *)a, *(const struct str *)b);
}

static void hash_text(crypto_hash_sha256_state *state, struct str text)
{
    crypto_hash_sha256_update(state, (const unsigned char *)(text.at ? text.at : ""), text.len);
    crypto_hash_sha256_update(state, (const unsigned char *)"\n", 1);
}

void environment_hash(const char *interpreter, const char *dtlpy, const struct str *requirements,
                      size_t count, char out[65])
{
    _cleanup_free_ struct str *sorted = mem_alloc(sizeof(*sorted) * (count + 1));
    for (size_t i = 0; i < count; i++)
        sorted[i] = requirements[i];
    qsort(sorted, count, sizeof(*sorted), compare);
    crypto_hash_sha256_state state;
    crypto_hash_sha256_init(&state);
    hash_text(&state, str_of(interpreter));
    hash_text(&state, dtlpy ? str_of(dtlpy) : STR("-"));
    for (size_t i = 0; i < count; i++)
        hash_text(&state, sorted[i]);
    unsigned char digest[crypto_hash_sha256_BYTES];
    crypto_hash_sha256_final(&state, digest);
    sodium_bin2hex(out, 65, digest, sizeof(digest));
}

static const char *complete_mark(struct environment_job *job)
{
    return arena_printf(job->arena, "%s/" COMPLETE_NAME, job->place).at;
}

static bool is_complete(struct environment_job *job)
{
    return access(complete_mark(job), F_OK) == 0 && access(job->python, X_OK) == 0;
}

static void on_line(void *arg, struct str line, bool from_stderr)
{
    struct environment_job *job = arg;
    if (job->place)  // what the interpreter says of itself is for us
        job->config.on_line(job->config.arg, line, from_stderr);
}

static void run(struct environment_job *job, const char *const argv[],
                void (*on_done)(void *, bool, struct str, const struct err *))
{
    struct command_config command = {.loop = job->config.loop,
                                     .argv = argv,
                                     .folder = job->config.folder,
                                     .on_line = on_line,
                                     .on_done = on_done,
                                     .arg = job};
    struct err err = ERR_INIT;
    job->command = command_start(&command, &err);
    if (!job->command)
        fail(job, &err);
}

// ── building ─────────────────────────────────────────────────────────────────────────────────

static int write_file(const char *path, struct str text, struct err *err)
{
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0644);
    if (fd < 0 || write(fd, text.at, text.len) != (ssize_t)text.len || fsync(fd) != 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot write %s", path);
    return 0;
}

static void on_installed(void *arg, bool ok, struct str out, const struct err *err)
{
    (void)out;
    struct environment_job *job = arg;
    job->command = NULL;
    struct err failed = *err;
    if (!ok || write_file(complete_mark(job), STR("complete\n"), &failed))
        fail(job, &failed);
    else
        finish(job, job->python);
}

static int write_requirements(struct environment_job *job, struct err *err)
{
    const struct assignment *assignment = job->config.assignment;
    _cleanup_buf_ struct buf text = BUF_INIT(16u << 20);
    if (assignment->dtlpy)
        buf_printf(&text, "dtlpy==%s\n", assignment->dtlpy);
    for (size_t i = 0; i < assignment->requirement_count; i++) {
        buf_add_str(&text, assignment->requirements[i]);
        buf_add_char(&text, '\n');
    }
    job->requirements = arena_printf(job->arena, "%s/requirements.txt", job->place).at;
    return write_file(job->requirements, buf_str(&text), err);
}

static const char *install_phase(struct environment_job *job)
{
    const struct assignment *assignment = job->config.assignment;
    size_t count = assignment->requirement_count;
    const char *dtlpy = assignment->dtlpy
                            ? arena_printf(job->arena, "dtlpy %s", assignment->dtlpy).at
                            : "";
    if (count == 0)
        return arena_printf(job->arena, "installing %s", dtlpy).at;
    return arena_printf(job->arena, "installing %s%s%zu requirement%s", dtlpy,
                        *dtlpy ? " and " : "", count, count == 1 ? "" : "s")
        .at;
}

static void on_made(void *arg, bool ok, struct str out, const struct err *err)
{
    (void)out;
    struct environment_job *job = arg;
    job->command = NULL;
    struct err failed = *err;
    if (!ok || write_requirements(job, &failed)) {
        fail(job, &failed);
        return;
    }
    job->config.on_phase(job->config.arg, install_phase(job));
    const char *args[] = {job->python,
                          "-m",
                          "pip",
                          "install",
                          "--disable-pip-version-check",
                          "--no-input",
                          "--no-color",
                          "--progress-bar=off",
                          "-r",
                          job->requirements,
                          NULL};
    run(job, args, on_installed);
}

static void clear_work(void *arg)
{
    struct environment_job *job = arg;
    if (folder_remove(job->place, &job->err))
        err_wrap(&job->err, "an unfinished environment");
}

static void clear_done(void *arg)
{
    struct environment_job *job = arg;
    job->in_pool = false;
    if (atomic_load(&job->stop)) {
        free_job(job);
        return;
    }
    if (job->err.kind != ERR_NONE) {
        fail(job, &job->err);
        return;
    }
    job->config.on_phase(job->config.arg, "making the Python environment");
    const char *args[] = {job->config.python, "-m", "venv", job->place, NULL};
    run(job, args, on_made);
}

static void try_lock(void *arg)
{
    struct environment_job *job = arg;
    job->timer = NULL;
    struct err err = ERR_INIT;
    job->lock = folder_lock(arena_printf(job->arena, "%s.lock", job->place).at, &err);
    if (job->lock < 0 && err.kind == ERR_BUSY) {
        job->config.on_phase(job->config.arg, "waiting for another replica's environment");
        job->timer = loop_timer_start(job->config.loop, LOCK_POLL_MS, 0, try_lock, job);
        return;
    }
    if (job->lock < 0) {
        fail(job, &err);
        return;
    }
    if (is_complete(job)) {
        finish(job, job->python);
        return;
    }
    job->in_pool = true;
    loop_work(job->config.loop, clear_work, clear_done, job);
}

static void on_probed(void *arg, bool ok, struct str out, const struct err *err)
{
    struct environment_job *job = arg;
    const struct environment_config *config = &job->config;
    job->command = NULL;
    if (!ok) {
        struct err failed = *err;
        err_wrap(&failed, "the interpreter %s", config->python);
        fail(job, &failed);
        return;
    }
    const struct assignment *assignment = config->assignment;
    char name[65];
    environment_hash(arena_cstr(job->arena, str_trim(out)), assignment->dtlpy,
                     assignment->requirements, assignment->requirement_count, name);
    const char *base = arena_printf(job->arena, "%s/venvs", config->cache).at;
    job->place = arena_printf(job->arena, "%s/%s", base, name).at;
    job->python = arena_printf(job->arena, "%s/bin/python", job->place).at;
    struct err failed = ERR_INIT;
    if (is_complete(job))
        finish(job, job->python);
    else if (folder_make(base, &failed))
        fail(job, &failed);
    else
        try_lock(job);
}

static void begin(void *arg)
{
    struct environment_job *job = arg;
    job->timer = NULL;
    const struct assignment *assignment = job->config.assignment;
    if (!assignment->dtlpy && assignment->requirement_count == 0) {
        finish(job, job->config.python);
        return;
    }
    const char *args[] = {
        job->config.python, "-c",
        "import os, sys; print(os.path.realpath(sys.executable), sys.version.replace('\\n', ' '))",
        NULL};
    run(job, args, on_probed);
}

struct environment_job *environment_start(const struct environment_config *config)
{
    struct environment_job *job = mem_alloc(sizeof(*job));
    job->config = *config;
    job->arena = arena_new();
    job->lock = -1;
    job->timer = loop_timer_start(config->loop, 0, 0, begin, job);
    return job;
}
