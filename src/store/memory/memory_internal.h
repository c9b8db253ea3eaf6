// SPDX-License-Identifier: Apache-2.0
// store/memory: rows as copies in memory, for tests. Readers share a lock that the writer takes
// alone, so that a reader sees only what was committed.
#ifndef DROVER_STORE_MEMORY_MEMORY_INTERNAL_H
#define DROVER_STORE_MEMORY_MEMORY_INTERNAL_H

#include <pthread.h>

#include "store/store_internal.h"

struct memory_row {
    struct arena *arena;  // of the row and its texts
    void *data;
};

struct memory_table {
    const struct entity *entity;
    struct memory_row **rows;  // in id order
    size_t count, cap;
};

struct store_db {
    pthread_rwlock_t lock;
    struct memory_table *tables;
    size_t table_count;
};

struct memory_change {  // what to undo: one of the two is NULL for an insert or a delete
    struct memory_table *table;
    struct memory_row *before, *after;
};

struct memory_tx {
    struct tx tx;
    struct store_db *db;
    bool open;
    struct memory_change *changes;
    size_t count, cap, mark;
};

static inline struct memory_tx *memory_of(struct tx *tx) { return (struct memory_tx *)(void *)tx; }

// table.c
extern const struct entity store_memory_meta;  // settings as rows
struct store_memory_meta_row {
    struct str id, value;
};
struct memory_table *store_memory_table(struct memory_tx *tx, const struct entity *entity);
struct memory_row *store_memory_find(const struct memory_table *table, struct str id);
// Puts a copy of `data` in the place of the row with its id, or where it belongs.
void store_memory_put(struct memory_tx *tx, struct memory_table *table, const void *data);
void store_memory_remove(struct memory_tx *tx, struct memory_table *table, struct str id);
void store_memory_undo(struct memory_tx *tx, size_t mark);
void store_memory_forget(struct memory_tx *tx);  // makes the changes final
void store_memory_row_free(struct memory_row *row);

// query.c
int store_memory_select(struct tx *, const struct entity *, const struct query *, struct arena *,
                        void **rows, size_t *count, struct err *);
int store_memory_count(struct tx *, const struct entity *, const struct filter *, int64_t *count,
                       struct err *);
int store_memory_delete_where(struct tx *, const struct entity *, const struct filter *,
                              int64_t limit, int64_t *deleted, struct err *);
int store_memory_count_by(struct tx *, const struct entity *, const struct filter *,
                          const struct field *,
                          void (*each)(void *arg, struct str value, int64_t count), void *arg,
                          struct err *);

// hot.c
int store_memory_execution_start(struct tx *, struct str id, int64_t fence, struct str replica_id,
                                 int64_t now, bool *applied, struct err *);
int store_memory_execution_finish(struct tx *, const struct execution_result *, bool *applied,
                                  struct err *);
int store_memory_execution_requeue(struct tx *, struct str id, int64_t fence, int64_t attempts,
                                   struct str message, bool *applied, struct err *);
int store_memory_execution_each_open(struct tx *,
                                     void (*each)(void *arg, struct str id, struct str service_id,
                                                  struct str status, int64_t fence),
                                     void *arg, struct err *);

#endif
