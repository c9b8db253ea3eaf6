// SPDX-License-Identifier: Apache-2.0
#include "scan.h"

#include <string.h>

static void skip_blanks(struct scan *scan)
{
    while (scan->at < scan->end && memchr(" \t\r\n", *scan->at, 4))
        scan->at++;
}

static bool skip_string(struct scan *scan)
{
    for (scan->at++; scan->at < scan->end; scan->at++) {
        if (*scan->at == '\\')
            scan->at++;
        else if (*scan->at == '"') {
            scan->at++;
            return true;
        }
    }
    return false;
}

static bool skip_nested(struct scan *scan)
{
    size_t depth = 0;
    while (scan->at < scan->end) {
        char c = *scan->at;
        if (c == '"') {
            if (!skip_string(scan))
                return false;
            continue;
        }
        scan->at++;
        if (c == '{' || c == '[')
            depth++;
        else if ((c == '}' || c == ']') && --depth == 0)
            return true;
    }
    return false;
}

static bool skip_value(struct scan *scan)
{
    if (scan->at >= scan->end)
        return false;
    if (*scan->at == '"')
        return skip_string(scan);
    if (*scan->at == '{' || *scan->at == '[')
        return skip_nested(scan);
    const char *start = scan->at;
    while (scan->at < scan->end && !memchr(",}] \t\r\n", *scan->at, 7))
        scan->at++;
    return scan->at > start;
}

bool scan_object(struct scan *scan, struct span text)
{
    *scan = (struct scan){.at = text.at, .end = text.at + text.size};
    skip_blanks(scan);
    if (scan->at == scan->end || *scan->at != '{')
        return false;
    scan->at++;
    return true;
}

static bool skip_char(struct scan *scan, char c)
{
    skip_blanks(scan);
    if (scan->at == scan->end || *scan->at != c)
        return false;
    scan->at++;
    skip_blanks(scan);
    return true;
}

int scan_member(struct scan *scan, struct span *name, struct span *value)
{
    skip_blanks(scan);
    if (scan->at < scan->end && *scan->at == ',')
        skip_char(scan, ',');
    if (scan->at == scan->end)
        return -1;
    if (*scan->at == '}')
        return 0;
    const char *start = scan->at;
    if (*start != '"' || !skip_string(scan))
        return -1;
    *name = (struct span){start + 1, (size_t)(scan->at - start - 2)};
    if (!skip_char(scan, ':'))
        return -1;
    start = scan->at;
    if (!skip_value(scan) || scan->at > scan->end)
        return -1;
    *value = (struct span){start, (size_t)(scan->at - start)};
    return 1;
}

bool span_is(struct span span, const char *text)
{
    return span.size == strlen(text) && memcmp(span.at, text, span.size) == 0;
}

bool span_int(struct span span, int64_t *out)
{
    bool negative = span.size > 0 && span.at[0] == '-';
    size_t i = negative ? 1 : 0;
    if (i == span.size || span.size - i > 18)
        return false;
    int64_t value = 0;
    for (; i < span.size; i++) {
        if (span.at[i] < '0' || span.at[i] > '9')
            return false;
        value = value * 10 + (span.at[i] - '0');
    }
    *out = negative ? -value : value;
    return true;
}
