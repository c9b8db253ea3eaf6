// SPDX-License-Identifier: Apache-2.0
// multipart/form-data in pieces: the first line is the content type, the second says where the body
// is cut (each byte the length of a piece, in turn), the rest is the body. However it is cut, the
// same parts come out.
#include "fuzz.h"
#include "net/http_internal.h"

#define TEXT_MAX (4u << 20)

struct reading {
    struct buf text;  // names and values
    struct http_request *request;
    bool pauses;
    uint64_t next;  // offset in the part's value
};

static struct str content_type;

// The request has no connection to look in (linked with --wrap).
struct str __wrap_http_header(const struct http_request *request, const char *name);
struct str __wrap_http_header(const struct http_request *request, const char *name)
{
    (void)request, (void)name;
    return content_type;
}

static void on_part(void *arg, struct http_request *request, const struct http_part *part,
                    struct str data, uint64_t offset)
{
    struct reading *reading = arg;
    HOLDS(request == reading->request && !request->paused, "a piece during a pause");
    HOLDS(part->name.at, "a part without a name");
    HOLDS(offset == 0 || (offset == reading->next && data.len > 0), "offset %llu after %llu",
          (unsigned long long)offset, (unsigned long long)reading->next);
    if (offset == 0)
        buf_printf(&reading->text, "\n[" STR_FMT "|" STR_FMT "|" STR_FMT "]", STR_ARG(part->name),
                   STR_ARG(part->filename), STR_ARG(part->content_type));
    buf_add_str(&reading->text, data);
    reading->next = offset + data.len;
    request->paused = reading->pauses;
}

static int take(struct http_request *request, struct str piece, struct err *err)
{
    char *copy = malloc(piece.len ? piece.len : 1);  // its own memory: a step outside is seen
    if (!copy)
        abort();
    memcpy(copy, piece.at, piece.len);
    struct str left = {copy, piece.len};
    int rc = 0;
    while (rc == 0 && left.len > 0) {
        size_t before = left.len;
        bool paused = request->paused;
        request->paused = false;
        rc = http_multipart_take(request->multipart, &left, err);
        HOLDS(rc != 0 || left.len < before || paused || request->paused, "no step forward");
    }
    free(copy);
    return rc;
}

// The parts, or the error's message, as one text.
static struct buf read_body(struct str body, struct str cuts, bool pauses)
{
    struct http_request request = {.arena = arena_new()};
    struct reading reading = {.text = BUF_INIT(TEXT_MAX), .request = &request, .pauses = pauses};
    struct err err = ERR_INIT;
    int rc = http_body_multipart(&request, on_part, &reading, &err);
    for (size_t at = 0, n = 0; rc == 0 && at < body.len;) {
        size_t len = cuts.len ? (unsigned char)cuts.at[n++ % cuts.len] % 64 + 1u : body.len;
        len = len < body.len - at ? len : body.len - at;
        rc = take(&request, (struct str){body.at + at, len}, &err);
        at += len;
    }
    if (request.multipart && rc == 0)
        rc = http_multipart_end(request.multipart, &err);
    if (rc != 0) {
        fuzz_error(&err);
        buf_printf(&reading.text, "\n! %s", err.message);
    }
    http_multipart_free(request.multipart);
    arena_free(request.arena);
    return reading.text;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = input_of(data, size);
    content_type = input_line(&in);
    struct str cuts = input_line(&in);
    _cleanup_input_ struct str body = input_rest(&in);
    _cleanup_buf_ struct buf whole = read_body(body, STR(""), false);
    _cleanup_buf_ struct buf bytes = read_body(body, STR("\x40"), false);
    _cleanup_buf_ struct buf pieces = read_body(body, cuts.len ? cuts : STR("\x01"), true);
    HOLDS(whole.over || str_eq(buf_str(&whole), buf_str(&bytes)), STR_FMT "\n---\n" STR_FMT,
          STR_ARG(buf_str(&whole)), STR_ARG(buf_str(&bytes)));
    HOLDS(whole.over || str_eq(buf_str(&whole), buf_str(&pieces)), STR_FMT "\n---\n" STR_FMT,
          STR_ARG(buf_str(&whole)), STR_ARG(buf_str(&pieces)));
    return 0;
}
