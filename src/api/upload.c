// SPDX-License-Identifier: Apache-2.0
// An upload is a relay between three threads that never work on it at the same time:
//   loop   takes pieces of the body into `incoming`; pauses the client when that is full
//   pool   writes and hashes what was taken; one piece of work at a time (`busy`)
//   store  checks the caller before the first byte, and keeps the item after the last
#include "api/upload.h"

#include "api/api_internal.h"
#include "net/loop.h"
#include "operation/item.h"

#define INCOMING_MAX (1 << 20)  // bytes taken and not yet written before the client must wait

// The first two have lengths of their own.
static const char *const names[] = {"path", "type", "metadata", "description"};
#define FIELDS (sizeof(names) / sizeof(names[0]))

struct upload {  // in the call's arena
    struct call *call;
    struct blob_writer *writer;
    struct buf incoming, writing;
    struct buf path, type, metadata, description;
    bool given[FIELDS];
    struct str mimetype;
    char name[BLOB_NAME_LEN + 1];
    int64_t size;
    bool has_file, form, checked, busy, ended, gone;
    struct err err;       // the loop's
    struct err pool_err;  // the pool's, while busy
    struct item item;
    enum item_outcome outcome;
};

static void advance(struct upload *upload);

static void upload_fail(struct upload *upload, const struct err *err)
{
    if (upload->err.kind == ERR_NONE)
        upload->err = *err;
}

// ── pieces of the body (loop) ────────────────────────────────────────────────────────────────

static int refuse_repeated(struct err *err, const char *name)
{
    return err_field(err, name, "%s was given more than once", name);
}

// `first`: the first piece of a value. Unknown fields are ignored.
static int add_to_field(struct upload *upload, struct str name, struct str data, bool first,
                        struct err *err)
{
    struct buf *fields[FIELDS] = {&upload->path, &upload->type, &upload->metadata,
                                  &upload->description};
    for (size_t i = 0; i < FIELDS; i++) {
        if (!str_is(name, names[i]))
            continue;
        if (first && upload->given[i])
            return refuse_repeated(err, names[i]);
        upload->given[i] = true;
        buf_add_str(fields[i], data);
        if (fields[i]->over)
            return err_set(err, ERR_TOO_LARGE, "The field %s has more than %zu bytes%s", names[i],
                           fields[i]->max, i < 2 ? "" : " (--max-field)");
    }
    return 0;
}

static void take_field(struct upload *upload, const struct http_part *part, struct str data,
                       uint64_t offset)
{
    struct err err = ERR_INIT;
    if (add_to_field(upload, part->name, data, offset == 0, &err))
        upload_fail(upload, &err);
}

// It comes back in answers and headers.
static int take_mimetype(struct upload *upload, struct str type, struct err *err)
{
    for (size_t i = 0; i < type.len; i++) {
        if (type.at[i] < 0x20 || type.at[i] > 0x7E)
            return err_field(err, "file",
                             "The content type of file holds the byte 0x%02X; printable ASCII "
                             "only, as in text/plain",
                             (unsigned char)type.at[i]);
    }
    if (type.len && type.len < 256)
        upload->mimetype = arena_copy(upload->call->op.arena, type);
    return 0;
}

static void take_file(struct upload *upload, const struct http_part *part, struct str data,
                      uint64_t offset)
{
    int64_t most = upload->call->op.platform->settings->upload_max;
    struct err err = ERR_INIT;
    if (offset == 0 && (upload->has_file ? refuse_repeated(&err, "file")
                                         : take_mimetype(upload, part->content_type, &err))) {
        upload_fail(upload, &err);
        return;
    }
    upload->has_file = true;
    upload->size += (int64_t)data.len;
    if (upload->size > most) {
        err_set(&err, ERR_TOO_LARGE, "The file has more than %lld bytes (--max-upload)",
                (long long)most);
        upload_fail(upload, &err);
        return;
    }
    buf_add_str(&upload->incoming, data);
}

static void on_part(void *arg, struct http_request *request, const struct http_part *part,
                    struct str data, uint64_t offset)
{
    struct upload *upload = arg;
    if (upload->err.kind != ERR_NONE)
        return;
    if (str_is(part->name, "file"))
        take_file(upload, part, data, offset);
    else
        take_field(upload, part, data, offset);
    if (upload->incoming.len >= INCOMING_MAX)
        http_body_pause(request);
    advance(upload);
}

static void on_form(void *arg, struct http_request *request, struct str chunk)
{
    struct upload *upload = arg;
    struct err err = ERR_INIT;
    (void)request;
    if (upload->err.kind != ERR_NONE)
        return;
    buf_add_str(&upload->incoming, chunk);
    if (!upload->incoming.over)
        return;
    err_set(&err, ERR_TOO_LARGE, "The form has more than %zu bytes (--max-field)",
            upload->incoming.max);
    upload_fail(upload, &err);
    advance(upload);
}

// ── the pool ─────────────────────────────────────────────────────────────────────────────────

static void write_work(void *arg)
{
    struct upload *upload = arg;
    struct err err = ERR_INIT;
    if (!upload->writer)
        upload->writer = blob_writer_new(upload->call->op.platform->blobs, &err);
    if (!upload->writer || blob_writer_add(upload->writer, buf_str(&upload->writing), &err))
        upload->pool_err = err;
    buf_clear(&upload->writing);
}

static void finish_work(void *arg)
{
    struct upload *upload = arg;
    struct err err = ERR_INIT;
    struct blob_writer *writer = upload->writer;
    upload->writer = NULL;
    if (!writer)
        writer = blob_writer_new(upload->call->op.platform->blobs, &err);
    if (!writer || blob_writer_finish(writer, upload->name, &upload->size, &err))
        upload->pool_err = err;
}

static void drop_work(void *arg)
{
    struct upload *upload = arg;
    blob_writer_drop(upload->writer);
    upload->writer = NULL;
}

static void pool_done(void *arg)
{
    struct upload *upload = arg;
    upload->busy = false;
    if (upload->pool_err.kind != ERR_NONE)
        upload_fail(upload, &upload->pool_err);
    advance(upload);
}

static void on_pool(struct upload *upload, void (*work)(void *arg))
{
    upload->busy = true;
    loop_work(upload->call->op.platform->loop, work, pool_done, upload);
}

// ── the store ────────────────────────────────────────────────────────────────────────────────

static int check_fn(struct call *call, struct err *err)
{
    (void)call;
    (void)err;
    return 0;  // identity, dataset and role were looked at before this
}

static int metadata_of(struct upload *upload, struct str *out, struct err *err)
{
    struct json json;
    if (!str_trim(buf_str(&upload->metadata)).len)
        return 0;
    struct str text = arena_copy(upload->call->op.arena, buf_str(&upload->metadata));
    if (json_parse(text, (int)upload->call->op.platform->settings->json_depth, &json, err))
        return err_wrap(err, "The field metadata is not JSON");
    if (json.type == JSON_NULL)
        return 0;
    if (json.type != JSON_OBJECT)
        return err_field(err, "metadata", "metadata must be an object, not %s",
                         json_type_name(json.type));
    *out = json.text;
    return 0;
}

static int describe(struct upload *upload, struct item_upload *out, struct err *err)
{
    struct call *call = upload->call;
    struct str type = buf_str(&upload->type), mode = call_query(call, "mode");
    out->folder = str_is(type, "dir");
    out->path = buf_str(&upload->path);
    if (type.len && !out->folder && !str_is(type, "file"))
        return err_field(err, "type", "type must be file or dir");
    if (mode.len && !str_is(mode, "skip") && !str_is(mode, "overwrite"))
        return err_field(err, "mode", "mode must be skip or overwrite");
    if (!out->path.len)
        return err_field(err, "path", "path is missing: where in the dataset the file belongs");
    if (!out->folder && !upload->has_file)
        return err_field(err, "file", "file is missing");
    if (!out->folder) {
        out->blob = str_of(upload->name);
        out->size = upload->size;
        out->mimetype = upload->mimetype.at ? upload->mimetype : STR("application/octet-stream");
    }
    if (upload->description.len)
        out->description = buf_str(&upload->description);
    if (!str_utf8_valid(out->description))
        return err_field(err, "description", "description must be UTF-8");
    out->overwrite = str_is(mode, "overwrite");
    return metadata_of(upload, &out->metadata, err);
}

static int keep_fn(struct call *call, struct err *err)
{
    static const char *const outcomes[] = {"created", "overwrite", "skip"};
    struct upload *upload = call->data;
    struct item_upload given = {0};
    if (describe(upload, &given, err) || item_create(&call->op, &call->subject.dataset, &given,
                                                     &upload->item, &upload->outcome, err))
        return -1;
    entity_encode(&item_entity, &upload->item, &call->out);
    call_header(call, "x-item-op", str_of(outcomes[upload->outcome]));
    return 0;
}

// ── the road ─────────────────────────────────────────────────────────────────────────────────

static void upload_end(struct upload *upload, const struct err *err)
{
    struct buf *bufs[] = {&upload->incoming, &upload->writing,  &upload->path,
                          &upload->type,     &upload->metadata, &upload->description};
    for (size_t i = 0; i < sizeof(bufs) / sizeof(bufs[0]); i++)
        buf_deinit(bufs[i]);
    call_finish(upload->call, err);
}

static void kept(struct call *call, struct err *err) { upload_end(call->data, err); }

static void checked(struct call *call, struct err *err)
{
    struct upload *upload = call->data;
    upload->busy = false;
    upload->checked = true;
    if (err->kind != ERR_NONE)
        upload_fail(upload, err);
    else if (call->http)
        http_body_resume(call->http);
    advance(upload);
}

static int read_form(struct upload *upload, struct err *err)
{
    struct call *call = upload->call;
    struct str key;
    struct json value;
    if (call_read_form(call, buf_str(&upload->incoming), err))
        return -1;
    buf_clear(&upload->incoming);
    struct json_iter it = json_each(call->body);
    while (json_next(&it, &key, &value)) {
        if (add_to_field(upload, key, json_str(value, call->op.arena), true, err))
            return -1;
    }
    return 0;
}

// Starts what is to be done next; called whenever something has changed. May free the upload.
static void advance(struct upload *upload)
{
    struct call *call = upload->call;
    bool folder = !upload->has_file;
    if (upload->busy)
        return;
    if (upload->gone || upload->err.kind != ERR_NONE) {
        if (upload->writer)
            on_pool(upload, drop_work);
        else
            upload_end(upload, &upload->err);
        return;
    }
    if (upload->incoming.len && !upload->form) {
        struct buf swap = upload->writing;
        upload->writing = upload->incoming;
        upload->incoming = swap;
        on_pool(upload, write_work);
        if (call->http)
            http_body_resume(call->http);
        return;
    }
    if (!upload->ended || !upload->checked)
        return;
    if (upload->has_file && !upload->name[0]) {
        on_pool(upload, finish_work);
        return;
    }
    if (upload->form && folder && read_form(upload, &upload->err)) {
        upload_end(upload, &upload->err);
        return;
    }
    upload->busy = true;
    call_run(call, OP_WRITE, keep_fn, kept);
}

static void on_body(struct call *call)
{
    struct upload *upload = call->data;
    upload->ended = true;
    advance(upload);
}

static void on_gone(struct call *call)
{
    struct upload *upload = call->data;
    upload->gone = true;
    advance(upload);
}

static struct upload *upload_new(struct call *call)
{
    struct upload *upload = arena_new_of(call->op.arena, struct upload);
    upload->call = call;
    upload->incoming = BUF_INIT(INCOMING_MAX + (4 << 20));
    upload->writing = BUF_INIT(INCOMING_MAX + (4 << 20));
    upload->path = BUF_INIT(8 << 10);
    upload->type = BUF_INIT(64);
    upload->metadata = BUF_INIT((size_t)op_limits(&call->op)->field);
    upload->description = BUF_INIT((size_t)op_limits(&call->op)->field);
    call->data = upload;
    call->on_body = on_body;
    call->on_gone = on_gone;
    return upload;
}

int upload_handle(struct call *call, struct err *err)
{
    struct str type = http_header(call->http, "content-type");
    struct upload *upload = upload_new(call);
    if (str_starts(type, STR("application/x-www-form-urlencoded"))) {
        upload->form = true;
        upload->incoming.max = (size_t)op_limits(&call->op)->field;
        http_body_stream(call->http, on_form, upload);
    } else if (http_body_multipart(call->http, on_part, upload, err)) {
        return -1;
    }
    // Not a byte is taken from those who may not write here.
    http_body_pause(call->http);
    upload->busy = true;
    call_run(call, OP_READ, check_fn, checked);
    return 0;
}
