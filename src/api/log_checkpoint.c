// SPDX-License-Identifier: Apache-2.0
#include "api/log_checkpoint.h"

#include <sodium.h>

#define CHECKPOINT_MAX 8192  // bytes of its JSON
#define VARIANT        sodium_base64_VARIANT_URLSAFE_NO_PADDING

_Static_assert(6 * LOG_TEXT_MAX + 200 <= CHECKPOINT_MAX, "every text must find its place");

bool log_text_fits(struct str text)
{
    size_t characters = 0;
    for (size_t i = 0; i < text.len; i++)
        characters += ((unsigned char)text.at[i] & 0xc0) != 0x80;
    return characters <= LOG_TEXT_MAX;
}

struct str log_checkpoint_text(const struct log_checkpoint *at, struct arena *arena)
{
    _cleanup_buf_ struct buf buf = BUF_INIT(CHECKPOINT_MAX);
    struct json_writer out = JSON_WRITER(&buf);
    json_w_object(&out);
    json_w_pair_int(&out, "seq", at->seq);
    json_w_pair_int(&out, "end", at->end);
    json_w_pair_int(&out, "level", at->level);
    if (at->text.at)
        json_w_pair_str(&out, "text", at->text);
    if (at->end_given)
        json_w_pair_bool(&out, "endGiven", true);
    json_w_object_end(&out);
    size_t size = sodium_base64_encoded_len(buf.len, VARIANT);
    char *text = arena_alloc(arena, size);
    sodium_bin2base64(text, size, (const unsigned char *)buf.at, buf.len, VARIANT);
    return str_of(text);
}

static int not_ours(struct err *err)
{
    return err_field(err, "checkpoint",
                     "checkpoint must be one that an earlier page of these logs gave");
}

static bool take_int(struct json object, const char *key, int64_t *out)
{
    struct json value;
    return json_get(object, key, &value) && json_int(value, out);
}

int log_checkpoint_read(struct json value, struct log_checkpoint *out, struct arena *arena,
                        struct err *err)
{
    struct str text = json_str(value, arena);
    struct json json, given;
    struct err ignored = ERR_INIT;
    size_t len;
    int64_t level;
    if (!text.at || text.len > CHECKPOINT_MAX * 2)
        return not_ours(err);
    char *plain = arena_alloc(arena, text.len + 1);
    if (sodium_base642bin((unsigned char *)plain, text.len, text.at, text.len, NULL, &len, NULL,
                          VARIANT) ||
        json_parse((struct str){plain, len}, 0, &json, &ignored) ||
        !take_int(json, "seq", &out->seq) || !take_int(json, "end", &out->end) ||
        !take_int(json, "level", &level) || level < 0 || level > 1000 || out->seq < -1)
        return not_ours(err);
    out->level = (int)level;
    out->end_given = json_get(json, "endGiven", &given) && json_bool(given, &out->end_given) &&
                     out->end_given;
    out->text = json_get(json, "text", &given) ? json_str(given, arena) : STR_NONE;
    return log_text_fits(out->text) ? 0 : not_ours(err);
}
