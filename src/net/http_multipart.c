// SPDX-License-Identifier: Apache-2.0
// multipart/form-data (RFC 7578, RFC 2046 5.1), in constant memory: pieces are handed on as they
// lie in the connection's buffer. libmicrohttpd's post processor was not used: it tells an empty
// part and the start of a long one alike, and knows no filename*.
#include "base/mem.h"
#include "net/http_internal.h"

#define BOUNDARY_MAX  200         // RFC 2046 allows 70
#define HEAD_LINE_MAX (16 << 10)  // bytes of one header line of a part
#define HEAD_MAX      (64 << 10)  // bytes of all header lines of a part

enum state { PREAMBLE, AFTER_DELIMITER, HEAD, DATA, EPILOGUE };

struct http_multipart {
    struct http_request *request;
    http_part_fn on_part;
    void *arg;
    enum state state;
    char delimiter[BOUNDARY_MAX + 4];  // "\r\n--" and the boundary
    size_t delimiter_len;
    size_t matched;   // bytes of the delimiter seen at the end of what came so far
    size_t assumed;   // of these, the line break that ended the head and was never part of a value
    int dashes;       // after a delimiter: two end the body
    struct buf line;  // header line that is not yet whole
    size_t head_len;  // bytes of the part's header lines so far
    struct arena *arena;  // of the part's names
    struct http_part part;
    uint64_t offset;  // in the part's value
    bool piece_given;
};

// ── parameters of a header field ─────────────────────────────────────────────────────────────

// Takes `; name="value"` or `; name=value` off rest. The value of a quoted string keeps its length
// or gets shorter, so it is resolved in a copy.
static bool next_parameter(struct str *rest, struct arena *arena, struct str *name,
                           struct str *value)
{
    while (rest->len > 0 && (rest->at[0] == ';' || rest->at[0] == ' ' || rest->at[0] == '\t'))
        *rest = (struct str){rest->at + 1, rest->len - 1};
    size_t i = 0;
    while (i < rest->len && rest->at[i] != '=' && rest->at[i] != ';')
        i++;
    if (i == rest->len || rest->at[i] != '=')
        return false;
    *name = str_trim((struct str){rest->at, i});
    i++;
    if (i == rest->len || rest->at[i] != '"') {
        size_t from = i;
        while (i < rest->len && rest->at[i] != ';')
            i++;
        *value = arena_copy(arena, str_trim((struct str){rest->at + from, i - from}));
    } else {
        char *out = arena_alloc(arena, rest->len);
        size_t len = 0;
        for (i++; i < rest->len && rest->at[i] != '"'; i++) {
            bool escape = rest->at[i] == '\\' && i + 1 < rest->len &&
                          (rest->at[i + 1] == '"' || rest->at[i + 1] == '\\');
            out[len++] = rest->at[escape ? ++i : i];
        }
        i += i < rest->len;
        *value = (struct str){out, len};
    }
    *rest = (struct str){rest->at + i, rest->len - i};
    return true;
}

// RFC 5987: charset'language'percent-encoded; only UTF-8 is taken.
static struct str extended_value(struct str value, struct arena *arena)
{
    struct str rest = value, text;
    struct str charset = str_cut(&rest, '\'');
    str_cut(&rest, '\'');
    if (!rest.at || !str_case_eq(charset, STR("utf-8")) ||
        !http_decode(rest, false, arena, &text) || !str_utf8_valid(text))
        return STR_NONE;
    return arena_copy(arena, text);
}

static void read_disposition(struct http_multipart *multipart, struct str rest)
{
    struct str name, value, extended = STR_NONE;
    str_cut(&rest, ';');
    while (rest.at && next_parameter(&rest, multipart->arena, &name, &value)) {
        if (str_case_eq(name, STR("name")))
            multipart->part.name = value;
        else if (str_case_eq(name, STR("filename")))
            multipart->part.filename = value;
        else if (str_case_eq(name, STR("filename*")))
            extended = extended_value(value, multipart->arena);
    }
    if (extended.at)
        multipart->part.filename = extended;
}

static void read_header(struct http_multipart *multipart, struct str line)
{
    struct str rest = line;
    struct str name = str_trim(str_cut(&rest, ':'));
    if (!rest.at)
        return;
    if (str_case_eq(name, STR("content-disposition")))
        read_disposition(multipart, rest);
    else if (str_case_eq(name, STR("content-type")))
        multipart->part.content_type = arena_copy(multipart->arena, str_trim(rest));
}

// ── the parts ────────────────────────────────────────────────────────────────────────────────

static void give(struct http_multipart *multipart, struct str piece)
{
    if (multipart->state != DATA)
        return;
    multipart->piece_given = true;
    uint64_t offset = multipart->offset;
    multipart->offset += piece.len;
    multipart->on_part(multipart->arg, multipart->request, &multipart->part, piece, offset);
}

static int begin_part(struct http_multipart *multipart, struct err *err)
{
    if (!multipart->part.name.at)
        return err_set(err, ERR_BAD_INPUT,
                       "a part of the multipart body has no name; each needs a "
                       "Content-Disposition: form-data; name=\"…\" line");
    multipart->state = DATA;
    multipart->offset = 0;
    multipart->piece_given = false;
    // The line break that ends the head also begins the delimiter of an empty part.
    multipart->matched = multipart->assumed = 2;
    return 0;
}

static void end_part(struct http_multipart *multipart)
{
    if (multipart->state == DATA && !multipart->piece_given)
        give(multipart, STR(""));
    multipart->state = AFTER_DELIMITER;
    multipart->matched = 0;
    multipart->dashes = 0;
    multipart->head_len = 0;
    buf_clear(&multipart->line);
    arena_reset(multipart->arena);
    multipart->part = (struct http_part){0};
}

static int step_after_delimiter(struct http_multipart *multipart, struct str *data, struct err *err)
{
    char c = data->at[0];
    *data = (struct str){data->at + 1, data->len - 1};
    if (c == '-' && ++multipart->dashes == 2) {
        multipart->state = EPILOGUE;
        return 0;
    }
    if (c == '-' || (multipart->dashes == 0 && (c == ' ' || c == '\t' || c == '\r')))
        return 0;
    if (c == '\n' && multipart->dashes == 0) {
        multipart->state = HEAD;
        return 0;
    }
    return err_set(err, ERR_BAD_INPUT,
                   "the multipart body is malformed: a boundary line does not end after the "
                   "boundary");
}

static int step_head(struct http_multipart *multipart, struct str *data, struct err *err)
{
    const char *newline = memchr(data->at, '\n', data->len);
    size_t len = newline ? (size_t)(newline - data->at) + 1 : data->len;
    buf_add(&multipart->line, data->at, len);
    multipart->head_len += len;
    *data = (struct str){data->at + len, data->len - len};
    if (multipart->line.over || multipart->head_len > HEAD_MAX)
        return err_set(err, ERR_BAD_INPUT,
                       "the head of a part of the multipart body is over %d bytes", HEAD_MAX);
    if (!newline)
        return 0;
    struct str line = str_trim(buf_str(&multipart->line));
    if (line.len == 0)
        return begin_part(multipart, err);
    read_header(multipart, line);
    buf_clear(&multipart->line);
    return 0;
}

// Where the delimiter, or a start of it that reaches the end of data, begins; data.len when
// nowhere.
static size_t find_delimiter(const struct http_multipart *multipart, struct str data)
{
    size_t at = 0;
    while (at < data.len) {
        const char *cr = memchr(data.at + at, '\r', data.len - at);
        if (!cr)
            return data.len;
        at = (size_t)(cr - data.at);
        size_t left = data.len - at;
        size_t len = left < multipart->delimiter_len ? left : multipart->delimiter_len;
        if (memcmp(cr, multipart->delimiter, len) == 0)
            return at;
        at++;
    }
    return data.len;
}

// One piece at most is given per step, so that a pause takes effect at once. The delimiter holds a
// CR only at its start: when a match breaks off, none can have begun within it.
static void step_data(struct http_multipart *multipart, struct str *data)
{
    if (multipart->matched == 0) {
        size_t at = find_delimiter(multipart, *data);
        struct str piece = {data->at, at};
        *data = (struct str){data->at + at, data->len - at};
        if (piece.len > 0) {
            give(multipart, piece);
            return;
        }
    }
    while (data->len > 0 && multipart->matched < multipart->delimiter_len &&
           data->at[0] == multipart->delimiter[multipart->matched]) {
        multipart->matched++;
        *data = (struct str){data->at + 1, data->len - 1};
    }
    if (multipart->matched == multipart->delimiter_len) {
        end_part(multipart);
        return;
    }
    if (data->len == 0)
        return;
    struct str piece = {multipart->delimiter + multipart->assumed,
                        multipart->matched - multipart->assumed};
    multipart->matched = multipart->assumed = 0;
    if (piece.len > 0)
        give(multipart, piece);
}

// ── for http_request.c ───────────────────────────────────────────────────────────────────────

int http_multipart_take(struct http_multipart *multipart, struct str *data, struct err *err)
{
    const struct http_request *request = multipart->request;
    while (data->len > 0 && !request->paused && !request->answered && !request->gone) {
        int rc = 0;
        switch (multipart->state) {
        case PREAMBLE:
        case DATA: step_data(multipart, data); break;
        case AFTER_DELIMITER: rc = step_after_delimiter(multipart, data, err); break;
        case HEAD: rc = step_head(multipart, data, err); break;
        case EPILOGUE: *data = STR(""); break;
        }
        if (rc != 0)
            return rc;
    }
    return 0;
}

int http_multipart_end(struct http_multipart *multipart, struct err *err)
{
    if (multipart->state == EPILOGUE)
        return 0;
    return err_set(err, ERR_BAD_INPUT,
                   "the multipart body ended before its closing boundary; send it again whole");
}

void http_multipart_free(struct http_multipart *multipart)
{
    if (!multipart)
        return;
    arena_free(multipart->arena);
    buf_deinit(&multipart->line);
    mem_free(multipart);
}

// The boundary parameter of a multipart/form-data content type; absent when it is something else.
static struct str find_boundary(struct http_request *request)
{
    struct str rest = http_header(request, "content-type"), name, value;
    if (!rest.at || !str_case_eq(str_trim(str_cut(&rest, ';')), STR("multipart/form-data")))
        return STR_NONE;
    while (rest.at && next_parameter(&rest, request->arena, &name, &value))
        if (str_case_eq(name, STR("boundary")))
            return value;
    return STR_NONE;
}

int http_body_multipart(struct http_request *request, http_part_fn on_part, void *arg,
                        struct err *err)
{
    struct str boundary = find_boundary(request);
    if (!boundary.at || boundary.len == 0 || boundary.len > BOUNDARY_MAX ||
        memchr(boundary.at, '\r', boundary.len))
        return err_set(err, ERR_MEDIA_TYPE,
                       "this call takes multipart/form-data with a boundary of 1 to %d "
                       "characters in its content type",
                       BOUNDARY_MAX);
    struct http_multipart *multipart = mem_alloc(sizeof(*multipart));
    multipart->request = request;
    multipart->on_part = on_part;
    multipart->arg = arg;
    multipart->state = PREAMBLE;
    multipart->matched = multipart
                             ->assumed = 2;  // the first boundary needs no line break before it
    multipart->line = BUF_INIT(HEAD_LINE_MAX);
    multipart->arena = arena_new();
    memcpy(multipart->delimiter, "\r\n--", 4);
    memcpy(multipart->delimiter + 4, boundary.at, boundary.len);
    multipart->delimiter_len = boundary.len + 4;
    http_multipart_free(request->multipart);
    request->multipart = multipart;
    return 0;
}
