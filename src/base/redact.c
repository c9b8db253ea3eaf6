// SPDX-License-Identifier: Apache-2.0
#include "base/redact.h"

#include <string.h>

#include "base/json.h"
#include "base/mem.h"

struct pattern {
    char *at;
    size_t len;
    char *name;
};

struct redactor {
    struct pattern *patterns;  // longest first
    size_t count, room;
    bool begins[256];  // whether some pattern begins with the byte
};

struct redactor *redactor_new(void) { return mem_alloc(sizeof(struct redactor)); }

void redactor_free(struct redactor *redactor)
{
    if (!redactor)
        return;
    for (size_t i = 0; i < redactor->count; i++) {
        explicit_bzero(redactor->patterns[i].at, redactor->patterns[i].len);
        mem_free(redactor->patterns[i].at);
        mem_free(redactor->patterns[i].name);
    }
    mem_free(redactor->patterns);
    mem_free(redactor);
}

// ── what is looked for ───────────────────────────────────────────────────────────────────────

static void add_pattern(struct redactor *redactor, struct str name, struct str text)
{
    if (text.len < REDACT_LEAST)
        return;
    if (redactor->count == redactor->room) {
        redactor->room = redactor->room ? 2 * redactor->room : 8;
        redactor->patterns = mem_resize(redactor->patterns,
                                        redactor->room * sizeof(*redactor->patterns));
    }
    size_t at = redactor->count++;
    for (; at > 0 && redactor->patterns[at - 1].len < text.len; at--)
        redactor->patterns[at] = redactor->patterns[at - 1];
    redactor->patterns[at] = (struct pattern){
        .at = mem_copy(text.at, text.len), .len = text.len, .name = mem_copy(name.at, name.len)};
    redactor->begins[(unsigned char)text.at[0]] = true;
}

static uint32_t code_point(const char *at, size_t len)
{
    static const unsigned char masks[] = {0, 0x7F, 0x1F, 0x0F, 0x07};
    uint32_t point = (unsigned char)at[0] & masks[len];
    for (size_t i = 1; i < len; i++)
        point = point << 6 | ((unsigned char)at[i] & 0x3F);
    return point;
}

static void escape_point(uint32_t point, struct buf *out)
{
    if (point < 0x10000) {
        buf_printf(out, "\\u%04x", point);
        return;
    }
    buf_printf(out, "\\u%04x\\u%04x", 0xD800 + ((point - 0x10000) >> 10),
               0xDC00 + ((point - 0x10000) & 0x3FF));
}

static void only_ascii(struct str text, struct buf *out)
{
    for (size_t i = 0, len; i < text.len; i += len) {
        len = str_utf8_step(text.at + i, text.len - i);
        if (len <= 1)
            buf_add(out, text.at + i, len = 1);
        else
            escape_point(code_point(text.at + i, len), out);
    }
}

static void add_escaped(struct redactor *redactor, struct str name, struct str value)
{
    _cleanup_buf_ struct buf json = BUF_INIT(SIZE_MAX), ascii = BUF_INIT(SIZE_MAX);
    struct json_writer w = JSON_WRITER(&json);
    json_w_str(&w, value);
    struct str inner = {json.at + 1, json.len - 2};
    only_ascii(inner, &ascii);
    if (!str_eq(inner, value))
        add_pattern(redactor, name, inner);
    if (!str_eq(buf_str(&ascii), inner))
        add_pattern(redactor, name, buf_str(&ascii));
    explicit_bzero(json.at, json.len);
    explicit_bzero(ascii.at, ascii.len);
}

static void add_text(struct redactor *redactor, struct str name, struct str value)
{
    add_pattern(redactor, name, value);
    add_escaped(redactor, name, value);
    if (!memchr(value.at, '\n', value.len))
        return;
    for (struct str rest = value; rest.at;) {
        struct str line = str_trim(str_cut(&rest, '\n'));
        add_pattern(redactor, name, line);
    }
}

static void add_texts_within(struct redactor *redactor, struct str name, struct json value,
                             struct arena *scratch)
{
    struct json_iter it = json_each(value);
    struct str key;
    if (value.type == JSON_STRING) {
        struct str text = json_str(value, scratch);
        if (text.len >= REDACT_LEAST)
            add_text(redactor, name, text);
        return;
    }
    for (struct json member; json_next(&it, &key, &member);)
        add_texts_within(redactor, name, member, scratch);
}

void redactor_add(struct redactor *redactor, struct str name, struct str value)
{
    struct json json;
    struct err ignored = ERR_INIT;
    if (value.len < REDACT_LEAST)
        return;
    add_text(redactor, name, value);
    if ((value.at[0] == '{' || value.at[0] == '[') && json_parse(value, 0, &json, &ignored) == 0) {
        _cleanup_arena_ struct arena *scratch = arena_new();
        add_texts_within(redactor, name, json, scratch);
    }
}

// ── looking ──────────────────────────────────────────────────────────────────────────────────

static const struct pattern *match(const struct redactor *redactor, struct str rest)
{
    if (!redactor->begins[(unsigned char)rest.at[0]])
        return NULL;
    for (size_t i = 0; i < redactor->count; i++) {
        const struct pattern *pattern = &redactor->patterns[i];
        if (pattern->len <= rest.len && memcmp(pattern->at, rest.at, pattern->len) == 0)
            return pattern;
    }
    return NULL;
}

bool redact_text(const struct redactor *redactor, struct str text, struct buf *out)
{
    bool found = false;
    size_t kept = 0;
    if (!redactor || redactor->count == 0)
        return false;
    for (size_t i = 0; i < text.len;) {
        const struct pattern *pattern = match(redactor, (struct str){text.at + i, text.len - i});
        if (!pattern) {
            i++;
            continue;
        }
        if (!found)
            buf_clear(out);
        found = true;
        buf_add(out, text.at + kept, i - kept);
        buf_printf(out, "[secret %s]", pattern->name);
        i += pattern->len;
        kept = i;
    }
    if (found)
        buf_add(out, text.at + kept, text.len - kept);
    return found;
}

// The length of the JSON string that text begins with, quotes included.
static size_t string_length(struct str text)
{
    size_t i = 1;
    while (i < text.len && text.at[i] != '"')
        i += text.at[i] == '\\' ? 2 : 1;
    return i + 1 < text.len ? i + 1 : text.len;
}

bool redact_json(const struct redactor *redactor, struct str json, struct buf *out)
{
    bool found = false;
    size_t kept = 0;
    if (!redactor || redactor->count == 0)
        return false;
    _cleanup_arena_ struct arena *scratch = arena_new();
    _cleanup_buf_ struct buf clean = BUF_INIT(SIZE_MAX);
    for (size_t i = 0, len; i < json.len; i += len) {
        len = 1;
        if (json.at[i] != '"')
            continue;
        len = string_length((struct str){json.at + i, json.len - i});
        struct str raw = {json.at + i + 1, len - 2};
        struct str text = memchr(raw.at, '\\', raw.len) ? json_unescape(raw, scratch) : raw;
        if (!redact_text(redactor, text, &clean))
            continue;
        if (!found)
            buf_clear(out);
        found = true;
        buf_add(out, json.at + kept, i - kept);
        struct json_writer w = JSON_WRITER(out);
        json_w_str(&w, buf_str(&clean));
        kept = i + len;
    }
    if (found)
        buf_add(out, json.at + kept, json.len - kept);
    return found;
}
