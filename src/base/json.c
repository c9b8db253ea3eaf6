// SPDX-License-Identifier: Apache-2.0
// The reader: one pass that checks everything, then walking that relies on it.
#include "base/json.h"

#include <endian.h>
#include <stdio.h>

// What a byte may be the start of. Bytes above 0x7F are UTF-8 and plain nowhere but in strings.
enum {
    SPACE = 1,     // between tokens
    STOP = 2,      // ends a run of plain characters in a string
    DIGIT = 4,     //
    HEX = 8,       //
    ESCAPE = 16,   // may follow a backslash, but for 'u'
    BRACKET = 32,  // matters when skipping a container: brackets and quotes
    SCALAR_END = 64,
};

static const unsigned char class_of[256] = {
    [0 ... 8] = STOP,
    ['\t'] = STOP | SPACE | SCALAR_END,
    ['\n'] = STOP | SPACE | SCALAR_END,
    [11 ... 12] = STOP,
    ['\r'] = STOP | SPACE | SCALAR_END,
    [14 ... 31] = STOP,
    [' '] = SPACE | SCALAR_END,
    ['"'] = STOP | ESCAPE | BRACKET,
    [','] = SCALAR_END,
    ['/'] = ESCAPE,
    ['0' ... '9'] = DIGIT | HEX,
    ['A' ... 'F'] = HEX,
    ['['] = BRACKET,
    ['\\'] = STOP | ESCAPE,
    [']'] = BRACKET | SCALAR_END,
    ['a'] = HEX,
    ['b'] = HEX | ESCAPE,
    ['c' ... 'e'] = HEX,
    ['f'] = HEX | ESCAPE,
    ['n'] = ESCAPE,
    ['r'] = ESCAPE,
    ['t'] = ESCAPE,
    ['{'] = BRACKET,
    ['}'] = BRACKET | SCALAR_END,
    [0x80 ... 0xFF] = STOP,
};

static bool is(const char *at, unsigned char class)
{
    return (class_of[(unsigned char)*at] & class) != 0;
}

struct reader {
    const char *at, *end;
    int depth;         // containers that may still be opened
    const char *what;  // the first error; `at` is where
};

static const char too_deep[] = "nested too deeply";

static bool fail(struct reader *r, const char *at, const char *what)
{
    r->at = at;
    r->what = what;
    return false;
}

static inline void skip_space(struct reader *r)
{
    while (r->at < r->end && is(r->at, SPACE))
        r->at++;
}

#define BYTES(c) (UINT64_C(0x0101010101010101) * (c))

// Of eight bytes: the top bit of each control character, quote, backslash and non-ASCII byte. The
// subtractions borrow only upwards from such a byte, so the lowest bit set is always right.
static inline uint64_t stops_in(uint64_t bytes)
{
    uint64_t quote = bytes ^ BYTES('"'), backslash = bytes ^ BYTES('\\');
    uint64_t low = (quote - BYTES(1)) | (backslash - BYTES(1)) | (bytes - BYTES(0x20)) | bytes;
    return low & BYTES(0x80);
}

static inline const char *skip_plain(const char *at, const char *end)
{
    for (; end - at >= 8; at += 8) {
        uint64_t bytes;
        memcpy(&bytes, at, sizeof(bytes));
        uint64_t stops = stops_in(le64toh(bytes));
        if (stops)
            return at + __builtin_ctzll(stops) / 8;
    }
    while (at < end && !is(at, STOP))
        at++;
    return at;
}

// Four hex digits; -1 when they are not.
static int hex4(const char *at, const char *end)
{
    int value = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        if (!is(at + i, HEX))
            return -1;
        value = value << 4 | (at[i] <= '9' ? at[i] - '0' : (at[i] | 0x20) - 'a' + 10);
    }
    return value;
}

// r->at is at the 'u' of an escape.
static bool read_unicode(struct reader *r)
{
    const char *start = r->at - 1;
    int code = hex4(r->at + 1, r->end);
    if (code < 0)
        return fail(r, start, "expected four hexadecimal digits after \\u");
    if (code == 0)
        return fail(r, start, "\\u0000 is not allowed (texts cannot hold NUL)");
    r->at += 5;
    if (code < 0xD800 || code > 0xDFFF)
        return true;
    bool paired = code < 0xDC00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u';
    int low = paired ? hex4(r->at + 2, r->end) : -1;
    if (low < 0xDC00 || low > 0xDFFF)
        return fail(r, start, "this \\u escape is half of a surrogate pair");
    r->at += 6;
    return true;
}

// The characters of a string that are not plain; r->at is at one.
static bool read_special(struct reader *r)
{
    unsigned char c = (unsigned char)*r->at;
    if (c == '\\') {
        r->at++;
        if (r->at < r->end && *r->at == 'u')
            return read_unicode(r);
        if (r->at == r->end || !is(r->at, ESCAPE))
            return fail(r, r->at - 1, "unknown escape after a backslash");
        r->at++;
        return true;
    }
    if (c < 0x20)
        return fail(r, r->at, "control characters in a string must be escaped");
    const char *at = r->at;
    do {
        // Two-byte characters are most of the non-ASCII text in many languages.
        bool two = r->end - at >= 2 && (*at & 0xE0) == 0xC0 && (*at & 0x1E) &&
                   (at[1] & 0xC0) == 0x80;
        size_t step = two ? 2 : str_utf8_step(at, (size_t)(r->end - at));
        if (step == 0)
            return fail(r, at, "this is not valid UTF-8");
        at += step;
    } while (at < r->end && (unsigned char)*at >= 0x80);
    r->at = at;
    return true;
}

static bool read_string(struct reader *r)
{
    const char *start = r->at++;
    for (;;) {
        r->at = skip_plain(r->at, r->end);
        if (r->at == r->end)
            return fail(r, start, "this string has no closing quote");
        if (*r->at == '"') {
            r->at++;
            return true;
        }
        if (!read_special(r))
            return false;
    }
}

static bool read_digits(struct reader *r)
{
    const char *start = r->at;
    while (r->at < r->end && is(r->at, DIGIT))
        r->at++;
    return r->at > start || fail(r, r->at, "expected a digit");
}

static bool read_number(struct reader *r)
{
    if (*r->at == '-')
        r->at++;
    if (r->at < r->end && *r->at == '0') {
        r->at++;
        if (r->at < r->end && is(r->at, DIGIT))
            return fail(r, r->at - 1, "a number must not start with 0");
    } else if (!read_digits(r)) {
        return false;
    }
    if (r->at < r->end && *r->at == '.') {
        r->at++;
        if (!read_digits(r))
            return false;
    }
    if (r->at < r->end && (*r->at | 0x20) == 'e') {
        r->at++;
        if (r->at < r->end && (*r->at == '+' || *r->at == '-'))
            r->at++;
        return read_digits(r);
    }
    return true;
}

static bool read_word(struct reader *r, struct str word)
{
    if ((size_t)(r->end - r->at) < word.len || memcmp(r->at, word.at, word.len) != 0)
        return fail(r, r->at, "expected a value");
    r->at += word.len;
    return true;
}

static bool read_value(struct reader *r);

static bool read_key(struct reader *r)
{
    if (r->at == r->end || *r->at != '"')
        return fail(r, r->at, "expected a key in double quotes");
    if (!read_string(r))
        return false;
    skip_space(r);
    if (r->at == r->end || *r->at != ':')
        return fail(r, r->at, "expected ':' after the key");
    r->at++;
    skip_space(r);
    return true;
}

static bool read_container(struct reader *r, char close)
{
    if (r->depth == 0)
        return fail(r, r->at, too_deep);
    r->depth--;
    r->at++;
    skip_space(r);
    if (r->at < r->end && *r->at == close) {
        r->at++;
        r->depth++;
        return true;
    }
    for (;;) {
        if (close == '}' && !read_key(r))
            return false;
        if (!read_value(r))
            return false;
        skip_space(r);
        if (r->at < r->end && *r->at == close)
            break;
        if (r->at == r->end || *r->at != ',')
            return fail(r, r->at, close == '}' ? "expected ',' or '}'" : "expected ',' or ']'");
        r->at++;
        skip_space(r);
    }
    r->at++;
    r->depth++;
    return true;
}

static bool read_value(struct reader *r)
{
    if (r->at == r->end)
        return fail(r, r->at, "expected a value");
    switch (*r->at) {
    case '"': return read_string(r);
    case '{': return read_container(r, '}');
    case '[': return read_container(r, ']');
    case 't': return read_word(r, STR("true"));
    case 'f': return read_word(r, STR("false"));
    case 'n': return read_word(r, STR("null"));
    case '-':
    case '0' ... '9': return read_number(r);
    default: return fail(r, r->at, "expected a value");
    }
}

// Columns count characters, not bytes, from 1.
static int report(const struct reader *r, struct str text, int depth, struct err *err)
{
    size_t line = 1, column = 1;
    for (const char *at = text.at; at < r->at; at++) {
        if (*at == '\n') {
            line++;
            column = 1;
        } else if (((unsigned char)*at & 0xC0) != 0x80) {
            column++;
        }
    }
    char found[32] = "the end of the text";
    if (r->at < r->end && *r->at >= ' ' && *r->at < 0x7F)
        snprintf(found, sizeof(found), "'%c'", *r->at);
    else if (r->at < r->end)
        snprintf(found, sizeof(found), "byte 0x%02x", (unsigned)(unsigned char)*r->at);
    if (r->what == too_deep)
        err_set(err, ERR_BAD_INPUT,
                "invalid JSON at line %zu, column %zu: %s (found %s; at most %d levels)", line,
                column, r->what, found, depth);
    else
        err_set(err, ERR_BAD_INPUT, "invalid JSON at line %zu, column %zu: %s (found %s)", line,
                column, r->what, found);
    return -1;
}

int json_parse(struct str text, int depth, struct json *out, struct err *err)
{
    if (depth <= 0)
        depth = JSON_DEPTH_MAX;
    if (depth > JSON_DEPTH_LIMIT)
        depth = JSON_DEPTH_LIMIT;
    struct str whole = {text.at ? text.at : "", text.len};
    struct reader r = {.at = whole.at, .end = whole.at + whole.len, .depth = depth};
    if (whole.len >= 3 && memcmp(whole.at, "\xEF\xBB\xBF", 3) == 0) {
        fail(&r, r.at, "a byte order mark is not allowed");
        return report(&r, whole, depth, err);
    }
    skip_space(&r);
    const char *start = r.at;
    if (!read_value(&r))
        return report(&r, whole, depth, err);
    const char *stop = r.at;
    skip_space(&r);
    if (r.at < r.end) {
        fail(&r, r.at, "expected nothing after the value");
        return report(&r, whole, depth, err);
    }
    *out = json_of((struct str){start, (size_t)(stop - start)});
    return 0;
}

static enum json_type type_of(char first)
{
    switch (first) {
    case '{': return JSON_OBJECT;
    case '[': return JSON_ARRAY;
    case '"': return JSON_STRING;
    case 't': return JSON_TRUE;
    case 'f': return JSON_FALSE;
    case 'n': return JSON_NULL;
    default: return JSON_NUMBER;
    }
}

struct json json_of(struct str valid_text)
{
    struct str text = str_trim(valid_text);
    if (text.len == 0)
        return (struct json){.type = JSON_ABSENT, .text = STR_NONE};
    return (struct json){.type = type_of(text.at[0]), .text = text};
}

// ── walking: the text is known to be valid ───────────────────────────────────────────────────

// `at` is behind the opening quote; gives the closing one.
static const char *closing_quote(const char *at, const char *end)
{
    const char *start = at;
    for (;;) {
        const char *quote = memchr(at, '"', (size_t)(end - at));
        const char *before = quote;
        while (before > start && before[-1] == '\\')
            before--;
        if ((quote - before) % 2 == 0)
            return quote;
        at = quote + 1;
    }
}

static const char *skip_container(const char *at, const char *end)
{
    int open = 0;
    for (;; at++) {
        while (!is(at, BRACKET))
            at++;
        if (*at == '"')
            at = closing_quote(at + 1, end);
        else if (*at == '{' || *at == '[')
            open++;
        else if (--open == 0)
            return at + 1;
    }
}

static const char *skip_value(const char *at, const char *end)
{
    if (*at == '"')
        return closing_quote(at + 1, end) + 1;
    if (*at == '{' || *at == '[')
        return skip_container(at, end);
    while (at < end && !is(at, SCALAR_END))
        at++;
    return at;
}

struct json_iter json_each(struct json container)
{
    if (container.type != JSON_OBJECT && container.type != JSON_ARRAY)
        return (struct json_iter){0};
    const char *at = container.text.at;
    return (struct json_iter){
        .at = at + 1, .end = at + container.text.len - 1, .object = container.type == JSON_OBJECT};
}

static inline const char *skip_to_token(const char *at, const char *end)
{
    while (at < end && (is(at, SPACE) || *at == ',' || *at == ':'))
        at++;
    return at;
}

bool json_next(struct json_iter *it, struct str *raw_key, struct json *value)
{
    const char *at = skip_to_token(it->at, it->end);
    if (at == it->end)
        return false;
    struct str key = STR_NONE;
    if (it->object) {
        const char *quote = closing_quote(at + 1, it->end);
        key = (struct str){at + 1, (size_t)(quote - at - 1)};
        at = skip_to_token(quote + 1, it->end);
    }
    it->at = skip_value(at, it->end);
    if (raw_key)
        *raw_key = key;
    if (value)
        *value = (struct json){type_of(*at), {at, (size_t)(it->at - at)}};
    return true;
}

static bool get(struct json object, struct str key, struct json *out)
{
    bool found = false;
    if (object.type != JSON_OBJECT)
        return false;
    struct str raw;
    struct json value;
    for (struct json_iter it = json_each(object); json_next(&it, &raw, &value);)
        if (json_raw_eq(raw, key)) {
            *out = value;
            found = true;
        }
    return found;
}

bool json_get(struct json object, const char *key, struct json *out)
{
    return get(object, str_of(key), out);
}

bool json_path(struct json value, struct str dotted_path, struct json *out)
{
    while (dotted_path.at) {
        struct str step = str_cut(&dotted_path, '.');
        if (!get(value, step, &value))
            return false;
    }
    *out = value;
    return true;
}

size_t json_count(struct json container)
{
    size_t count = 0;
    for (struct json_iter it = json_each(container); json_next(&it, NULL, NULL);)
        count++;
    return count;
}
