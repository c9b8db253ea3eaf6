// SPDX-License-Identifier: Apache-2.0
#include "base/id.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

void random_fill(void *at, size_t len)
{
    char *to = at;
    while (len > 0) {
        ssize_t n = getrandom(to, len, 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            abort();  // a kernel without getrandom: no identifier or secret would be safe
        to += n;
        len -= (size_t)n;
    }
}

static void put_hex(char *out, const unsigned char *bytes, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < count; i++) {
        out[2 * i] = digits[bytes[i] >> 4];
        out[2 * i + 1] = digits[bytes[i] & 15];
    }
}

struct str id_new(int64_t now_ms, struct arena *arena)
{
    unsigned char bytes[ID_LEN / 2];
    uint64_t time = now_ms < 0 ? 0 : (uint64_t)now_ms;
    for (int i = 0; i < 6; i++)
        bytes[i] = (unsigned char)(time >> (40 - 8 * i));
    random_fill(bytes + 6, 6);
    char *out = arena_alloc(arena, ID_LEN + 1);
    put_hex(out, bytes, sizeof(bytes));
    return (struct str){out, ID_LEN};
}

struct str uuid_new(struct arena *arena)
{
    unsigned char bytes[16];
    random_fill(bytes, sizeof(bytes));
    bytes[6] = (unsigned char)((bytes[6] & 0x0F) | 0x40);  // version 4
    bytes[8] = (unsigned char)((bytes[8] & 0x3F) | 0x80);  // RFC 4122 variant
    char hex[32];
    put_hex(hex, bytes, sizeof(bytes));
    char *out = arena_alloc(arena, UUID_LEN + 1);
    size_t from = 0, to = 0;
    static const size_t groups[] = {8, 4, 4, 4, 12};
    for (size_t i = 0; i < 5; i++) {
        if (i > 0)
            out[to++] = '-';
        memcpy(out + to, hex + from, groups[i]);
        from += groups[i];
        to += groups[i];
    }
    return (struct str){out, UUID_LEN};
}

struct str secret_new(size_t bytes, struct arena *arena)
{
    unsigned char *raw = arena_alloc(arena, bytes);
    random_fill(raw, bytes);
    char *out = arena_alloc(arena, 2 * bytes + 1);
    put_hex(out, raw, bytes);
    explicit_bzero(raw, bytes);
    return (struct str){out, 2 * bytes};
}

bool id_valid(struct str id)
{
    if (id.len != ID_LEN)
        return false;
    for (size_t i = 0; i < id.len; i++) {
        char c = id.at[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f')))
            return false;
    }
    return true;
}
