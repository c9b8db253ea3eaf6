// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "channel.h"

static bool reserve(struct buffer *buffer, size_t more)
{
    if (buffer->failed)
        return false;
    if (more <= buffer->room - buffer->size)
        return true;
    size_t room = buffer->room ? buffer->room : 1024;
    while (room - buffer->size < more)
        room *= 2;
    char *bytes = realloc(buffer->bytes, room);
    if (!bytes) {
        buffer->failed = true;
        return false;
    }
    buffer->bytes = bytes;
    buffer->room = room;
    return true;
}

void buffer_add(struct buffer *buffer, const char *bytes, size_t size)
{
    if (size == 0 || !reserve(buffer, size))
        return;
    memcpy(buffer->bytes + buffer->size, bytes, size);
    buffer->size += size;
}

void buffer_text(struct buffer *buffer, const char *text)
{
    buffer_add(buffer, text, strlen(text));
}

void buffer_int(struct buffer *buffer, int64_t value)
{
    char digits[24];
    size_t at = sizeof digits;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        digits[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0)
        digits[--at] = '-';
    buffer_add(buffer, digits + at, sizeof digits - at);
}

static void add_escaped(struct buffer *buffer, unsigned char c)
{
    static const char hex[] = "0123456789abcdef";
    char text[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
    switch (c) {
    case 0: buffer_add(buffer, "\xef\xbf\xbd", 3); break;  // U+FFFD: no text of ours holds NUL
    case '"': buffer_add(buffer, "\\\"", 2); break;
    case '\\': buffer_add(buffer, "\\\\", 2); break;
    case '\n': buffer_add(buffer, "\\n", 2); break;
    case '\r': buffer_add(buffer, "\\r", 2); break;
    case '\t': buffer_add(buffer, "\\t", 2); break;
    default: buffer_add(buffer, text, sizeof text);
    }
}

void buffer_json(struct buffer *buffer, struct span text)
{
    buffer_add(buffer, "\"", 1);
    size_t plain = 0;
    for (size_t i = 0; i < text.size; i++) {
        unsigned char c = (unsigned char)text.at[i];
        if (c >= 0x20 && c != '"' && c != '\\')
            continue;
        buffer_add(buffer, text.at + plain, i - plain);
        add_escaped(buffer, c);
        plain = i + 1;
    }
    buffer_add(buffer, text.at + plain, text.size - plain);
    buffer_add(buffer, "\"", 1);
}

size_t buffer_begin(struct buffer *buffer)
{
    size_t begin = buffer->size;
    buffer_add(buffer, "\0\0\0\0", 4);
    return begin;
}

size_t buffer_end(struct buffer *buffer, size_t begin)
{
    if (buffer->failed)
        return 0;
    size_t size = buffer->size - begin - 4;
    for (int i = 0; i < 4; i++)
        buffer->bytes[begin + (size_t)i] = (char)(size >> (24 - 8 * i) & 0xff);
    return size;
}

void buffer_free(struct buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct buffer){0};
}
