// SPDX-License-Identifier: Apache-2.0
// Paths and queries: percent-decoding that takes any bytes.
#include "base/arena.h"
#include "net/http_internal.h"

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// A malformed sequence stays as it was written, as does %00: texts further in end at NUL.
bool http_decode(struct str raw, bool plus, struct arena *arena, struct str *out)
{
    *out = raw;
    if (raw.len == 0 || (!memchr(raw.at, '%', raw.len) && !(plus && memchr(raw.at, '+', raw.len))))
        return true;
    bool valid = true;
    char *at = arena_alloc(arena, raw.len + 1);
    size_t len = 0;
    for (size_t i = 0; i < raw.len; i++) {
        char c = raw.at[i];
        if (c == '%') {
            int high = i + 1 < raw.len ? hex(raw.at[i + 1]) : -1;
            int low = i + 2 < raw.len ? hex(raw.at[i + 2]) : -1;
            if (high >= 0 && low >= 0 && (high | low) != 0) {
                c = (char)(high << 4 | low);
                i += 2;
            } else {
                valid = false;
            }
        } else if (c == '+' && plus) {
            c = ' ';
        }
        at[len++] = c;
    }
    *out = (struct str){at, len};
    return valid;
}

struct str http_raw_path(const struct http_request *request) { return request->raw_path; }

struct str http_path(const struct http_request *request) { return request->path; }

// The cursor is a byte offset into the raw query.
static bool next_pair(const struct http_request *request, size_t *cursor, struct str *name,
                      struct str *value)
{
    while (*cursor < request->raw_query.len) {
        struct str rest = {request->raw_query.at + *cursor, request->raw_query.len - *cursor};
        const char *amp = memchr(rest.at, '&', rest.len);
        struct str pair = {rest.at, amp ? (size_t)(amp - rest.at) : rest.len};
        *cursor += pair.len + 1;
        if (pair.len == 0)
            continue;
        const char *equals = memchr(pair.at, '=', pair.len);
        if (!equals) {
            *name = pair;
            *value = STR("");
            return true;
        }
        *name = (struct str){pair.at, (size_t)(equals - pair.at)};
        *value = (struct str){equals + 1, pair.len - name->len - 1};
        return true;
    }
    return false;
}

bool http_query_each(const struct http_request *request, size_t *cursor, struct str *name,
                     struct str *value)
{
    struct str raw_name, raw_value;
    if (!next_pair(request, cursor, &raw_name, &raw_value))
        return false;
    http_decode(raw_name, true, request->arena, name);
    http_decode(raw_value, true, request->arena, value);
    return true;
}

struct str http_query(const struct http_request *request, const char *name)
{
    size_t cursor = 0;
    struct str raw_name, raw_value, text;
    while (next_pair(request, &cursor, &raw_name, &raw_value)) {
        http_decode(raw_name, true, request->arena, &text);
        if (!str_is(text, name))
            continue;
        http_decode(raw_value, true, request->arena, &text);
        return text;
    }
    return STR_NONE;
}
