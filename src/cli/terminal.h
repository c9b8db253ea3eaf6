// SPDX-License-Identifier: Apache-2.0
// cli/terminal: what stdout or stderr is: a terminal or not, how wide, with colours or without.
#ifndef DROVER_CLI_TERMINAL_H
#define DROVER_CLI_TERMINAL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

struct terminal {
    int fd;
    bool tty, color;
    int width, height;  // 0: no limit
};

// `color`: auto, always or never; auto means a terminal, TERM that is not dumb, and no NO_COLOR.
struct terminal terminal_of(int fd, const char *color);
void terminal_measure(struct terminal *terminal);  // again: the window may have changed

enum color { COLOR_NONE, COLOR_BOLD, COLOR_DIM, COLOR_RED, COLOR_GREEN, COLOR_YELLOW, COLOR_CYAN };
const char *color_on(const struct terminal *terminal, enum color color);  // "" without colours
const char *color_off(const struct terminal *terminal, enum color color);

// The colour of a status of an execution, service or replica.
enum color color_of_status(struct str status);

// Text that came from elsewhere, without what would command a terminal: control characters
// other than tab and line end become "^X".
void terminal_clean(struct buf *out, struct str text);

#endif
