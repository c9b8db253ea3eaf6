// SPDX-License-Identifier: Apache-2.0
#include "net/frame.h"

#define PREFIX 4  // bytes of the big-endian length

size_t frame_begin(struct buf *buf)
{
    size_t begun = buf->len;
    buf_add(buf, "\0\0\0\0", PREFIX);
    return begun;
}

void frame_end(struct buf *buf, size_t begun)
{
    if (buf->over || buf->len < begun + PREFIX)
        return;
    size_t len = buf->len - begun - PREFIX;
    unsigned char *at = (unsigned char *)buf->at + begun;
    at[0] = (unsigned char)(len >> 24);
    at[1] = (unsigned char)(len >> 16);
    at[2] = (unsigned char)(len >> 8);
    at[3] = (unsigned char)len;
}

int frame_next(struct str received, size_t *used, struct str *json, struct err *err)
{
    size_t left = received.len - *used;
    if (left < PREFIX)
        return 0;
    const unsigned char *at = (const unsigned char *)received.at + *used;
    size_t len = (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | (size_t)at[3];
    if (len == 0 || len > FRAME_MAX)
        return err_set(err, ERR_BAD_INPUT,
                       "the peer sent a frame of %zu bytes; 1 to %u are allowed", len, FRAME_MAX);
    if (left - PREFIX < len)
        return 0;
    *json = (struct str){(const char *)at + PREFIX, len};
    *used += PREFIX + len;
    return 1;
}
