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

struct upload {  // in the call's arena
    struct call *call;
    struct blob_writer *writer;
    struct buf incoming, writing;
    struct buf path, type, metadata, description;
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

static struct buf *field_of(struct upload *upload, struct str name)
{
    if (str_is(name, "path"))
        return &upload->path;
    if (str_is(name, "type"))
        return &upload->type;
    if (str_is(name, "metadata"))
        return &upload->metadata;
    return str_is(name, "description") ? &upload->description : NULL;
}

static void take_field(struct upload *upload, const struct http_part *part, struct str data)
{
    struct buf *field = field_of(upload, part->name);
    struct err err = ERR_INIT;
    if (!field)
        return;
    buf_add_str(field, data);
    if (!field->over)
        return;
    bool format = field == &upload->path || field == &upload->type;
    err_set(&err, ERR_TOO_LARGE, "The field " STR_FMT " has more than %zu bytes%s",
            STR_ARG(part->name), field->max, format ? "" : " (--max-field)");
    upload_fail(upload, &err);
}

static void take_file(struct upload *upload, const struct http_part *part, struct str data,
                      uint64_t offset)
{
    struct arena *arena = upload->call->op.arena;
    int64_t most = upload->call->op.platform->settings->upload_max;
    struct err err = ERR_INIT;
    if (offset == 0 && upload->has_file) {
        err_set(&err, ERR_BAD_INPUT, "One upload holds one file");
        upload_fail(upload, &err);
        return;
    }
    upload->has_file = true;
    if (offset == 0 && part->content_type.len && part->content_type.len < 256)
        upload->mimetype = arena_copy(arena, part->content_type);
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
        take_field(upload, part, data);
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
    static const char *const names[] = {"path", "type", "metadata", "description"};
    if (call_read_form(call, buf_str(&upload->incoming), err))
        return -1;
    buf_clear(&upload->incoming);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct json value;
        if (json_get(call->body, names[i], &value))
            buf_add_str(field_of(upload, str_of(names[i])), json_str(value, call->op.arena));
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
