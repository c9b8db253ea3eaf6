// SPDX-License-Identifier: Apache-2.0
// Code of type git: finds the commit that the tag names, and checks it out once. Credentials are
// in a file (0600) that only a credential helper for the repository's own host reads.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/code_internal.h"
#include "agent/command.h"
#include "agent/folder.h"
#include "base/buf.h"
#include "base/mem.h"
#include "model/module.h"
#include "net/loop.h"

extern char **environ;

static const char *or_empty(const char *text) { return text ? text : ""; }

static bool is_commit(const char *text)
{
    size_t len = strlen(text);
    return (len == 40 || len == 64) && strspn(text, "0123456789abcdef") == len;
}

#define REFS 3

// What the tag may mean, best first; the commit of an annotated tag is under "…^{}". Of a hash only
// whether the repository answers is asked.
static void name_refs(const struct code_job *job, const char *refs[REFS + 1])
{
    const char *tag = job->config.code->tag;
    size_t count = 0;
    if (!tag || strcmp(tag, "HEAD") == 0 || is_commit(tag)) {
        refs[count++] = "HEAD";
    } else {
        refs[count++] = arena_printf(job->arena, "refs/tags/%s^{}", tag).at;
        refs[count++] = arena_printf(job->arena, "refs/tags/%s", tag).at;
        refs[count++] = arena_printf(job->arena, "refs/heads/%s", tag).at;
    }
    refs[count] = NULL;
}

static void fail_with(struct code_job *job, const struct err *err, const char *what)
{
    struct err copy = *err;
    err_wrap(&copy, "git: %s %s", what, job->config.code->url);
    code_fail(job, &copy);
}

static int check_url(const struct code_job *job, struct err *err)
{
    const char *url = job->config.code->url;
    if (git_url_fits(str_of(url)))
        return 0;
    if (job->config.git_file && str_starts(str_of(url), STR("file://")))
        return 0;
    return err_set(err, ERR_BAD_INPUT,
                   "the repository's address %.200s is not allowed: it must be an https, http or "
                   "ssh URL",
                   url);
}

static int write_credentials(struct code_job *job, struct err *err)
{
    const struct assignment_code *code = job->config.code;
    if (!code->username && !code->password)
        return 0;
    const char *user = or_empty(code->username), *password = or_empty(code->password);
    if (strpbrk(user, "\r\n") || strpbrk(password, "\r\n"))
        return err_set(err, ERR_BAD_INPUT, "the git credentials have a line break");
    job->file = arena_printf(job->arena, "%s/git-credentials", job->config.folder).at;
    unlink(job->file);
    _cleanup_fd_ int fd = open(job->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW,
                               0600);
    struct str text = arena_printf(job->arena, "username=%s\npassword=%s\n", user, password);
    if (fd < 0 || write(fd, text.at, text.len) != (ssize_t)text.len)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot write %s", job->file);
    return 0;
}

// "https://host:port" of an address, for which alone the credentials are good.
static struct str origin_of(const char *url)
{
    const char *host = strstr(url, "://");
    const char *end = host ? strchr(host + 3, '/') : NULL;
    return (struct str){url, end ? (size_t)(end - url) : strlen(url)};
}

#define GIT_VARIABLES 12

// Git does not look at the variables that everything else here finds authorities by.
static size_t add_trust(struct code_job *job, const char **env)
{
    static const char *const names[][2] = {{"GIT_SSL_CAINFO", "SSL_CERT_FILE"},
                                           {"GIT_SSL_CAPATH", "SSL_CERT_DIR"}};
    size_t count = 0;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        const char *own = getenv(names[i][0]), *value = own ? own : getenv(names[i][1]);
        if (value)
            env[count++] = arena_printf(job->arena, "%s=%s", names[i][0], value).at;
    }
    return count;
}

// The agent's environment (proxies, certificates), less git's own variables, plus ours.
static const char **make_env(struct code_job *job)
{
    size_t count = 0, at = 0;
    while (environ[count])
        count++;
    const char **env = arena_array_of(job->arena, const char *, count + GIT_VARIABLES + 1);
    for (size_t i = 0; i < count; i++)
        if (!str_starts(str_of(environ[i]), STR("GIT_")))
            env[at++] = environ[i];
    struct arena *arena = job->arena;
    at += add_trust(job, env + at);
    env[at++] = "GIT_TERMINAL_PROMPT=0";
    env[at++] = "GIT_CONFIG_NOSYSTEM=1";
    env[at++] = "GIT_CONFIG_GLOBAL=/dev/null";
    env[at++] = "GIT_ASKPASS=true";
    env[at++] = "GIT_SSH_COMMAND=ssh -oBatchMode=yes";
    env[at++] = job->config.git_file ? "GIT_ALLOW_PROTOCOL=https:http:ssh:file"
                                     : "GIT_ALLOW_PROTOCOL=https:http:ssh";
    if (job->file) {
        struct str origin = origin_of(job->config.code->url);
        env[at++] = arena_printf(arena, "DROVER_GIT_CREDENTIALS=%s", job->file).at;
        env[at++] = "GIT_CONFIG_COUNT=1";
        env[at++] = arena_printf(arena, "GIT_CONFIG_KEY_0=credential." STR_FMT ".helper",
                                 STR_ARG(origin))
                        .at;
        env[at++] = "GIT_CONFIG_VALUE_0=!cat \"$DROVER_GIT_CREDENTIALS\"; :";
    }
    return env;
}

static void on_line(void *arg, struct str line, bool from_stderr)
{
    struct code_job *job = arg;
    if (from_stderr)  // stdout is answers to our questions
        job->config.on_line(job->config.arg, line, from_stderr);
}

// In the temporary folder when it exists.
static void run_git(struct code_job *job, const char *const args[],
                    void (*on_done)(void *, bool, struct str, const struct err *))
{
    struct command_config command = {.loop = job->config.loop,
                                     .argv = args,
                                     .env = make_env(job),
                                     .folder = folder_exists(job->temp) ? job->temp : NULL,
                                     .on_line = on_line,
                                     .on_done = on_done,
                                     .arg = job};
    struct err err = ERR_INIT;
    job->command = command_start(&command, &err);
    if (!job->command)
        fail_with(job, &err, "cannot run it for");
}

static const char *place_of(struct code_job *job, const char *commit)
{
    return arena_printf(job->arena, "%s/git/%s", job->config.cache, commit).at;
}

static void seal_work(void *arg)
{
    struct code_job *job = arg;
    if (folder_seal(job->temp, &job->err))
        return;
    if (rename(job->temp, job->place) != 0)
        err_errno(&job->err, ERR_UNAVAILABLE, errno, "cannot move the code to %s", job->place);
}

static void on_checked_out(void *arg, bool ok, struct str out, const struct err *err)
{
    (void)out;
    struct code_job *job = arg;
    job->command = NULL;
    if (!ok)
        fail_with(job, err, "checking out");
    else if (folder_exists(job->place))
        code_finish(job);
    else
        code_pool(job, seal_work, code_pool_done);
}

static void on_fetched_commit(struct code_job *job)
{
    static const char *const checkout[] = {
        "git", "-c", "advice.detachedHead=false", "checkout", "--quiet", "FETCH_HEAD", NULL};
    if (folder_exists(job->place))
        code_finish(job);
    else
        run_git(job, checkout, on_checked_out);
}

static void on_rev_parsed(void *arg, bool ok, struct str out, const struct err *err)
{
    struct code_job *job = arg;
    job->command = NULL;
    const char *commit = arena_cstr(job->arena, str_trim(out));
    struct err odd = ERR_INIT;
    if (!ok || !is_commit(commit)) {
        err_set(&odd, ERR_DEPENDENCY, "no commit was fetched");
        fail_with(job, ok ? &odd : err, "fetching");
        return;
    }
    const char *place = place_of(job, commit);
    if (strcmp(place, job->place) == 0) {
        on_fetched_commit(job);
        return;
    }
    // The tag was moved meanwhile: what was fetched counts.
    job->place = place;
    fd_close_at(&job->lock);
    code_lock(job, on_fetched_commit);
}

static void on_fetched(void *arg, bool ok, struct str out, const struct err *err)
{
    (void)out;
    static const char *const rev_parse[] = {"git", "rev-parse", "FETCH_HEAD^{commit}", NULL};
    struct code_job *job = arg;
    job->command = NULL;
    if (!ok)
        fail_with(job, err, "fetching");
    else
        run_git(job, rev_parse, on_rev_parsed);
}

static void on_made(void *arg, bool ok, struct str out, const struct err *err)
{
    (void)out;
    struct code_job *job = arg;
    job->command = NULL;
    const char *args[] = {
        "git",    "fetch", "--depth=1", "--no-tags", "--end-of-options", job->config.code->url,
        job->ref, NULL};
    if (!ok)
        fail_with(job, err, "making a folder for");
    else
        run_git(job, args, on_fetched);
}

static void git_locked(struct code_job *job)
{
    if (folder_exists(job->place)) {
        code_finish(job);
        return;
    }
    struct err err = ERR_INIT;
    if (folder_remove(job->temp, &err) || folder_make(job->temp, &err)) {
        code_fail(job, &err);
        return;
    }
    job->config.on_phase(job->config.arg, "fetching the code with git");
    static const char *const init[] = {"git", "init", "--quiet", "--template=", NULL};
    run_git(job, init, on_made);
}

// Lines "<commit>\t<ref>". Only the exact ref counts: git also lists those that end like it, such
// as the branch "old/v1" for "v1".
static struct str commit_of(struct str lines, const char *ref)
{
    while (lines.at) {
        struct str line = str_cut(&lines, '\n');
        struct str commit = str_cut(&line, '\t');
        if (str_is(line, ref))
            return commit;
    }
    return STR_NONE;
}

// The commit that the tag names, or NULL; job->ref becomes what has to be fetched for it.
static const char *pick_commit(struct code_job *job, struct str lines)
{
    const char *refs[REFS + 1], *tag = job->config.code->tag;
    if (tag && is_commit(tag))
        return job->ref = tag;
    name_refs(job, refs);
    for (size_t i = 0; refs[i]; i++) {
        const char *commit = arena_cstr(job->arena, commit_of(lines, refs[i]));
        if (!commit || !is_commit(commit))
            continue;
        job->ref = str_ends(str_of(refs[i]), STR("^{}")) ? refs[i + 1] : refs[i];
        return commit;
    }
    return NULL;
}

static void on_listed(void *arg, bool ok, struct str out, const struct err *err)
{
    struct code_job *job = arg;
    job->command = NULL;
    const char *commit = ok ? pick_commit(job, out) : NULL, *tag = job->config.code->tag;
    struct err none = ERR_INIT;
    if (tag)
        err_set(&none, ERR_DEPENDENCY,
                "it has no tag or branch \"%.100s\" (a commit is named by its whole hash)", tag);
    else
        err_set(&none, ERR_DEPENDENCY, "it has no HEAD: name a tag or branch (gitTag)");
    if (!commit) {
        fail_with(job, ok ? &none : err, "looking for the tag in");
        return;
    }
    job->place = place_of(job, commit);
    if (folder_exists(job->place))
        code_finish(job);
    else
        code_lock(job, git_locked);
}

void code_git_start(struct code_job *job)
{
    struct err err = ERR_INIT;
    const char *base = arena_printf(job->arena, "%s/git", job->config.cache).at;
    job->temp = arena_printf(job->arena, "%s/.new-%s", base, job->config.replica_id).at;
    job->owns_temp = true;
    if (check_url(job, &err) || folder_make(base, &err) || folder_remove(job->temp, &err) ||
        write_credentials(job, &err)) {
        code_fail(job, &err);
        return;
    }
    const char *refs[REFS + 1];
    name_refs(job, refs);
    const char *args[4 + REFS + 1] = {"git", "ls-remote", "--end-of-options",
                                      job->config.code->url};
    for (size_t i = 0; refs[i]; i++)
        args[4 + i] = refs[i];
    job->config.on_phase(job->config.arg, "looking for the code's commit with git");
    run_git(job, args, on_listed);
}
