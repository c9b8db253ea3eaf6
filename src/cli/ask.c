// SPDX-License-Identifier: Apache-2.0
// Ctrl-C, waiting, questions, and what is read from files.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "cli/cli_internal.h"
#include "cli/step.h"

#define TICK_MS    80
#define SECRET_MAX 4096

static sigset_t caught_set(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

void cli_catch_interrupt(struct cli *cli)
{
    sigset_t set = caught_set();
    if (cli->signals >= 0)
        return;
    sigprocmask(SIG_BLOCK, &set, NULL);
    cli->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (cli->signals < 0)
        sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void cli_signals_end(struct cli *cli)
{
    sigset_t set = caught_set();
    if (cli->signals < 0)
        return;
    close(cli->signals);
    cli->signals = -1;
    sigprocmask(SIG_UNBLOCK, &set, NULL);
}

void cli_tick(struct cli *cli)
{
    struct signalfd_siginfo info;
    if (cli->signals >= 0 && read(cli->signals, &info, sizeof(info)) == sizeof(info))
        cli->interrupted = true;
    step_tick(cli);
}

bool cli_sleep(struct cli *cli, int64_t ms)
{
    int64_t end = clock_mono(clock_system()) + ms, left;
    struct pollfd poll_for = {.fd = cli->signals, .events = POLLIN};
    cli_tick(cli);
    while (!cli->interrupted && (left = end - clock_mono(clock_system())) > 0) {
        poll(&poll_for, 1, (int)(left < TICK_MS ? left : TICK_MS));
        cli_tick(cli);
    }
    return !cli->interrupted;
}

// ── questions ────────────────────────────────────────────────────────────────────────────────

static int ask(const char *question, bool echo, char *out, size_t size, struct err *err)
{
    _cleanup_fd_ int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios before, quiet;
    if (fd < 0 || tcgetattr(fd, &before))
        return err_set(err, ERR_BAD_INPUT, "There is no terminal to ask on");
    quiet = before;
    quiet.c_lflag &= ~(tcflag_t)ECHO;
    if (!echo)
        tcsetattr(fd, TCSAFLUSH, &quiet);
    (void)!write(fd, question, strlen(question));
    ssize_t n = read(fd, out, size - 1);
    if (!echo) {
        tcsetattr(fd, TCSAFLUSH, &before);
        (void)!write(fd, "\n", 1);
    }
    if (n < 0)
        return err_errno(err, ERR_BAD_INPUT, errno, "Cannot read the answer");
    while (n > 0 && (out[n - 1] == '\n' || out[n - 1] == '\r'))
        n--;
    out[n] = '\0';
    return 0;
}

int cli_confirm(struct cli *cli, const char *fmt, ...)
{
    char question[512], answer[64];
    struct err err = ERR_INIT;
    va_list args;
    if (cli->common->yes)
        return CLI_OK;
    step_break(cli);
    (void)cli_flush(cli);
    va_start(args, fmt);
    int len = vsnprintf(question, sizeof(question) - 16, fmt, args);
    va_end(args);
    size_t at = (size_t)len < sizeof(question) - 16 ? (size_t)len : sizeof(question) - 17;
    snprintf(question + at, sizeof(question) - at, " [y/N] ");
    if (!isatty(STDIN_FILENO) || ask(question, true, answer, sizeof(answer), &err)) {
        question[at] = '\0';
        err_set(&err, ERR_BAD_INPUT, "%s Nobody can be asked here", question);
        cli_hint(cli, "give --yes when it is meant");
        return cli_fail(cli, &err);
    }
    if (str_case_eq(str_of(answer), STR("y")) || str_case_eq(str_of(answer), STR("yes")))
        return CLI_OK;
    cli_say(cli, "Nothing was done.");
    return CLI_FAILED;
}

int cli_secret(struct cli *cli, const char *prompt, struct str *out, struct err *err)
{
    char secret[SECRET_MAX];
    step_break(cli);
    (void)cli_flush(cli);
    if (ask(prompt, false, secret, sizeof(secret), err))
        return -1;
    *out = arena_copy(cli->arena, str_of(secret));
    explicit_bzero(secret, sizeof(secret));
    return out->len > 0 ? 0 : err_set(err, ERR_BAD_INPUT, "Nothing was entered");
}

int cli_read(struct cli *cli, const char *path, size_t max, struct str *out, struct err *err)
{
    bool standard = strcmp(path, "-") == 0;
    _cleanup_fd_ int opened = standard ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    int fd = standard ? STDIN_FILENO : opened;
    _cleanup_buf_ struct buf text = BUF_INIT(max);
    char part[65536];
    ssize_t n = 0;
    if (fd < 0)
        return err_errno(err, ERR_BAD_INPUT, errno, "Cannot open %s", path);
    while (!text.over && (n = read(fd, part, sizeof(part))) != 0) {
        if (n > 0)
            buf_add(&text, part, (size_t)n);
        else if (errno != EINTR)
            return err_errno(err, ERR_BAD_INPUT, errno, "Cannot read %s", path);
    }
    if (text.over)
        return err_set(err, ERR_TOO_LARGE, "%s holds more than %zu bytes, the limit",
                       standard ? "stdin" : path, max);
    *out = arena_copy(cli->arena, buf_str(&text));
    return 0;
}
