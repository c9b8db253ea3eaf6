// SPDX-License-Identifier: Apache-2.0
// operation/item: files and folders of datasets. The bytes are blobs (store/blob.h), written before
// these run.
#ifndef DROVER_OPERATION_ITEM_H
#define DROVER_OPERATION_ITEM_H

#include "operation/op.h"

struct item_upload {
    struct str path;  // "/a/b.jpg"; a missing first slash is added
    bool folder;
    struct str blob, mimetype;  // of a file
    int64_t size;
    struct str metadata;     // JSON object; absent: none
    struct str description;  // absent: none
    bool overwrite;          // else skip
};

enum item_outcome { ITEM_CREATED, ITEM_OVERWRITTEN, ITEM_SKIPPED };

// ERR_CONFLICT when the path is taken by other content and overwrite was not asked, or is that of a
// package's code: clients delete what they get back when its size is not what they sent, so it must
// never be another item. Folders above are made as needed.
MUST_CHECK int item_create(struct op *op, const struct dataset *dataset,
                           const struct item_upload *upload, struct item *out,
                           enum item_outcome *outcome, struct err *err);

// Deep-merges metadata (metadata.system only when `system`), moves on a new filename, changes
// description and hidden.
MUST_CHECK int item_update(struct op *op, struct item *item, struct json patch, bool system,
                           struct err *err);
// ERR_CONFLICT for a folder that is not empty and for the code of a package's revision.
MUST_CHECK int item_delete(struct op *op, struct item *item, struct err *err);
// Removes the row and tells that its blob was let go; no audit entry: part of a larger deletion.
MUST_CHECK int item_drop(struct op *op, struct item *item, struct err *err);

// One bounded step over the matches of a filter within a dataset, in id order from after `after`
// (absent: from the start), until `over`. While `checking` nothing is changed: a first pass that
// finds whether every item can be changed (or deleted: the code of a package cannot), so that it is
// refused before it took half an effect.
struct item_bulk {
    struct str dataset_id;
    struct filter *filter;
    struct json patch;  // absent: delete
    bool system, checking;
    struct str after;
    int64_t done;  // items changed
    bool over;
};
MUST_CHECK int item_bulk_step(struct op *op, struct item_bulk *bulk, struct err *err);

#endif
