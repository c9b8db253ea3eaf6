// SPDX-License-Identifier: Apache-2.0
#include "base/str.h"

int str_cmp(struct str a, struct str b)
{
    size_t len = a.len < b.len ? a.len : b.len;
    int order = len ? memcmp(a.at, b.at, len) : 0;
    if (order != 0)
        return order;
    return (a.len > b.len) - (a.len < b.len);
}

bool str_starts(struct str s, struct str prefix)
{
    return s.len >= prefix.len && str_eq((struct str){s.at, prefix.len}, prefix);
}

bool str_ends(struct str s, struct str suffix)
{
    return s.len >= suffix.len &&
           (suffix.len == 0 || memcmp(s.at + s.len - suffix.len, suffix.at, suffix.len) == 0);
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c; }

bool str_case_eq(struct str a, struct str b)
{
    if (a.len != b.len)
        return false;
    for (size_t i = 0; i < a.len; i++)
        if (lower(a.at[i]) != lower(b.at[i]))
            return false;
    return true;
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

struct str str_trim(struct str s)
{
    while (s.len > 0 && is_space(s.at[s.len - 1]))
        s.len--;
    while (s.len > 0 && is_space(s.at[0])) {
        s.at++;
        s.len--;
    }
    return s;
}

struct str str_cut(struct str *rest, char separator)
{
    const char *end = rest->len ? memchr(rest->at, separator, rest->len) : NULL;
    struct str head = *rest;
    if (!end) {
        *rest = STR_NONE;
        return head;
    }
    head.len = (size_t)(end - rest->at);
    rest->at = end + 1;
    rest->len -= head.len + 1;
    return head;
}

bool str_find(struct str s, struct str needle, size_t *at)
{
    size_t found = 0;
    if (needle.len > 0) {
        const char *hit = s.len ? memmem(s.at, s.len, needle.at, needle.len) : NULL;
        if (!hit)
            return false;
        found = (size_t)(hit - s.at);
    }
    if (at)
        *at = found;
    return true;
}

bool str_int(struct str s, int64_t *out)
{
    size_t i = 0;
    bool negative = s.len > 0 && s.at[0] == '-';
    if (s.len > 0 && (s.at[0] == '-' || s.at[0] == '+'))
        i++;
    if (i == s.len)
        return false;
    int64_t value = 0;  // built downwards, since INT64_MIN has no positive twin
    for (; i < s.len; i++) {
        unsigned digit = (unsigned char)s.at[i] - (unsigned)'0';
        if (digit > 9 || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, (int64_t)digit, &value))
            return false;
    }
    if (!negative && __builtin_sub_overflow((int64_t)0, value, &value))
        return false;
    *out = value;
    return true;
}

// A star to return to: the pattern after it, and the text it has not eaten yet.
struct star {
    bool set;
    size_t pattern, text;
};

// Going back to the latest star of each kind is enough: a '*' cannot leave its segment, so an
// earlier one can only shift what the latest one shifts too.
bool str_glob(struct str pattern, struct str text)
{
    struct star one = {0}, many = {0};
    size_t p = 0, t = 0;
    for (;;) {
        if (p < pattern.len && pattern.at[p] == '*') {
            bool across = p + 1 < pattern.len && pattern.at[p + 1] == '*';
            while (across && p < pattern.len && pattern.at[p] == '*')
                p++;
            if (across) {
                many = (struct star){true, p, t};
                one.set = false;
            } else {
                one = (struct star){true, ++p, t};
            }
        } else if (p < pattern.len && t < text.len && pattern.at[p] == text.at[t]) {
            p++;
            t++;
        } else if (p == pattern.len && t == text.len) {
            return true;
        } else if (one.set && one.text < text.len && text.at[one.text] != '/') {
            p = one.pattern;
            t = ++one.text;
        } else if (many.set && many.text < text.len) {
            one.set = false;
            p = many.pattern;
            t = ++many.text;
        } else {
            return false;
        }
    }
}

static bool continues(unsigned char c) { return (c & 0xC0) == 0x80; }

// The second byte's range is what keeps out overlong forms, surrogates and what is past U+10FFFF.
static bool second_fits(unsigned lead, unsigned second)
{
    unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;
    unsigned high = lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF;
    return second >= low && second <= high;
}

size_t str_utf8_step(const char *text, size_t len)
{
    const unsigned char *at = (const unsigned char *)text;
    if (len == 0)
        return 0;
    if (at[0] < 0x80)
        return 1;
    if (at[0] < 0xC2 || at[0] > 0xF4)
        return 0;
    if (at[0] < 0xE0)
        return len >= 2 && continues(at[1]) ? 2 : 0;
    if (len < 3 || !second_fits(at[0], at[1]) || !continues(at[2]))
        return 0;
    if (at[0] < 0xF0)
        return 3;
    return len >= 4 && continues(at[3]) ? 4 : 0;
}

bool str_utf8_valid(struct str s)
{
    for (size_t i = 0; i < s.len;) {
        size_t step = str_utf8_step(s.at + i, s.len - i);
        if (step == 0)
            return false;
        i += step;
    }
    return true;
}

size_t str_utf8_clean(struct str s, char *out)
{
    size_t written = 0;
    for (size_t i = 0; i < s.len;) {
        size_t step = str_utf8_step(s.at + i, s.len - i);
        const char *from = s.at + i;
        size_t len = step;
        if (step == 0) {
            from = "\xEF\xBF\xBD";  // U+FFFD
            len = 3;
            step = 1;
        } else if (*from == '\0') {
            from = "\xE2\x90\x80";  // U+2400
            len = 3;
        }
        memcpy(out + written, from, len);
        written += len;
        i += step;
    }
    return written;
}

uint64_t str_hash(struct str s)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (size_t i = 0; i < s.len; i++)
        hash = (hash ^ (unsigned char)s.at[i]) * 0x100000001b3u;
    return hash;
}
