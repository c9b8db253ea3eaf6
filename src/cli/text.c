// SPDX-License-Identifier: Apache-2.0
#include "cli/text.h"

#include <ctype.h>
#include <stdio.h>

#include "base/clock.h"

#define SECOND 1000LL
#define MINUTE (60 * SECOND)
#define HOUR   (60 * MINUTE)
#define DAY    (24 * HOUR)

// ── columns ──────────────────────────────────────────────────────────────────────────────────

static const struct range {
    uint32_t first, last;
    size_t columns;
} ranges[] = {
    {0x0300, 0x036F, 0}, {0x200B, 0x200F, 0},   {0x1100, 0x115F, 2},   {0x2E80, 0xA4CF, 2},
    {0xAC00, 0xD7A3, 2}, {0xF900, 0xFAFF, 2},   {0xFE00, 0xFE0F, 0},   {0xFE30, 0xFE6F, 2},
    {0xFF00, 0xFF60, 2}, {0x1F300, 0x1FAFF, 2}, {0x20000, 0x3FFFD, 2},
};

// The character at s and its bytes; a byte that begins none counts as one column.
static size_t step(struct str s, size_t *columns)
{
    static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    size_t bytes = str_utf8_step(s.at, s.len);
    *columns = 1;
    if (bytes == 0)
        return 1;
    uint32_t point = (unsigned char)s.at[0] & masks[bytes];
    for (size_t i = 1; i < bytes; i++)
        point = point << 6 | ((unsigned char)s.at[i] & 0x3F);
    for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
        if (point >= ranges[i].first && point <= ranges[i].last)
            *columns = ranges[i].columns;
    return bytes;
}

size_t text_width(struct str s)
{
    size_t width = 0, columns;
    for (size_t i = 0; i < s.len; width += columns)
        i += step((struct str){s.at + i, s.len - i}, &columns);
    return width;
}

void text_fit(struct buf *out, struct str s, size_t width)
{
    if (text_width(s) <= width) {
        buf_add_str(out, s);
        return;
    }
    size_t used = 0, columns;
    for (size_t i = 0; i < s.len && width > 0;) {
        size_t bytes = step((struct str){s.at + i, s.len - i}, &columns);
        if (used + columns > width - 1)
            break;
        buf_add(out, s.at + i, bytes);
        used += columns;
        i += bytes;
    }
    if (width > 0)
        buf_add_cstr(out, "…");
}

static void wrap_paragraph(struct buf *out, struct str words, size_t left, size_t width)
{
    size_t at = left;
    buf_printf(out, "%*s", (int)left, "");
    while (words.at) {
        struct str word = str_cut(&words, ' ');
        size_t columns = text_width(word);
        if (word.len == 0)
            continue;
        if (at > left && at + 1 + columns > width) {
            buf_printf(out, "\n%*s", (int)left, "");
            at = left;
        } else if (at > left) {
            buf_add_char(out, ' ');
            at++;
        }
        buf_add_str(out, word);
        at += columns;
    }
    buf_add_char(out, '\n');
}

void text_wrap(struct buf *out, const char *text, size_t left, size_t width)
{
    for (struct str rest = str_of(text); rest.at;) {
        struct str line = str_cut(&rest, '\n');
        if (line.len == 0)
            buf_add_char(out, '\n');
        else
            wrap_paragraph(out, line, left, width);
    }
}

// ── times and sizes ──────────────────────────────────────────────────────────────────────────

void text_word(struct buf *out, struct str s)
{
    size_t plain = 0;
    while (plain < s.len &&
           (isalnum((unsigned char)s.at[plain]) || memchr("_-./:=@%+,", s.at[plain], 10)))
        plain++;
    if (s.len > 0 && plain == s.len) {
        buf_add_str(out, s);
        return;
    }
    buf_add_char(out, '\'');
    for (size_t i = 0; i < s.len; i++)
        if (s.at[i] == '\'')
            buf_add_cstr(out, "'\\''");
        else
            buf_add_char(out, s.at[i]);
    buf_add_char(out, '\'');
}

void duration_text(int64_t ms, struct buf *out)
{
    long long seconds = ms / SECOND;
    if (ms < 0)
        buf_add_cstr(out, "0 ms");
    else if (ms < SECOND)
        buf_printf(out, "%lld ms", (long long)ms);
    else if (ms < MINUTE)
        buf_printf(out, "%lld.%lld s", seconds, (long long)(ms % SECOND / 100));
    else if (ms < HOUR)
        buf_printf(out, "%lldm %llds", seconds / 60, seconds % 60);
    else if (ms < DAY)
        buf_printf(out, "%lldh %lldm", seconds / 3600, seconds / 60 % 60);
    else
        buf_printf(out, "%lldd %lldh", seconds / 86400, seconds / 3600 % 24);
}

void age_text(int64_t ms, struct buf *out)
{
    if (ms < SECOND)
        buf_add_cstr(out, "now");
    else if (ms < 2 * MINUTE)
        buf_printf(out, "%llds", (long long)(ms / SECOND));
    else if (ms < 2 * HOUR)
        buf_printf(out, "%lldm", (long long)(ms / MINUTE));
    else if (ms < 2 * DAY)
        buf_printf(out, "%lldh", (long long)(ms / HOUR));
    else
        buf_printf(out, "%lldd", (long long)(ms / DAY));
}

void bytes_text(int64_t bytes, struct buf *out)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < sizeof(units) / sizeof(units[0])) {
        value /= 1024;
        unit++;
    }
    buf_printf(out, unit == 0 || value >= 100 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

static int64_t unit_of(struct str suffix)
{
    static const struct {
        const char *name;
        int64_t ms;
    } units[] = {{"ms", 1}, {"s", SECOND}, {"m", MINUTE}, {"h", HOUR}, {"d", DAY}, {"w", 7 * DAY}};
    for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++)
        if (str_is(suffix, units[i].name))
            return units[i].ms;
    return 0;
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

bool duration_parse(struct str text, int64_t *ms)
{
    int64_t sum = 0, number;
    if (str_int(text, &number))
        return number >= 0 && !__builtin_mul_overflow(number, SECOND, ms);
    while (text.len > 0) {
        size_t digits = 0, letters;
        while (digits < text.len && is_digit(text.at[digits]))
            digits++;
        for (letters = digits; letters < text.len && !is_digit(text.at[letters]);)
            letters++;
        int64_t unit = unit_of((struct str){text.at + digits, letters - digits});
        if (unit == 0 || !str_int((struct str){text.at, digits}, &number) ||
            __builtin_mul_overflow(number, unit, &number) ||
            __builtin_add_overflow(sum, number, &sum))
            return false;
        text = (struct str){text.at + letters, text.len - letters};
        *ms = sum;
        if (text.len == 0)
            return true;
    }
    return false;
}

int moment_parse(const char *option, const char *text, int64_t now, int64_t *ms, struct err *err)
{
    int64_t before;
    if (duration_parse(str_of(text), &before)) {
        *ms = now - before;
        return 0;
    }
    if (time_parse(str_of(text), ms))
        return 0;
    return err_field(err, option,
                     "%s: '%.60s' is neither a time ago such as 30s, 15m, 1h or 2d nor a time such "
                     "as 2026-11-23T08:00:00Z",
                     option, text);
}

void text_json_line(struct buf *out, struct str json)
{
    bool quoted = false;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.at[i];
        if (!quoted && (c == ' ' || c == '\t' || c == '\n' || c == '\r'))
            continue;
        buf_add_char(out, c);
        if (quoted && c == '\\' && i + 1 < json.len)
            buf_add_char(out, json.at[++i]);
        else if (c == '"')
            quoted = !quoted;
    }
}
