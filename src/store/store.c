// SPDX-License-Identifier: Apache-2.0
#include "store/store.h"

#include <stdio.h>

#include "base/mem.h"
#include "store/store_internal.h"
#include "store/worker.h"

struct store {
    const struct store_driver *driver;
    struct store_db *db;
    struct workers *workers;
};

static const struct store_driver *const drivers[] = {&store_sqlite_driver, &store_memory_driver,
                                                     NULL};

static const struct store_driver *find_driver(const char *name)
{
    for (size_t i = 0; drivers[i]; i++)
        if (name && strcmp(drivers[i]->name, name) == 0)
            return drivers[i];
    return NULL;
}

struct store *store_open(const struct store_config *given, struct err *err)
{
    struct store_config config = *given;
    if (config.readers <= 0)
        config.readers = 2;
    if (config.lazy_ms <= 0)
        config.lazy_ms = 100;
    if (config.group_max <= 0)
        config.group_max = 512;
    if (config.group_us <= 0)
        config.group_us = 5000;
    const struct store_driver *driver = find_driver(config.driver);
    if (!driver) {
        err_set(err, ERR_BAD_INPUT, "store driver '%s' is unknown; use sqlite or memory",
                config.driver ? config.driver : "");
        return NULL;
    }
    struct store_db *db = NULL;
    if (driver->open(&config, &db, err) < 0)
        return NULL;
    struct workers *workers = workers_start(driver, db, &config, err);
    if (!workers) {
        driver->close(db);
        return NULL;
    }
    struct store *store = mem_alloc(sizeof(*store));
    *store = (struct store){.driver = driver, .db = db, .workers = workers};
    return store;
}

void store_close(struct store *store)
{
    if (!store)
        return;
    workers_stop(store->workers);
    store->driver->close(store->db);
    mem_free(store);
}

void store_write(struct store *store, struct store_job *job) { workers_write(store->workers, job); }
void store_read(struct store *store, struct store_job *job) { workers_read(store->workers, job); }
bool store_failed(const struct store *store) { return workers_failed(store->workers); }
int64_t store_backlog(const struct store *store) { return workers_backlog(store->workers); }

static int job_result(const struct store_job *job, struct err *err)
{
    if (job->err.kind == ERR_NONE)
        return 0;
    if (err)
        *err = job->err;
    return -1;
}

int store_write_now(struct store *store, int (*work)(struct tx *, void *, struct err *), void *arg,
                    struct err *err)
{
    struct store_job job = {.work = work, .arg = arg};
    workers_write_wait(store->workers, &job);
    return job_result(&job, err);
}

int store_read_now(struct store *store, int (*work)(struct tx *, void *, struct err *), void *arg,
                   struct err *err)
{
    struct store_job job = {.work = work, .arg = arg};
    workers_read_wait(store->workers, &job);
    return job_result(&job, err);
}

// ── inside a job ─────────────────────────────────────────────────────────────────────────────

static int need_writer(const struct tx *tx, const char *what, struct err *err)
{
    if (tx->writer)
        return 0;
    return err_set(err, ERR_INTERNAL,
                   "store: %s inside a read job; changes belong in a job given to store_write",
                   what);
}

int tx_get(struct tx *tx, const struct entity *entity, struct str id, void *row,
           struct arena *arena, struct err *err)
{
    return tx->driver->get(tx, entity, id, row, arena, err);
}

int tx_insert(struct tx *tx, const struct entity *entity, const void *row, struct err *err)
{
    if (need_writer(tx, "an insert", err) < 0)
        return -1;
    return tx->driver->insert(tx, entity, row, err);
}

int tx_update(struct tx *tx, const struct entity *entity, const void *row, struct err *err)
{
    if (need_writer(tx, "an update", err) < 0)
        return -1;
    return tx->driver->update(tx, entity, row, err);
}

int tx_delete(struct tx *tx, const struct entity *entity, struct str id, struct err *err)
{
    if (need_writer(tx, "a delete", err) < 0)
        return -1;
    return tx->driver->delete_row(tx, entity, id, err);
}

int tx_select(struct tx *tx, const struct entity *entity, const struct query *query,
              struct arena *arena, void **rows, size_t *count, struct err *err)
{
    *rows = NULL;
    *count = 0;
    struct query page = *query;
    if (page.limit <= 0 || page.limit > QUERY_LIMIT_MAX)
        page.limit = QUERY_LIMIT_MAX;
    if (page.offset < 0)
        page.offset = 0;
    return tx->driver->select(tx, entity, &page, arena, rows, count, err);
}

int tx_find(struct tx *tx, const struct entity *entity, const struct filter *filter, void *row,
            struct arena *arena, struct err *err)
{
    struct query query = {.filter = (struct filter *)filter, .limit = 1};
    void *rows;
    size_t count;
    if (tx->driver->select(tx, entity, &query, arena, &rows, &count, err) < 0)
        return -1;
    if (count == 0)
        return err_set(err, ERR_NOT_FOUND, "no such %s", entity->name);
    memcpy(row, rows, entity->size);
    return 0;
}

int tx_count(struct tx *tx, const struct entity *entity, const struct filter *filter,
             int64_t *count, struct err *err)
{
    *count = 0;
    return tx->driver->count(tx, entity, filter, count, err);
}

int tx_delete_where(struct tx *tx, const struct entity *entity, const struct filter *filter,
                    int64_t limit, int64_t *deleted, struct err *err)
{
    *deleted = 0;
    if (need_writer(tx, "a delete", err) < 0)
        return -1;
    return tx->driver->delete_where(tx, entity, filter, limit, deleted, err);
}

int tx_count_by(struct tx *tx, const struct entity *entity, const struct filter *filter,
                const char *field, void (*each)(void *arg, struct str value, int64_t count),
                void *arg, struct err *err)
{
    const struct field *by = entity_field(entity, str_of(field));
    if (!by)
        by = entity_column(entity, str_of(field));
    if (!by || !by->column || by->type != FIELD_TEXT)
        return err_set(err, ERR_INTERNAL, "store: %s.%s is not a stored text, nothing to group by",
                       entity->name, field);
    return tx->driver->count_by(tx, entity, filter, by, each, arg, err);
}

int tx_meta_get(struct tx *tx, const char *key, struct arena *arena, struct str *value,
                struct err *err)
{
    *value = STR_NONE;
    return tx->driver->meta_get(tx, key, arena, value, err);
}

int tx_meta_set(struct tx *tx, const char *key, struct str value, struct err *err)
{
    if (need_writer(tx, "a change of a stored setting", err) < 0)
        return -1;
    return tx->driver->meta_set(tx, key, value, err);
}

int tx_execution_start(struct tx *tx, struct str id, int64_t fence, struct str replica_id,
                       int64_t now, bool *applied, struct err *err)
{
    *applied = false;
    if (need_writer(tx, "the start of an execution", err) < 0)
        return -1;
    return tx->driver->execution_start(tx, id, fence, replica_id, now, applied, err);
}

int tx_execution_finish(struct tx *tx, const struct execution_result *result, bool *applied,
                        struct err *err)
{
    *applied = false;
    if (need_writer(tx, "the end of an execution", err) < 0)
        return -1;
    return tx->driver->execution_finish(tx, result, applied, err);
}

int tx_execution_requeue(struct tx *tx, struct str id, int64_t fence, int64_t attempts,
                         struct str message, bool *applied, struct err *err)
{
    *applied = false;
    if (need_writer(tx, "the rerun of an execution", err) < 0)
        return -1;
    return tx->driver->execution_requeue(tx, id, fence, attempts, message, applied, err);
}

int tx_execution_each_open(struct tx *tx,
                           void (*each)(void *arg, struct str id, struct str service_id,
                                        struct str status, int64_t fence),
                           void *arg, struct err *err)
{
    return tx->driver->execution_each_open(tx, each, arg, err);
}

int tx_blob_used(struct tx *tx, struct str sha256, bool *used, struct err *err)
{
    *used = false;
    return tx->driver->blob_used(tx, sha256, used, err);
}

// ── shared by the drivers ────────────────────────────────────────────────────────────────────

int store_conflict_unique(const struct entity *entity, const void *row, struct err *err)
{
    char text[400] = "";
    size_t at = 0;
    struct str rest = str_of(entity->unique);
    while (rest.len > 0 && at < sizeof(text) - 1) {
        struct str column = str_cut(&rest, ',');
        const struct field *field = entity_column(entity, column);
        struct str value = field && field->type == FIELD_TEXT ? *field_text(field, (void *)row)
                                                              : STR_NONE;
        int n = snprintf(text + at, sizeof(text) - at, "%s%s '" STR_FMT "'", at ? ", " : "",
                         field ? field->name : "", STR_ARG(value));
        at += n > 0 ? (size_t)n : 0;
    }
    return err_set(err, ERR_CONFLICT, "there is already a %s with %s", entity->name, text);
}

int store_conflict_id(const struct entity *entity, struct str id, struct err *err)
{
    return err_set(err, ERR_CONFLICT, "there is already a %s with the id '" STR_FMT "'",
                   entity->name, STR_ARG(id));
}

int store_not_found(const struct entity *entity, struct str id, struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no %s with the id '" STR_FMT "'", entity->name,
                   STR_ARG(id));
}

static char lower(char c) { return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c; }

bool store_has_text(struct str text, struct str needle)
{
    for (size_t i = 0; i + needle.len <= text.len; i++) {
        size_t k = 0;
        while (k < needle.len && lower(text.at[i + k]) == lower(needle.at[k]))
            k++;
        if (k == needle.len)
            return true;
    }
    return false;
}
