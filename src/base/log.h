// SPDX-License-Identifier: Apache-2.0
// base/log: the program's own log, one line an event, to a file descriptor. Thread-safe.
#ifndef DROVER_BASE_LOG_H
#define DROVER_BASE_LOG_H

#include <stdbool.h>

#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_TEXT, LOG_JSON };

struct log;

struct log *log_new(int fd, enum log_level level, enum log_format format);  // fd is borrowed
void log_free(struct log *log);
bool log_level_parse(const char *name, enum log_level *out);

// `room` is who speaks ("api", "agent"). A NULL log is silent. Values that come from outside are
// escaped, so that a line stays a line.
void log_write(struct log *log, enum log_level level, const char *room, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
#define log_debug(log, room, ...) log_write((log), LOG_DEBUG, (room), __VA_ARGS__)
#define log_info(log, room, ...)  log_write((log), LOG_INFO, (room), __VA_ARGS__)
#define log_warn(log, room, ...)  log_write((log), LOG_WARN, (room), __VA_ARGS__)
#define log_error(log, room, ...) log_write((log), LOG_ERROR, (room), __VA_ARGS__)

#endif
