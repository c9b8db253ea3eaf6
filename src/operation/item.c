// SPDX-License-Identifier: Apache-2.0
#include "operation/item.h"

#include "base/id.h"
#include "operation/package.h"

#define PATH_MAX_BYTES  4096
#define SEGMENTS_MAX    64
#define STEP_ROWS       200
#define AUDIT_NAMES_MAX (400 << 10)  // bytes of ids and names in one audit entry

// ── paths ────────────────────────────────────────────────────────────────────────────────────

static int check_segment(struct str segment, struct err *err)
{
    if (str_is(segment, ".") || str_is(segment, ".."))
        return err_field(err, "path", "path must not hold the segments . or ..");
    for (size_t i = 0; i < segment.len; i++) {
        if ((unsigned char)segment.at[i] < 0x20 || segment.at[i] == 0x7F)
            return err_field(err, "path", "path must not hold control characters");
    }
    return 0;
}

// "a//b/" becomes "/a/b".
static int normalise(struct str raw, struct arena *arena, struct str *out, struct err *err)
{
    char *text = arena_alloc(arena, raw.len + 2);
    size_t len = 0, segments = 0;
    if (!raw.len || raw.len > PATH_MAX_BYTES)
        return err_field(err, "path", "path must have 1 to %d bytes", PATH_MAX_BYTES);
    if (!str_utf8_valid(raw))
        return err_field(err, "path", "path must be UTF-8");
    for (struct str rest = raw; rest.at;) {
        struct str segment = str_cut(&rest, '/');
        if (!segment.len)
            continue;
        if (check_segment(segment, err))
            return -1;
        if (++segments > SEGMENTS_MAX)
            return err_field(err, "path", "path has more than %d segments", SEGMENTS_MAX);
        text[len++] = '/';
        memcpy(text + len, segment.at, segment.len);
        len += segment.len;
    }
    if (!segments)
        return err_field(err, "path", "path must name a file or folder below /");
    *out = (struct str){text, len};
    return 0;
}

static void set_path(struct item *item, struct str path)
{
    size_t slash = path.len;
    while (path.at[slash - 1] != '/')
        slash--;
    item->filename = path;
    item->name = (struct str){path.at + slash, path.len - slash};
    item->dir = slash == 1 ? STR("/") : (struct str){path.at, slash - 1};
}

static int find(struct op *op, struct str dataset_id, struct str path, struct item *out,
                bool *found, struct err *err)
{
    struct filter *filter = filter_and(
        filter_eq_text(&item_entity, "datasetId", dataset_id, op->arena),
        filter_eq_text(&item_entity, "filename", path, op->arena), op->arena);
    *found = tx_find(op->tx, &item_entity, filter, out, op->arena, err) == 0;
    if (!*found && err->kind != ERR_NOT_FOUND)
        return -1;
    *err = ERR_INIT;
    return 0;
}

// ── creating ─────────────────────────────────────────────────────────────────────────────────

static void begin(struct op *op, const struct dataset *dataset, struct str path, struct item *item)
{
    entity_clear(&item_entity, item);
    item->id = op_id(op);
    item->dataset_id = dataset->id;
    item->project_id = dataset->project_id;
    item->annotations_count = 0;
    item->metadata = STR("{\"system\":{},\"user\":{}}");
    item->creator = op->caller.user_id;
    item->created_at = item->updated_at = op->now;
    set_path(item, path);
}

// The folders above a path, from the deepest up to the first that exists.
static int make_folders(struct op *op, const struct dataset *dataset, struct str dir,
                        struct err *err)
{
    while (dir.len > 1) {
        struct item folder;
        bool found;
        if (find(op, dataset->id, dir, &folder, &found, err))
            return -1;
        if (found && !str_is(folder.type, "dir"))
            return err_set(err, ERR_CONFLICT, STR_FMT " is a file, so nothing can be in it",
                           STR_ARG(dir));
        if (found)
            return 0;
        begin(op, dataset, dir, &folder);
        folder.type = STR("dir");
        folder.size = INT_NONE;
        if (tx_insert(op->tx, &item_entity, &folder, err))
            return -1;
        dir = folder.dir;
    }
    return 0;
}

static int merge(struct op *op, struct item *item, struct json patch, struct err *err)
{
    struct str base = item->metadata.at ? item->metadata : STR("{\"system\":{},\"user\":{}}");
    item->metadata = json_merge(json_of(base), patch, op->arena);
    return limits_bytes(op_limits(op), LIMIT_FIELD, "metadata", item->metadata.len, err);
}

static int fill(struct op *op, const struct item_upload *upload, struct item *item, struct err *err)
{
    item->type = upload->folder ? STR("dir") : STR("file");
    item->size = upload->folder ? INT_NONE : upload->size;
    item->blob = upload->blob;
    item->mimetype = upload->mimetype;
    if (upload->description.at)
        item->description = upload->description;
    return upload->metadata.at ? merge(op, item, json_of(upload->metadata), err) : 0;
}

// The code of a package's revision must stay as it is: services run it, and may go back to it.
static int check_unused(struct op *op, const struct item *item, struct err *err)
{
    struct revision revision;
    struct package package;
    bool found;
    if (package_code_of(op, item->id, &revision, &found, err))
        return -1;
    if (!found)
        return 0;
    if (tx_get(op->tx, &package_entity, revision.parent_id, &package, op->arena, err))
        return -1;
    return err_set(err, ERR_CONFLICT,
                   STR_FMT " is the code of package " STR_FMT ", revision " STR_FMT
                           ": it cannot be changed or deleted before the package is",
                   STR_ARG(item->filename), STR_ARG(package.name), STR_ARG(revision.version));
}

static int replace(struct op *op, const struct item_upload *upload, struct item *item,
                   enum item_outcome *outcome, struct err *err)
{
    struct item before = *item;
    bool folder = str_is(item->type, "dir");
    if (folder != upload->folder)
        return err_set(err, ERR_CONFLICT, STR_FMT " is a %s already", STR_ARG(item->filename),
                       folder ? "folder" : "file");
    *outcome = ITEM_SKIPPED;
    if (folder || (!upload->overwrite && str_eq(item->blob, upload->blob)))
        return 0;
    if (!upload->overwrite)
        return err_set(err, ERR_CONFLICT,
                       STR_FMT " exists with other content; upload with mode=overwrite to replace "
                               "it",
                       STR_ARG(item->filename));
    if (!str_eq(item->blob, upload->blob) && check_unused(op, item, err))
        return -1;
    *outcome = ITEM_OVERWRITTEN;
    item->updated_at = op->now;
    if (fill(op, upload, item, err) || tx_update(op->tx, &item_entity, item, err))
        return -1;
    return op_audit(op, "overwrite", &item_entity, &before, item, err);
}

int item_create(struct op *op, const struct dataset *dataset, const struct item_upload *upload,
                struct item *out, enum item_outcome *outcome, struct err *err)
{
    struct str path;
    bool found;
    *outcome = ITEM_CREATED;
    if (normalise(upload->path, op->arena, &path, err) ||
        find(op, dataset->id, path, out, &found, err))
        return -1;
    if (found)
        return replace(op, upload, out, outcome, err);
    begin(op, dataset, path, out);
    if (fill(op, upload, out, err) || make_folders(op, dataset, out->dir, err) ||
        tx_insert(op->tx, &item_entity, out, err))
        return -1;
    return op_audit(op, "create", &item_entity, NULL, out, err);
}

// ── changing ─────────────────────────────────────────────────────────────────────────────────

// The patch's metadata without what the caller may not change.
static struct json allowed(struct op *op, struct json metadata, bool system)
{
    _cleanup_buf_ struct buf buf = BUF_INIT(metadata.text.len + 64);
    struct json_iter it = json_each(metadata);
    struct str key;
    struct json value;
    bool comma = false;
    if (system)
        return metadata;
    buf_add_char(&buf, '{');
    while (json_next(&it, &key, &value)) {
        if (json_key_is(key, "system"))
            continue;
        buf_printf(&buf, "%s\"", comma ? "," : "");
        buf_add_str(&buf, key);
        buf_add_cstr(&buf, "\":");
        buf_add_str(&buf, value.text);
        comma = true;
    }
    buf_add_char(&buf, '}');
    return json_of(arena_copy(op->arena, buf_str(&buf)));
}

static int move(struct op *op, struct item *item, struct str raw, struct err *err)
{
    struct dataset dataset = {.id = item->dataset_id, .project_id = item->project_id};
    struct item other;
    struct str path;
    bool found;
    if (normalise(raw, op->arena, &path, err)) {
        struct err inner = *err;
        return err_field(err, "filename", "%s", inner.message);
    }
    if (str_eq(path, item->filename))
        return 0;
    if (str_is(item->type, "dir"))
        return err_field(err, "filename", "A folder cannot be moved; move the files in it");
    if (find(op, item->dataset_id, path, &other, &found, err))
        return -1;
    if (found)
        return err_set(err, ERR_CONFLICT, STR_FMT " exists already", STR_ARG(path));
    if (check_unused(op, item, err))
        return -1;
    set_path(item, path);
    return make_folders(op, &dataset, item->dir, err);
}

static int apply(struct op *op, struct item *item, struct json patch, bool system, struct err *err)
{
    struct json value;
    if (json_get(patch, "metadata", &value) && value.type != JSON_NULL) {
        if (value.type != JSON_OBJECT)
            return err_field(err, "metadata", "metadata must be an object, not %s",
                             json_type_name(value.type));
        if (merge(op, item, allowed(op, value, system), err))
            return -1;
    }
    if (json_get(patch, "hidden", &value) && value.type != JSON_NULL &&
        !json_bool(value, &item->hidden))
        return err_field(err, "hidden", "hidden must be true or false");
    if (json_get(patch, "description", &value)) {
        if (value.type != JSON_STRING && value.type != JSON_NULL)
            return err_field(err, "description", "description must be a string");
        item->description = json_str(value, op->arena);
        if (limits_bytes(op_limits(op), LIMIT_FIELD, "description", item->description.len, err))
            return -1;
    }
    if (json_get(patch, "filename", &value) && value.type != JSON_NULL) {
        if (value.type != JSON_STRING)
            return err_field(err, "filename", "filename must be a string");
        return move(op, item, json_str(value, op->arena), err);
    }
    return 0;
}

int item_update(struct op *op, struct item *item, struct json patch, bool system, struct err *err)
{
    struct item before = *item;
    if (apply(op, item, patch, system, err))
        return -1;
    item->updated_at = op->now;
    if (tx_update(op->tx, &item_entity, item, err))
        return -1;
    return op_audit(op, "update", &item_entity, &before, item, err);
}

int item_drop(struct op *op, struct item *item, struct err *err)
{
    return tx_delete(op->tx, &item_entity, item->id, err);
}

static int check_empty(struct op *op, const struct item *folder, struct err *err)
{
    struct filter *filter = filter_and(
        filter_eq_text(&item_entity, "datasetId", folder->dataset_id, op->arena),
        filter_eq_text(&item_entity, "dir", folder->filename, op->arena), op->arena);
    struct query query = {.filter = filter, .limit = 1};
    void *rows;
    size_t count;
    if (tx_select(op->tx, &item_entity, &query, op->arena, &rows, &count, err))
        return -1;
    if (!count)
        return 0;
    return err_set(err, ERR_CONFLICT,
                   "The folder " STR_FMT " is not empty: delete what is in it first",
                   STR_ARG(folder->filename));
}

int item_delete(struct op *op, struct item *item, struct err *err)
{
    if ((str_is(item->type, "dir") && check_empty(op, item, err)) || check_unused(op, item, err))
        return -1;
    if (item_drop(op, item, err))
        return -1;
    return op_audit(op, "delete", &item_entity, item, NULL, err);
}

static struct filter *after_id(struct op *op, struct str id)
{
    struct filter *filter = filter_eq_text(&item_entity, "id", id, op->arena);
    filter->op = FILTER_GT;
    return filter;
}

// What a step deleted, whole unless its names are very long.
static int audit_deleted(struct op *op, const struct item_bulk *bulk, const struct item *items,
                         size_t count, struct err *err)
{
    _cleanup_buf_ struct buf buf = BUF_INIT(AUDIT_NAMES_MAX * 2);
    struct json_writer out = JSON_WRITER(&buf);
    struct dataset dataset;
    if (tx_get(op->tx, &dataset_entity, bulk->dataset_id, &dataset, op->arena, err))
        return -1;
    json_w_object(&out);
    json_w_pair_int(&out, "itemsCount", (int64_t)count);
    json_w_key(&out, "items");
    json_w_array(&out);
    for (size_t i = 0; i < count && buf.len < AUDIT_NAMES_MAX; i++) {
        json_w_object(&out);
        json_w_pair_str(&out, "id", items[i].id);
        json_w_pair_str(&out, "filename", items[i].filename);
        json_w_object_end(&out);
    }
    json_w_array_end(&out);
    json_w_object_end(&out);
    struct str after = arena_printf(op->arena, "{\"deleted\":" STR_FMT "}", STR_ARG(buf_str(&buf)));
    return op_audit_more(op, "delete-items", &dataset_entity, &dataset, NULL, after, err);
}

int item_bulk_step(struct op *op, struct item_bulk *bulk, struct err *err)
{
    struct filter *filter = filter_and(
        bulk->filter, filter_eq_text(&item_entity, "datasetId", bulk->dataset_id, op->arena),
        op->arena);
    struct query query = {.limit = STEP_ROWS, .sort_count = 1};
    void *rows;
    size_t count;
    query.sort[0] = (struct sort_key){.field = &item_entity.fields[0], .path = STR("")};
    query.filter = bulk->after.at ? filter_and(filter, after_id(op, bulk->after), op->arena)
                                  : filter;
    if (tx_select(op->tx, &item_entity, &query, op->arena, &rows, &count, err))
        return -1;
    struct item *items = rows;
    for (size_t i = 0; i < count; i++) {
        bool deleting = bulk->patch.type == JSON_ABSENT;
        int rc = bulk->checking && deleting ? check_unused(op, &items[i], err)
                 : bulk->checking           ? apply(op, &items[i], bulk->patch, bulk->system, err)
                 : deleting                 ? item_drop(op, &items[i], err)
                            : item_update(op, &items[i], bulk->patch, bulk->system, err);
        if (rc)
            return -1;
    }
    if (bulk->patch.type == JSON_ABSENT && count && !bulk->checking &&
        audit_deleted(op, bulk, items, count, err))
        return -1;
    bulk->after = count == STEP_ROWS ? items[count - 1].id : STR_NONE;
    bulk->done += bulk->checking ? 0 : (int64_t)count;
    bulk->over = !bulk->after.at && !bulk->checking;
    if (!bulk->after.at)
        bulk->checking = false;
    return 0;
}
