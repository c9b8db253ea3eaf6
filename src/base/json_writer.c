// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static void before_value(struct json_writer *w)
{
    if (w->comma)
        buf_add_char(w->buf, ',');
    w->comma = true;
}

static void open_container(struct json_writer *w, char bracket)
{
    before_value(w);
    buf_add_char(w->buf, bracket);
    w->comma = false;
}

static void close_container(struct json_writer *w, char bracket)
{
    buf_add_char(w->buf, bracket);
    w->comma = true;
}

void json_w_object(struct json_writer *w) { open_container(w, '{'); }
void json_w_object_end(struct json_writer *w) { close_container(w, '}'); }
void json_w_array(struct json_writer *w) { open_container(w, '['); }
void json_w_array_end(struct json_writer *w) { close_container(w, ']'); }

// What stands for a byte that cannot stay as it is.
static void add_escape(struct buf *buf, unsigned char c)
{
    switch (c) {
    case '"': buf_add(buf, "\\\"", 2); break;
    case '\\': buf_add(buf, "\\\\", 2); break;
    case '\b': buf_add(buf, "\\b", 2); break;
    case '\f': buf_add(buf, "\\f", 2); break;
    case '\n': buf_add(buf, "\\n", 2); break;
    case '\r': buf_add(buf, "\\r", 2); break;
    case '\t': buf_add(buf, "\\t", 2); break;
    case '\0': buf_add(buf, "\xE2\x90\x80", 3); break;  // U+2400, as str_utf8_clean
    default: {
        static const char hex[] = "0123456789abcdef";
        buf_add(buf, (char[]){'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]}, 6);
    }
    }
}

// How many of the bytes, in steps of eight, go out as they are: ASCII, no control characters,
// quotes or backslashes. A byte of `x - each(n)` that is below zero has its top bit set.
static size_t plain_ahead(const char *at, size_t len)
{
    const uint64_t each = UINT64_MAX / 0xFF, top = each * 0x80;
    size_t i = 0;
    for (; i + 8 <= len; i += 8) {
        uint64_t x, quote, slash;
        memcpy(&x, at + i, 8);
        quote = x ^ each * '"';
        slash = x ^ each * '\\';
        if ((x | (x - each * 0x20) | (quote - each) | (slash - each)) & top)
            break;
    }
    return i;
}

static void add_quoted(struct buf *buf, struct str s)
{
    buf_add_char(buf, '"');
    size_t done = 0, i = 0;  // the bytes from done to i go out as they are
    while (i < s.len) {
        i += plain_ahead(s.at + i, s.len - i);
        if (i == s.len)
            break;
        unsigned char c = (unsigned char)s.at[i];
        size_t step = c < 0x80 ? 1 : str_utf8_step(s.at + i, s.len - i);
        if (step > 0 && c >= 0x20 && c != '"' && c != '\\') {
            i += step;
            continue;
        }
        buf_add(buf, s.at + done, i - done);
        if (step == 0)
            buf_add(buf, "\xEF\xBF\xBD", 3);  // U+FFFD
        else
            add_escape(buf, c);
        done = ++i;
    }
    buf_add(buf, s.at + done, i - done);
    buf_add_char(buf, '"');
}

void json_w_key_str(struct json_writer *w, struct str key)
{
    before_value(w);
    add_quoted(w->buf, (struct str){key.at ? key.at : "", key.len});
    buf_add_char(w->buf, ':');
    w->comma = false;
}

void json_w_key(struct json_writer *w, const char *key) { json_w_key_str(w, str_of(key)); }

void json_w_str(struct json_writer *w, struct str s)
{
    before_value(w);
    if (s.at)
        add_quoted(w->buf, s);
    else
        buf_add(w->buf, "null", 4);
}

void json_w_cstr(struct json_writer *w, const char *s) { json_w_str(w, str_of(s)); }

void json_w_int(struct json_writer *w, int64_t n)
{
    before_value(w);
    char digits[24], *at = digits + sizeof(digits);
    uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;
    do
        *--at = (char)('0' + rest % 10);
    while ((rest /= 10) != 0);
    if (n < 0)
        *--at = '-';
    buf_add(w->buf, at, (size_t)(digits + sizeof(digits) - at));
}

void json_w_double(struct json_writer *w, double n)
{
    if (!isfinite(n)) {
        json_w_null(w);
        return;
    }
    before_value(w);
    // 15 digits always survive the way to double and back, but for subnormal numbers, which have
    // fewer; 17 always suffice.
    char text[48];
    for (int digits = fabs(n) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, n);
        if (strtod(text, NULL) == n)
            break;
    }
    buf_add_cstr(w->buf, text);
}

void json_w_bool(struct json_writer *w, bool b)
{
    before_value(w);
    buf_add_cstr(w->buf, b ? "true" : "false");
}

void json_w_null(struct json_writer *w)
{
    before_value(w);
    buf_add(w->buf, "null", 4);
}

void json_w_raw(struct json_writer *w, struct str valid_json)
{
    before_value(w);
    if (valid_json.len == 0)
        buf_add(w->buf, "null", 4);
    else
        buf_add_str(w->buf, valid_json);
}

void json_w_pair_str(struct json_writer *w, const char *key, struct str s)
{
    json_w_key(w, key);
    json_w_str(w, s);
}

void json_w_pair_int(struct json_writer *w, const char *key, int64_t n)
{
    json_w_key(w, key);
    json_w_int(w, n);
}

void json_w_pair_bool(struct json_writer *w, const char *key, bool b)
{
    json_w_key(w, key);
    json_w_bool(w, b);
}

void json_w_pair_raw(struct json_writer *w, const char *key, struct str valid_json)
{
    json_w_key(w, key);
    json_w_raw(w, valid_json);
}
