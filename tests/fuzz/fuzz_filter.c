// SPDX-License-Identifier: Apache-2.0
// Queries of lists: the first byte picks the entity, the rest is {"filter","sort","page",…}. What
// is taken compiles to SQL that runs; SQLite, the store in memory and filter_match name the same
// rows, the first two in the same order.
#include "fuzz.h"
#include "model/context.h"
#include "store/memory/memory_internal.h"
#define store_db sqlite_store_db  // each driver has its own
#include "store/sqlite/migrations.h"
#include "store/sqlite/sqlite_internal.h"
#undef store_db

#define ROWS_MAX 24

struct kind {
    const struct entity *entity;
    const char *const *texts;
    size_t count;
    char *rows;
};

static const char *const items[] = {
    "{\"id\":\"a\",\"datasetId\":\"d1\",\"filename\":\"/a/b.jpg\",\"name\":\"b.jpg\",\"dir\":\"/"
    "a\","
    "\"type\":\"file\",\"hidden\":true,\"metadata\":{\"user\":{\"k\":1,\"n\":[1,\"a\",null]}}}",
    "{\"id\":\"b\",\"datasetId\":\"d1\",\"filename\":\"/A\",\"name\":\"A\",\"dir\":\"/\",\"type\":"
    "\"dir\",\"annotationsCount\":5,\"createdAt\":1700000000000}",
    "{\"id\":\"c\",\"datasetId\":\"d2\",\"filename\":\"/a/"
    "*\",\"name\":\"*\",\"metadata\":{\"user\":"
    "{\"k\":\"a\",\"k\":{\"k\":true}}},\"createdAt\":-1}",
    "{\"id\":\"d\",\"filename\":\"\",\"metadata\":{\"user\":[{\"k\":9007199254740993},[5,-0.0]]}}",
    "{\"id\":\"e\",\"filename\":\"/\xc3\xa9%_'\\\"\",\"size\":9223372036854775807,\"metadata\":"
    "{\"system\":{\"size\":1.5e300},\"a b\":false,\"\\u006b\":\"\"}}",
    "{\"id\":\"f\",\"annotated\":true,\"updatedAt\":1700000000001,\"metadata\":{}}",
};

static const char *const executions[] = {
    "{\"id\":\"a\",\"serviceId\":\"s1\",\"status\":\"created\",\"input\":{\"k\":[]},\"attempts\":"
    "0}",
    "{\"id\":\"b\",\"serviceId\":\"s1\",\"status\":\"success\",\"percentComplete\":100,\"output\":"
    "5,"
    "\"createdAt\":1700000000000}",
    "{\"id\":\"c\",\"serviceId\":\"s2\",\"status\":\"failed\",\"error\":{\"message\":\"x*y\"},"
    "\"attempts\":3,\"createdAt\":1700000000000}",
    "{\"id\":\"d\",\"functionName\":\"run\",\"input\":{\"k\":{\"n\":\"a'b\"}},\"output\":\"\"}",
    "{\"id\":\"e\",\"toTerminate\":true,\"batch\":{\"k\":1e3},\"timeout\":-7}",
    "{\"id\":\"f\",\"status\":\"\",\"output\":[null,{\"k\":1},\"a\"],\"maxAttempts\":1}",
};

static struct kind kinds[] = {{.entity = &item_entity, items, 6, NULL},
                              {.entity = &execution_entity, executions, 6, NULL}};

static struct sqlite_tx sqlite;
static struct tx *memory;

static void insert(struct kind *kind, size_t at, struct arena *arena)
{
    struct err err = ERR_INIT;
    void *row = kind->rows + at * kind->entity->size;
    if (entity_load(kind->entity, fuzz_written(str_of(kind->texts[at])), row, arena, &err) < 0 ||
        store_sqlite_insert(&sqlite.tx, kind->entity, row, &err) < 0 ||
        memory->driver->insert(memory, kind->entity, row, &err) < 0) {
        fprintf(stderr, "%s: %s\n", kind->texts[at], err.message);
        abort();
    }
}

static void open_stores(void)
{
    static struct sqlite_store_db sqlite_db;
    struct store_db *memory_db;
    struct err err = ERR_INIT;
    static struct arena *arena;  // for the whole run
    arena = arena_new();
    sqlite.tx = (struct tx){.driver = &store_sqlite_driver, .writer = true};
    sqlite.db = &sqlite_db;
    if (sqlite3_open(":memory:", &sqlite.sql) != SQLITE_OK ||
        store_sqlite_migrate(sqlite.sql, &store_sqlite_steps, SCHEMA_NEWEST, false, &err) < 0 ||
        store_sqlite_functions(sqlite.sql) != SQLITE_OK ||
        !(sqlite.counts = counts_open(sqlite.sql)) ||
        store_memory_driver.open(NULL, &memory_db, &err) < 0)
        abort();
    sqlite.rows = row_cache_new();
    memory = store_memory_driver.tx_open(memory_db, true, &err);
    if (memory->driver->begin(memory, &err) < 0)
        abort();
    for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
        kinds[i].rows = arena_alloc(arena, kinds[i].count * kinds[i].entity->size);
        for (size_t k = 0; k < kinds[i].count; k++)
            insert(&kinds[i], k, arena);
    }
}

// The first letter of each id, in order.
static struct str selected(struct tx *tx, const struct entity *entity, const struct query *query,
                           struct arena *arena)
{
    struct err err = ERR_INIT;
    void *rows;
    size_t count;
    int64_t counted;
    HOLDS(tx->driver->select(tx, entity, query, arena, &rows, &count, &err) == 0, "%s: %s",
          tx->driver->name, err.message);
    HOLDS(tx->driver->count(tx, entity, query->filter, &counted, &err) == 0, "%s: %s",
          tx->driver->name, err.message);
    char *ids = arena_alloc(arena, count + 1);
    for (size_t i = 0; i < count; i++)
        ids[i] = *field_text(&entity->fields[0], (char *)rows + i * entity->size)->at;
    HOLDS(query->offset > 0 || counted == (int64_t)count || query->limit == (int64_t)count,
          "%s: %zu of %lld", tx->driver->name, count, (long long)counted);
    return (struct str){ids, count};
}

static void compare(const struct kind *kind, struct query *query, struct arena *arena)
{
    struct str first = selected(&sqlite.tx, kind->entity, query, arena);
    struct str second = selected(memory, kind->entity, query, arena);
    HOLDS(str_eq(first, second), "sqlite " STR_FMT ", memory " STR_FMT, STR_ARG(first),
          STR_ARG(second));
    query->offset = 0;
    query->limit = QUERY_LIMIT_MAX;
    first = selected(&sqlite.tx, kind->entity, query, arena);
    for (size_t i = 0; i < kind->count; i++) {
        void *row = kind->rows + i * kind->entity->size;
        const char *id = field_text(&kind->entity->fields[0], row)->at;
        bool in = memchr(first.at, *id, first.len) != NULL;
        HOLDS(filter_match(query->filter, row, arena) == in, "row %c: sqlite says %d", *id, in);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = input_of(data, size);
    struct kind *kind = &kinds[input_choice(&in, sizeof(kinds) / sizeof(*kinds))];
    _cleanup_input_ struct str text = input_rest(&in);
    _cleanup_arena_ struct arena *arena = arena_new();
    struct err err = ERR_INIT;
    struct json body;
    struct query query = {0};
    struct filter *context = NULL;
    if (!memory)
        open_stores();
    if (!fuzz_json(text, &body))
        return 0;
    if (query_parse(body, kind->entity, 1000, &limits_default, arena, &query, &err) < 0 ||
        context_filter(body, kind->entity, &limits_default, &context, arena, &err) < 0) {
        fuzz_error(&err);
        return 0;
    }
    query.filter = filter_and(query.filter, context, arena);
    compare(kind, &query, arena);
    return 0;
}
