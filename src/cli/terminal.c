// SPDX-License-Identifier: Apache-2.0
#include "cli/terminal.h"

#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

void terminal_measure(struct terminal *terminal)
{
    struct winsize size;
    terminal->width = terminal->height = 0;
    if (!terminal->tty)
        return;
    terminal->width = 80;
    terminal->height = 24;
    if (ioctl(terminal->fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) {
        terminal->width = size.ws_col;
        terminal->height = size.ws_row;
    }
}

struct terminal terminal_of(int fd, const char *color)
{
    struct terminal terminal = {.fd = fd, .tty = isatty(fd) == 1};
    const char *name = getenv("TERM"), *none = getenv("NO_COLOR");
    if (strcmp(color, "always") == 0)
        terminal.color = true;
    else if (strcmp(color, "auto") == 0)
        terminal.color = terminal.tty && !(none && *none) && name && strcmp(name, "dumb") != 0;
    terminal_measure(&terminal);
    return terminal;
}

const char *color_on(const struct terminal *terminal, enum color color)
{
    static const char *const codes[] = {
        [COLOR_NONE] = "",         [COLOR_BOLD] = "\033[1m",   [COLOR_DIM] = "\033[2m",
        [COLOR_RED] = "\033[31m",  [COLOR_GREEN] = "\033[32m", [COLOR_YELLOW] = "\033[33m",
        [COLOR_CYAN] = "\033[36m",
    };
    return terminal->color ? codes[color] : "";
}

const char *color_off(const struct terminal *terminal, enum color color)
{
    return terminal->color && color != COLOR_NONE ? "\033[0m" : "";
}

enum color color_of_status(struct str status)
{
    static const struct {
        const char *word;
        enum color color;
    } colors[] = {
        {"success", COLOR_GREEN},    {"active", COLOR_GREEN},       {"ready", COLOR_GREEN},
        {"failed", COLOR_RED},       {"system-failure", COLOR_RED}, {"exited", COLOR_RED},
        {"aborted", COLOR_RED},      {"terminated", COLOR_YELLOW},  {"canceled", COLOR_YELLOW},
        {"paused", COLOR_YELLOW},    {"draining", COLOR_YELLOW},    {"starting", COLOR_CYAN},
        {"in-progress", COLOR_CYAN}, {"created", COLOR_DIM},        {"rerun", COLOR_DIM},
    };
    for (size_t i = 0; i < sizeof(colors) / sizeof(colors[0]); i++)
        if (str_is(status, colors[i].word))
            return colors[i].color;
    return COLOR_NONE;
}

void terminal_clean(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7F) {
            buf_add_char(out, '^');
            buf_add_char(out, (char)(c ^ 0x40));
        } else if (c == 0xC2 && i + 1 < text.len && (unsigned char)text.at[i + 1] < 0xA0) {
            buf_add_char(out, '?');  // C1 controls in UTF-8
            i++;
        } else {
            buf_add_char(out, (char)c);
        }
    }
}
