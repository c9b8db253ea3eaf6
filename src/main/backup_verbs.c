// SPDX-License-Identifier: Apache-2.0
// `drover backup` and `drover restore`.
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/version.h"
#include "cli/cli.h"
#include "cli/link.h"
#include "cli/step.h"
#include "cli/text.h"
#include "cli/verbs.h"
#include "main/verbs.h"
#include "store/backup.h"

#define PATH_SIZE 4096

struct backup_options {
    const char *data;
    bool with_keys, force;
};

struct output {  // FILE, written beside until it is whole
    struct cli *cli;
    const char *path;
    char part[PATH_SIZE];
    int fd;
    int64_t bytes;
    struct err err;
    atomic_bool stop;
};

static const char *size_of(struct cli *cli, int64_t bytes)
{
    _cleanup_buf_ struct buf text = BUF_INIT(64);
    bytes_text(bytes, &text);
    return arena_cstr(cli->arena, buf_str(&text));
}

// ── the file ─────────────────────────────────────────────────────────────────────────────────

static int output_open(struct output *out, const char *path, bool force, struct err *err)
{
    out->path = path;
    out->fd = -1;
    if (strcmp(path, "-") == 0) {
        if (out->cli->out.tty)
            return err_set(err, ERR_BAD_INPUT, "an archive is nothing for a terminal: name a file");
        out->fd = dup(STDOUT_FILENO);
        return 0;
    }
    if (!force && access(path, F_OK) == 0)
        return err_set(err, ERR_BAD_INPUT, "%s is there already; name another file, or add --force",
                       path);
    snprintf(out->part, sizeof(out->part), "%s.part", path);
    out->fd = open(out->part, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (out->fd < 0)
        return err_errno(err, ERR_BAD_INPUT, errno, "cannot write %s", out->part);
    return 0;
}

static int output_finish(struct output *out, struct err *err)
{
    if (!out->part[0])
        return 0;
    if (fsync(out->fd) != 0 || rename(out->part, out->path) != 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "cannot finish %s", out->path);
    out->part[0] = '\0';
    return 0;
}

static void output_close(struct output *out)
{
    fd_close_at(&out->fd);
    if (out->part[0])
        unlink(out->part);
}

// ── backup ───────────────────────────────────────────────────────────────────────────────────

static void on_progress(void *arg, const char *what, int64_t done, int64_t total)
{
    struct output *out = arg;
    const char *slash = strrchr(what, '/');
    if (out->cli->err.tty) {
        step_update(out->cli, "%s", slash ? slash + 1 : what);
        step_bar(out->cli, done, total);
    }
    cli_tick(out->cli);
    if (out->cli->interrupted)
        atomic_store(&out->stop, true);
}

static void on_damage(void *arg, const char *blob, const char *why)
{
    struct output *out = arg;
    step_break(out->cli);
    cli_warn(out->cli, "blob %s is left out: %s", blob, why);
}

static int from_folder(struct output *out, const struct backup_options *options,
                       struct backup_report *report, struct err *err)
{
    char folder[PATH_SIZE];
    snprintf(folder, sizeof(folder), "%s", out->part[0] ? out->part : "./-");
    struct backup_config config = {.data = options->data,
                                   .work = out->part[0] ? dirname(folder) : "/tmp",
                                   .version = DROVER_VERSION,
                                   .keys = options->with_keys,
                                   .stop = &out->stop,
                                   .on_progress = on_progress,
                                   .on_damage = on_damage,
                                   .arg = out};
    step_begin(out->cli, "Copying %s", options->data);
    return backup_write(&config, out->fd, report, err);
}

static bool on_bytes(void *arg, const void *at, size_t len)
{
    struct output *out = arg;
    const char *from = at;
    while (len > 0) {
        ssize_t n = write(out->fd, from, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            err_errno(&out->err, ERR_INTERNAL, errno, "cannot write %s", out->path);
            cli_hint(out->cli, "make room there, or name another file");
            return false;
        }
        from += n;
        len -= (size_t)n;
        out->bytes += n;
    }
    if (out->cli->err.tty)
        step_update(out->cli, "Receiving the backup: %s", size_of(out->cli, out->bytes));
    return true;
}

// The answer is checked for its end only: what the server verified it need not send twice.
static int from_server(struct output *out, const struct backup_options *options,
                       struct backup_report *report, struct err *err)
{
    struct link_request request = {.method = "GET", .sink = on_bytes, .sink_arg = out};
    step_begin(out->cli, "Asking for a backup");
    if (link_call(out->cli, &request, options->with_keys ? "/backup?keys=true" : "/backup", NULL,
                  err)) {
        if (out->err.kind != ERR_NONE)
            *err = out->err;
        else if (out->bytes > 0 && !out->cli->interrupted)
            err_wrap(err, "The backup broke off; the server's log says why");
        return -1;
    }
    if (!out->part[0])
        return 0;
    if (lseek(out->fd, 0, SEEK_SET) != 0)
        return err_errno(err, ERR_UNAVAILABLE, errno, "reading %s", out->part);
    return backup_look(out->fd, report, err);
}

static int run_backup(struct cli *cli)
{
    const struct backup_options *options = cli->options;
    struct output out = {.cli = cli};
    struct backup_report report = {0};
    struct err err = ERR_INIT;
    cli_catch_interrupt(cli);
    int failed = output_open(&out, cli->args[0], options->force, &err) ||
                 (options->data ? from_folder(&out, options, &report, &err)
                                : from_server(&out, options, &report, &err)) ||
                 output_finish(&out, &err);
    output_close(&out);
    if (failed) {
        step_break(cli);
        return cli_fail(cli, &err);
    }
    if (report.created_at == 0)  // it went past unread
        step_end(cli, "Passed on %s", size_of(cli, out.bytes));
    else
        step_end(cli, "Backed up %lld files and %lld blobs, %s%s", (long long)report.files,
                 (long long)report.blobs, size_of(cli, report.bytes),
                 report.keys ? ", with the keys: whoever reads it is administrator" : "");
    if (report.damaged == 0)
        return CLI_OK;
    cli_warn(cli,
             "%lld blobs are damaged or missing and are not in it; manifest.json in the archive "
             "names them",
             (long long)report.damaged);
    return CLI_FAILED;
}

// ── restore ──────────────────────────────────────────────────────────────────────────────────

static void on_missing(void *arg, const char *blob, const char *why)
{
    struct output *out = arg;
    step_break(out->cli);
    cli_warn(out->cli, "blob %s is missing: %s", blob, why);
}

static void tell_next(struct cli *cli, const struct backup_options *options,
                      const struct backup_report *report)
{
    cli_say(cli, "Start it with: drover server --data %s", options->data);
    if (!report->keys)
        cli_say(cli,
                "The archive has no keys: tokens and API keys of before are refused. `drover login "
                "URL` with a password; `drover keys create` then makes a key. Secrets open only "
                "when the master key of before is put into %s (docs/secrets.md).",
                options->data);
}

static int run_restore(struct cli *cli)
{
    const struct backup_options *options = cli->options;
    struct output out = {.cli = cli};
    struct restore_config config = {.data = options->data,
                                    .stop = &out.stop,
                                    .on_progress = on_progress,
                                    .on_damage = on_missing,
                                    .arg = &out};
    struct backup_report report = {0};
    struct err err = ERR_INIT;
    bool from_stdin = strcmp(cli->args[0], "-") == 0;
    if (!options->data)
        return cli_usage(cli, "--data says which folder is to be made");
    _cleanup_fd_ int fd = from_stdin ? dup(STDIN_FILENO) : open(cli->args[0], O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        err_errno(&err, errno == ENOENT ? ERR_NOT_FOUND : ERR_BAD_INPUT, errno, "cannot read %s",
                  cli->args[0]);
        return cli_fail(cli, &err);
    }
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) {
        err_set(&err, ERR_BAD_INPUT, "%s is a folder, not an archive of `drover backup`",
                cli->args[0]);
        return cli_fail(cli, &err);
    }
    cli_catch_interrupt(cli);
    step_begin(cli, "Restoring into %s", options->data);
    if (backup_restore(&config, fd, &report, &err)) {
        step_break(cli);
        return cli_fail(cli, &err);
    }
    char at[TIME_TEXT_SIZE];
    time_format(report.created_at, at);
    step_end(cli, "Restored %lld files and %lld blobs, %s, as of %s", (long long)report.files,
             (long long)report.blobs, size_of(cli, report.bytes), at);
    tell_next(cli, options, &report);
    if (report.damaged == 0)
        return CLI_OK;
    cli_warn(cli, "%lld files are missing: the backup had them no more", (long long)report.damaged);
    return CLI_FAILED;
}

#define OPTION(flag_, kind, member, ...)                                                           \
    {                                                                                              \
        .flag = "--" flag_, .type = OPTION_##kind,                                                 \
        .offset = offsetof(struct backup_options, member), __VA_ARGS__                             \
    }

static const struct option backup_table[] = {
    OPTION("data", TEXT, data, .unit = "DIR",
           .help = "Copy this data folder, whether a server runs on it or not, instead of asking "
                   "a server."),
    OPTION("with-keys", BOOL, with_keys,
           .help = "Also the keys that sign tokens, and the master key of secrets when it lies in "
                   "the data folder: the archive is then as secret as the server."),
    OPTION("force", BOOL, force, .help = "Replace FILE when it is there."),
};

static const struct option restore_table[] = {
    OPTION("data", TEXT, data, .unit = "DIR", .help = "The folder that is made."),
};

static const struct verb_example backup_examples[] = {
    {"drover backup backup.tar", "the server that you are logged in to"},
    {"drover backup --data /var/lib/drover backup.tar", "a folder of this machine, online"},
    {"drover backup - | gzip > backup.tar.gz", "compressed on the way"},
};

static const struct verb_example restore_examples[] = {
    {"drover restore backup.tar --data /var/lib/drover", "into a folder that is not there yet"},
};

static const struct verb verbs[] = {
    {.name = "backup",
     .arguments = "FILE",
     .group = GROUP_SELF,
     .summary = "copy everything that a server keeps into one archive, while it runs",
     .about =
         "The archive (tar) holds the rows as of one moment, the log lines, and every file that "
         "they refer to, verified. Neither callers nor agents wait for it. It takes an "
         "administrator, or a reader of the data folder.",
     .options = backup_table,
     .option_count = 3,
     .options_size = sizeof(struct backup_options),
     .examples = backup_examples,
     .example_count = 3,
     .exits = 1U << CLI_NOT_FOUND | 1U << CLI_DENIED | 1U << CLI_UNREACHABLE,
     .flags = VERB_SERVER,
     .run = run_backup},
    {.name = "restore",
     .arguments = "FILE",
     .group = GROUP_SELF,
     .summary = "make a data folder of a backup",
     .about = "Everything is checked before the folder gets its name; what fails leaves nothing "
              "behind. A folder that is in use or not empty is left alone. What was queued runs "
              "when a server starts on it; agents of the old server are refused.",
     .options = restore_table,
     .option_count = 1,
     .options_size = sizeof(struct backup_options),
     .examples = restore_examples,
     .example_count = 1,
     .exits = 1U << CLI_NOT_FOUND,
     .run = run_restore},
};

const struct verb_list backup_verbs = VERB_LIST(verbs);
