// SPDX-License-Identifier: Apache-2.0
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"

#define MESSAGE_MAX  ((size_t)16 * 1024)  // bytes of one message; more is cut
#define LOG_LINE_MAX (MESSAGE_MAX * 6 + 256)

struct log {
    int fd;
    enum log_level level;
    enum log_format format;
    pthread_mutex_t lock;  // one line at a time, also where a write is only partly taken
};

static const char *const level_names[] = {"debug", "info", "warn", "error"};

struct log *log_new(int fd, enum log_level level, enum log_format format)
{
    struct log *log = mem_alloc(sizeof(*log));
    log->fd = fd;
    log->level = level;
    log->format = format;
    pthread_mutex_init(&log->lock, NULL);
    return log;
}

void log_free(struct log *log)
{
    if (!log)
        return;
    pthread_mutex_destroy(&log->lock);
    mem_free(log);
}

bool log_level_parse(const char *name, enum log_level *out)
{
    for (int i = LOG_DEBUG; i <= LOG_ERROR; i++)
        if (name && strcmp(name, level_names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    return false;
}

// Code point of a well-formed sequence of 2 or 3 bytes; 0 for the others.
static unsigned code_point(const unsigned char *at, size_t len)
{
    if (len == 2)
        return (at[0] & 0x1Fu) << 6 | (at[1] & 0x3Fu);
    if (len == 3)
        return (at[0] & 0x0Fu) << 12 | (at[1] & 0x3Fu) << 6 | (at[2] & 0x3Fu);
    return 0;
}

// Control characters and everything a terminal or a reader may take for a line end as escapes.
static void add_escaped(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len;) {
        size_t len = str_utf8_step(s.at + i, s.len - i);
        const unsigned char *at = (const unsigned char *)s.at + i;
        unsigned code = code_point(at, len);
        if (len == 1 && *at == '\n')
            buf_add_cstr(out, "\\n");
        else if (len == 1 && *at == '\t')
            buf_add_cstr(out, "\\t");
        else if (len == 0 || (len == 1 && (*at < 0x20 || *at == 0x7F)))
            buf_printf(out, "\\x%02x", (unsigned)*at);
        else if ((code >= 0x80 && code < 0xA0) || code == 0x2028 || code == 0x2029)
            buf_printf(out, "\\u%04x", code);
        else
            buf_add(out, at, len);
        i += len ? len : 1;
    }
}

static void add_line(struct buf *out, const struct log *log, enum log_level level, const char *room,
                     struct str message)
{
    char now[TIME_TEXT_SIZE];
    time_format(clock_wall(clock_system()), now);
    if (log->format == LOG_JSON) {
        struct json_writer w = JSON_WRITER(out);
        json_w_object(&w);
        json_w_pair_str(&w, "time", str_of(now));
        json_w_pair_str(&w, "level", str_of(level_names[level]));
        json_w_pair_str(&w, "room", str_of(room));
        json_w_pair_str(&w, "message", message);
        json_w_object_end(&w);
    } else {
        buf_printf(out, "%s %-5s %-5s ", now, level_names[level], room);
        add_escaped(out, message);
    }
    buf_add_char(out, '\n');
}

static void write_line(struct log *log, struct str line)
{
    int saved = errno;
    pthread_mutex_lock(&log->lock);
    while (line.len > 0) {
        ssize_t n = write(log->fd, line.at, line.len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;  // nobody left to tell
        line.at += n;
        line.len -= (size_t)n;
    }
    pthread_mutex_unlock(&log->lock);
    errno = saved;
}

void log_write(struct log *log, enum log_level level, const char *room, const char *fmt, ...)
{
    if (!log || level < log->level || level > LOG_ERROR)
        return;
    char small[1024];
    _cleanup_free_ char *large = NULL;
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    size_t len = n > 0 ? (size_t)n : 0;
    if (len > MESSAGE_MAX)
        len = MESSAGE_MAX;
    if (len >= sizeof(small)) {
        large = mem_alloc(len + 1);
        vsnprintf(large, len + 1, fmt, again);
    }
    va_end(again);
    _cleanup_buf_ struct buf line = BUF_INIT(LOG_LINE_MAX);
    add_line(&line, log, level, room ? room : "-", (struct str){large ? large : small, len});
    write_line(log, buf_str(&line));
}
