// SPDX-License-Identifier: Apache-2.0
// What a store driver implements, and what store.c, worker.c and the drivers share. Nothing outside
// this room includes it.
#ifndef DROVER_STORE_STORE_INTERNAL_H
#define DROVER_STORE_STORE_INTERNAL_H

#include "store/store.h"

struct store_db;  // a driver's open database, shared by its connections

// A connection. A driver's own struct begins with this one. One thread uses it at a time.
struct tx {
    const struct store_driver *driver;
    bool writer;  // false: a snapshot, changes are refused
};

struct store_driver {
    const char *name;

    int (*open)(const struct store_config *config, struct store_db **out, struct err *err);
    void (*close)(struct store_db *db);  // after every connection was closed
    struct tx *(*tx_open)(struct store_db *db, bool writer, struct err *err);
    void (*tx_close)(struct tx *tx);

    // The transaction around jobs. A commit that fails has rolled back; *fatal is set when the
    // disk can not be trusted any more (an I/O or fsync error).
    int (*begin)(struct tx *tx, struct err *err);
    int (*commit)(struct tx *tx, bool *fatal, struct err *err);
    void (*rollback)(struct tx *tx);

    // Around one job. undo() falls back to rolling everything back when it can not do less;
    // alive() says whether the transaction is still there.
    int (*mark)(struct tx *tx, struct err *err);
    int (*keep)(struct tx *tx, struct err *err);
    void (*undo)(struct tx *tx);
    bool (*alive)(const struct tx *tx);

    // After each group, on the writer's thread: *wanted asks for service() to be called on a
    // reader. Both fail when the disk can not be trusted any more: nothing is written after that.
    int (*after_commit)(struct tx *writer, bool *wanted, struct err *err);
    int (*service)(struct tx *reader, struct err *err);  // long upkeep (checkpoints)
    void (*rest)(struct tx *tx);  // outside a transaction: gives back memory kept for speed

    int (*get)(struct tx *, const struct entity *, struct str id, void *row, struct arena *,
               struct err *);
    int (*insert)(struct tx *, const struct entity *, const void *row, struct err *);
    int (*update)(struct tx *, const struct entity *, const void *row, struct err *);
    int (*delete_row)(struct tx *, const struct entity *, struct str id, struct err *);
    int (*select)(struct tx *, const struct entity *, const struct query *, struct arena *,
                  void **rows, size_t *count, struct err *);
    int (*count)(struct tx *, const struct entity *, const struct filter *, int64_t *count,
                 struct err *);
    int (*delete_where)(struct tx *, const struct entity *, const struct filter *, int64_t limit,
                        int64_t *deleted, struct err *);
    int (*count_by)(struct tx *, const struct entity *, const struct filter *,
                    const struct field *field,
                    void (*each)(void *arg, struct str value, int64_t count), void *arg,
                    struct err *);
    int (*meta_get)(struct tx *, const char *key, struct arena *, struct str *value, struct err *);
    int (*meta_set)(struct tx *, const char *key, struct str value, struct err *);

    int (*execution_start)(struct tx *, struct str id, int64_t fence, struct str replica_id,
                           int64_t now, bool *applied, struct err *);
    int (*execution_finish)(struct tx *, const struct execution_result *, bool *applied,
                            struct err *);
    int (*execution_requeue)(struct tx *, struct str id, int64_t fence, int64_t attempts,
                             struct str message, bool *applied, struct err *);
    int (*execution_each_open)(struct tx *,
                               void (*each)(void *arg, struct str id, struct str service_id,
                                            struct str status, int64_t fence),
                               void *arg, struct err *);
    int (*blob_used)(struct tx *, struct str sha256, bool *used, struct err *);
};

extern const struct store_driver store_sqlite_driver, store_memory_driver;

// Has a column of its own: neither unstored nor another name of one.
static inline bool store_column(const struct field *field)
{
    return field->column && !(field->flags & (FIELD_UNSTORED | FIELD_VIRTUAL));
}

// ERR_CONFLICT naming the unique columns and the row's values in them.
int store_conflict_unique(const struct entity *entity, const void *row, struct err *err);
int store_conflict_id(const struct entity *entity, struct str id, struct err *err);
int store_not_found(const struct entity *entity, struct str id, struct err *err);

// Case-insensitive (ASCII) search.
bool store_has_text(struct str text, struct str needle);

// A value to sort by, ordered as SQLite orders: absent, numbers (false and true are 0 and 1),
// texts (bytewise; containers as their JSON).
enum store_value_kind { STORE_VALUE_NONE, STORE_VALUE_INT, STORE_VALUE_DOUBLE, STORE_VALUE_TEXT };
struct store_value {
    enum store_value_kind kind;
    int64_t integer;
    double number;
    struct str text;
};
// What lies at `path` in a JSON column; texts unescaped into the arena.
struct store_value store_value_json(struct str json, struct str path, struct arena *arena);
struct store_value store_value_field(const struct field *field, struct str path, const void *row,
                                     struct arena *arena);
int store_value_cmp(struct store_value a, struct store_value b);

// The folder with its parents, 0700.
int store_folder_make(const char *path, struct err *err);
// Makes names created, renamed or removed in the folder durable.
int store_folder_sync(const char *path, struct err *err);
// The folder's lock file, held until the descriptor is closed: ERR_CONFLICT names the holder's pid.
int store_folder_lock(const char *path, int *fd, struct err *err);

#endif
