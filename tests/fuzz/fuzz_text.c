// SPDX-License-Identifier: Apache-2.0
// Short texts from outside; the first byte says which: "r" a Range header after a line with the
// file's size, "c" a log checkpoint, "p" a percent-encoded path, "q" a query, "t" a time, "g" a
// glob and a text in two lines, "u" bytes that should be UTF-8, "i" a number, "m" two JSON
// documents in two lines, merged.
#include "api/download.h"
#include "api/log_checkpoint.h"
#include "base/clock.h"
#include "fuzz.h"
#include "net/http_internal.h"

static void range(struct str text, struct arena *arena)
{
    (void)arena;
    int64_t size, offset = -1, length = -1;
    struct err err = ERR_INIT;
    struct str number = str_cut(&text, '\n');
    if (!str_int(number, &size) || size < 0 || !text.at)
        return;
    int rc = download_range(text, size, &offset, &length, &err);
    if (rc < 0) {
        HOLDS(err.kind == ERR_RANGE, "%s", err.message);
        return;
    }
    HOLDS(offset >= 0 && length >= 0 && offset <= size && length <= size - offset,
          "%lld + %lld of %lld", (long long)offset, (long long)length, (long long)size);
    HOLDS(rc == 0 ? offset == 0 && length == size : length > 0, "%d: %lld + %lld", rc,
          (long long)offset, (long long)length);
}

static void checkpoint(struct str text, struct arena *arena)
{
    struct log_checkpoint first, second;
    struct err err = ERR_INIT;
    _cleanup_buf_ struct buf buf = BUF_INIT(1 << 24);
    struct json_writer w = JSON_WRITER(&buf);
    if (!str_utf8_valid(text) || (text.len && memchr(text.at, '\0', text.len)))
        return;
    json_w_str(&w, text);
    if (log_checkpoint_read(fuzz_written(buf_str(&buf)), &first, arena, &err) < 0) {
        fuzz_error(&err);
        return;
    }
    struct str again = log_checkpoint_text(&first, arena);
    buf_clear(&buf);
    w = JSON_WRITER(&buf);
    json_w_str(&w, again);
    HOLDS(log_checkpoint_read(fuzz_written(buf_str(&buf)), &second, arena, &err) == 0, "%s",
          err.message);
    HOLDS(first.seq == second.seq && first.end == second.end && first.level == second.level &&
              !first.text.at == !second.text.at && str_eq(first.text, second.text),
          STR_FMT, STR_ARG(again));
}

static void path(struct str text, struct arena *arena)
{
    struct str plain;
    bool valid = http_decode(text, false, arena, &plain);
    HOLDS(plain.len <= text.len, "longer than it was");
    HOLDS(!valid || !memchr(text.at, '%', text.len) || plain.len < text.len, STR_FMT,
          STR_ARG(text));
    HOLDS((text.len && memchr(text.at, '\0', text.len)) ||
              !(plain.len && memchr(plain.at, '\0', plain.len)),
          "a NUL out of nothing");
}

static void query(struct str text, struct arena *arena)
{
    struct http_request request = {.arena = arena, .raw_query = text};
    struct str name, value;
    size_t cursor = 0, pairs = 0;
    while (http_query_each(&request, &cursor, &name, &value))
        HOLDS(name.at && value.at && ++pairs <= text.len, "an absent pair");
    (void)http_query(&request, "pageSize");
}

static void times(struct str text, struct arena *arena)
{
    (void)arena;
    int64_t first, second;
    char form[TIME_TEXT_SIZE];
    if (!time_parse(text, &first))
        return;
    time_format(first, form);
    HOLDS(time_parse(str_of(form), &second) && first == second, STR_FMT " %s", STR_ARG(text), form);
}

static void glob(struct str text, struct arena *arena)
{
    (void)arena;
    struct str pattern = str_cut(&text, '\n');
    if (!text.at || pattern.len > 200)
        return;
    bool stars = pattern.len && memchr(pattern.at, '*', pattern.len);
    bool matches = str_glob(pattern, text);
    HOLDS(stars || matches == str_eq(pattern, text), STR_FMT, STR_ARG(pattern));
    HOLDS(!str_is(pattern, "**") || matches, STR_FMT, STR_ARG(text));
}

static void utf8(struct str text, struct arena *arena)
{
    char *clean = arena_alloc(arena, text.len * 3 + 1);
    size_t len = str_utf8_clean(text, clean);
    HOLDS(len <= text.len * 3 && str_utf8_valid((struct str){clean, len}), "not clean");
    bool same = str_utf8_valid(text) && !(text.len && memchr(text.at, '\0', text.len));
    HOLDS(!same || str_eq(text, (struct str){clean, len}), "changed without need");
}

static void integer(struct str text, struct arena *arena)
{
    int64_t n, m;
    if (!str_int(text, &n))
        return;
    struct str form = arena_printf(arena, "%lld", (long long)n);
    HOLDS(str_int(form, &m) && n == m, STR_FMT, STR_ARG(form));
}

// RFC 7396: a patch applied twice changes nothing more.
static void merge(struct str text, struct arena *arena)
{
    struct json base, patch;
    struct str first = str_cut(&text, '\n');
    if (!text.at || !fuzz_json(first, &base) || !fuzz_json(text, &patch))
        return;
    struct str once = json_merge(base, patch, arena);
    struct str twice = json_merge(fuzz_written(once), patch, arena);
    HOLDS(json_equal(json_of(once), fuzz_written(twice), arena), STR_FMT "\n  " STR_FMT,
          STR_ARG(once), STR_ARG(twice));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct {
        char letter;
        void (*check)(struct str text, struct arena *arena);
    } kinds[] = {{'r', range}, {'c', checkpoint}, {'p', path},    {'q', query}, {'t', times},
                 {'g', glob},  {'u', utf8},       {'i', integer}, {'m', merge}};
    struct input in = input_of(data, size);
    char letter = (char)input_byte(&in);
    _cleanup_input_ struct str text = input_rest(&in);
    _cleanup_arena_ struct arena *arena = arena_new();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++)
        if (kinds[i].letter == letter)
            kinds[i].check(text, arena);
    return 0;
}
