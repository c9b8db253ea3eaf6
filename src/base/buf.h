// SPDX-License-Identifier: Apache-2.0
// base/buf: a growing byte buffer with a hard cap. Going over the cap sets `over` and drops the
// write; the writer checks once at the end. So does a large buffer that gets no memory (no_memory).
#ifndef DROVER_BASE_BUF_H
#define DROVER_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"

struct buf {
    char *at;
    size_t len, cap, max;
    bool over;       // a write did not fit under max
    bool no_memory;  // it is over because the system had no memory
};

#define BUF_INIT(max_bytes) ((struct buf){.max = (max_bytes)})

void buf_deinit(struct buf *buf);
void buf_clear(struct buf *buf);  // keeps the memory
void buf_add(struct buf *buf, const void *at, size_t len);
void buf_add_str(struct buf *buf, struct str s);
void buf_add_char(struct buf *buf, char c);
void buf_add_cstr(struct buf *buf, const char *s);
void buf_printf(struct buf *buf, const char *fmt, ...) PRINTF_LIKE(2, 3);
void buf_drop_front(struct buf *buf, size_t len);  // removes len bytes at the start
char *buf_reserve(struct buf *buf, size_t len);    // room for len more; NULL when over max
static inline struct str buf_str(const struct buf *buf)
{
    return (struct str){buf->at ? buf->at : "", buf->len};
}
struct buf buf_take(struct buf *buf);  // moves the bytes out, leaves buf empty

static inline void buf_deinit_at(struct buf *buf) { buf_deinit(buf); }
#define _cleanup_buf_ __attribute__((cleanup(buf_deinit_at)))

#endif
