// SPDX-License-Identifier: Apache-2.0
// Values of checked JSON: escapes, numbers, comparison, merge patch.
#include "base/json.h"

#include <math.h>
#include <stdlib.h>

#include "base/map.h"
#include "base/mem.h"

bool json_is(struct json value, enum json_type type) { return value.type == type; }

const char *json_type_name(enum json_type type)
{
    switch (type) {
    case JSON_ABSENT: return "nothing";
    case JSON_NULL: return "null";
    case JSON_FALSE:
    case JSON_TRUE: return "a boolean";
    case JSON_NUMBER: return "a number";
    case JSON_STRING: return "a string";
    case JSON_ARRAY: return "an array";
    case JSON_OBJECT: return "an object";
    }
    return "nothing";
}

bool json_bool(struct json value, bool *out)
{
    if (value.type != JSON_TRUE && value.type != JSON_FALSE)
        return false;
    *out = value.type == JSON_TRUE;
    return true;
}

// ── strings ──────────────────────────────────────────────────────────────────────────────────

static unsigned hex4(const char *at)
{
    unsigned value = 0;
    for (int i = 0; i < 4; i++)
        value = value << 4 | (unsigned)(at[i] <= '9' ? at[i] - '0' : (at[i] | 0x20) - 'a' + 10);
    return value;
}

static size_t put_utf8(char *out, unsigned code)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

// Resolves the escape that *at stands on (a backslash) and moves *at behind it.
static size_t resolve(const char **at, char out[4])
{
    char c = (*at)[1];
    *at += 2;
    switch (c) {
    case 'b': out[0] = '\b'; return 1;
    case 'f': out[0] = '\f'; return 1;
    case 'n': out[0] = '\n'; return 1;
    case 'r': out[0] = '\r'; return 1;
    case 't': out[0] = '\t'; return 1;
    case 'u': break;
    default: out[0] = c; return 1;
    }
    unsigned code = hex4(*at);
    *at += 4;
    if (code >= 0xD800 && code <= 0xDBFF) {
        code = 0x10000 + ((code - 0xD800) << 10) + (hex4(*at + 2) - 0xDC00);
        *at += 6;
    }
    return put_utf8(out, code);
}

struct str json_unescape(struct str raw, struct arena *arena)
{
    if (raw.len == 0 || !memchr(raw.at, '\\', raw.len))
        return arena_copy(arena, raw);
    char *out = arena_alloc(arena, raw.len + 1);  // escapes only get shorter
    size_t len = 0;
    const char *at = raw.at, *end = raw.at + raw.len;
    while (at < end) {
        const char *escape = memchr(at, '\\', (size_t)(end - at));
        size_t plain = (size_t)((escape ? escape : end) - at);
        memcpy(out + len, at, plain);
        len += plain;
        at += plain;
        if (escape)
            len += resolve(&at, out + len);
    }
    return (struct str){out, len};
}

bool json_raw_eq(struct str raw, struct str text)
{
    if (raw.len == 0 || !memchr(raw.at, '\\', raw.len))
        return str_eq(raw, text);
    const char *at = raw.at, *end = raw.at + raw.len;
    size_t i = 0;
    while (at < end) {
        char bytes[4] = {*at};
        size_t len = 1;
        if (*at == '\\')
            len = resolve(&at, bytes);
        else
            at++;
        if (text.len - i < len || memcmp(text.at + i, bytes, len) != 0)
            return false;
        i += len;
    }
    return i == text.len;
}

bool json_key_is(struct str raw_key, const char *key) { return json_raw_eq(raw_key, str_of(key)); }

static struct str between_quotes(struct json string)
{
    return (struct str){string.text.at + 1, string.text.len - 2};
}

struct str json_str(struct json value, struct arena *arena)
{
    return value.type == JSON_STRING ? json_unescape(between_quotes(value), arena) : STR_NONE;
}

// ── numbers ──────────────────────────────────────────────────────────────────────────────────

// A number as ± 0.d1d2d3… × 10^point, with d1 and the last digit not 0; zero has no digits. Two
// numbers are equal when these are. The digits are those of `text` from `first` on, but for a '.'.
struct decimal {
    bool negative;
    const char *first;
    size_t count;
    int64_t point;
};

#define EXPONENT_MAX ((int64_t)1 << 40)  // beyond any text that fits in memory; saturates

static int64_t exponent_of(const char *at, const char *end)
{
    bool negative = *at == '-';
    if (*at == '-' || *at == '+')
        at++;
    int64_t value = 0;
    for (; at < end; at++)
        if (value < EXPONENT_MAX)
            value = value * 10 + (*at - '0');
    return negative ? -value : value;
}

static struct decimal decimal_of(struct str text)
{
    const char *at = text.at, *end = text.at + text.len;
    struct decimal d = {.negative = *at == '-'};
    at += d.negative;
    const char *stop = at, *dot = NULL;
    for (; stop < end && (*stop | 0x20) != 'e'; stop++)
        if (*stop == '.')
            dot = stop;
    int64_t exponent = stop < end ? exponent_of(stop + 1, end) : 0;
    while (at < stop && (*at == '0' || *at == '.'))
        at++;
    if (at == stop)
        return (struct decimal){0};  // -0 equals 0
    const char *last = stop;
    while (last[-1] == '0' || last[-1] == '.')
        last--;
    bool dot_inside = dot && dot >= at && dot < last;
    d.first = at;
    d.count = (size_t)(last - at) - dot_inside;
    const char *whole_end = dot ? dot : stop;
    // Digits before the point, or minus the zeros between the point and the first digit.
    d.point = (at < whole_end ? whole_end - at : whole_end + 1 - at) + exponent;
    return d;
}

static int digit_at(const char **at)
{
    if (**at == '.')
        (*at)++;
    return *(*at)++ - '0';
}

static bool decimal_equal(struct str x, struct str y)
{
    struct decimal a = decimal_of(x), b = decimal_of(y);
    if (a.negative != b.negative || a.count != b.count || a.point != b.point)
        return false;
    for (size_t i = 0; i < a.count; i++)
        if (digit_at(&a.first) != digit_at(&b.first))
            return false;
    return true;
}

bool json_int(struct json value, int64_t *out)
{
    if (value.type != JSON_NUMBER)
        return false;
    if (str_int(value.text, out))
        return true;
    struct decimal d = decimal_of(value.text);
    if (d.count == 0) {
        *out = 0;
        return true;
    }
    if (d.point < (int64_t)d.count || d.point > 19)
        return false;
    int64_t n = 0;
    for (int64_t i = 0; i < d.point; i++) {
        int digit = i < (int64_t)d.count ? digit_at(&d.first) : 0;
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_sub_overflow(n, digit, &n))
            return false;
    }
    if (!d.negative && __builtin_sub_overflow((int64_t)0, n, &n))
        return false;
    *out = n;
    return true;
}

bool json_double(struct json value, double *out)
{
    if (value.type != JSON_NUMBER)
        return false;
    char small[64];
    _cleanup_free_ char *large = NULL;
    const char *text = small;
    if (value.text.len < sizeof(small)) {
        memcpy(small, value.text.at, value.text.len);
        small[value.text.len] = '\0';
    } else {
        text = large = mem_copy(value.text.at, value.text.len);
    }
    double n = strtod(text, NULL);
    if (!isfinite(n))
        return false;
    *out = n;
    return true;
}

// ── comparison and merge ─────────────────────────────────────────────────────────────────────

// The members of an object, each key once with its last value, in order of first appearance. Any
// other value has none.
struct member {
    struct member *next;
    struct str raw_key, key;
    struct json value;
};

struct members {
    struct member *first;
    struct map *by_key;
};

static struct members members_of(struct json object, struct arena *arena)
{
    struct members members = {.by_key = map_new()};
    struct member **tail = &members.first;
    if (object.type != JSON_OBJECT)
        return members;
    struct str raw;
    struct json value;
    for (struct json_iter it = json_each(object); json_next(&it, &raw, &value);) {
        struct str key = json_unescape(raw, arena);
        struct member *member = map_get(members.by_key, key);
        if (!member) {
            member = arena_new_of(arena, struct member);
            *member = (struct member){.raw_key = raw, .key = key};
            map_put(members.by_key, member->key, member);
            *tail = member;
            tail = &member->next;
        }
        member->value = value;
    }
    return members;
}

static bool objects_equal(struct json a, struct json b, struct arena *scratch)
{
    struct members left = members_of(a, scratch), right = members_of(b, scratch);
    bool equal = map_count(left.by_key) == map_count(right.by_key);
    for (struct member *member = left.first; equal && member; member = member->next) {
        struct member *other = map_get(right.by_key, member->key);
        equal = other && json_equal(member->value, other->value, scratch);
    }
    map_free(left.by_key);
    map_free(right.by_key);
    return equal;
}

static bool arrays_equal(struct json a, struct json b, struct arena *scratch)
{
    struct json_iter left = json_each(a), right = json_each(b);
    struct json x, y;
    for (;;) {
        bool more = json_next(&left, NULL, &x);
        if (more != json_next(&right, NULL, &y))
            return false;
        if (!more)
            return true;
        if (!json_equal(x, y, scratch))
            return false;
    }
}

bool json_equal(struct json a, struct json b, struct arena *scratch)
{
    if (a.type != b.type)
        return false;
    switch (a.type) {
    case JSON_NUMBER: return str_eq(a.text, b.text) || decimal_equal(a.text, b.text);
    case JSON_STRING:
        return str_eq(a.text, b.text) || str_eq(json_str(a, scratch), json_str(b, scratch));
    case JSON_ARRAY: return arrays_equal(a, b, scratch);
    case JSON_OBJECT: return objects_equal(a, b, scratch);
    default: return true;
    }
}

static void write_raw_key(struct json_writer *w, struct str raw_key)
{
    if (w->comma)
        buf_add_char(w->buf, ',');
    w->comma = false;
    buf_add_char(w->buf, '"');
    buf_add_str(w->buf, raw_key);
    buf_add_cstr(w->buf, "\":");
}

static void merge(struct json_writer *w, struct json base, struct json patch, struct arena *arena)
{
    if (patch.type != JSON_OBJECT) {
        json_w_raw(w, patch.text);
        return;
    }
    struct json none = {0};
    struct members old = members_of(base, arena), new = members_of(patch, arena);
    json_w_object(w);
    for (struct member *member = old.first; member; member = member->next) {
        struct member *change = map_get(new.by_key, member->key);
        if (change && change->value.type == JSON_NULL)
            continue;
        write_raw_key(w, member->raw_key);
        if (change)
            merge(w, member->value, change->value, arena);
        else
            json_w_raw(w, member->value.text);
    }
    for (struct member *member = new.first; member; member = member->next) {
        if (member->value.type == JSON_NULL || map_get(old.by_key, member->key))
            continue;
        write_raw_key(w, member->raw_key);
        merge(w, none, member->value, arena);
    }
    json_w_object_end(w);
    map_free(old.by_key);
    map_free(new.by_key);
}

struct str json_merge(struct json base, struct json patch, struct arena *arena)
{
    if (patch.type == JSON_ABSENT)
        return arena_copy(arena, base.text);
    // Every member comes from one of the two, so the result is never longer than both.
    _cleanup_buf_ struct buf out = BUF_INIT(base.text.len + patch.text.len + 2);
    struct json_writer w = JSON_WRITER(&out);
    merge(&w, base, patch, arena);
    return arena_copy(arena, buf_str(&out));
}
