// SPDX-License-Identifier: Apache-2.0
#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"

#define FIRST_SIZE 256
#define LARGE      ((size_t)1 << 20)  // from here on it is somebody's large input, and may be refused

void buf_deinit(struct buf *buf)
{
    mem_free(buf->at);
    *buf = BUF_INIT(buf->max);
}

void buf_clear(struct buf *buf)
{
    buf->len = 0;
    buf->over = buf->no_memory = false;
}

char *buf_reserve(struct buf *buf, size_t len)
{
    if (buf->len > buf->max || len > buf->max - buf->len) {
        buf->over = true;
        return NULL;
    }
    size_t need = buf->len + len;
    if (need > buf->cap || !buf->at) {
        size_t cap = buf->cap > buf->max / 2 ? buf->max : buf->cap * 2;
        if (cap < FIRST_SIZE)
            cap = buf->max < FIRST_SIZE ? buf->max : FIRST_SIZE;
        if (cap < need)
            cap = need;
        char *at = cap < LARGE ? mem_resize(buf->at, cap) : mem_try_resize(buf->at, cap);
        if (!at) {
            buf->over = buf->no_memory = true;
            return NULL;
        }
        buf->at = at;
        buf->cap = cap;
    }
    return buf->at + buf->len;
}

void buf_add(struct buf *buf, const void *at, size_t len)
{
    if (len == 0)
        return;
    char *room = buf_reserve(buf, len);
    if (!room)
        return;
    memcpy(room, at, len);
    buf->len += len;
}

void buf_add_str(struct buf *buf, struct str s) { buf_add(buf, s.at, s.len); }

void buf_add_char(struct buf *buf, char c)
{
    if (buf->len < buf->cap)
        buf->at[buf->len++] = c;
    else
        buf_add(buf, &c, 1);
}

void buf_add_cstr(struct buf *buf, const char *s) { buf_add(buf, s, strlen(s)); }

void buf_printf(struct buf *buf, const char *fmt, ...)
{
    char small[256];
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(small, sizeof(small), fmt, args);
    va_end(args);
    size_t len = n > 0 ? (size_t)n : 0;
    if (len < sizeof(small)) {
        buf_add(buf, small, len);
    } else if (len <= buf->max) {
        // vsnprintf needs a byte for its NUL, which the cap may not have.
        _cleanup_free_ char *text = mem_alloc(len + 1);
        vsnprintf(text, len + 1, fmt, again);
        buf_add(buf, text, len);
    } else {
        buf->over = true;
    }
    va_end(again);
}

void buf_drop_front(struct buf *buf, size_t len)
{
    if (len >= buf->len) {
        buf->len = 0;
        return;
    }
    if (len == 0)
        return;
    memmove(buf->at, buf->at + len, buf->len - len);
    buf->len -= len;
}

struct buf buf_take(struct buf *buf)
{
    struct buf taken = *buf;
    *buf = BUF_INIT(taken.max);
    return taken;
}
