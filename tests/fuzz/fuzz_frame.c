// SPDX-License-Identifier: Apache-2.0
// Frames between agent and runner: "f", a line of cuts and bytes of a stream (net/frame); "o" and
// an object, which the runner's scanner and base/json must read alike; "t" and a text, which the
// runner writes as a JSON string; "n" and a number's text.
#include "fuzz.h"
#include "net/frame.h"
#include "runner/python/channel.h"

// What came so far is kept until a frame is whole, as runner_process.c does.
static void stream(struct input *in)
{
    struct str cuts = input_line(in);
    _cleanup_input_ struct str all = input_rest(in);
    _cleanup_buf_ struct buf kept = BUF_INIT(1 << 24);
    size_t frames_whole = 0, frames_cut = 0, used = 0, len = 0;
    struct str json;
    struct err err = ERR_INIT;
    int rc_whole = 0, rc = 0;
    while ((rc_whole = frame_next(all, &used, &json, &err)) == 1) {
        HOLDS(json.at >= all.at && json.at + json.len == all.at + used, "a frame beyond its bytes");
        frames_whole++;
        len += json.len;
    }
    HOLDS(rc_whole < 0 || used == len + 4 * frames_whole, "%zu of %zu bytes", used, len);
    used = 0;
    for (size_t at = 0, n = 0; rc == 0 && at < all.len;) {
        size_t size = cuts.len ? (unsigned char)cuts.at[n++ % cuts.len] % 32 + 1u : 1;
        size = size < all.len - at ? size : all.len - at;
        buf_add(&kept, all.at + at, size);
        at += size;
        while ((rc = frame_next(buf_str(&kept), &used, &json, &err)) == 1)
            frames_cut++;
    }
    HOLDS(frames_cut == frames_whole && rc == rc_whole, "%zu frames whole, %zu cut", frames_whole,
          frames_cut);
}

static void object(struct input *in)
{
    _cleanup_input_ struct str text = input_rest(in);
    struct scan scan;
    struct span name, value;
    struct json json, member;
    bool is_json = fuzz_json(text, &json) && json.type == JSON_OBJECT;
    if (!scan_object(&scan, (struct span){text.at, text.len})) {
        HOLDS(!is_json, "not an object: " STR_FMT, STR_ARG(text));
        return;
    }
    if (!is_json) {
        while (scan_member(&scan, &name, &value) == 1) {
            HOLDS(name.at >= text.at && name.at + name.size <= text.at + text.len,
                  "a name outside");
            HOLDS(value.at >= text.at && value.at + value.size <= text.at + text.len,
                  "a value outside");
        }
        return;
    }
    struct json_iter it = json_each(json);
    for (struct str key; json_next(&it, &key, &member);) {
        int64_t number, same;
        HOLDS(scan_member(&scan, &name, &value) == 1, STR_FMT, STR_ARG(text));
        HOLDS(str_eq(key, (struct str){name.at, name.size}), STR_FMT, STR_ARG(key));
        HOLDS(str_eq(member.text, (struct str){value.at, value.size}), STR_FMT,
              STR_ARG(member.text));
        if (span_int(value, &number))
            HOLDS(json_int(member, &same) && same == number, STR_FMT, STR_ARG(member.text));
    }
    HOLDS(scan_member(&scan, &name, &value) == 0, "more than there is: " STR_FMT, STR_ARG(text));
}

static void string(struct input *in)
{
    _cleanup_input_ struct str text = input_rest(in);
    _cleanup_arena_ struct arena *arena = arena_new();
    struct buffer out = {0};
    size_t begin = buffer_begin(&out);
    buffer_json(&out, (struct span){text.at, text.len});
    size_t used = 0, len = buffer_end(&out, begin);
    struct str frame;
    struct err err = ERR_INIT;
    HOLDS(frame_next((struct str){out.bytes, out.size}, &used, &frame, &err) == 1 &&
              frame.len == len && used == out.size,
          "a frame of the runner is none for the agent");
    if (str_utf8_valid(text)) {
        struct str back = json_str(fuzz_written(frame), arena);
        bool nul = text.len && memchr(text.at, '\0', text.len);
        HOLDS(nul || str_eq(back, text), STR_FMT, STR_ARG(frame));
    }
    buffer_free(&out);
}

static void number(struct input *in)
{
    _cleanup_input_ struct str text = input_rest(in);
    struct buffer out = {0};
    int64_t first, second;
    if (!span_int((struct span){text.at, text.len}, &first))
        return;
    buffer_int(&out, first);
    HOLDS(span_int((struct span){out.bytes, out.size}, &second) && first == second, "%lld",
          (long long)first);
    buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = input_of(data, size);
    switch (input_byte(&in)) {
    case 'f': stream(&in); break;
    case 'o': object(&in); break;
    case 't': string(&in); break;
    case 'n': number(&in); break;
    default: break;
    }
    return 0;
}
