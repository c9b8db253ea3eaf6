// SPDX-License-Identifier: Apache-2.0
#include "api/download.h"

#include "api/api_internal.h"
#include "base/mem.h"

static bool number(struct str text, int64_t *out)
{
    if (!text.len || text.at[0] < '0' || text.at[0] > '9')
        return false;
    if (!str_int(text, out))
        *out = INT64_MAX;
    for (size_t i = 0; i < text.len; i++) {
        if (text.at[i] < '0' || text.at[i] > '9')
            return false;
    }
    return true;
}

int download_range(struct str header, int64_t size, int64_t *offset, int64_t *length,
                   struct err *err)
{
    struct str rest = str_trim(header);
    int64_t first = 0, last = size - 1;
    *offset = 0;
    *length = size;
    if (!str_starts(rest, STR("bytes=")) || memchr(rest.at, ',', rest.len))
        return 0;
    rest = (struct str){rest.at + 6, rest.len - 6};
    struct str from = str_trim(str_cut(&rest, '-')), to = str_trim(rest);
    if (!rest.at || (!from.len && !to.len) || (from.len && !number(from, &first)) ||
        (to.len && !number(to, &last)))
        return 0;
    if (from.len && to.len && last < first)
        return 0;
    if (size == 0 && from.len && first == 0)
        return 0;  // all of an empty file; clients begin every download with bytes=0-
    if (!from.len) {
        first = last < size ? size - last : 0;
        if (last == 0)
            first = size;
        last = size - 1;
    }
    if (first >= size)
        return err_set(err, ERR_RANGE, "The range begins at byte %lld, but the file has %lld bytes",
                       (long long)first, (long long)size);
    *offset = first;
    *length = (last < size - 1 ? last : size - 1) - first + 1;
    return 1;
}

// Text for a header: printable ASCII, so that no name can break out of it.
static struct str plain(struct str text, struct arena *arena)
{
    struct str copy = arena_copy(arena, text);
    char *at = (char *)copy.at;
    for (size_t i = 0; i < copy.len; i++) {
        if (at[i] < 0x20 || at[i] > 0x7E || at[i] == '"' || at[i] == '\\')
            at[i] = '_';
    }
    return copy;
}

static struct str tag_of(const struct item *item, struct arena *arena)
{
    return arena_printf(arena, "\"" STR_FMT "\"", STR_ARG(item->blob));
}

// If-None-Match: a list of tags, or *. A weak one (W/) is as good here.
static bool is_known(struct str header, struct str tag)
{
    for (struct str rest = header; rest.at;) {
        struct str one = str_trim(str_cut(&rest, ','));
        if (str_starts(one, STR("W/")))
            one = (struct str){one.at + 2, one.len - 2};
        if (str_eq(one, tag) || str_is(one, "*"))
            return true;
    }
    return false;
}

// What was uploaded must never run as a page of this server's origin.
static void headers(struct call *call, const struct item *item)
{
    struct arena *arena = call->op.arena;
    call_header(call, "accept-ranges", STR("bytes"));
    call_header(call, "etag", tag_of(item, arena));
    call_header(call, "x-content-type-options", STR("nosniff"));
    call_header(call, "content-security-policy", STR("sandbox; default-src 'none'"));
    call_header(call, "content-disposition",
                arena_printf(arena, "attachment; filename=\"" STR_FMT "\"",
                             STR_ARG(plain(item->name, arena))));
}

static void send(struct call *call, struct item *item)
{
    struct arena *arena = call->op.arena;
    struct err err = ERR_INIT;
    struct call_file file = {.status = 200};
    int64_t size;
    if (!call->http) {
        call_finish(call, NULL);
        return;
    }
    struct str tag = tag_of(item, arena), range = http_header(call->http, "range");
    struct str only_of = http_header(call->http, "if-range");
    if (is_known(http_header(call->http, "if-none-match"), tag)) {
        call->status = 304;
        headers(call, item);
        call_finish(call, NULL);
        return;
    }
    // The rest of other bytes would be glued to what the client has.
    if (only_of.at && !str_eq(str_trim(only_of), tag))
        range = STR_NONE;
    file.fd = blob_read_fd(call->op.platform->blobs, item->blob, &size, &err);
    if (file.fd < 0) {
        if (err.kind == ERR_NOT_FOUND)
            err_set(&err, ERR_INTERNAL, "The bytes of item " STR_FMT " are missing in the store",
                    STR_ARG(item->id));
        call_finish(call, &err);
        return;
    }
    int rc = download_range(range, size, &file.offset, &file.length, &err);
    headers(call, item);
    if (rc < 0) {
        fd_close_at(&file.fd);
        call_header(call, "content-range", arena_printf(arena, "bytes */%lld", (long long)size));
        call_finish(call, &err);
        return;
    }
    if (rc > 0) {
        file.status = 206;
        call_header(call, "content-range",
                    arena_printf(arena, "bytes %lld-%lld/%lld", (long long)file.offset,
                                 (long long)(file.offset + file.length - 1), (long long)size));
    }
    struct str type = item->mimetype.len ? item->mimetype : STR("application/octet-stream");
    file.content_type = plain(type, arena).at;
    call_finish_file(call, &file);
}

static void found(struct call *call, struct err *err)
{
    struct item *item = call->data;
    if (err->kind != ERR_NONE)
        call_finish(call, err);
    else
        send(call, item);
}

static int has_bytes(const struct item *item, struct err *err)
{
    if (item->blob.len)
        return 0;
    return err_set(err, ERR_BAD_INPUT, STR_FMT " is a folder: it has no bytes",
                   STR_ARG(item->filename));
}

static int find_item(struct call *call, struct err *err)
{
    struct item *item = call->data;
    *item = call->subject.item;
    return has_bytes(item, err);
}

static int find_dataset_item(struct call *call, struct err *err)
{
    struct item *item = call->data;
    struct str id = call_param(call, 1);
    int rc = tx_get(call->op.tx, &item_entity, id, item, call->op.arena, err);
    if (rc && err->kind != ERR_NOT_FOUND)
        return -1;
    if (rc || !str_eq(item->dataset_id, call_param(call, 0)))
        return err_set(err, ERR_NOT_FOUND, "There is no item " STR_FMT " in the dataset",
                       STR_ARG(id));
    return has_bytes(item, err);
}

int download_item(struct call *call, struct err *err)
{
    (void)err;
    call->data = arena_new_of(call->op.arena, struct item);
    call_run(call, OP_READ, find_item, found);
    return 0;
}

int download_dataset_item(struct call *call, struct err *err)
{
    (void)err;
    call->data = arena_new_of(call->op.arena, struct item);
    call_run(call, OP_READ, find_dataset_item, found);
    return 0;
}
