// SPDX-License-Identifier: Apache-2.0
// Answers for documents on stdin, each led by its length as four bytes, lowest first. An answer is
// one byte, 'V' (valid) or 'I' (invalid), and a text led by its length in the same form: the
// document written anew, compact, by way of every walking function; or the error message.
#include <stdio.h>

#include "base/json.h"
#include "base/mem.h"

#define DOCUMENT_MAX ((size_t)16 * 1024 * 1024)

static void write_value(struct json_writer *w, struct json value, struct arena *arena)
{
    struct str key;
    struct json child;
    switch (value.type) {
    case JSON_ARRAY:
        json_w_array(w);
        for (struct json_iter it = json_each(value); json_next(&it, NULL, &child);)
            write_value(w, child, arena);
        json_w_array_end(w);
        return;
    case JSON_OBJECT:
        json_w_object(w);
        for (struct json_iter it = json_each(value); json_next(&it, &key, &child);) {
            json_w_key_str(w, json_unescape(key, arena));
            write_value(w, child, arena);
        }
        json_w_object_end(w);
        return;
    case JSON_STRING: json_w_str(w, json_str(value, arena)); return;
    default: json_w_raw(w, value.text);
    }
}

static bool read_length(uint32_t *out)
{
    unsigned char bytes[4];
    if (fread(bytes, 1, sizeof(bytes), stdin) != sizeof(bytes))
        return false;
    *out = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
           (uint32_t)bytes[3] << 24;
    return true;
}

static bool answer(char verdict, struct str text)
{
    unsigned char bytes[4];
    for (int i = 0; i < 4; i++)
        bytes[i] = (unsigned char)(text.len >> (8 * i));
    return putchar(verdict) != EOF && fwrite(bytes, 1, sizeof(bytes), stdout) == sizeof(bytes) &&
           fwrite(text.at, 1, text.len, stdout) == text.len;
}

static bool check(struct str document, struct arena *arena)
{
    struct json value;
    struct err err = ERR_INIT;
    if (json_parse(document, 0, &value, &err) < 0)
        return answer('I', str_of(err.message));
    // A control character of one escaped byte grows to six.
    _cleanup_buf_ struct buf out = BUF_INIT(6 * document.len + 16);
    struct json_writer w = JSON_WRITER(&out);
    write_value(&w, value, arena);
    if (out.over || !json_equal(value, json_of(buf_str(&out)), arena)) {
        fprintf(stderr, "json_check: what was written differs from what was read: " STR_FMT "\n",
                STR_ARG(document));
        return false;
    }
    return answer('V', buf_str(&out));
}

int main(void)
{
    _cleanup_arena_ struct arena *arena = arena_new();
    for (uint32_t len; read_length(&len);) {
        if (len > DOCUMENT_MAX)
            return 2;
        // Of exactly this size, so that a sanitizer sees a step past the end.
        _cleanup_free_ char *document = mem_resize(NULL, len);
        if (fread(document, 1, len, stdin) != len || !check((struct str){document, len}, arena))
            return 1;
        arena_reset(arena);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
