// SPDX-License-Identifier: Apache-2.0
#include "agent/command.h"

#include <signal.h>

#include "agent/child.h"
#include "base/mem.h"

#define LINE_MAX_BYTES 8192
#define OUT_MAX        (64u << 10)
#define TAIL_MAX       (8u << 10)

struct command {
    struct child *child;
    struct command_config config;
    struct lines lines[2];
    struct buf out;
    struct buf tail[2];  // the end of stdout, of stderr
    bool line_from_stderr, cancelled;
};

static void on_line(void *arg, struct str line)
{
    struct command *command = arg;
    if (command->config.on_line)
        command->config.on_line(command->config.arg, line, command->line_from_stderr);
}

static void keep_tail(struct buf *tail, struct str bytes)
{
    buf_add_str(tail, bytes);
    if (tail->len > TAIL_MAX)
        buf_drop_front(tail, tail->len - TAIL_MAX);
}

static void on_output(void *arg, struct str bytes, bool from_stderr)
{
    struct command *command = arg;
    if (command->cancelled)
        return;
    if (!from_stderr && command->out.len + bytes.len <= OUT_MAX)
        buf_add_str(&command->out, bytes);
    keep_tail(&command->tail[from_stderr], bytes);
    command->line_from_stderr = from_stderr;
    lines_feed(&command->lines[from_stderr], bytes, on_line, command);
}

static void free_command(struct command *command)
{
    for (int i = 0; i < 2; i++) {
        lines_deinit(&command->lines[i]);
        buf_deinit(&command->tail[i]);
    }
    buf_deinit(&command->out);
    mem_free(command);
}

// The last words that fit into an error's message.
static void explain(const struct command *command, int status, struct err *err)
{
    struct str text = str_trim(buf_str(&command->tail[1]));
    if (text.len == 0)
        text = str_trim(buf_str(&command->tail[0]));
    char how[80];
    child_describe(status, how, sizeof(how));
    size_t most = sizeof(err->message) - 1;
    if (text.len == 0)
        text = str_of(how);
    if (text.len > most) {
        text = (struct str){text.at + text.len - most, most};
        const char *line = memchr(text.at, '\n', text.len);
        if (line && line + 1 < text.at + text.len)
            text = (struct str){line + 1, (size_t)(text.at + text.len - line - 1)};
    }
    err_set(err, ERR_DEPENDENCY, STR_FMT, STR_ARG(text));
}

static void on_exit(void *arg, int status)
{
    struct command *command = arg;
    if (!command->cancelled) {
        for (int i = 0; i < 2; i++) {
            command->line_from_stderr = i == 1;
            lines_end(&command->lines[i], on_line, command);
        }
        struct err err = ERR_INIT;
        if (status != 0)
            explain(command, status, &err);
        command->config.on_done(command->config.arg, status == 0, buf_str(&command->out), &err);
    }
    free_command(command);
}

struct command *command_start(const struct command_config *config, struct err *err)
{
    struct command *command = mem_alloc(sizeof(*command));
    command->config = *config;
    command->out = BUF_INIT(OUT_MAX);
    for (int i = 0; i < 2; i++) {
        lines_init(&command->lines[i], LINE_MAX_BYTES);
        command->tail[i] = BUF_INIT(1u << 20);
    }
    struct child_config child = {.loop = config->loop,
                                 .argv = config->argv,
                                 .env = config->env,
                                 .folder = config->folder,
                                 .on_output = on_output,
                                 .on_exit = on_exit,
                                 .arg = command};
    command->child = child_start(&child, err);
    if (!command->child) {
        free_command(command);
        return NULL;
    }
    return command;
}

void command_cancel(struct command *command)
{
    if (!command)
        return;
    command->cancelled = true;
    child_signal(command->child, SIGKILL);
}
